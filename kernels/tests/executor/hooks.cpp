// What -fsanitize=thread calls, in place of libtsan: every load and store of traced code.
#include "address_sanitizer.h"
#include "cells.h"
#include "ssd_executor/executor.h"

namespace ssd_executor {
namespace {

bool traced = false;

// A compiler that traces does not instrument for AddressSanitizer; its check is made here.
__attribute__((always_inline)) inline void read(void* p, std::size_t bytes, bool aligned = true) {
  check(p, bytes, Access::kRead, aligned);
  report_if_forbidden(p, bytes, false);
}
__attribute__((always_inline)) inline void write(void* p, std::size_t bytes, bool aligned = true) {
  check(p, bytes, Access::kWrite, aligned);
  report_if_forbidden(p, bytes, true);
}

}  // namespace

void note_atomic(const void* address, std::size_t bytes) {
  check(address, bytes, Access::kAtomic);
  report_if_forbidden(address, bytes, true);
}

}  // namespace ssd_executor

using ssd_executor::read;
using ssd_executor::write;

#define HOOKS(bytes)                                                               \
  extern "C" void __tsan_read##bytes(void* p) { read(p, bytes); }                  \
  extern "C" void __tsan_write##bytes(void* p) { write(p, bytes); }                \
  extern "C" void __tsan_volatile_read##bytes(void* p) { read(p, bytes); }         \
  extern "C" void __tsan_volatile_write##bytes(void* p) { write(p, bytes); }       \
  extern "C" void __tsan_unaligned_read##bytes(void* p) { read(p, bytes, false); } \
  extern "C" void __tsan_unaligned_write##bytes(void* p) { write(p, bytes, false); }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
extern "C" void __tsan_init() { ssd_executor::traced = true; }
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}
extern "C" void __tsan_read_range(void* p, std::size_t n) { read(p, n, false); }
extern "C" void __tsan_write_range(void* p, std::size_t n) { write(p, n, false); }

extern "C" __attribute__((visibility("default"))) int ssd_executor_traces() {
  return ssd_executor::traced;
}
