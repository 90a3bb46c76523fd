#include "host_scan.h"

#include "host_clones.h"
#include "host_memory.h"

namespace ssd_small {
namespace {

constexpr std::uint32_t kMinusInfinityBits = 0xff800000u;

// Asks for what is read 12 KiB after `row`: what the processor fetches by itself ends with each
// page. It may lie past the end.
template <typename T>
SSD_SMALL_HD_INLINE void prefetch_row(const T* row, int num_classes) {
  const std::uintptr_t ahead = reinterpret_cast<std::uintptr_t>(row) + 12288;
  for (std::size_t byte = 0; byte < static_cast<std::size_t>(num_classes) * sizeof(T); byte += 64) {
    prefetch(ahead + byte);
  }
}

// The greatest of `count` values; -infinity if there is none. A NaN is passed over.
SSD_SMALL_HD_INLINE float greatest(const float* values, int count) {
  float maximum = float_from_bits(kMinusInfinityBits);
#pragma omp simd reduction(max : maximum)
  for (int c = 0; c < count; ++c) maximum = values[c] > maximum ? values[c] : maximum;
  return maximum;
}

// Signed integers in the order of the 16-bit numbers, NaNs at the two ends; its own inverse.
SSD_SMALL_HD_INLINE std::int16_t ordered_from_bits16(std::uint16_t bits) {
  const auto number = static_cast<std::int16_t>(bits);
  return static_cast<std::int16_t>(number ^ ((number >> 15) & 0x7fff));
}

template <typename T>
constexpr std::uint16_t kMinusInfinity = 0xfc00;
template <>
constexpr std::uint16_t kMinusInfinity<Bfloat16> = 0xff80;

// The same of 16-bit values, found without converting them; with a NaN among them it may be NaN.
template <typename T>
SSD_SMALL_HD_INLINE float greatest(const T* values, int count) {
  std::int16_t maximum = ordered_from_bits16(kMinusInfinity<T>);
#pragma omp simd reduction(max : maximum)
  for (int c = 0; c < count; ++c) {
    const std::int16_t value = ordered_from_bits16(values[c].bits);
    maximum = value > maximum ? value : maximum;
  }
  return float_from(T{static_cast<std::uint16_t>(ordered_from_bits16(
      static_cast<std::uint16_t>(maximum)))});
}

template <typename T>
SSD_SMALL_HD_INLINE int survivors_softmax(const T* rows, int num_rows, int num_classes,
                                          const RowFilter& filter, std::int32_t* survivors) {
  const int background = filter.background;
  const int after = background + 1;
  int count = 0;
  for (int r = 0; r < num_rows; ++r) {
    const T* row = rows + static_cast<std::size_t>(r) * num_classes;
    prefetch_row(row, num_classes);
    // rounding is monotonic: no difference reaches the cut if that of the greatest does not. A
    // NaN or infinity that gets lost here leaves the row without a candidate anyway
    float maximum = greatest(row + after, num_classes - after);
    if (background > 0) {
      const float before = greatest(row, background);
      maximum = before > maximum ? before : maximum;
    }
    survivors[count] = r;
    count += maximum - float_from(row[background]) >= filter.cut ? 1 : 0;
  }
  return count;
}

template <typename T>
SSD_SMALL_HD_INLINE int survivors_plain(const T* rows, int num_rows, int num_classes,
                                        const RowFilter& filter, std::int32_t* survivors) {
  const int before = filter.background < 0 ? 0 : filter.background;
  const int after = filter.background + 1;
  int count = 0;
  for (int r = 0; r < num_rows; ++r) {
    const T* row = rows + static_cast<std::size_t>(r) * num_classes;
    prefetch_row(row, num_classes);
    // negated, so that a NaN refuses nothing: beside it there may be a candidate
    const bool refused = greatest(row, before) < filter.cut &&
                         greatest(row + after, num_classes - after) < filter.cut;
    survivors[count] = r;
    count += refused ? 0 : 1;
  }
  return count;
}

}  // namespace

SSD_SMALL_CLONES
int surviving_rows_softmax(const float* rows, int num_rows, int num_classes,
                           const RowFilter& filter, std::int32_t* survivors) {
  return survivors_softmax(rows, num_rows, num_classes, filter, survivors);
}

SSD_SMALL_CLONES
int surviving_rows_plain(const float* rows, int num_rows, int num_classes,
                         const RowFilter& filter, std::int32_t* survivors) {
  return survivors_plain(rows, num_rows, num_classes, filter, survivors);
}

SSD_SMALL_CLONES
int surviving_rows_softmax(const Half* rows, int num_rows, int num_classes,
                           const RowFilter& filter, std::int32_t* survivors) {
  return survivors_softmax(rows, num_rows, num_classes, filter, survivors);
}

SSD_SMALL_CLONES
int surviving_rows_plain(const Half* rows, int num_rows, int num_classes,
                         const RowFilter& filter, std::int32_t* survivors) {
  return survivors_plain(rows, num_rows, num_classes, filter, survivors);
}

SSD_SMALL_CLONES
int surviving_rows_softmax(const Bfloat16* rows, int num_rows, int num_classes,
                           const RowFilter& filter, std::int32_t* survivors) {
  return survivors_softmax(rows, num_rows, num_classes, filter, survivors);
}

SSD_SMALL_CLONES
int surviving_rows_plain(const Bfloat16* rows, int num_rows, int num_classes,
                         const RowFilter& filter, std::int32_t* survivors) {
  return survivors_plain(rows, num_rows, num_classes, filter, survivors);
}

}  // namespace ssd_small
