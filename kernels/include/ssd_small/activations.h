// Exponential, softmax and sigmoid: the operations of ssd_small/postprocess/numerics.py, in its order.
#pragma once

#include "host_device.h"

namespace ssd_small {

// Class c of a softmax row is added to partial sum c % kSumLanes, c ascending; the partial sums
// are then folded 16, 8, 4, 2, 1 (lane i += lane i + half): the order of a warp reduction.
constexpr int kSumLanes = 32;

constexpr float kExpSmallest = -87.0f;    // below: 0
constexpr float kExpLargest = 88.72283f;  // above: infinity

// x = n ln 2 + r with n whole and r at most half of ln 2: what both exponentials below start from.
struct ExpParts {
  float power;          // e^r
  std::uint32_t whole;  // n, modulo 2^32
};

// x: kExpSmallest to kExpLargest, or NaN, which gives a NaN power.
SSD_SMALL_HD_INLINE ExpParts exp_parts(float x) {
  // adding 1.5 * 2^23 rounds to the nearest integer (ties to even) without an instruction for
  // it; the integer stands in the low bits of the sum
  constexpr float kRound = 12582912.0f;
  constexpr std::uint32_t kRoundBits = 0x4b400000u;
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  float r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  float p = 1.9875691e-4f;
  p = p * r + 1.3981999e-3f;
  p = p * r + 8.3334519e-3f;
  p = p * r + 4.1665796e-2f;
  p = p * r + 1.6666665e-1f;
  p = p * r + 5.0000001e-1f;
  p = p * (r * r) + r + 1.0f;
  return {p, bits_from_float(shifted) - kRoundBits};
}

// Exponential within 2 ulp; exp_f32(0) == 1; NaN gives NaN. Branch-free, so that it vectorises.
SSD_SMALL_HD_INLINE float exp_f32(float x) {
  float inside = x < kExpSmallest ? kExpSmallest : x;
  inside = inside > kExpLargest ? kExpLargest : inside;
  const ExpParts parts = exp_parts(inside);
  // times 2^n in the exponent bits: exact, since the product is a normal number for every
  // inside value (n = 128 comes with p < 1 only, n = -126 with p > 1 only)
  float value = float_from_bits(bits_from_float(parts.power) + (parts.whole << 23));
  value = x < kExpSmallest ? 0.0f : value;
  value = x > kExpLargest ? float_from_bits(0x7f800000u) : value;
  return x == x ? value : x;
}

// exp_f32(x) for an x that is at most 0 or NaN, as in a softmax; a quarter fewer operations.
SSD_SMALL_HD_INLINE float exp_f32_nonpositive(float x) {
  const ExpParts parts = exp_parts(kExpSmallest > x ? kExpSmallest : x);
  // 2^n is a number of its own here (n from -126 to 0), and a product with it keeps a NaN
  const float value = parts.power * float_from_bits((parts.whole + 127u) << 23);
  return x < kExpSmallest ? 0.0f : value;
}

SSD_SMALL_HD_INLINE float sigmoid_f32(float x) { return 1.0f / (1.0f + exp_f32(-x)); }

// Folds the partial sums of a softmax row in place and returns the sum.
SSD_SMALL_HD_INLINE float fold_sum_lanes(float* lanes) {
  for (int half = kSumLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] = lanes[i] + lanes[i + half];
  }
  return lanes[0];
}

// Softmax of one row, literally as the contract says; for tests and for slow, correct paths.
// max_logit: the maximum of the row (with a NaN in the row any value will do: the sum is NaN).
SSD_SMALL_HD inline float softmax_sum(const float* logits, int num_classes, float max_logit) {
  float lanes[kSumLanes] = {};
  for (int c = 0; c < num_classes; ++c) {
    lanes[c % kSumLanes] = lanes[c % kSumLanes] + exp_f32(logits[c] - max_logit);
  }
  return fold_sum_lanes(lanes);
}

}  // namespace ssd_small
