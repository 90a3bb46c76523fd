// Memory without initialisation, and hints to the cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>

namespace ssd_small {

// Asks for a cache line. Any address will do: nothing is accessed.
inline void prefetch(std::uintptr_t address) {
#if defined(__GNUC__)
  __builtin_prefetch(reinterpret_cast<const void*>(address));
#else
  static_cast<void>(address);
#endif
}

// A growing array of trivial elements.
template <typename T>
class RawBuffer {
  static_assert(std::is_trivially_copyable<T>::value, "elements are moved by realloc");

 public:
  RawBuffer() = default;
  RawBuffer(const RawBuffer&) = delete;
  RawBuffer& operator=(const RawBuffer&) = delete;
  RawBuffer(RawBuffer&& other) noexcept : data_(other.data_), capacity_(other.capacity_) {
    other.data_ = nullptr;
    other.capacity_ = 0;
  }
  ~RawBuffer() { std::free(data_); }

  // Room for `count` elements; those there stay. Throws std::bad_alloc.
  void reserve(std::size_t count) {
    if (count <= capacity_) return;
    const std::size_t wanted = count > 2 * capacity_ ? count : 2 * capacity_;
    if (wanted > SIZE_MAX / sizeof(T)) throw std::bad_alloc();
    void* data = std::realloc(static_cast<void*>(data_), wanted * sizeof(T));
    if (data == nullptr) throw std::bad_alloc();
    data_ = static_cast<T*>(data);
    capacity_ = wanted;
  }

  std::size_t bytes() const { return capacity_ * sizeof(T); }
  T* data() { return data_; }
  const T* data() const { return data_; }

 private:
  T* data_ = nullptr;
  std::size_t capacity_ = 0;
};

}  // namespace ssd_small
