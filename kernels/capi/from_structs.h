// The structs of the C interface as the C++ interface has them; nothing is checked.
#pragma once

#include "ssd_small.h"
#include "ssd_small/decode_nms.h"

namespace ssd_small {

inline DecodeNmsParams params_from(const ssd_small_params& given) {
  DecodeNmsParams params;
  params.score_threshold = given.score_threshold;
  params.iou_threshold = given.iou_threshold;
  params.variances[0] = given.variances[0];
  params.variances[1] = given.variances[1];
  params.activation = static_cast<Activation>(given.activation);
  params.background_label = given.background_label;
  params.pre_nms_topk = given.pre_nms_topk;
  params.keep_topk_per_class = given.keep_topk_per_class;
  params.keep_topk = given.keep_topk;
  params.pixel_offset = given.pixel_offset;
  params.clip_boxes = given.clip_boxes;
  params.clip_edges[0] = given.clip_edges[0];
  params.clip_edges[1] = given.clip_edges[1];
  return params;
}

inline DecodeNmsShape shape_from(const ssd_small_heads& heads) {
  DecodeNmsShape shape;
  shape.batch = heads.batch;
  shape.num_priors = heads.num_priors;
  shape.num_classes = heads.num_classes;
  shape.head_type = static_cast<HeadType>(heads.head_type);
  return shape;
}

}  // namespace ssd_small
