// Threads of the executor: those of a block, who runs next, faults.
#include <dlfcn.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "grids.h"
#include "ssd_executor/executor.h"
#include "state.h"

namespace ssd_executor {

Machine machine;
Pool pool;

namespace {

std::uint64_t seed_value = 0, random_state = 0;
std::vector<std::string> faults, launches;
int fault_total = 0;

// The thread whose turn it is; becomes the current one.
Fiber& take_next() {
  Thread& thread = *pool.ready[pool.head];
  pool.head = (pool.head + 1) % pool.ready.size();
  --pool.count;
  machine.current = &thread;
  machine.stack_low = thread.fiber.stack_low;
  machine.stack_high = thread.fiber.stack_low + thread.fiber.stack_bytes;
  return thread.fiber;
}

void fiber_body() {
  for (;;) {
    pool.call(pool.kernel, machine.arguments);
    Thread& thread = *machine.current;
    thread.status = Status::kExited;
    ++pool.exited;
    if (pool.at_barrier && pool.at_barrier + pool.exited == machine.num_threads) {
      complete_barrier();
    }
    leave();
  }
}

std::string triple(unsigned x, unsigned y, unsigned z) {
  return "(" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")";
}

}  // namespace

void begin_pool() {
  while (pool.threads.size() < machine.num_threads) {
    pool.threads.push_back(std::make_unique<Thread>());
    drop(*pool.threads.back());
  }
  pool.ready.resize(std::max<std::size_t>(pool.ready.size(), machine.num_threads));
  pool.exited = pool.at_barrier = 0;
  pool.head = pool.count = 0;
  static std::vector<Thread*> all;
  all.clear();
  for (unsigned i = 0; i < machine.num_threads; ++i) {
    Thread& thread = *pool.threads[i];
    thread.linear = i;
    thread.waited = false;
    thread.index = {i % machine.block.x, i / machine.block.x % machine.block.y,
                    i / (machine.block.x * machine.block.y)};
    all.push_back(&thread);
  }
  make_all_ready(all);
}

void run_pool() {
  switch_fiber(pool.scheduler, take_next());
  machine.current = nullptr;
}

void drop(Thread& thread) { prepare_fiber(thread.fiber, fiber_body); }

std::string kernel_name(const void* kernel) {
  Dl_info info{};
  if (!dladdr(kernel, &info) || !info.dli_sname) return "(unnamed kernel)";
  int status = 0;
  char* readable = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
  std::string name = status == 0 ? readable : info.dli_sname;
  std::free(readable);
  name = name.substr(0, name.find('('));
  if (name.compare(0, 5, "void ") == 0) name = name.substr(5);
  return name;
}

void note_launch(const std::string& what) {
  launches.push_back(what);
  random_state = seed_value * 0x2545f4914f6cdd1dull + launches.size();
}

void make_ready(Thread& thread) {
  thread.status = Status::kReady;
  pool.ready[(pool.head + pool.count++) % pool.ready.size()] = &thread;
}

// Leaves the current thread for the next one that can run, or for the scheduler.
void leave() {
  Fiber& from = machine.current->fiber;
  switch_fiber(from, pool.count == 0 ? pool.scheduler : take_next());
}

// Makes the given threads runnable in an order that depends on the seed.
void make_all_ready(std::vector<Thread*>& threads) {
  shuffle_order(threads);
  for (Thread* thread : threads) make_ready(*thread);
}

bool shuffled() { return seed_value != 0; }

std::uint64_t random_bits() {  // splitmix64
  std::uint64_t z = random_state += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

std::string thread_name(const Thread& thread) {
  return "thread " + triple(thread.index.x, thread.index.y, thread.index.z);
}

std::string site_name(Site site) {
  const std::string file = site.file ? site.file : "?";
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(site.line);
}

void fault(const std::string& what) {
  ++fault_total;
  if (faults.size() >= 64) return;
  const uint3& b = machine.block_index;
  std::string where = "kernel " + machine.kernel + ", block " + triple(b.x, b.y, b.z);
  if (machine.current) where += ", " + thread_name(*machine.current);
  faults.push_back(where + ": " + what);
}

void abandon() {
  machine.inside = false;
  pool.abandoned = true;
  abandon_fiber(pool.scheduler);
}

unsigned coordinate(Coordinate which, int axis) {
  const auto pick = [axis](const auto& t) { return axis == 0 ? t.x : axis == 1 ? t.y : t.z; };
  switch (which) {
    case Coordinate::kThread: return pick(machine.current->index);
    case Coordinate::kBlock: return pick(machine.block_index);
    case Coordinate::kBlockSize: return pick(machine.block);
    case Coordinate::kGridSize: return pick(machine.grid);
  }
  return 0;
}
int lane_index() { return static_cast<int>(machine.current->linear % kWarp); }

}  // namespace ssd_executor

using namespace ssd_executor;
#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED void ssd_executor_reset() {
  finish_launches();
  take_failure();
  faults.clear();
  launches.clear();
  fault_total = 0;
  seed_value = 0;
  memory_reset();
}
EXPORTED void ssd_executor_seed(std::uint64_t seed) { seed_value = seed; }
EXPORTED int ssd_executor_fault_count() {
  finish_launches();
  return fault_total;
}
EXPORTED const char* ssd_executor_fault(int i) {
  finish_launches();
  return i >= 0 && i < static_cast<int>(faults.size()) ? faults[i].c_str() : nullptr;
}
EXPORTED int ssd_executor_launch_count() { return static_cast<int>(launches.size()); }
EXPORTED const char* ssd_executor_launch(int i) {
  return i >= 0 && i < static_cast<int>(launches.size()) ? launches[i].c_str() : nullptr;
}

EXPORTED cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  finish_launches();
  std::memset(to, value, bytes);
  launches.push_back("memset 0 0 0");
  note_memset(to, bytes);
  return cudaSuccess;
}
