// DecodeNmsParams <-> the fields (node attributes) of the plugin.
//
// | field                | type          | range                           |
// |----------------------|---------------|---------------------------------|
// | score_threshold      | float         | finite                          |
// | iou_threshold        | float         | 0 to 1                          |
// | variances            | 2 floats      | positive                        |
// | activation           | string        | softmax, sigmoid, none          |
// | background_label     | int           | -1 (none) to 1023               |
// | pre_nms_topk         | int           | 0 (no cut) or more              |
// | keep_topk_per_class  | int           | 0 (no cut) or more              |
// | keep_topk            | int           | 0 (no cut) or more              |
// | pixel_offset         | float         | at least 0                      |
//
// A field that is left out keeps its default of DecodeNmsParams. Names, defaults and ranges are
// those of PostprocessParams (ssd_small/postprocess/params.py). The same fields are the serialised
// state, so an engine file names what it holds.
#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include "ssd_small/decode_nms.h"
#include "tensorrt_abi.h"

namespace ssd_small::plugin {

inline constexpr std::size_t kFieldCount = 9;
using FieldArray = std::array<nvinfer1::PluginField, kFieldCount>;

// Names, types and lengths, without data: what the creator announces.
const FieldArray& field_declarations() noexcept;

// Fields that point into `params`, which must outlive them.
FieldArray fields_from_params(DecodeNmsParams& params) noexcept;

// Parameters from fields in any order; a field left out keeps its default. A field that is unknown,
// given twice, of another type or length, or out of range is logged by name and gives nullopt.
std::optional<DecodeNmsParams> params_from_fields(
    const nvinfer1::PluginFieldCollection* fields) noexcept;

// "softmax", "sigmoid" or "none".
const char* activation_name(Activation activation) noexcept;

}  // namespace ssd_small::plugin
