// State shared by the two halves of the executor: threads (threads.cpp) and memory (memory.cpp).
#pragma once

#include "fibers.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cuda_runtime.h"

namespace ssd_executor {

constexpr unsigned kMaxThreads = 1024;
constexpr unsigned kWarp = 32;

enum class Status { kReady, kAtBarrier, kAtCollective, kAtGridWait, kExited };

struct Thread {
  Fiber fiber;
  Status status = Status::kReady;
  unsigned linear = 0;
  uint3 index{};
  Site site{};  // of the barrier or collective it waits at
  BarrierOp barrier_op{};
  int predicate = 0;
  WarpOp op{};
  unsigned mask = 0;
  std::uint64_t value = 0;
  int source_lane = -1;
  std::uint64_t result = 0;
  bool waited = false;  // for the kernel before: by itself, or a barrier passed it on
};

struct Grid;  // a kernel that was launched (grids.h)

// The block that runs, of which kernel, and where it is.
struct Machine {
  bool running = false;
  Grid* launched = nullptr;
  bool triggered = false;  // it has let the next kernel start
  std::string kernel;
  dim3 grid, block;
  unsigned num_threads = 0;
  uint3 block_index{};
  std::uint32_t block_number = 0;  // counts blocks over all launches, from 1
  Thread* current = nullptr;
  bool inside = false;  // the executor's own code runs: no access of the kernel's
  const char* stack_low = nullptr;  // of the current thread
  const char* stack_high = nullptr;
  // Epochs change at each block barrier and are never used twice.
  std::uint32_t epoch = 1, block_epoch = 1, launch_epoch = 1;
  std::uint32_t warp_epoch[kMaxThreads / kWarp] = {};  // grow at each whole-warp collective
  const char* arguments = nullptr;
  std::size_t argument_bytes = 0;
};
extern Machine machine;

// Inline functions of the C++ library may be linked in a traced version, here as well: while an
// Inside lives, nothing is checked.
struct Inside {
  Inside() { machine.inside = true; }
  ~Inside() { machine.inside = false; }
};

// The fibers of the block that runs, and which of them can run.
struct Pool {
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<Thread*> ready;  // ring buffer of runnable threads
  std::size_t head = 0, count = 0;
  Fiber scheduler;  // the operating system's thread
  void (*call)(const void*, const void*) = nullptr;
  const void* kernel = nullptr;
  unsigned exited = 0, at_barrier = 0;
  bool abandoned = false;  // after a fatal fault
  bool held = false;       // the block was stopped where it let the next kernel start
};
extern Pool pool;

// Gives the pool the threads of a block that begins, all runnable.
void begin_pool();
// Runs them until all have exited or none can go on.
void run_pool();
// Makes a thread forget what it was in the middle of.
void drop(Thread& thread);
// Marks a thread as runnable.
void make_ready(Thread& thread);
// The same for several, in an order that depends on the seed.
void make_all_ready(std::vector<Thread*>& threads);
// Leaves the current thread for the next one that can run, or for the scheduler.
void leave();
// All threads that have not exited wait at a barrier: checks it and releases them.
void complete_barrier();
// Nothing can run, and not all threads have exited: says why.
void describe_stuck();
// Gives the block that runs an epoch that was never used.
void next_epoch();
// Notes a fault: "kernel k, block (x,y,z), thread (x,y,z): what".
void fault(const std::string& what);
// Ends the launch after a fault that a device does not survive either. Frames of the current
// thread are dropped, not unwound: no object that owns memory may be left on its stack.
[[noreturn]] void abandon();
// Writes down a launch, and begins the random numbers that follow from the seed and it.
void note_launch(const std::string& what);
std::string kernel_name(const void* kernel);
std::string thread_name(const Thread& thread);
std::string site_name(Site site);
std::uint64_t random_bits();
bool shuffled();  // false for seed 0: natural order
template <class T>
void shuffle_order(std::vector<T>& items) {
  if (!shuffled()) return;
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random_bits() % i]);
}

// Memory: the shared memory of a kernel's module becomes what accesses are held against, and that
// of a block becomes unwritten.
void shared_memory_enter(const void* kernel, std::size_t dynamic_bytes);
void shared_memory_begin_block();
std::size_t shared_bytes();
void memory_reset();
void note_memset(void* to, std::size_t bytes);

}  // namespace ssd_executor
