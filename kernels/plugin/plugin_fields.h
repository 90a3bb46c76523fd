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
// | clip_boxes           | int           | 0 or 1; from version 2 on       |
// | clip_edges           | 2 floats      | positive; from version 2 on     |
//
// A field that is left out keeps its default of DecodeNmsParams. Names, defaults and ranges are
// those of PostprocessParams (ssd_small/postprocess/params.py), but for clip_edges: where the picture
// ends to the right and below, in the unit of the priors, which is 1 for all but tiles. The same
// fields are the serialised state, so an engine file names what it holds.
//
// A version has the first fields of this table. The second is asked for where boxes are clipped and
// nowhere else: a plugin library that knows the first alone then refuses, where it would drop an
// attribute that it does not know without a word.
#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include "ssd_small/decode_nms.h"
#include "tensorrt_abi.h"

namespace ssd_small::plugin {

enum class Version : std::int32_t { kFirst = 1, kClipping = 2 };

// "1" or "2".
const char* version_text(Version version) noexcept;

inline constexpr std::size_t kFieldCount = 11;
using FieldArray = std::array<nvinfer1::PluginField, kFieldCount>;

// How many of the fields a version has.
std::size_t field_count(Version version) noexcept;

// Names, types and lengths, without data: what the creator announces.
const FieldArray& field_declarations() noexcept;

// Fields that point into `params`, which must outlive them.
FieldArray fields_from_params(DecodeNmsParams& params) noexcept;

// Parameters from fields in any order; a field left out keeps its default. A field that the version
// does not know, given twice, of another type or length, or out of range is logged by name and gives
// nullopt.
std::optional<DecodeNmsParams> params_from_fields(const nvinfer1::PluginFieldCollection* fields,
                                                  Version version) noexcept;

// "softmax", "sigmoid" or "none".
const char* activation_name(Activation activation) noexcept;

}  // namespace ssd_small::plugin
