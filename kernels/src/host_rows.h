// Vectorised kernels over rows of conf.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ssd_small/boxes.h"

namespace ssd_small {

// Rows in a RowBlock are padded to a multiple of this.
constexpr int kRowGroup = 32;
constexpr int row_stride(int num_classes) {
  return (num_classes + kRowGroup - 1) / kRowGroup * kRowGroup;
}

// Some rows of conf on their way to scores, S = row_stride(num_classes).
// score = values / sums; marks has a bit for each value, set for what may exceed the threshold:
// never for the background, the padding or a NaN.
struct RowBlock {
  float* values;         // [num_rows, S]; logits, then what the functions below make of them
  std::uint32_t* marks;  // [num_rows, S / kRowGroup]; bit j of word g: value g * kRowGroup + j
  float* sums;           // [num_rows]
  int num_rows;
  int num_classes;
};

struct RowFilter {
  int background;   // -1: none
  float threshold;  // of the scores
  float cut;        // from lazy_cut()
};

// Numbers of the rows that may hold a candidate, ascending, into `survivors` [num_rows + 1];
// returns how many. rows: [num_rows, num_classes]. The first is for softmax with a background.
int surviving_rows_softmax(const float* rows, int num_rows, int num_classes,
                           const RowFilter& filter, std::int32_t* survivors);
int surviving_rows_plain(const float* rows, int num_rows, int num_classes,
                         const RowFilter& filter, std::int32_t* survivors);

// Copies rows numbers which[0 .. block.num_rows) of `rows` to block.values, padded.
void load_rows(const float* rows, const std::int32_t* which, const RowBlock& block);

// Fill marks and sums from loaded logits.
void softmax_rows(const RowBlock& block, const RowFilter& filter);
void sigmoid_rows(const RowBlock& block, const RowFilter& filter);
void plain_rows(const RowBlock& block, const RowFilter& filter);

// Decodes the boxes of `count` priors, numbers first_prior + which[i], of one image into
// boxes[prior]; finite[i] tells whether all four coordinates are. loc: [P, 4] of the image.
void decode_boxes(const float* loc, const float* priors, const float* variances,
                  std::int32_t first_prior, const std::int32_t* which, int count, Box* boxes,
                  std::uint8_t* finite);
void decode_boxes(const std::uint16_t* loc, const float* priors, const float* variances,
                  std::int32_t first_prior, const std::int32_t* which, int count, Box* boxes,
                  std::uint8_t* finite);

void floats_from_halves(const std::uint16_t* halves, std::size_t count, float* floats);

}  // namespace ssd_small
