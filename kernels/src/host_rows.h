// Vectorised kernels over rows of conf.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ssd_small/boxes.h"
#include "ssd_small/decode_nms.h"
#include "ssd_small/half.h"

namespace ssd_small {

// Rows in a RowBlock are padded to a multiple of this.
constexpr int kRowGroup = 32;
constexpr int row_stride(int num_classes) {
  return (num_classes + kRowGroup - 1) / kRowGroup * kRowGroup;
}

// Some rows of conf on their way to scores, S = row_stride(num_classes).
// score = values / sums; marks has a bit for each value, set for what may exceed the threshold of
// its class: never for the background, the padding or a NaN.
struct RowBlock {
  float* values;         // [num_rows, S]; what the functions below make of the logits
  std::uint32_t* marks;  // [num_rows, S / kRowGroup]; bit j of word g: value g * kRowGroup + j
  float* sums;           // [num_rows]
  int num_rows;
  int num_classes;
};

// What a value has at least of the sum of its row (1, but for softmax) if its score exceeds
// `threshold`: what shares below are made of.
float share_from_threshold(Activation activation, float threshold);

// Rows numbers which[0 .. block.num_rows) of `rows` to block.values as floats, padded. `readable`:
// how many values there are from `rows` on.
void load_rows(const float* rows, std::size_t readable, const std::int32_t* which,
               const RowBlock& block);
void load_rows(const Half* rows, std::size_t readable, const std::int32_t* which,
               const RowBlock& block);
void load_rows(const Bfloat16* rows, std::size_t readable, const std::int32_t* which,
               const RowBlock& block);

// Fill marks and sums from loaded logits. shares: [S], NaN for background and padding.
void softmax_rows(const RowBlock& block, const float* shares);
void sigmoid_rows(const RowBlock& block, const float* shares);
void plain_rows(const RowBlock& block, const float* shares);

// Decodes the boxes of `count` priors, numbers first_prior + which[i], of one image into
// boxes[prior]; finite[i] tells whether all four coordinates are. loc: [P, 4] of the image.
void decode_boxes(const float* loc, const float* priors, const float* variances,
                  std::int32_t first_prior, const std::int32_t* which, int count, Box* boxes,
                  std::uint8_t* finite);
void decode_boxes(const Half* loc, const float* priors, const float* variances,
                  std::int32_t first_prior, const std::int32_t* which, int count, Box* boxes,
                  std::uint8_t* finite);
void decode_boxes(const Bfloat16* loc, const float* priors, const float* variances,
                  std::int32_t first_prior, const std::int32_t* which, int count, Box* boxes,
                  std::uint8_t* finite);

}  // namespace ssd_small
