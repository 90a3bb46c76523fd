#include "plugin_fields.h"

#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include "plugin_log.h"
#include "ssd_small/validate.h"

namespace ssd_small::plugin {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

constexpr std::size_t kActivationIndex = 3;
constexpr std::size_t kFirstFields = 9;  // those of version 1

const char* type_name(PluginFieldType type) noexcept {
  switch (type) {
    case PluginFieldType::kFLOAT16: return "float16";
    case PluginFieldType::kFLOAT32: return "float";
    case PluginFieldType::kFLOAT64: return "float64";
    case PluginFieldType::kINT8: return "int8";
    case PluginFieldType::kINT16: return "int16";
    case PluginFieldType::kINT32: return "int";
    case PluginFieldType::kINT64: return "int64";
    case PluginFieldType::kCHAR: return "string";
    default: return "another type";
  }
}

// Where the values of a field lie, in the order of field_declarations().
std::array<void*, kFieldCount> storage(DecodeNmsParams& params) noexcept {
  return {&params.score_threshold, &params.iou_threshold,     params.variances,
          &params.activation,      &params.background_label,  &params.pre_nms_topk,
          &params.keep_topk_per_class, &params.keep_topk,     &params.pixel_offset,
          &params.clip_boxes,      params.clip_edges};
}

// `count` where none of the first `count` fields has the name.
std::size_t index_of(std::string_view name, std::size_t count) noexcept {
  const FieldArray& declarations = field_declarations();
  std::size_t index = 0;
  while (index < count && name != declarations[index].name) ++index;
  return index;
}

bool wrong_form(const PluginField& field, const PluginField& declared) noexcept {
  log_error("field %s: got %s x %d, expected %s x %d", field.name, type_name(field.type),
            static_cast<int>(field.length), type_name(declared.type),
            static_cast<int>(declared.length));
  return false;
}

bool read_activation(const PluginField& field, Activation& activation) noexcept {
  if (field.type != PluginFieldType::kCHAR || field.length < 0 || field.data == nullptr) {
    log_error("field activation: got %s x %d, expected a string", type_name(field.type),
              static_cast<int>(field.length));
    return false;
  }
  std::string_view text(static_cast<const char*>(field.data),
                        static_cast<std::size_t>(field.length));
  // some callers count the terminating NUL, some do not
  while (!text.empty() && text.back() == '\0') text.remove_suffix(1);
  for (Activation known : {Activation::kSoftmax, Activation::kSigmoid, Activation::kNone}) {
    if (text == activation_name(known)) {
      activation = known;
      return true;
    }
  }
  log_error("field activation: got \"%.*s\", expected softmax, sigmoid or none",
            static_cast<int>(text.size() < 64 ? text.size() : 64), text.data());
  return false;
}

// The parser gives 32-bit integers; a Python caller's numpy array may hold 64-bit ones.
bool read_int64(const PluginField& field, void* value) noexcept {
  std::int64_t wide = 0;
  std::memcpy(&wide, field.data, sizeof(wide));
  if (wide < std::numeric_limits<std::int32_t>::min() ||
      wide > std::numeric_limits<std::int32_t>::max()) {
    log_error("field %s: got %lld, expected a 32-bit integer", field.name,
              static_cast<long long>(wide));
    return false;
  }
  const auto narrow = static_cast<std::int32_t>(wide);
  std::memcpy(value, &narrow, sizeof(narrow));
  return true;
}

bool read_field(const PluginField& field, std::size_t index, DecodeNmsParams& params) noexcept {
  if (index == kActivationIndex) return read_activation(field, params.activation);
  const PluginField& declared = field_declarations()[index];
  void* value = storage(params)[index];
  if (field.length != declared.length || field.data == nullptr) return wrong_form(field, declared);
  if (declared.type == PluginFieldType::kINT32 && field.type == PluginFieldType::kINT64) {
    return read_int64(field, value);
  }
  if (field.type != declared.type) return wrong_form(field, declared);
  static_assert(sizeof(float) == 4 && sizeof(std::int32_t) == 4, "both kinds have four bytes");
  // the data of a serialised engine need not be aligned
  std::memcpy(value, field.data, 4 * static_cast<std::size_t>(field.length));
  return true;
}

}  // namespace

const char* activation_name(Activation activation) noexcept {
  switch (activation) {
    case Activation::kSigmoid: return "sigmoid";
    case Activation::kNone: return "none";
    default: return "softmax";
  }
}

const char* version_text(Version version) noexcept {
  return version == Version::kClipping ? "2" : "1";
}

std::size_t field_count(Version version) noexcept {
  return version == Version::kClipping ? kFieldCount : kFirstFields;
}

const FieldArray& field_declarations() noexcept {
  static const FieldArray declarations = {{
      {"score_threshold", nullptr, PluginFieldType::kFLOAT32, 1},
      {"iou_threshold", nullptr, PluginFieldType::kFLOAT32, 1},
      {"variances", nullptr, PluginFieldType::kFLOAT32, 2},
      {"activation", nullptr, PluginFieldType::kCHAR, 1},
      {"background_label", nullptr, PluginFieldType::kINT32, 1},
      {"pre_nms_topk", nullptr, PluginFieldType::kINT32, 1},
      {"keep_topk_per_class", nullptr, PluginFieldType::kINT32, 1},
      {"keep_topk", nullptr, PluginFieldType::kINT32, 1},
      {"pixel_offset", nullptr, PluginFieldType::kFLOAT32, 1},
      {"clip_boxes", nullptr, PluginFieldType::kINT32, 1},
      {"clip_edges", nullptr, PluginFieldType::kFLOAT32, 2},
  }};
  return declarations;
}

FieldArray fields_from_params(DecodeNmsParams& params) noexcept {
  FieldArray fields = field_declarations();
  const auto values = storage(params);
  for (std::size_t i = 0; i < kFieldCount; ++i) fields[i].data = values[i];
  const char* activation = activation_name(params.activation);
  fields[kActivationIndex].data = activation;
  fields[kActivationIndex].length = static_cast<std::int32_t>(std::strlen(activation)) + 1;
  return fields;
}

std::optional<DecodeNmsParams> params_from_fields(const nvinfer1::PluginFieldCollection* fields,
                                                  Version version) noexcept {
  const std::size_t known = field_count(version);
  DecodeNmsParams params;
  std::array<bool, kFieldCount> seen{};
  const std::int32_t count = fields == nullptr ? 0 : fields->nbFields;
  for (std::int32_t i = 0; i < count; ++i) {
    const PluginField& field = fields->fields[i];
    const char* name = field.name == nullptr ? "" : field.name;
    const std::size_t index = index_of(name, known);
    if (index == known) {
      log_error("field \"%s\" is unknown; the fields are those of PostprocessParams", name);
      return std::nullopt;
    }
    if (seen[index]) {
      log_error("field %s is given twice", name);
      return std::nullopt;
    }
    seen[index] = true;
    if (!read_field(field, index, params)) return std::nullopt;
  }
  if (const Error error = check_params(params)) {
    char text[256];
    format_error(error, text, sizeof(text));
    log_error("field %s", text);
    return std::nullopt;
  }
  return params;
}

}  // namespace ssd_small::plugin
