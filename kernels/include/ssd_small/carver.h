// Cuts one block of memory into aligned arrays; the same code counts its bytes.
//
//   Carver carver(workspace);            // nullptr: count only
//   layout.keys = carver.take<OrderKey>(num_keys);
//   ...
//   carver.bytes()                       // what the block must hold
//
// A function that takes a Carver and fills a layout struct is all a launcher needs for both its
// "how much" and its "here it is" call, so the two cannot disagree.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssd_small {

class Carver {
 public:
  // Every array starts at a multiple of this; the block must, too (cudaMalloc gives 256).
  static constexpr std::size_t kAlignment = 256;

  explicit Carver(void* block) : block_(static_cast<unsigned char*>(block)) {}

  // An array of `count` elements; nullptr while counting. After an overflow of size_t every
  // array is nullptr and bytes() is SIZE_MAX, which no workspace satisfies.
  template <typename T>
  T* take(std::size_t count) {
    static_assert(alignof(T) <= kAlignment, "over-aligned type");
    constexpr std::size_t kLimit = SIZE_MAX - kAlignment;
    if (overflow_ || count > (kLimit - bytes_) / sizeof(T)) {
      overflow_ = true;
      return nullptr;
    }
    T* array = block_ == nullptr ? nullptr : reinterpret_cast<T*>(block_ + bytes_);
    bytes_ += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return array;
  }

  std::size_t bytes() const { return overflow_ ? SIZE_MAX : bytes_; }

 private:
  unsigned char* block_;
  std::size_t bytes_ = 0;
  bool overflow_ = false;
};

}  // namespace ssd_small
