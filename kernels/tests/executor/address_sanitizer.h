// What the executor tells AddressSanitizer, and asks it; nothing in a build without it.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace ssd_executor {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kAddressSanitizer = true;

// Before a switch to a stack; `fake_stack` keeps what belongs to the fiber left, null ends it.
inline void start_switch(void** fake_stack, const void* stack_low, std::size_t bytes) {
  __sanitizer_start_switch_fiber(fake_stack, stack_low, bytes);
}
// After it, on the new stack; gives the bounds of the stack left.
inline void finish_switch(void* fake_stack, const void** left_low, std::size_t* left_bytes) {
  __sanitizer_finish_switch_fiber(fake_stack, left_low, left_bytes);
}
// Any access to these bytes is reported, until they are allowed again.
inline void forbid(const void* low, std::size_t bytes) { __asan_poison_memory_region(low, bytes); }
inline void allow(const void* low, std::size_t bytes) {
  __asan_unpoison_memory_region(low, bytes);
}
// For accesses of code that AddressSanitizer has not instrumented; inlined into a hook, whose
// caller is that code.
__attribute__((always_inline)) inline void report_if_forbidden(const void* pointer,
                                                               std::size_t bytes, bool write) {
  void* bad = __asan_region_is_poisoned(const_cast<void*>(pointer), bytes);
  if (!bad) return;
  void* frame = __builtin_frame_address(0);
  __asan_report_error(__builtin_return_address(0), frame, frame, bad, write, bytes);
}
#else
constexpr bool kAddressSanitizer = false;
inline void start_switch(void**, const void*, std::size_t) {}
inline void finish_switch(void*, const void**, std::size_t*) {}
inline void forbid(const void*, std::size_t) {}
inline void allow(const void*, std::size_t) {}
inline void report_if_forbidden(const void*, std::size_t, bool) {}
#endif

}  // namespace ssd_executor
