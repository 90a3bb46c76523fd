#include "plugin_shapes.h"

#include <cstdint>
#include <initializer_list>
#include <limits>

#include "plugin_log.h"
#include "ssd_small/validate.h"

namespace ssd_small::plugin {
namespace {

using nvinfer1::DataType;
using nvinfer1::DimensionOperation;
using nvinfer1::Dims;
using nvinfer1::IDimensionExpr;

bool extents_fit(const Dims& loc, const Dims& conf, const Dims& priors) noexcept {
  const std::int64_t batch = loc.d[0], num_priors = loc.d[1];
  if (loc.d[2] == 4 && conf.d[0] == batch && conf.d[1] == num_priors &&
      priors.d[0] == num_priors && priors.d[1] == 4) {
    return true;
  }
  const auto n = [](std::int64_t extent) { return static_cast<long long>(extent); };
  log_error(
      "loc [%lld, %lld, %lld], conf [%lld, %lld, %lld] and priors [%lld, %lld] do not fit "
      "together, expected [N, P, 4], [N, P, C] and [P, 4]",
      n(loc.d[0]), n(loc.d[1]), n(loc.d[2]), n(conf.d[0]), n(conf.d[1]), n(conf.d[2]),
      n(priors.d[0]), n(priors.d[1]));
  return false;
}

// Extents are 64 bits wide in TensorRT; what lies beyond 32 is beyond every limit anyway.
std::int32_t narrow(std::int64_t extent) noexcept {
  constexpr std::int64_t kHighest = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(extent < -1 ? -1 : extent > kHighest ? kHighest : extent);
}

bool shape_from_inputs(const Dims& loc, const Dims& conf, const Dims& priors, DataType type,
                       const DecodeNmsParams& params, DecodeNmsShape& shape) noexcept {
  if (!ranks_fit(loc.nbDims, conf.nbDims, priors.nbDims) || !extents_fit(loc, conf, priors)) {
    return false;
  }
  shape.batch = narrow(loc.d[0]);
  shape.num_priors = narrow(loc.d[1]);
  shape.num_classes = narrow(conf.d[2]);
  shape.head_type = type == DataType::kHALF ? HeadType::kHalf : HeadType::kFloat;
  const std::int64_t rows = max_detections(params, shape.num_priors, shape.num_classes);
  if (rows > std::numeric_limits<std::int32_t>::max()) {
    log_error("%d priors x %d classes give %lld rows per image; set keep_topk",
              static_cast<int>(shape.num_priors), static_cast<int>(shape.num_classes),
              static_cast<long long>(rows));
    return false;
  }
  shape.max_detections = static_cast<std::int32_t>(rows);
  if (const Error error = check_shape(shape, params)) {
    char text[256];
    format_error(error, text, sizeof(text));
    log_error("%s", text);
    return false;
  }
  return true;
}

}  // namespace

bool is_head_type(DataType type) noexcept {
  return type == DataType::kFLOAT || type == DataType::kHALF;
}

bool counts_fit(std::int32_t num_inputs, std::int32_t num_outputs) noexcept {
  if (num_inputs == kInputs && num_outputs == kOutputs) return true;
  log_error("got %d inputs and %d outputs, expected loc, conf, priors and 5 outputs",
            static_cast<int>(num_inputs), static_cast<int>(num_outputs));
  return false;
}

bool types_fit(DataType loc, DataType conf, DataType priors) noexcept {
  if (!is_head_type(loc) || conf != loc) {
    log_error("loc has data type %d and conf %d, expected both float (0) or both half (1)",
              static_cast<int>(loc), static_cast<int>(conf));
    return false;
  }
  if (priors != DataType::kFLOAT) {
    log_error("priors have data type %d, expected float (0)", static_cast<int>(priors));
    return false;
  }
  return true;
}

bool ranks_fit(std::int32_t loc, std::int32_t conf, std::int32_t priors) noexcept {
  if (loc == 3 && conf == 3 && priors == 2) return true;
  log_error("loc, conf and priors have %d, %d and %d axes, expected [N, P, 4], [N, P, C], [P, 4]",
            static_cast<int>(loc), static_cast<int>(conf), static_cast<int>(priors));
  return false;
}

bool shape_from_descriptions(const nvinfer1::PluginTensorDesc* in, const DecodeNmsParams& params,
                             DecodeNmsShape& shape) noexcept {
  return types_fit(in[0].type, in[1].type, in[2].type) &&
         shape_from_inputs(in[0].dims, in[1].dims, in[2].dims, in[0].type, params, shape);
}

bool shape_from_profile(const nvinfer1::DynamicPluginTensorDesc* in, const DecodeNmsParams& params,
                        DecodeNmsShape& shape) noexcept {
  return types_fit(in[0].desc.type, in[1].desc.type, in[2].desc.type) &&
         shape_from_inputs(in[0].max, in[1].max, in[2].max, in[0].desc.type, params, shape);
}

const IDimensionExpr* rows_expression(const IDimensionExpr& num_priors,
                                      const IDimensionExpr& num_classes,
                                      const DecodeNmsParams& params,
                                      nvinfer1::IExprBuilder& builder) noexcept {
  const auto combine = [&builder](DimensionOperation operation, const IDimensionExpr* left,
                                  const IDimensionExpr* right) -> const IDimensionExpr* {
    if (left == nullptr || right == nullptr) return nullptr;
    return builder.operation(operation, *left, *right);
  };
  const IDimensionExpr* foreground = &num_classes;
  if (params.background_label >= 0) {  // one class less, if there is a class of that label
    const IDimensionExpr* has_background = combine(
        DimensionOperation::kLESS, builder.constant(params.background_label), &num_classes);
    foreground = combine(DimensionOperation::kSUB, &num_classes, has_background);
  }
  const IDimensionExpr* per_class = &num_priors;
  for (const std::int32_t cut : {params.pre_nms_topk, params.keep_topk_per_class}) {
    if (cut > 0) per_class = combine(DimensionOperation::kMIN, per_class, builder.constant(cut));
  }
  const IDimensionExpr* rows = combine(DimensionOperation::kPROD, foreground, per_class);
  if (params.keep_topk > 0) {
    rows = combine(DimensionOperation::kMIN, rows, builder.constant(params.keep_topk));
  }
  return rows;
}

}  // namespace ssd_small::plugin
