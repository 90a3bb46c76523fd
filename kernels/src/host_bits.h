// Sets of small numbers as bits of a word.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssd_small {

// Number of the lowest bit set; bits is not 0.
inline std::size_t lowest_bit(std::uint32_t bits) {
#if defined(__GNUC__)
  return static_cast<std::size_t>(__builtin_ctz(bits));
#else
  std::size_t number = 0;
  while ((bits >> number & 1u) == 0) ++number;
  return number;
#endif
}

}  // namespace ssd_small
