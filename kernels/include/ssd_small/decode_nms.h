// Decode + NMS: the interface of every backend (CUDA launcher, CPU library, plugin).
//
// Contract: ssd_small/postprocess/oracle.py (numpy), whose bits all backends reproduce.
// No CUDA, TensorRT or torch header is needed here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssd_small {

// kBfloat16: on the CPU alone.
enum class HeadType : std::int32_t { kFloat = 0, kHalf = 1, kBfloat16 = 2 };
enum class Activation : std::int32_t { kSoftmax = 0, kSigmoid = 1, kNone = 2 };

// Fields and defaults as in PostprocessParams, which tests hold equal (the plugin starts from these,
// the C interface has no defaults); 0 in one of the three cuts means "no cut".
struct DecodeNmsParams {
  float score_threshold = 0.01f;
  float iou_threshold = 0.6f;
  float variances[2] = {0.1f, 0.2f};
  Activation activation = Activation::kSoftmax;
  std::int32_t background_label = 0;
  std::int32_t pre_nms_topk = 400;
  std::int32_t keep_topk_per_class = 100;
  std::int32_t keep_topk = 200;
  float pixel_offset = 0.0f;
  std::int32_t clip_boxes = 0;  // 1: boxes are cut to the picture before NMS
  // where the picture ends to the right and below, in the unit of the priors: beyond 1 for tiles
  float clip_edges[2] = {1.0f, 1.0f};
};

struct DecodeNmsShape {
  std::int32_t batch = 0;       // N
  std::int32_t num_priors = 0;  // P, at most 2^22
  std::int32_t num_classes = 0; // C, at most 1024
  std::int32_t max_detections = 0;  // K: rows per image in the outputs
  HeadType head_type = HeadType::kFloat;
};

struct DecodeNmsInputs {
  const void* loc = nullptr;      // [N, P, 4] head_type; 16 bits are converted exactly
  const void* conf = nullptr;     // [N, P, C] head_type
  const float* priors = nullptr;  // [P, 4] cx, cy, w, h
};

// Rows past num_detections are zero, their prior index is -1.
struct DecodeNmsOutputs {
  std::int32_t* num_detections = nullptr;  // [N]
  float* boxes = nullptr;                  // [N, K, 4] x1, y1, x2, y2
  float* scores = nullptr;                 // [N, K]
  std::int32_t* labels = nullptr;          // [N, K]
  std::int32_t* prior_indices = nullptr;   // [N, K]
};

}  // namespace ssd_small
