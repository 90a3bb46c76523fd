// A fiber starts by setcontext once and then lives for many blocks; all other switches are
// __builtin_setjmp and __builtin_longjmp, which make no system call.
//
// AddressSanitizer is told of each switch, and none goes through longjmp of the C library: that
// would be taken for an unwinding, which forgets the red zones of a stack whose frames live on.
// For the same reason the functions that jump are not instrumented.
#include "fibers.h"

#include <sys/mman.h>

#include <cstdlib>

#include "address_sanitizer.h"

#define NOT_INSTRUMENTED __attribute__((no_sanitize("address"), noinline))

namespace ssd_executor {
namespace {

// instrumented frames are larger, and a report is written on the stack that it is about
constexpr std::size_t kStackBytes = (kAddressSanitizer ? 512 : 128) << 10, kGuardBytes = 4096;

Fiber* left = nullptr;  // the last switch came from here
Fiber* running = nullptr;

NOT_INSTRUMENTED void arrive() {
  const void* low = nullptr;
  std::size_t bytes = 0;
  finish_switch(running->fake_stack, &low, &bytes);
  if (left->body != nullptr) return;
  // the thread's own stack, whose bounds only the sanitizer knows; each launch may bring another
  left->stack_low = const_cast<char*>(static_cast<const char*>(low));
  left->stack_bytes = bytes;
}

NOT_INSTRUMENTED void enter() {
  arrive();
  running->body();
  std::abort();
}

[[noreturn]] NOT_INSTRUMENTED void jump(Fiber& to) {
  running = &to;
  if (to.started) __builtin_longjmp(to.context, 1);
  to.started = true;
  setcontext(&to.start);
  std::abort();
}

}  // namespace

void prepare_fiber(Fiber& fiber, void (*body)()) {
  if (fiber.body == nullptr) {
    void* memory = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    mprotect(memory, kGuardBytes, PROT_NONE);  // an overflow stops here
    fiber.stack_low = static_cast<char*>(memory) + kGuardBytes;
    fiber.stack_bytes = kStackBytes;
  }
  allow(fiber.stack_low, fiber.stack_bytes);  // red zones of frames that are dropped
  fiber.body = body;
  fiber.fake_stack = nullptr;
  fiber.started = false;
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack_low;
  fiber.start.uc_stack.ss_size = fiber.stack_bytes;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, enter, 0);
}

NOT_INSTRUMENTED void switch_fiber(Fiber& from, Fiber& to) {
  left = &from;
  start_switch(&from.fake_stack, to.stack_low, to.stack_bytes);
  if (__builtin_setjmp(from.context) == 0) jump(to);
  arrive();
}

NOT_INSTRUMENTED void abandon_fiber(Fiber& to) {
  left = running;
  start_switch(nullptr, to.stack_low, to.stack_bytes);
  jump(to);
}

}  // namespace ssd_executor
