#include "host_rows.h"

#include <cstring>

#include "host_clones.h"
#include "ssd_small/activations.h"
#include "ssd_small/half.h"

namespace ssd_small {
namespace {

constexpr int kGroup = 32;
static_assert(kGroup == kSumLanes, "a group of scores is one turn over the partial sums");

// Whether any value - origin reaches the cut. A NaN reaches nothing.
SSD_SMALL_HD_INLINE int any_reaches(const float* values, int count, float origin, float cut) {
  int any = 0;
#pragma omp simd reduction(| : any)
  for (int c = 0; c < count; ++c) any |= values[c] - origin >= cut ? 1 : 0;
  return any;
}

// Copies one group of a row; past its end comes `padding`.
SSD_SMALL_HD_INLINE void load_group(const float* row, int num_classes, int first, float padding,
                                    float* group) {
  if (num_classes - first >= kGroup) {
    std::memcpy(group, row + first, kGroup * sizeof(float));
    return;
  }
  for (int j = 0; j < kGroup; ++j) group[j] = padding;
  std::memcpy(group, row + first, static_cast<std::size_t>(num_classes - first) * sizeof(float));
}

SSD_SMALL_HD_INLINE int any_at_least(const float* group, float low) {
  int any = 0;
#pragma omp simd reduction(| : any)
  for (int j = 0; j < kGroup; ++j) any |= group[j] >= low ? 1 : 0;
  return any;
}

SSD_SMALL_HD_INLINE float row_maximum(const float* row, int num_classes) {
  float maximum = row[0];
#pragma omp simd reduction(max : maximum)
  for (int c = 0; c < num_classes; ++c) maximum = row[c] > maximum ? row[c] : maximum;
  return maximum;
}

const float kInfinity = float_from_bits(0x7f800000u);
const float kNaN = float_from_bits(0x7fc00000u);

}  // namespace

SSD_SMALL_CLONES
int surviving_rows_softmax(const float* rows, int num_rows, int num_classes, int background,
                           float cut, std::int32_t* survivors) {
  int count = 0;
  for (int r = 0; r < num_rows; ++r) {
    const float* row = rows + static_cast<std::size_t>(r) * num_classes;
    const float origin = row[background];
    const int after = background + 1;
    const int any = any_reaches(row, background, origin, cut) |
                    any_reaches(row + after, num_classes - after, origin, cut);
    survivors[count] = r;
    count += any;
  }
  return count;
}

SSD_SMALL_CLONES
int surviving_rows_plain(const float* rows, int num_rows, int num_classes, int background,
                         float cut, std::int32_t* survivors) {
  int count = 0;
  for (int r = 0; r < num_rows; ++r) {
    const float* row = rows + static_cast<std::size_t>(r) * num_classes;
    const int before = background < 0 ? 0 : background;
    const int after = background + 1;
    const int any = any_reaches(row, before, 0.0f, cut) |
                    any_reaches(row + after, num_classes - after, 0.0f, cut);
    survivors[count] = r;
    count += any;
  }
  return count;
}

SSD_SMALL_CLONES
int row_candidates_softmax(const float* row, int num_classes, int background, float threshold,
                           float* scratch, std::int32_t* labels, float* scores) {
  const float maximum = row_maximum(row, num_classes);
  float lanes[kGroup] = {};
  for (int first = 0; first < num_classes; first += kGroup) {
    // exp(-infinity) = 0 adds nothing; should the maximum be -infinity too, the row is NaN anyway
    float group[kGroup];
    load_group(row, num_classes, first, -kInfinity, group);
    float* exponentials = scratch + first;
    for (int j = 0; j < kGroup; ++j) {
      const float e = exp_f32(group[j] - maximum);
      exponentials[j] = e;
      lanes[j] = lanes[j] + e;
    }
  }
  const float sum = fold_sum_lanes(lanes);
  // padding passes no comparison, nor does the background
  for (int c = num_classes; c < (num_classes + kGroup - 1) / kGroup * kGroup; ++c) {
    scratch[c] = kNaN;
  }
  if (background >= 0 && background < num_classes) scratch[background] = kNaN;
  // most divisions are spared: e / sum > threshold needs e > threshold * sum, roundings aside
  // (below 1e-30 the product might be subnormal)
  const float low = threshold < 1e-30f ? -1.0f : threshold * sum * (1.0f - 1e-6f);
  int count = 0;
  for (int first = 0; first < num_classes; first += kGroup) {
    if (!(any_at_least(scratch + first, low) && sum == sum)) continue;
    for (int c = first; c < first + kGroup; ++c) {
      if (!(scratch[c] >= low)) continue;
      const float score = scratch[c] / sum;
      labels[count] = c;
      scores[count] = score;
      count += score > threshold ? 1 : 0;
    }
  }
  return count;
}

SSD_SMALL_CLONES
int row_candidates_sigmoid(const float* row, int num_classes, int background, float threshold,
                           float* scratch, std::int32_t* labels, float* scores) {
  int count = 0;
  for (int first = 0; first < num_classes; first += kGroup) {
    load_group(row, num_classes, first, kNaN, scratch);
    for (int j = 0; j < kGroup; ++j) scratch[j] = sigmoid_f32(scratch[j]);
    if (!any_at_least(scratch, threshold)) continue;
    for (int j = 0; j < kGroup; ++j) {
      if (!(scratch[j] > threshold) || first + j == background) continue;
      labels[count] = first + j;
      scores[count++] = scratch[j];
    }
  }
  return count;
}

SSD_SMALL_CLONES
int row_candidates_none(const float* row, int num_classes, int background, float threshold,
                        float* scratch, std::int32_t* labels, float* scores) {
  int count = 0;
  for (int first = 0; first < num_classes; first += kGroup) {
    load_group(row, num_classes, first, kNaN, scratch);
    if (!any_at_least(scratch, threshold)) continue;
    for (int j = 0; j < kGroup; ++j) {
      if (!(scratch[j] > threshold) || first + j == background) continue;
      labels[count] = first + j;
      scores[count++] = scratch[j];
    }
  }
  return count;
}

SSD_SMALL_CLONES
void floats_from_halves(const std::uint16_t* halves, std::size_t count, float* floats) {
  for (std::size_t i = 0; i < count; ++i) floats[i] = float_from_half(halves[i]);
}

}  // namespace ssd_small
