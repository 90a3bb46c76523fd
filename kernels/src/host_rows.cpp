#include "host_rows.h"

#include "host_clones.h"
#include "ssd_small/activations.h"

namespace ssd_small {
namespace {

static_assert(kRowGroup == kSumLanes, "a group of values is one turn over the partial sums");

constexpr std::uint32_t kMinusInfinityBits = 0xff800000u;

// Marks the values of a row that are at least their share of the sum.
SSD_SMALL_HD_INLINE void mark_row(const float* values, int stride, float sum, const float* shares,
                                  std::uint32_t* marks) {
  for (int first = 0; first < stride; first += kRowGroup) {
    std::uint32_t mark = 0;
#pragma omp simd reduction(| : mark)
    for (int j = 0; j < kRowGroup; ++j) {
      mark |= values[first + j] >= sum * shares[first + j] ? 1u << j : 0u;
    }
    marks[first / kRowGroup] = mark;
  }
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
SSD_SMALL_HD_INLINE void exponentials(float* values, int stride, float maximum, float* lanes) {
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

// A row is padded where it is written, but read in whole groups too where that stays inside conf.
template <typename T>
SSD_SMALL_HD_INLINE void load_rows_from(const T* rows, std::size_t readable,
                                        const std::int32_t* which, const RowBlock& block) {
  const auto classes = static_cast<std::size_t>(block.num_classes);
  const auto stride = static_cast<std::size_t>(row_stride(block.num_classes));
  const std::size_t whole = stride - kRowGroup;  // before the last group
  const std::size_t left = classes - whole;
  // -infinity: exponential and sigmoid 0, below any logit
  const float padding = float_from_bits(kMinusInfinityBits);
  for (int i = 0; i < block.num_rows; ++i) {
    float* values = block.values + static_cast<std::size_t>(i) * stride;
    const std::size_t start = static_cast<std::size_t>(which[i]) * classes;
    const T* row = rows + start;
    for (std::size_t first = 0; first < whole; first += kRowGroup) {
      for (std::size_t j = 0; j < kRowGroup; ++j) values[first + j] = float_from(row[first + j]);
    }
    if (start + stride <= readable) {
      for (std::size_t j = 0; j < kRowGroup; ++j) {
        const float value = float_from(row[whole + j]);
        values[whole + j] = j < left ? value : padding;
      }
    } else {
      for (std::size_t j = 0; j < left; ++j) values[whole + j] = float_from(row[whole + j]);
      for (std::size_t j = left; j < kRowGroup; ++j) values[whole + j] = padding;
    }
  }
}

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
void load_rows(const float* rows, std::size_t readable, const std::int32_t* which,
               const RowBlock& block) {
  load_rows_from(rows, readable, which, block);
}

SSD_SMALL_CLONES
void decode_boxes(const float* loc, const float* priors, const float* variances,
                  std::int32_t first_prior, const std::int32_t* which, int count, Box* boxes,
                  std::uint8_t* finite) {
  decode_boxes_from(loc, priors, variances, first_prior, which, count, boxes, finite);
}

SSD_SMALL_CLONES
void load_rows(const Half* rows, std::size_t readable, const std::int32_t* which,
               const RowBlock& block) {
  load_rows_from(rows, readable, which, block);
}

SSD_SMALL_CLONES
void decode_boxes(const Half* loc, const float* priors, const float* variances,
                  std::int32_t first_prior, const std::int32_t* which, int count, Box* boxes,
                  std::uint8_t* finite) {
  decode_boxes_from(loc, priors, variances, first_prior, which, count, boxes, finite);
}

SSD_SMALL_CLONES
void load_rows(const Bfloat16* rows, std::size_t readable, const std::int32_t* which,
               const RowBlock& block) {
  load_rows_from(rows, readable, which, block);
}

SSD_SMALL_CLONES
void decode_boxes(const Bfloat16* loc, const float* priors, const float* variances,
                  std::int32_t first_prior, const std::int32_t* which, int count, Box* boxes,
                  std::uint8_t* finite) {
  decode_boxes_from(loc, priors, variances, first_prior, which, count, boxes, finite);
}

SSD_SMALL_CLONES
void softmax_rows(const RowBlock& block, const float* shares) {
  const int stride = row_stride(block.num_classes);
  constexpr int kRows = 16;
  for (int start = 0; start < block.num_rows; start += kRows) {
    const int rows = block.num_rows - start < kRows ? block.num_rows - start : kRows;
    const auto row = [&](int i) {
      return block.values + static_cast<std::size_t>(start + i) * stride;
    };
    // step by step for all rows: what one row waits for, another does
    float maxima[kRows];
    float lanes[kRows][kSumLanes];
    for (int i = 0; i < rows; ++i) maxima[i] = row_maximum(row(i), stride);
    for (int i = 0; i < rows; ++i) exponentials(row(i), stride, maxima[i], lanes[i]);
    fold_rows(lanes, rows, block.sums + start);
    for (int i = 0; i < rows; ++i) {
      mark_row(row(i), stride, block.sums[start + i], shares,
               block.marks + static_cast<std::size_t>(start + i) * (stride / kRowGroup));
    }
  }
}

SSD_SMALL_CLONES
void sigmoid_rows(const RowBlock& block, const float* shares) {
  const int stride = row_stride(block.num_classes);
  for (int i = 0; i < block.num_rows; ++i) {
    float* values = block.values + static_cast<std::size_t>(i) * stride;
    for (int first = 0; first < stride; first += kRowGroup) {
      for (int j = 0; j < kRowGroup; ++j) values[first + j] = sigmoid_f32(values[first + j]);
    }
    block.sums[i] = 1.0f;
    mark_row(values, stride, 1.0f, shares,
             block.marks + static_cast<std::size_t>(i) * (stride / kRowGroup));
  }
}

SSD_SMALL_CLONES
void plain_rows(const RowBlock& block, const float* shares) {
  const int stride = row_stride(block.num_classes);
  for (int i = 0; i < block.num_rows; ++i) {
    block.sums[i] = 1.0f;
    mark_row(block.values + static_cast<std::size_t>(i) * stride, stride, 1.0f, shares,
             block.marks + static_cast<std::size_t>(i) * (stride / kRowGroup));
  }
}

float share_from_threshold(Activation activation, float threshold) {
  if (activation != Activation::kSoftmax) return threshold;
  // roundings aside, and below 1e-30 the product might be subnormal
  return threshold < 1e-30f ? -1.0f : threshold * (1.0f - 1e-6f);
}

}  // namespace ssd_small
