// Stand-in for <cuda_fp16.h>: IEEE binary16, rounded to nearest even.
#pragma once

#include "cuda_runtime.h"

struct __half_raw {
  unsigned short x;
};
inline float ssd_executor_float_from_half(unsigned short bits) {
  const unsigned sign = (bits & 0x8000u) << 16;
  const unsigned exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | (mantissa << 13));
  if (exponent) return __uint_as_float(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // zero or subnormal
  return sign ? -magnitude : magnitude;
}
inline unsigned short ssd_executor_half_from_float(float x) {
  const unsigned bits = __float_as_uint(x), sign = (bits >> 16) & 0x8000u;
  const float a = std::fabs(x);
  if (x != x) return 0x7fff;
  if (a >= 65520.0f) return static_cast<unsigned short>(sign | 0x7c00u);
  int exponent;
  std::frexp(a, &exponent);  // a = f * 2^exponent, 0.5 <= f < 1
  // quantum of the result: 11 significant bits, never below 2^-24
  const int quantum = exponent - 11 > -24 ? exponent - 11 : -24;
  const float steps = std::nearbyint(std::ldexp(a, -quantum));
  const float rounded = std::ldexp(steps, quantum);
  const unsigned r = __float_as_uint(rounded);
  if (rounded < 0x1p-14f) return static_cast<unsigned short>(sign | unsigned(rounded * 0x1p24f));
  return static_cast<unsigned short>(sign | ((r - (112u << 23)) >> 13));
}

// default visibility, or kernels of this type have no name in faults
struct __attribute__((visibility("default"))) __half {
  unsigned short bits;
  __half() = default;
  explicit __half(float x) : bits(ssd_executor_half_from_float(x)) {}
  __half(__half_raw raw) : bits(raw.x) {}
  operator float() const { return ssd_executor_float_from_half(bits); }
};

inline float __half2float(__half h) { return ssd_executor_float_from_half(h.bits); }
inline __half __float2half(float x) { return __half(x); }
inline __half __ushort_as_half(unsigned short bits) { return __half(__half_raw{bits}); }
inline unsigned short __half_as_ushort(__half h) { return h.bits; }
