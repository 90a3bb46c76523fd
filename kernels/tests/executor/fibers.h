// Fibers: stacks of their own between which the executor switches, one running at a time.
#pragma once

#include <ucontext.h>

#include <cstddef>

namespace ssd_executor {

struct Fiber {
  void (*body)() = nullptr;  // null for a thread of the operating system
  bool started = true;       // false: enters `start` when it is switched to
  ucontext_t start;
  void* context[5] = {};  // of __builtin_setjmp
  char* stack_low = nullptr;
  std::size_t stack_bytes = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's, while another fiber runs
};

// Makes `fiber` begin at `body`, which never returns; gives it a stack if it has none. Whatever
// it was in the middle of is dropped.
void prepare_fiber(Fiber& fiber, void (*body)());

// Leaves `from`, which runs, for `to`; returns when something switches back to `from`. A Fiber
// that was never prepared stands for the thread of the operating system.
void switch_fiber(Fiber& from, Fiber& to);

// Leaves a fiber that will not be switched to before it is prepared again.
[[noreturn]] void abandon_fiber(Fiber& to);

}  // namespace ssd_executor
