#include "decode_nms_plugin.h"

#include <cstdio>
#include <new>

#include "plugin_log.h"
#include "plugin_shapes.h"
#include "ssd_small/decode_nms_cuda.h"

namespace ssd_small::plugin {
namespace {

using nvinfer1::DataType;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::IDimensionExpr;
using nvinfer1::PluginCapabilityType;
using nvinfer1::PluginTensorDesc;

constexpr std::int32_t kFailure = -1;
constexpr DataType kOutputTypes[kOutputs] = {DataType::kINT32, DataType::kFLOAT, DataType::kFLOAT,
                                             DataType::kINT32, DataType::kINT32};

// Hexadecimal floats: two parameter sets have one description only if they are equal.
std::string describe(const DecodeNmsParams& params, Version version) {
  char text[320];
  std::snprintf(text, sizeof(text),
                "%s/%s score_threshold=%a iou_threshold=%a variances=%a,%a activation=%s "
                "background_label=%d pre_nms_topk=%d keep_topk_per_class=%d keep_topk=%d "
                "pixel_offset=%a",
                kPluginName, version_text(version), static_cast<double>(params.score_threshold),
                static_cast<double>(params.iou_threshold),
                static_cast<double>(params.variances[0]), static_cast<double>(params.variances[1]),
                activation_name(params.activation), static_cast<int>(params.background_label),
                static_cast<int>(params.pre_nms_topk), static_cast<int>(params.keep_topk_per_class),
                static_cast<int>(params.keep_topk), static_cast<double>(params.pixel_offset));
  if (version == Version::kFirst) return text;
  char clipping[96];
  std::snprintf(clipping, sizeof(clipping), " clip_boxes=%d clip_edges=%a,%a",
                static_cast<int>(params.clip_boxes), static_cast<double>(params.clip_edges[0]),
                static_cast<double>(params.clip_edges[1]));
  return std::string(text) + clipping;
}

void log_launch_failure(cudaError_t status, const DecodeNmsShape& shape,
                        const DecodeNmsParams& params, const DecodeNmsInputs& inputs,
                        const DecodeNmsOutputs& outputs, const Workspace& workspace) noexcept {
  char fault[256];
  const bool refused = decode_nms_launch_fault(shape, params, inputs, outputs, workspace, fault,
                                               sizeof fault);
  log_error("launch failed: %s", refused ? fault : cudaGetErrorString(status));
}

}  // namespace

DecodeNmsPlugin::DecodeNmsPlugin(const DecodeNmsParams& params, Version version)
    : params_(params),
      version_(version),
      description_(describe(params_, version_)),
      fields_(fields_from_params(params_)),
      collection_{static_cast<std::int32_t>(field_count(version_)), fields_.data()} {}

nvinfer1::IPluginCapability* DecodeNmsPlugin::getCapabilityInterface(
    PluginCapabilityType type) noexcept {
  switch (type) {
    case PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

nvinfer1::IPluginV3* DecodeNmsPlugin::clone() noexcept {
  try {
    return new DecodeNmsPlugin(params_, version_);
  } catch (const std::bad_alloc&) {
    log_error("out of memory");
    return nullptr;
  }
}

nvinfer1::IPluginV3* DecodeNmsPlugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept {
  // nothing of a context is used, but each gets an object of its own
  auto* attached = static_cast<DecodeNmsPlugin*>(clone());
  // asked here, where the context's device is the current one, and not in enqueue: that is timed,
  // and may be captured
  if (attached != nullptr) attached->overlap_ = decode_nms_can_overlap();
  return attached;
}

std::int32_t DecodeNmsPlugin::configurePlugin(const DynamicPluginTensorDesc* in,
                                              std::int32_t num_inputs,
                                              const DynamicPluginTensorDesc*,
                                              std::int32_t num_outputs) noexcept {
  DecodeNmsShape shape;
  return counts_fit(num_inputs, num_outputs) && shape_from_profile(in, params_, shape) ? 0
                                                                                       : kFailure;
}

std::int32_t DecodeNmsPlugin::getOutputDataTypes(DataType* output_types, std::int32_t num_outputs,
                                                 const DataType* input_types,
                                                 std::int32_t num_inputs) const noexcept {
  if (!counts_fit(num_inputs, num_outputs) ||
      !types_fit(input_types[0], input_types[1], input_types[2])) {
    return kFailure;
  }
  for (std::int32_t i = 0; i < kOutputs; ++i) output_types[i] = kOutputTypes[i];
  return 0;
}

std::int32_t DecodeNmsPlugin::getOutputShapes(const DimsExprs* inputs, std::int32_t num_inputs,
                                              const DimsExprs*, std::int32_t, DimsExprs* outputs,
                                              std::int32_t num_outputs,
                                              nvinfer1::IExprBuilder& builder) noexcept {
  if (!counts_fit(num_inputs, num_outputs) ||
      !ranks_fit(inputs[0].nbDims, inputs[1].nbDims, inputs[2].nbDims)) {
    return kFailure;
  }
  const IDimensionExpr* batch = inputs[0].d[0];
  const IDimensionExpr* rows =
      rows_expression(*inputs[0].d[1], *inputs[1].d[2], params_, builder);
  const IDimensionExpr* coordinates = builder.constant(4);
  if (rows == nullptr || coordinates == nullptr) {
    log_error("the number of rows could not be expressed");
    return kFailure;
  }
  outputs[0] = {1, {batch}};
  outputs[1] = {3, {batch, rows, coordinates}};
  for (std::int32_t i = 2; i < kOutputs; ++i) outputs[i] = {2, {batch, rows}};
  return 0;
}

bool DecodeNmsPlugin::supportsFormatCombination(std::int32_t position,
                                                const DynamicPluginTensorDesc* in_out,
                                                std::int32_t num_inputs,
                                                std::int32_t num_outputs) noexcept {
  if (num_inputs != kInputs || num_outputs != kOutputs || position < 0 ||
      position >= kInputs + kOutputs) {
    return false;
  }
  const PluginTensorDesc& desc = in_out[position].desc;
  if (desc.format != nvinfer1::TensorFormat::kLINEAR) return false;
  switch (position) {
    case 0: return is_head_type(desc.type);
    case 1: return desc.type == in_out[0].desc.type;
    case 2: return desc.type == DataType::kFLOAT;
    default: return desc.type == kOutputTypes[position - kInputs];
  }
}

std::int32_t DecodeNmsPlugin::getNbOutputs() const noexcept { return kOutputs; }

std::size_t DecodeNmsPlugin::getWorkspaceSize(const DynamicPluginTensorDesc* in,
                                              std::int32_t num_inputs,
                                              const DynamicPluginTensorDesc*,
                                              std::int32_t num_outputs) const noexcept {
  DecodeNmsShape shape;
  if (!counts_fit(num_inputs, num_outputs) || !shape_from_profile(in, params_, shape)) return 0;
  return decode_nms_workspace_bytes(shape, params_);
}

std::int32_t DecodeNmsPlugin::onShapeChange(const PluginTensorDesc* in, std::int32_t num_inputs,
                                            const PluginTensorDesc*,
                                            std::int32_t num_outputs) noexcept {
  DecodeNmsShape shape;
  return counts_fit(num_inputs, num_outputs) && shape_from_descriptions(in, params_, shape)
             ? 0
             : kFailure;
}

std::int32_t DecodeNmsPlugin::enqueue(const PluginTensorDesc* in, const PluginTensorDesc*,
                                      const void* const* inputs, void* const* outputs,
                                      void* workspace, cudaStream_t stream) noexcept {
  DecodeNmsShape shape;
  if (!shape_from_descriptions(in, params_, shape)) return kFailure;
  const DecodeNmsInputs heads = {inputs[0], inputs[1], static_cast<const float*>(inputs[2])};
  const DecodeNmsOutputs results = {
      static_cast<std::int32_t*>(outputs[0]), static_cast<float*>(outputs[1]),
      static_cast<float*>(outputs[2]), static_cast<std::int32_t*>(outputs[3]),
      static_cast<std::int32_t*>(outputs[4])};
  // TensorRT gives what getWorkspaceSize asked for the profile's largest batch: never less
  const Workspace scratch = {workspace, decode_nms_workspace_bytes(shape, params_)};
  const cudaError_t status = launch_decode_nms(shape, params_, heads, results, scratch,
                                               {stream, overlap_});
  if (status == cudaSuccess) return 0;
  log_launch_failure(status, shape, params_, heads, results, scratch);
  return kFailure;
}

const nvinfer1::PluginFieldCollection* DecodeNmsPlugin::getFieldsToSerialize() noexcept {
  return &collection_;
}

}  // namespace ssd_small::plugin
