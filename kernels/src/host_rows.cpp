#include "host_rows.h"

#include <cstring>

#include "host_clones.h"
#include "ssd_small/activations.h"
#include "ssd_small/half.h"

namespace ssd_small {
namespace {

static_assert(kRowGroup == kSumLanes, "a group of values is one turn over the partial sums");

constexpr std::uint32_t kMinusInfinityBits = 0xff800000u;

// Whether any value - origin reaches the cut. A NaN reaches nothing.
SSD_SMALL_HD_INLINE int any_reaches(const float* values, int count, float origin, float cut) {
  int any = 0;
#pragma omp simd reduction(| : any)
  for (int c = 0; c < count; ++c) any |= values[c] - origin >= cut ? 1 : 0;
  return any;
}

// Marks the values of a group that are at least `low`.
SSD_SMALL_HD_INLINE void mark_group(const float* values, float low, std::uint8_t* flags) {
  for (int j = 0; j < kRowGroup; ++j) flags[j] = values[j] >= low ? 1 : 0;
}

SSD_SMALL_HD_INLINE void unmark(const RowBlock& block, int background, std::uint8_t* flags) {
  const int stride = row_stride(block.num_classes);
  for (int c = block.num_classes; c < stride; ++c) flags[c] = 0;
  if (background >= 0) flags[background] = 0;
}

SSD_SMALL_HD_INLINE float row_maximum(const float* values, int stride) {
  float lanes[kRowGroup];
  for (int j = 0; j < kRowGroup; ++j) lanes[j] = values[j];
  for (int first = kRowGroup; first < stride; first += kRowGroup) {
    for (int j = 0; j < kRowGroup; ++j) {
      lanes[j] = values[first + j] > lanes[j] ? values[first + j] : lanes[j];
    }
  }
  // a NaN may be lost on the way; the sum finds it
  float maximum = lanes[0];
#pragma omp simd reduction(max : maximum)
  for (int j = 0; j < kRowGroup; ++j) maximum = lanes[j] > maximum ? lanes[j] : maximum;
  return maximum;
}

SSD_SMALL_HD_INLINE float float_from(float value) { return value; }
SSD_SMALL_HD_INLINE float float_from(std::uint16_t half) { return float_from_half(half); }

template <typename T>
SSD_SMALL_HD_INLINE void decode_boxes_from(const T* loc, const float* priors,
                                           const float* variances, std::int32_t first_prior,
                                           const std::int32_t* which, int count, Box* boxes,
                                           std::uint8_t* finite) {
  constexpr int kBoxes = 16;
  const float centre_variance = variances[0];
  const float size_variance = variances[1];
  for (int start = 0; start < count; start += kBoxes) {
    const int part = count - start < kBoxes ? count - start : kBoxes;
    // gathered as rows, decoded as columns; what is missing in the last part stays from before
    float given[kBoxes][8] = {};
    float corners[kBoxes][4];
    for (int i = 0; i < part; ++i) {
      const std::size_t prior = static_cast<std::size_t>(first_prior + which[start + i]);
      for (std::size_t k = 0; k < 4; ++k) given[i][k] = float_from(loc[prior * 4 + k]);
      for (std::size_t k = 0; k < 4; ++k) given[i][4 + k] = priors[prior * 4 + k];
    }
    for (int i = 0; i < kBoxes; ++i) {
      const Box box = box_from_loc(given[i], given[i] + 4, centre_variance, size_variance);
      corners[i][0] = box.x1;
      corners[i][1] = box.y1;
      corners[i][2] = box.x2;
      corners[i][3] = box.y2;
    }
    for (int i = 0; i < part; ++i) {
      const Box box = {corners[i][0], corners[i][1], corners[i][2], corners[i][3]};
      boxes[first_prior + which[start + i]] = box;
      finite[start + i] = is_finite(box) ? 1 : 0;
    }
  }
}

}  // namespace

SSD_SMALL_CLONES
void decode_boxes(const float* loc, const float* priors, const float* variances,
                  std::int32_t first_prior, const std::int32_t* which, int count, Box* boxes,
                  std::uint8_t* finite) {
  decode_boxes_from(loc, priors, variances, first_prior, which, count, boxes, finite);
}

SSD_SMALL_CLONES
void decode_boxes(const std::uint16_t* loc, const float* priors, const float* variances,
                  std::int32_t first_prior, const std::int32_t* which, int count, Box* boxes,
                  std::uint8_t* finite) {
  decode_boxes_from(loc, priors, variances, first_prior, which, count, boxes, finite);
}

SSD_SMALL_CLONES
int surviving_rows_softmax(const float* rows, int num_rows, int num_classes,
                           const RowFilter& filter, std::int32_t* survivors) {
  const int background = filter.background;
  const int after = background + 1;
  const float cut = filter.cut;
  int count = 0;
  for (int r = 0; r < num_rows; ++r) {
    const float* row = rows + static_cast<std::size_t>(r) * num_classes;
    const float origin = row[background];
    const int any = any_reaches(row, background, origin, cut) |
                    any_reaches(row + after, num_classes - after, origin, cut);
    survivors[count] = r;
    count += any;
  }
  return count;
}

SSD_SMALL_CLONES
int surviving_rows_plain(const float* rows, int num_rows, int num_classes,
                         const RowFilter& filter, std::int32_t* survivors) {
  const int before = filter.background < 0 ? 0 : filter.background;
  const int after = filter.background + 1;
  const float cut = filter.cut;
  int count = 0;
  for (int r = 0; r < num_rows; ++r) {
    const float* row = rows + static_cast<std::size_t>(r) * num_classes;
    const int any = any_reaches(row, before, 0.0f, cut) |
                    any_reaches(row + after, num_classes - after, 0.0f, cut);
    survivors[count] = r;
    count += any;
  }
  return count;
}

void load_rows(const float* rows, const std::int32_t* which, const RowBlock& block) {
  const auto classes = static_cast<std::size_t>(block.num_classes);
  const auto stride = static_cast<std::size_t>(row_stride(block.num_classes));
  // -infinity: exponential and sigmoid 0, below any logit
  const float padding = float_from_bits(kMinusInfinityBits);
  for (std::size_t i = 0; i < static_cast<std::size_t>(block.num_rows); ++i) {
    float* values = block.values + i * stride;
    const std::size_t row = static_cast<std::size_t>(which[i]);
    for (std::size_t c = stride - kRowGroup; c < stride; ++c) values[c] = padding;
    std::memcpy(values, rows + row * classes, classes * sizeof(float));
  }
}

SSD_SMALL_CLONES
void softmax_rows(const RowBlock& block, const RowFilter& filter) {
  const int stride = row_stride(block.num_classes);
  // a sum is at least 1, so a score above the threshold needs an exponential above it, roundings
  // aside (and below 1e-30 the quotient might be subnormal)
  const float low = filter.threshold < 1e-30f ? -1.0f : filter.threshold * (1.0f - 1e-6f);
  for (int i = 0; i < block.num_rows; ++i) {
    float* values = block.values + static_cast<std::size_t>(i) * stride;
    std::uint8_t* flags = block.flags + static_cast<std::size_t>(i) * stride;
    const float maximum = row_maximum(values, stride);
    float lanes[kRowGroup] = {};
    for (int first = 0; first < stride; first += kRowGroup) {
      for (int j = 0; j < kRowGroup; ++j) {
        const float e = exp_f32(values[first + j] - maximum);
        values[first + j] = e;
        lanes[j] = lanes[j] + e;
      }
      mark_group(values + first, low, flags + first);
    }
    // fold_sum_lanes(), its loops written out for the vectoriser
    for (int j = 0; j < 16; ++j) lanes[j] = lanes[j] + lanes[j + 16];
    for (int j = 0; j < 8; ++j) lanes[j] = lanes[j] + lanes[j + 8];
    for (int j = 0; j < 4; ++j) lanes[j] = lanes[j] + lanes[j + 4];
    block.sums[i] = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
    unmark(block, filter.background, flags);
  }
}

SSD_SMALL_CLONES
void sigmoid_rows(const RowBlock& block, const RowFilter& filter) {
  const int stride = row_stride(block.num_classes);
  for (int i = 0; i < block.num_rows; ++i) {
    float* values = block.values + static_cast<std::size_t>(i) * stride;
    std::uint8_t* flags = block.flags + static_cast<std::size_t>(i) * stride;
    for (int first = 0; first < stride; first += kRowGroup) {
      for (int j = 0; j < kRowGroup; ++j) values[first + j] = sigmoid_f32(values[first + j]);
      mark_group(values + first, filter.threshold, flags + first);
    }
    block.sums[i] = 1.0f;
    unmark(block, filter.background, flags);
  }
}

SSD_SMALL_CLONES
void plain_rows(const RowBlock& block, const RowFilter& filter) {
  const int stride = row_stride(block.num_classes);
  for (int i = 0; i < block.num_rows; ++i) {
    const float* values = block.values + static_cast<std::size_t>(i) * stride;
    std::uint8_t* flags = block.flags + static_cast<std::size_t>(i) * stride;
    for (int first = 0; first < stride; first += kRowGroup) {
      mark_group(values + first, filter.threshold, flags + first);
    }
    block.sums[i] = 1.0f;
    unmark(block, filter.background, flags);
  }
}

SSD_SMALL_CLONES
void floats_from_halves(const std::uint16_t* halves, std::size_t count, float* floats) {
  for (std::size_t i = 0; i < count; ++i) floats[i] = float_from_half(halves[i]);
}

}  // namespace ssd_small
