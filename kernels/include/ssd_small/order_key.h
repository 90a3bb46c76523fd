// The total order of detections as one unsigned integer: a greater key comes first.
//
// 32 bits score (order-preserving) | 10 bits 1023 - label | 22 bits 2^22 - 1 - prior:
// score descending, then label ascending, then prior ascending. Keys of different
// (label, prior) are different, so any sorting or selection method gives one result.
#pragma once

#include "host_device.h"

namespace ssd_small {

constexpr int kLabelBits = 10;
constexpr int kPriorBits = 22;
constexpr std::int32_t kMaxClasses = 1 << kLabelBits;
constexpr std::int32_t kMaxPriors = 1 << kPriorBits;

using OrderKey = std::uint64_t;

// Less than the key of every candidate (its score bits would be those of a NaN).
constexpr OrderKey kNoKey = 0;

// Unsigned integers in the order of the floats; -0 and +0 give the same one. Not for NaN.
SSD_SMALL_HD_INLINE std::uint32_t ordered_from_score(float score) {
  const std::uint32_t bits = bits_from_float(score + 0.0f);  // -0 becomes +0
  const std::uint32_t sign = 0u - (bits >> 31);
  return bits ^ (sign | 0x80000000u);
}

SSD_SMALL_HD_INLINE float score_from_ordered(std::uint32_t ordered) {
  const std::uint32_t positive = 0u - (ordered >> 31);
  return float_from_bits(ordered ^ (~positive | 0x80000000u));
}

SSD_SMALL_HD_INLINE OrderKey key_from(float score, std::int32_t label, std::int32_t prior) {
  const std::uint32_t low = (static_cast<std::uint32_t>(kMaxClasses - 1 - label) << kPriorBits) |
                            static_cast<std::uint32_t>(kMaxPriors - 1 - prior);
  return (static_cast<OrderKey>(ordered_from_score(score)) << 32) | low;
}

SSD_SMALL_HD_INLINE float score_from_key(OrderKey key) {
  return score_from_ordered(static_cast<std::uint32_t>(key >> 32));
}

SSD_SMALL_HD_INLINE std::int32_t label_from_key(OrderKey key) {
  const std::uint32_t low = static_cast<std::uint32_t>(key);
  return kMaxClasses - 1 - static_cast<std::int32_t>(low >> kPriorBits);
}

SSD_SMALL_HD_INLINE std::int32_t prior_from_key(OrderKey key) {
  const std::uint32_t low = static_cast<std::uint32_t>(key);
  return kMaxPriors - 1 - static_cast<std::int32_t>(low & (kMaxPriors - 1));
}

}  // namespace ssd_small
