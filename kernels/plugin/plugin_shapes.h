// Types and shapes of the plugin's tensors: what fits together, and what follows from it.
#pragma once

#include "ssd_small/decode_nms.h"
#include "tensorrt_abi.h"

namespace ssd_small::plugin {

inline constexpr std::int32_t kInputs = 3;
inline constexpr std::int32_t kOutputs = 5;

bool is_head_type(nvinfer1::DataType type) noexcept;

// Each of these logs one line and returns false where something does not fit.
bool counts_fit(std::int32_t num_inputs, std::int32_t num_outputs) noexcept;
bool types_fit(nvinfer1::DataType loc, nvinfer1::DataType conf, nvinfer1::DataType priors) noexcept;
bool ranks_fit(std::int32_t loc, std::int32_t conf, std::int32_t priors) noexcept;

// The shape of one call.
bool shape_from_descriptions(const nvinfer1::PluginTensorDesc* in, const DecodeNmsParams& params,
                             DecodeNmsShape& shape) noexcept;

// The largest shape of an optimisation profile.
bool shape_from_profile(const nvinfer1::DynamicPluginTensorDesc* in, const DecodeNmsParams& params,
                        DecodeNmsShape& shape) noexcept;

// K as an expression, the same sum as max_detections(): a constant where P and C are. nullptr
// where the builder refuses.
const nvinfer1::IDimensionExpr* rows_expression(const nvinfer1::IDimensionExpr& num_priors,
                                                const nvinfer1::IDimensionExpr& num_classes,
                                                const DecodeNmsParams& params,
                                                nvinfer1::IExprBuilder& builder) noexcept;

}  // namespace ssd_small::plugin
