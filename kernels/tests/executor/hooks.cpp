// What -fsanitize=thread calls, in place of libtsan: every load and store of instrumented code.
#include "cells.h"

using ssd_executor::Access;
using ssd_executor::check;

#define HOOKS(bytes)                                                                          \
  extern "C" void __tsan_read##bytes(void* p) { check(p, bytes, Access::kRead); }             \
  extern "C" void __tsan_write##bytes(void* p) { check(p, bytes, Access::kWrite); }           \
  extern "C" void __tsan_volatile_read##bytes(void* p) { check(p, bytes, Access::kRead); }    \
  extern "C" void __tsan_volatile_write##bytes(void* p) { check(p, bytes, Access::kWrite); }  \
  extern "C" void __tsan_unaligned_read##bytes(void* p) { check(p, bytes, Access::kRead, false); } \
  extern "C" void __tsan_unaligned_write##bytes(void* p) { check(p, bytes, Access::kWrite, false); }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}
extern "C" void __tsan_read_range(void* p, std::size_t n) { check(p, n, Access::kRead, false); }
extern "C" void __tsan_write_range(void* p, std::size_t n) { check(p, n, Access::kWrite, false); }
