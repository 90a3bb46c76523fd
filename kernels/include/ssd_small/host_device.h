// One mark for functions that run on the host and, under nvcc, on the device as well.
//
// Build flags that keep all backends bit-identical: -ffp-contract=off on the host,
// -fmad=false (and no -use_fast_math) under nvcc.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define SSD_SMALL_HD __host__ __device__
#else
#define SSD_SMALL_HD
#endif

// Always inlined, so that a caller's loop vectorises for the caller's instruction set.
#if defined(__CUDACC__)
#define SSD_SMALL_HD_INLINE __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define SSD_SMALL_HD_INLINE inline __attribute__((always_inline))
#else
#define SSD_SMALL_HD_INLINE inline
#endif

namespace ssd_small {

SSD_SMALL_HD_INLINE std::uint32_t bits_from_float(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

SSD_SMALL_HD_INLINE float float_from_bits(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

// No NaN, no infinity.
SSD_SMALL_HD_INLINE bool is_finite(float value) {
  return (bits_from_float(value) & 0x7f800000u) != 0x7f800000u;
}

}  // namespace ssd_small
