#include "host_rows.h"

#include <cstring>

#include "host_clones.h"
#include "host_memory.h"
#include "ssd_small/activations.h"
#include "ssd_small/half.h"

namespace ssd_small {
namespace {

static_assert(kRowGroup == kSumLanes, "a group of values is one turn over the partial sums");

constexpr std::uint32_t kMinusInfinityBits = 0xff800000u;

// Asks for what is read 12 KiB after `row`: what the processor fetches by itself ends with each
// page. It may lie past the end.
SSD_SMALL_HD_INLINE void prefetch_row(const float* row, int num_classes) {
  const std::uintptr_t ahead = reinterpret_cast<std::uintptr_t>(row) + 12288;
  for (std::size_t byte = 0; byte < static_cast<std::size_t>(num_classes) * 4; byte += 64) {
    prefetch(ahead + byte);
  }
}

// Whether any value - origin reaches the cut. A NaN reaches nothing.
SSD_SMALL_HD_INLINE int any_reaches(const float* values, int count, float origin, float cut) {
  int any = 0;
#pragma omp simd reduction(| : any)
  for (int c = 0; c < count; ++c) any |= values[c] - origin >= cut ? 1 : 0;
  return any;
}

// Marks the values of a row that are at least `low`, padding and background excepted.
SSD_SMALL_HD_INLINE void mark_row(const float* values, int num_classes, int background, float low,
                                  std::uint32_t* marks) {
  const int stride = row_stride(num_classes);
  for (int first = 0; first < stride; first += kRowGroup) {
    std::uint32_t mark = 0;
#pragma omp simd reduction(| : mark)
    for (int j = 0; j < kRowGroup; ++j) mark |= values[first + j] >= low ? 1u << j : 0u;
    marks[first / kRowGroup] = mark;
  }
  marks[stride / kRowGroup - 1] &= ~0u >> (stride - num_classes);
  if (background >= 0) marks[background / kRowGroup] &= ~(1u << background % kRowGroup);
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

// Logits of a row to exponentials of their distance from the maximum, and their partial sums.
SSD_SMALL_HD_INLINE void exponentials(float* values, int stride, float* lanes) {
  const float maximum = row_maximum(values, stride);
  float sums[kSumLanes] = {};
  for (int first = 0; first < stride; first += kRowGroup) {
    for (int j = 0; j < kRowGroup; ++j) {
      const float e = exp_f32_nonpositive(values[first + j] - maximum);
      values[first + j] = e;
      sums[j] = sums[j] + e;
    }
  }
  for (int j = 0; j < kSumLanes; ++j) lanes[j] = sums[j];
}

// fold_sum_lanes() of several rows, a halving of all rows after the other: of one row at a time
// compilers make scalar code.
SSD_SMALL_HD_INLINE void fold_rows(float (*lanes)[kSumLanes], int num_rows, float* sums) {
  for (int i = 0; i < num_rows; ++i) {
    for (int j = 0; j < 16; ++j) lanes[i][j] = lanes[i][j] + lanes[i][j + 16];
  }
  for (int i = 0; i < num_rows; ++i) {
    for (int j = 0; j < 8; ++j) lanes[i][j] = lanes[i][j] + lanes[i][j + 8];
  }
  for (int i = 0; i < num_rows; ++i) {
    for (int j = 0; j < 4; ++j) lanes[i][j] = lanes[i][j] + lanes[i][j + 4];
  }
  for (int i = 0; i < num_rows; ++i) {
    sums[i] = (lanes[i][0] + lanes[i][2]) + (lanes[i][1] + lanes[i][3]);
  }
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
    // gathered as rows, decoded as columns; the last part is filled up with its first box
    float loc_columns[4][kBoxes], prior_columns[4][kBoxes], corners[4][kBoxes];
    for (int i = 0; i < kBoxes; ++i) {
      const std::size_t prior =
          static_cast<std::size_t>(first_prior + which[start + (i < part ? i : 0)]);
      for (std::size_t k = 0; k < 4; ++k) loc_columns[k][i] = float_from(loc[prior * 4 + k]);
      for (std::size_t k = 0; k < 4; ++k) prior_columns[k][i] = priors[prior * 4 + k];
    }
    for (int i = 0; i < kBoxes; ++i) {
      const float offsets[4] = {loc_columns[0][i], loc_columns[1][i], loc_columns[2][i],
                                loc_columns[3][i]};
      const float prior[4] = {prior_columns[0][i], prior_columns[1][i], prior_columns[2][i],
                              prior_columns[3][i]};
      const Box box = box_from_loc(offsets, prior, centre_variance, size_variance);
      corners[0][i] = box.x1;
      corners[1][i] = box.y1;
      corners[2][i] = box.x2;
      corners[3][i] = box.y2;
    }
    for (int i = 0; i < part; ++i) {
      const Box box = {corners[0][i], corners[1][i], corners[2][i], corners[3][i]};
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
    prefetch_row(row, num_classes);
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
    prefetch_row(row, num_classes);
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
  // what an exponential has at least of the sum if its score exceeds the threshold, roundings
  // aside (and below 1e-30 the product might be subnormal)
  const float share = filter.threshold < 1e-30f ? -1.0f : filter.threshold * (1.0f - 1e-6f);
  constexpr int kRows = 16;
  for (int start = 0; start < block.num_rows; start += kRows) {
    const int rows = block.num_rows - start < kRows ? block.num_rows - start : kRows;
    float* first_row = block.values + static_cast<std::size_t>(start) * stride;
    float lanes[kRows][kSumLanes];
    for (int i = 0; i < rows; ++i) {
      exponentials(first_row + static_cast<std::size_t>(i) * stride, stride, lanes[i]);
    }
    fold_rows(lanes, rows, block.sums + start);
    for (int i = 0; i < rows; ++i) {
      mark_row(first_row + static_cast<std::size_t>(i) * stride, block.num_classes,
               filter.background, block.sums[start + i] * share,
               block.marks + static_cast<std::size_t>(start + i) * (stride / kRowGroup));
    }
  }
}

SSD_SMALL_CLONES
void sigmoid_rows(const RowBlock& block, const RowFilter& filter) {
  const int stride = row_stride(block.num_classes);
  for (int i = 0; i < block.num_rows; ++i) {
    float* values = block.values + static_cast<std::size_t>(i) * stride;
    std::uint32_t* marks = block.marks + static_cast<std::size_t>(i) * (stride / kRowGroup);
    for (int first = 0; first < stride; first += kRowGroup) {
      for (int j = 0; j < kRowGroup; ++j) values[first + j] = sigmoid_f32(values[first + j]);
    }
    block.sums[i] = 1.0f;
    mark_row(values, block.num_classes, filter.background, filter.threshold, marks);
  }
}

SSD_SMALL_CLONES
void plain_rows(const RowBlock& block, const RowFilter& filter) {
  const int stride = row_stride(block.num_classes);
  for (int i = 0; i < block.num_rows; ++i) {
    const float* values = block.values + static_cast<std::size_t>(i) * stride;
    std::uint32_t* marks = block.marks + static_cast<std::size_t>(i) * (stride / kRowGroup);
    block.sums[i] = 1.0f;
    mark_row(values, block.num_classes, filter.background, filter.threshold, marks);
  }
}

SSD_SMALL_CLONES
void floats_from_halves(const std::uint16_t* halves, std::size_t count, float* floats) {
  for (std::size_t i = 0; i < count; ++i) floats[i] = float_from_half(halves[i]);
}

}  // namespace ssd_small
