// IEEE half and bfloat16 <-> float in integer operations: bit-exact, vectorisable, no F16C needed.
#pragma once

#include "host_device.h"

namespace ssd_small {

// Exact; the result is a normal number or 0, so flush-to-zero modes do not matter.
SSD_SMALL_HD_INLINE float float_from_half(std::uint16_t half) {
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7fffu) << 13;
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = magnitude & 0x0f800000u;
  const std::uint32_t normal = magnitude + (112u << 23);
  const std::uint32_t special = magnitude | 0x7f800000u;  // infinity or NaN, payload kept
  // subnormal: give it the leading 1 of 2^-14 and take that away again, exactly
  const float subnormal = float_from_bits(magnitude + (113u << 23)) - float_from_bits(113u << 23);
  std::uint32_t bits = exponent == 0x0f800000u ? special : normal;
  bits = exponent == 0u ? bits_from_float(subnormal) : bits;
  return float_from_bits(bits | sign);
}

// Round to nearest, ties to even; overflow gives infinity, a NaN stays one.
SSD_SMALL_HD_INLINE std::uint16_t half_from_float(float value) {
  const std::uint32_t bits = bits_from_float(value);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    // subnormal or 0: adding 0.5 lets the addition do the rounding at 2^-24
    const float rounded = float_from_bits(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (bits_from_float(rounded) - 0x3f000000u));
  }
  const std::uint32_t odd = (magnitude >> 13) & 1u;
  const std::uint32_t rounded = magnitude - (112u << 23) + 0xfffu + odd;
  return static_cast<std::uint16_t>(sign | (rounded >> 13));
}

// Values as they stand in memory, so that overloads tell them apart.
struct Half {
  std::uint16_t bits;
};
struct Bfloat16 {  // the upper half of a float
  std::uint16_t bits;
};

SSD_SMALL_HD_INLINE float float_from(float value) { return value; }
SSD_SMALL_HD_INLINE float float_from(Half value) { return float_from_half(value.bits); }
SSD_SMALL_HD_INLINE float float_from(Bfloat16 value) {
  return float_from_bits(static_cast<std::uint32_t>(value.bits) << 16);
}

// Round to nearest, ties to even; overflow gives infinity, a NaN stays one.
SSD_SMALL_HD_INLINE std::uint16_t bfloat16_from_float(float value) {
  const std::uint32_t bits = bits_from_float(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace ssd_small
