// Checks of parameters, shapes and pointers that every backend makes before it starts. Host only.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "decode_nms.h"
#include "order_key.h"

namespace ssd_small {

enum class Status : std::int32_t {
  kOk = 0,
  kBadParameter = 1,
  kBadShape = 2,
  kNullPointer = 3,
  kWorkspaceTooSmall = 4,
  kOutOfMemory = 5,
  kInternal = 6,  // a fault of the library, not of the caller
};

// What is wrong, with which field, and what it was; `field` and `expected` are literals.
struct Error {
  Status status = Status::kOk;
  const char* field = "";
  double value = 0.0;
  const char* expected = "";

  explicit operator bool() const { return status != Status::kOk; }
};

// One line: received, expected. Returns what snprintf returns.
inline int format_error(const Error& error, char* text, std::size_t size) {
  if (error.status == Status::kNullPointer) {
    return std::snprintf(text, size, "%s is a null pointer; expected %s", error.field,
                         error.expected);
  }
  return std::snprintf(text, size, "%s: got %.9g, expected %s", error.field, error.value,
                       error.expected);
}

inline Error check_params(const DecodeNmsParams& params) {
  const auto fault = [](const char* field, double value, const char* expected) {
    return Error{Status::kBadParameter, field, value, expected};
  };
  if (!std::isfinite(params.score_threshold)) {
    return fault("score_threshold", params.score_threshold, "a finite number");
  }
  if (!(params.iou_threshold >= 0.0f && params.iou_threshold <= 1.0f)) {
    return fault("iou_threshold", params.iou_threshold, "a number from 0 to 1");
  }
  for (const float variance : params.variances) {
    if (!(std::isfinite(variance) && variance > 0.0f)) {
      return fault("variances", variance, "two positive numbers");
    }
  }
  const auto activation = static_cast<std::int32_t>(params.activation);
  if (activation < 0 || activation > static_cast<std::int32_t>(Activation::kNone)) {
    return fault("activation", activation, "0 (softmax), 1 (sigmoid) or 2 (none)");
  }
  if (params.background_label < -1 || params.background_label >= kMaxClasses) {
    return fault("background_label", params.background_label, "-1 (none) to 1023");
  }
  const char* no_cut = "0 (no cut) or a positive number";
  if (params.pre_nms_topk < 0) return fault("pre_nms_topk", params.pre_nms_topk, no_cut);
  if (params.keep_topk_per_class < 0) {
    return fault("keep_topk_per_class", params.keep_topk_per_class, no_cut);
  }
  if (params.keep_topk < 0) return fault("keep_topk", params.keep_topk, no_cut);
  if (!(std::isfinite(params.pixel_offset) && params.pixel_offset >= 0.0f)) {
    return fault("pixel_offset", params.pixel_offset, "a number of at least 0");
  }
  if (params.clip_boxes < 0 || params.clip_boxes > 1) {
    return fault("clip_boxes", params.clip_boxes, "0 (no) or 1 (yes)");
  }
  for (const float edge : params.clip_edges) {
    if (!(std::isfinite(edge) && edge > 0.0f)) {
      return fault("clip_edges", edge, "two positive numbers");
    }
  }
  return {};
}

// K, the most detections one image can give (PostprocessParams.max_detections). At most
// kMaxClasses * kMaxPriors, so callers that need 32 bits check shape.max_detections instead.
inline std::int64_t max_detections(const DecodeNmsParams& params, std::int32_t num_priors,
                                   std::int32_t num_classes) {
  const bool has_background = params.background_label >= 0 && params.background_label < num_classes;
  std::int64_t per_class = num_priors;
  if (params.pre_nms_topk > 0 && params.pre_nms_topk < per_class) per_class = params.pre_nms_topk;
  if (params.keep_topk_per_class > 0 && params.keep_topk_per_class < per_class) {
    per_class = params.keep_topk_per_class;
  }
  const std::int64_t total = per_class * (num_classes - (has_background ? 1 : 0));
  return params.keep_topk > 0 && params.keep_topk < total ? params.keep_topk : total;
}

// Everything but max_detections. half_only: of 16-bit types, bfloat16 is refused.
inline Error check_heads(const DecodeNmsShape& shape, bool half_only) {
  const auto fault = [](const char* field, double value, const char* expected) {
    return Error{Status::kBadShape, field, value, expected};
  };
  if (shape.batch < 0) return fault("batch", shape.batch, "a number of at least 0");
  if (shape.num_priors < 0 || shape.num_priors > kMaxPriors) {
    return fault("num_priors", shape.num_priors, "0 to 4194304");
  }
  if (shape.num_classes < 1 || shape.num_classes > kMaxClasses) {
    return fault("num_classes", shape.num_classes, "1 to 1024");
  }
  const auto type = static_cast<std::int32_t>(shape.head_type);
  const HeadType last = half_only ? HeadType::kHalf : HeadType::kBfloat16;
  if (type < 0 || type > static_cast<std::int32_t>(last)) {
    return fault("head_type", type,
                 half_only ? "0 (float) or 1 (half)" : "0 (float), 1 (half) or 2 (bfloat16)");
  }
  return {};
}

inline Error check_shape(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                         bool half_only = true) {
  if (const Error error = check_heads(shape, half_only)) return error;
  // fewer rows than an image can give would be a silent cap
  if (shape.max_detections < max_detections(params, shape.num_priors, shape.num_classes)) {
    return Error{Status::kBadShape, "max_detections", static_cast<double>(shape.max_detections),
                 "at least the detections one image can give (max_detections())"};
  }
  return {};
}

// An array that a call reads or writes, if it has elements; else its pointer may be null.
struct PointerCheck {
  const void* pointer;
  bool needed;
  const char* field;
  const char* expected;
};

template <std::size_t kCount>
Error first_null(const PointerCheck (&checks)[kCount]) {
  for (const PointerCheck& check : checks) {
    if (check.needed && check.pointer == nullptr) {
      return Error{Status::kNullPointer, check.field, 0.0, check.expected};
    }
  }
  return {};
}

inline Error check_inputs(const DecodeNmsShape& shape, const DecodeNmsInputs& inputs) {
  const bool reads = shape.batch > 0 && shape.num_priors > 0;
  return first_null({{inputs.loc, reads, "loc", "[N, P, 4]"},
                     {inputs.conf, reads, "conf", "[N, P, C]"},
                     {inputs.priors, reads, "priors", "[P, 4] float"}});
}

inline Error check_outputs(const DecodeNmsShape& shape, const DecodeNmsOutputs& outputs) {
  const bool writes = shape.batch > 0 && shape.max_detections > 0;
  return first_null({{outputs.num_detections, shape.batch > 0, "num_detections", "[N] int32"},
                     {outputs.boxes, writes, "boxes", "[N, K, 4] float"},
                     {outputs.scores, writes, "scores", "[N, K] float"},
                     {outputs.labels, writes, "labels", "[N, K] int32"},
                     {outputs.prior_indices, writes, "prior_indices", "[N, K] int32"}});
}

inline Error check_all(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                       const DecodeNmsInputs& inputs, const DecodeNmsOutputs& outputs,
                       bool half_only = true) {
  if (const Error error = check_params(params)) return error;
  if (const Error error = check_shape(shape, params, half_only)) return error;
  if (const Error error = check_inputs(shape, inputs)) return error;
  return check_outputs(shape, outputs);
}

inline Error check_workspace(std::size_t received, std::size_t needed) {
  if (received >= needed) return {};
  return Error{Status::kWorkspaceTooSmall, "workspace_bytes", static_cast<double>(received),
               "at least the size that the workspace query returns"};
}

}  // namespace ssd_small
