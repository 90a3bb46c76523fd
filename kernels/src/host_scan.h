// The pass over conf: which rows may hold a candidate.
#pragma once

#include <cstdint>

#include "ssd_small/half.h"

namespace ssd_small {

// Which rows cannot hold a candidate, whatever else is known.
struct RowFilter {
  int background;  // -1: none
  float cut;       // from lazy_cut()
};

// Numbers of the rows that may hold a candidate, ascending, into `survivors` [num_rows + 1];
// returns how many. rows: [num_rows, num_classes]. The first is for softmax with a background.
int surviving_rows_softmax(const float* rows, int num_rows, int num_classes,
                           const RowFilter& filter, std::int32_t* survivors);
int surviving_rows_softmax(const Half* rows, int num_rows, int num_classes,
                           const RowFilter& filter, std::int32_t* survivors);
int surviving_rows_softmax(const Bfloat16* rows, int num_rows, int num_classes,
                           const RowFilter& filter, std::int32_t* survivors);
int surviving_rows_plain(const float* rows, int num_rows, int num_classes,
                         const RowFilter& filter, std::int32_t* survivors);
int surviving_rows_plain(const Half* rows, int num_rows, int num_classes,
                         const RowFilter& filter, std::int32_t* survivors);
int surviving_rows_plain(const Bfloat16* rows, int num_rows, int num_classes,
                         const RowFilter& filter, std::int32_t* survivors);

}  // namespace ssd_small
