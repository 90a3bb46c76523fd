// Box decoding and IoU: the operations of ssd_small/postprocess/boxes.py, in its order.
#pragma once

#include "activations.h"
#include "host_device.h"

namespace ssd_small {

struct Box {
  float x1, y1, x2, y2;
};

// Corner box from offsets and prior, both (cx, cy, w, h) (Liu et al. 2016, eq. 2, inverted).
SSD_SMALL_HD_INLINE Box box_from_loc(const float* loc, const float* prior_cxcywh,
                                     float centre_variance, float size_variance) {
  const float cx = prior_cxcywh[0] + loc[0] * centre_variance * prior_cxcywh[2];
  const float cy = prior_cxcywh[1] + loc[1] * centre_variance * prior_cxcywh[3];
  const float w = prior_cxcywh[2] * exp_f32(loc[2] * size_variance);
  const float h = prior_cxcywh[3] * exp_f32(loc[3] * size_variance);
  Box box;
  box.x1 = cx - w * 0.5f;
  box.y1 = cy - h * 0.5f;
  box.x2 = box.x1 + w;
  box.y2 = box.y1 + h;
  return box;
}

// Right and bottom edge of the picture, whose other corner is 0, 0.
struct Edges {
  float right = 1.0f;
  float bottom = 1.0f;
};

// A coordinate cut to 0 .. edge; -0 becomes +0. Not for NaN, which candidates do not have.
SSD_SMALL_HD_INLINE float cut_coordinate(float value, float edge) {
  value = value > 0.0f ? value : 0.0f;
  return value < edge ? value : edge;
}

SSD_SMALL_HD_INLINE Box clipped(const Box& box, const Edges& edges) {
  Box result;
  result.x1 = cut_coordinate(box.x1, edges.right);
  result.y1 = cut_coordinate(box.y1, edges.bottom);
  result.x2 = cut_coordinate(box.x2, edges.right);
  result.y2 = cut_coordinate(box.y2, edges.bottom);
  return result;
}

// A candidate needs four finite coordinates, before its box is cut.
SSD_SMALL_HD_INLINE bool is_finite(const Box& box) {
  return is_finite(box.x1) && is_finite(box.y1) && is_finite(box.x2) && is_finite(box.y2);
}

// IoU runs on boxes times `scale`, with `offset` added to every width and height
// (ssd_small.postprocess.iou_scale_and_offset): 1/pixel_offset and 1, or 1 and 0. One scale for x
// and y: the offset is a pixel of a square input of `scale` pixels; where the input is not square
// it is width/scale pixels across and height/scale down.
struct IouConvention {
  float scale = 1.0f;
  float offset = 0.0f;
};

SSD_SMALL_HD_INLINE IouConvention iou_convention(float pixel_offset) {
  IouConvention convention;
  if (pixel_offset != 0.0f) {
    convention.scale = 1.0f / pixel_offset;
    convention.offset = 1.0f;
  }
  return convention;
}

SSD_SMALL_HD_INLINE Box scaled(const Box& box, float scale) {
  Box result;
  result.x1 = box.x1 * scale;
  result.y1 = box.y1 * scale;
  result.x2 = box.x2 * scale;
  result.y2 = box.y2 * scale;
  return result;
}

SSD_SMALL_HD_INLINE float area(const Box& box, float offset) {
  return (box.x2 - box.x1 + offset) * (box.y2 - box.y1 + offset);
}

// Intersection of two scaled boxes; NaN where a coordinate overflowed.
SSD_SMALL_HD_INLINE float intersection(const Box& a, const Box& b, float offset) {
  // no coordinate is NaN here (candidates are finite before scaling)
  const float x1 = a.x1 > b.x1 ? a.x1 : b.x1;
  const float y1 = a.y1 > b.y1 ? a.y1 : b.y1;
  const float x2 = a.x2 < b.x2 ? a.x2 : b.x2;
  const float y2 = a.y2 < b.y2 ? a.y2 : b.y2;
  float w = x2 - x1 + offset;
  float h = y2 - y1 + offset;
  // "0 > w", so that a NaN (infinity - infinity) stays one, as with numpy.maximum
  w = 0.0f > w ? 0.0f : w;
  h = 0.0f > h ? 0.0f : h;
  return w * h;
}

// IoU of two scaled boxes with their areas. Symmetric in a and b, bit for bit. NaN where both
// areas are 0 or a coordinate overflowed; NaN exceeds no threshold.
SSD_SMALL_HD_INLINE float iou(const Box& a, float area_a, const Box& b, float area_b,
                              float offset) {
  const float inter = intersection(a, b, offset);
  return inter / (area_a + area_b - inter);
}

// Whether iou() may exceed a threshold of 0 to 1, without the division. True wherever it does: a
// quotient that rounds to more than t exceeds t, so inter > t * unite exactly, and rounding, which
// is monotonic, leaves inter >= t * unite.
SSD_SMALL_HD_INLINE bool iou_may_exceed(const Box& a, float area_a, const Box& b, float area_b,
                                        float offset, float threshold) {
  const float inter = intersection(a, b, offset);
  const float unite = area_a + area_b - inter;
  return (inter > 0.0f) & (inter >= threshold * unite);
}

}  // namespace ssd_small
