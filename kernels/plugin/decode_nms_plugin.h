// The TensorRT plugin DecodeNms, versions 1 and 2: decode + NMS at the end of a detector.
//
// Inputs   0 loc     [N, P, 4] float or half
//          1 conf    [N, P, C] same type as loc
//          2 priors  [P, 4]    float (cx, cy, w, h; unit square)
// Outputs  0 num_detections [N]       int32
//          1 boxes          [N, K, 4] float (x1, y1, x2, y2)
//          2 scores         [N, K]    float
//          3 labels         [N, K]    int32
//          4 prior_indices  [N, K]    int32, -1 in the rows past num_detections
// N may be dynamic. K follows from P, C and the fields (max_detections in validate.h).
//
// In an ONNX file the node is op_type "DecodeNms" of any domain (ours: "ssd_small"), with the
// fields of plugin_fields.h as attributes. plugin_version "1" and plugin_namespace "" are the
// parser's defaults and need not be written; a node of version 2 says so.
#pragma once

#include <optional>
#include <string>

#include "plugin_fields.h"
#include "ssd_small/decode_nms.h"
#include "tensorrt_abi.h"

namespace ssd_small::plugin {

inline constexpr char kPluginName[] = "DecodeNms";
inline constexpr char kPluginNamespace[] = "";

class DecodeNmsPlugin final : public nvinfer1::IPluginV3,
                              public nvinfer1::IPluginV3OneCore,
                              public nvinfer1::IPluginV3OneBuild,
                              public nvinfer1::IPluginV3OneRuntime {
 public:
  // Throws std::bad_alloc. `params` have been checked.
  DecodeNmsPlugin(const DecodeNmsParams& params, Version version);

  // The fields point into the object.
  DecodeNmsPlugin(const DecodeNmsPlugin&) = delete;
  DecodeNmsPlugin& operator=(const DecodeNmsPlugin&) = delete;

  // IPluginV3
  nvinfer1::IPluginCapability* getCapabilityInterface(
      nvinfer1::PluginCapabilityType type) noexcept override;
  nvinfer1::IPluginV3* clone() noexcept override;

  // IPluginV3OneCore
  const char* getPluginName() const noexcept override { return kPluginName; }
  const char* getPluginVersion() const noexcept override { return version_text(version_); }
  const char* getPluginNamespace() const noexcept override { return kPluginNamespace; }

  // IPluginV3OneBuild
  std::int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* in, std::int32_t num_inputs,
                               const nvinfer1::DynamicPluginTensorDesc* out,
                               std::int32_t num_outputs) noexcept override;
  std::int32_t getOutputDataTypes(nvinfer1::DataType* output_types, std::int32_t num_outputs,
                                  const nvinfer1::DataType* input_types,
                                  std::int32_t num_inputs) const noexcept override;
  std::int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, std::int32_t num_inputs,
                               const nvinfer1::DimsExprs* shape_inputs,
                               std::int32_t num_shape_inputs, nvinfer1::DimsExprs* outputs,
                               std::int32_t num_outputs,
                               nvinfer1::IExprBuilder& builder) noexcept override;
  bool supportsFormatCombination(std::int32_t position,
                                 const nvinfer1::DynamicPluginTensorDesc* in_out,
                                 std::int32_t num_inputs,
                                 std::int32_t num_outputs) noexcept override;
  std::int32_t getNbOutputs() const noexcept override;
  std::size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* in, std::int32_t num_inputs,
                               const nvinfer1::DynamicPluginTensorDesc* out,
                               std::int32_t num_outputs) const noexcept override;
  const char* getTimingCacheID() noexcept override { return description_.c_str(); }
  const char* getMetadataString() noexcept override { return description_.c_str(); }

  // IPluginV3OneRuntime
  std::int32_t onShapeChange(const nvinfer1::PluginTensorDesc* in, std::int32_t num_inputs,
                             const nvinfer1::PluginTensorDesc* out,
                             std::int32_t num_outputs) noexcept override;
  std::int32_t enqueue(const nvinfer1::PluginTensorDesc* in, const nvinfer1::PluginTensorDesc* out,
                       const void* const* inputs, void* const* outputs, void* workspace,
                       cudaStream_t stream) noexcept override;
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept override;
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override;

 private:
  DecodeNmsParams params_;
  Version version_;
  bool overlap_ = false;  // of a plugin attached to a context: decode_nms_can_overlap()
  std::string description_;  // every parameter, exactly: also the key of the timing cache
  FieldArray fields_;
  nvinfer1::PluginFieldCollection collection_;
};

}  // namespace ssd_small::plugin
