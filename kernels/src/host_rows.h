// Vectorised kernels over rows of conf.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssd_small {

// Numbers of the rows that may hold a candidate, ascending, into `survivors` [num_rows]; returns
// how many. rows: [num_rows, num_classes]; background -1 for none; cut from lazy_cut().
int surviving_rows_softmax(const float* rows, int num_rows, int num_classes, int background,
                           float cut, std::int32_t* survivors);
int surviving_rows_plain(const float* rows, int num_rows, int num_classes, int background,
                         float cut, std::int32_t* survivors);

// Floats of scratch that the three functions below need.
constexpr int row_scratch_floats(int num_classes) { return (num_classes + 31) / 32 * 32 + 32; }

// Labels and scores of one row with score > threshold, labels ascending; returns how many.
// labels, scores: [num_classes]; the background is left out.
int row_candidates_softmax(const float* row, int num_classes, int background, float threshold,
                           float* scratch, std::int32_t* labels, float* scores);
int row_candidates_sigmoid(const float* row, int num_classes, int background, float threshold,
                           float* scratch, std::int32_t* labels, float* scores);
int row_candidates_none(const float* row, int num_classes, int background, float threshold,
                        float* scratch, std::int32_t* labels, float* scores);

void floats_from_halves(const std::uint16_t* halves, std::size_t count, float* floats);

}  // namespace ssd_small
