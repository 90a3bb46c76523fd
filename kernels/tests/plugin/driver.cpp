// Drives a plugin library as TensorRT does, with a C surface for the tests in Python.
//
// Every array argument has a fixed length, given at the declaration; dims are int64.

#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "mock_tensorrt.h"

namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::IPluginV3;
using nvinfer1::PluginCapabilityType;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

constexpr int kInputRanks[] = {3, 3, 2};

struct Library {
  void* handle = nullptr;
  nvinfer1::IPluginCreatorV3One* creator = nullptr;
  void (*set_logger_finder)(void*) = nullptr;
  std::string messages;
  mock::Logger<nvinfer1::ILogger> plain_logger{messages};
  mock::LoggerAndMore mixed_logger{messages};
  mock::Logger<nvinfer1::v_1_0::ILogger> versioned_logger{messages};
  mock::Finder<nvinfer1::ILoggerFinder, nvinfer1::ILogger> plain_finder{plain_logger};
  mock::Finder<nvinfer1::ILoggerFinder, nvinfer1::ILogger> mixed_finder{mixed_logger};
  mock::Finder<nvinfer1::v_1_0::ILoggerFinder, nvinfer1::v_1_0::ILogger> versioned_finder{
      versioned_logger};
  mock::Unrelated unrelated;
};

template <class Capability>
Capability* capability(IPluginV3* plugin, PluginCapabilityType type) {
  return static_cast<Capability*>(plugin->getCapabilityInterface(type));
}
nvinfer1::IPluginV3OneCore* core(IPluginV3* plugin) {
  return capability<nvinfer1::IPluginV3OneCore>(plugin, PluginCapabilityType::kCORE);
}
nvinfer1::IPluginV3OneBuild* build(IPluginV3* plugin) {
  return capability<nvinfer1::IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
}
nvinfer1::IPluginV3OneRuntime* runtime(IPluginV3* plugin) {
  return capability<nvinfer1::IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
}

Dims dims_from(const std::int64_t* extents, int rank) {
  Dims dims{};
  dims.nbDims = rank;
  std::memcpy(dims.d, extents, sizeof(std::int64_t) * static_cast<std::size_t>(rank));
  return dims;
}

// Three inputs from 8 extents, and five outputs that no plugin function should need.
std::vector<PluginTensorDesc> descriptions(const std::int32_t* types, const std::int64_t* extents) {
  std::vector<PluginTensorDesc> result(8);
  for (int i = 0; i < 3; ++i) {
    result[i] = {dims_from(extents, kInputRanks[i]), static_cast<DataType>(types[i]),
                 TensorFormat::kLINEAR, 1.0f};
    extents += kInputRanks[i];
  }
  return result;
}

// The batch is dynamic: -1 in desc, 1 in min, the given one in opt and max.
std::vector<DynamicPluginTensorDesc> profile(const std::int32_t* types,
                                             const std::int64_t* largest) {
  std::vector<DynamicPluginTensorDesc> result(8);
  const auto fixed = descriptions(types, largest);
  for (std::size_t i = 0; i < fixed.size(); ++i) {
    DynamicPluginTensorDesc& dynamic = result[i];
    dynamic.desc = fixed[i];
    dynamic.min = dynamic.max = dynamic.opt = fixed[i].dims;
    if (i < 2) {
      dynamic.desc.dims.d[0] = -1;
      dynamic.min.d[0] = 1;
    }
  }
  return result;
}

const char* copied(const nvinfer1::InterfaceInfo& info) {
  static thread_local std::string text;
  text = std::string(info.kind) + " " + std::to_string(info.major) + "." +
         std::to_string(info.minor);
  return text.c_str();
}

}  // namespace

extern "C" {

// The creator of one version; nullptr and why in `error` where the library cannot be used.
Library* driver_open(const char* path, const char* version, char* error, std::int32_t error_size) {
  auto library = std::make_unique<Library>();
  library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  const auto fail = [&](const char* text) -> Library* {
    std::snprintf(error, static_cast<std::size_t>(error_size), "%s", text);
    return nullptr;
  };
  if (library->handle == nullptr) return fail(dlerror());
  using GetCreators = nvinfer1::IPluginCreatorInterface* const* (*)(std::int32_t&);
  const auto get_creators =
      reinterpret_cast<GetCreators>(dlsym(library->handle, "getCreators"));
  library->set_logger_finder =
      reinterpret_cast<void (*)(void*)>(dlsym(library->handle, "setLoggerFinder"));
  if (get_creators == nullptr || library->set_logger_finder == nullptr) {
    return fail("an entry point is missing");
  }
  std::int32_t count = 0;
  const auto* creators = get_creators(count);
  for (std::int32_t i = 0; i < count; ++i) {
    auto* creator = static_cast<nvinfer1::IPluginCreatorV3One*>(creators[i]);
    if (std::strcmp(creator->getPluginVersion(), version) != 0) continue;
    if (library->creator != nullptr) return fail("two creators of one version");
    library->creator = creator;
  }
  if (library->creator == nullptr) return fail("no creator of that version");
  return library.release();
}

// A creator that somebody else has, such as TensorRT's registry; its logger is not ours to set.
Library* driver_adopt(void* creator) {
  auto library = std::make_unique<Library>();
  library->creator = static_cast<nvinfer1::IPluginCreatorV3One*>(
      static_cast<nvinfer1::IPluginCreatorInterface*>(creator));
  return library.release();
}

// 0 takes the finder back; 1 TensorRT 10; 2 the same, logger with two bases; 3 the versioned
// interfaces; 4 an object of no known type.
void driver_set_logger(Library* library, std::int32_t kind) {
  void* finders[] = {nullptr, &library->plain_finder, &library->mixed_finder,
                     &library->versioned_finder, &library->unrelated};
  library->set_logger_finder(finders[kind]);
}

const char* driver_messages(Library* library) { return library->messages.c_str(); }
void driver_clear_messages(Library* library) { library->messages.clear(); }

const char* driver_creator_text(Library* library, std::int32_t which) {
  switch (which) {
    case 0: return library->creator->getPluginName();
    case 1: return library->creator->getPluginVersion();
    case 2: return library->creator->getPluginNamespace();
    default: return copied(library->creator->getInterfaceInfo());
  }
}

const nvinfer1::PluginFieldCollection* driver_field_names(Library* library) {
  return library->creator->getFieldNames();
}

IPluginV3* driver_create(Library* library, const nvinfer1::PluginFieldCollection* fields,
                         std::int32_t phase) {
  return library->creator->createPlugin("node", fields,
                                        static_cast<nvinfer1::TensorRTPhase>(phase));
}

IPluginV3* driver_clone(IPluginV3* plugin) { return plugin->clone(); }
IPluginV3* driver_attach(IPluginV3* plugin) { return runtime(plugin)->attachToContext(nullptr); }
void driver_destroy(IPluginV3* plugin) { delete plugin; }

const nvinfer1::PluginFieldCollection* driver_serialize(IPluginV3* plugin) {
  return runtime(plugin)->getFieldsToSerialize();
}

const char* driver_plugin_text(IPluginV3* plugin, std::int32_t which) {
  switch (which) {
    case 0: return core(plugin)->getPluginName();
    case 1: return core(plugin)->getPluginVersion();
    case 2: return core(plugin)->getPluginNamespace();
    case 3: return build(plugin)->getTimingCacheID();
    case 4: return build(plugin)->getMetadataString();
    case 5: return copied(plugin->getInterfaceInfo());
    case 6: return copied(core(plugin)->getInterfaceInfo());
    case 7: return copied(build(plugin)->getInterfaceInfo());
    default: return copied(runtime(plugin)->getInterfaceInfo());
  }
}

std::int32_t driver_output_types(IPluginV3* plugin, const std::int32_t* in, std::int32_t num_in,
                                 std::int32_t* out) {
  DataType types[8];
  for (int i = 0; i < 3; ++i) types[i] = static_cast<DataType>(in[i]);
  DataType results[5];
  const std::int32_t status = build(plugin)->getOutputDataTypes(results, 5, types, num_in);
  if (status == 0) {
    for (int i = 0; i < 5; ++i) out[i] = static_cast<std::int32_t>(results[i]);
  }
  return status;
}

// extents[8]; known[8]: 1 where the builder knows the extent. For each of the five outputs:
// ranks[5], and per axis extents_out[5 * 3] and known_out[5 * 3].
std::int32_t driver_output_shapes(IPluginV3* plugin, const std::int64_t* extents,
                                  const std::int32_t* known, std::int32_t* ranks,
                                  std::int64_t* extents_out, std::int32_t* known_out) {
  mock::Expressions expressions;
  mock::ExpressionBuilder builder(expressions);
  nvinfer1::DimsExprs in[3] = {}, out[5] = {};
  for (int i = 0, next = 0; i < 3; ++i) {
    in[i].nbDims = kInputRanks[i];
    for (int axis = 0; axis < kInputRanks[i]; ++axis, ++next) {
      in[i].d[axis] = expressions.add({extents[next], known[next] != 0});
    }
  }
  const std::int32_t status =
      build(plugin)->getOutputShapes(in, 3, nullptr, 0, out, 5, builder);
  for (int i = 0; status == 0 && i < 5; ++i) {
    ranks[i] = out[i].nbDims;
    for (int axis = 0; axis < out[i].nbDims; ++axis) {
      const mock::Extent& extent = mock::extent_from(out[i].d[axis]);
      extents_out[i * 3 + axis] = extent.value;
      known_out[i * 3 + axis] = extent.constant;
    }
  }
  return status;
}

// types[8] and formats[8] of all inputs and outputs.
std::int32_t driver_supports(IPluginV3* plugin, std::int32_t position, const std::int32_t* types,
                             const std::int32_t* formats) {
  std::vector<DynamicPluginTensorDesc> in_out(8);
  for (int i = 0; i <= position && i < 8; ++i) {  // TensorRT asks from left to right
    in_out[i].desc.type = static_cast<DataType>(types[i]);
    in_out[i].desc.format = static_cast<TensorFormat>(formats[i]);
  }
  return build(plugin)->supportsFormatCombination(position, in_out.data(), 3, 5);
}

std::int32_t driver_configure(IPluginV3* plugin, const std::int32_t* types,
                              const std::int64_t* largest) {
  const auto tensors = profile(types, largest);
  return build(plugin)->configurePlugin(tensors.data(), 3, tensors.data() + 3, 5);
}

std::uint64_t driver_workspace(IPluginV3* plugin, const std::int32_t* types,
                               const std::int64_t* largest) {
  const auto tensors = profile(types, largest);
  return build(plugin)->getWorkspaceSize(tensors.data(), 3, tensors.data() + 3, 5);
}

std::int32_t driver_on_shape_change(IPluginV3* plugin, const std::int32_t* types,
                                    const std::int64_t* extents) {
  const auto tensors = descriptions(types, extents);
  return runtime(plugin)->onShapeChange(tensors.data(), 3, tensors.data() + 3, 5);
}

std::int32_t driver_enqueue(IPluginV3* plugin, const std::int32_t* types,
                            const std::int64_t* extents, const void* const* inputs,
                            void* const* outputs, void* workspace) {
  const auto tensors = descriptions(types, extents);
  return runtime(plugin)->enqueue(tensors.data(), tensors.data() + 3, inputs, outputs, workspace,
                                  nullptr);
}

}  // extern "C"
