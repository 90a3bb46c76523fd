// Threads of the executor: blocks, launches, who runs next, faults.
#include <dlfcn.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>

#include "ssd_executor/executor.h"
#include "state.h"

namespace ssd_executor {

Machine machine;
Pool pool;

namespace {

std::uint64_t seed_value = 0, random_state = 0;
std::vector<std::string> faults, launches;
int fault_total = 0;
std::mutex launch_mutex;

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

void prepare_pool(unsigned num_threads) {
  while (pool.threads.size() < num_threads) {
    pool.threads.push_back(std::make_unique<Thread>());
    prepare_fiber(pool.threads.back()->fiber, fiber_body);
  }
  if (pool.stuck) {
    // drops what the last launch left
    for (auto& thread : pool.threads) prepare_fiber(thread->fiber, fiber_body);
    pool.stuck = false;
  }
  pool.ready.resize(std::max<std::size_t>(pool.ready.size(), num_threads));
}

void run_block(unsigned x, unsigned y, unsigned z) {
  machine.block_index = {x, y, z};
  machine.block_epoch = ++machine.epoch;
  ++machine.block_number;
  memory_block();
  pool.exited = pool.at_barrier = 0;
  pool.head = pool.count = 0;
  static std::vector<Thread*> all;
  all.clear();
  for (unsigned i = 0; i < machine.num_threads; ++i) {
    Thread& thread = *pool.threads[i];
    thread.linear = i;
    thread.index = {i % machine.block.x, i / machine.block.x % machine.block.y,
                    i / (machine.block.x * machine.block.y)};
    all.push_back(&thread);
  }
  make_all_ready(all);
  switch_fiber(pool.scheduler, take_next());
  machine.current = nullptr;
  if (pool.exited != machine.num_threads) {
    if (!pool.abandoned) describe_stuck();
    pool.stuck = true;
  }
}

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

std::string triple(unsigned x, unsigned y, unsigned z) {
  return "(" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")";
}

}  // namespace

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

cudaError_t launch(const LaunchRequest& request) {
  const std::lock_guard<std::mutex> guard(launch_mutex);
  const std::uint64_t threads = std::uint64_t{request.block.x} * request.block.y * request.block.z;
  const std::uint64_t blocks = std::uint64_t{request.grid.x} * request.grid.y * request.grid.z;
  if (threads == 0 || threads > kMaxThreads || blocks == 0 || blocks >= 1ull << 31 ||
      request.grid.y > 65535 || request.grid.z > 65535 || request.dynamic_shared_bytes > 232448) {
    return cudaErrorInvalidConfiguration;
  }
  machine.kernel = kernel_name(request.kernel);
  machine.grid = request.grid;
  machine.block = request.block;
  machine.num_threads = static_cast<unsigned>(threads);
  machine.arguments = static_cast<const char*>(request.arguments);
  machine.argument_bytes = request.argument_bytes;
  pool.call = request.call;
  pool.kernel = request.kernel;
  pool.abandoned = false;
  prepare_pool(machine.num_threads);
  memory_launch(request.kernel, request.dynamic_shared_bytes);
  launches.push_back(machine.kernel + " " + std::to_string(blocks) + " " +
                     std::to_string(threads) + " " + std::to_string(shared_bytes()));
  random_state = seed_value * 0x2545f4914f6cdd1dull + launches.size();
  machine.launch_epoch = ++machine.epoch;
  std::vector<std::uint32_t> order(blocks);
  for (std::uint64_t i = 0; i < blocks; ++i) order[i] = static_cast<std::uint32_t>(i);
  shuffle_order(order);
  machine.running = true;
  for (const std::uint32_t block : order) {
    run_block(block % request.grid.x, block / request.grid.x % request.grid.y,
              block / (request.grid.x * request.grid.y));
    if (pool.stuck) break;
  }
  machine.running = false;
  return pool.stuck ? cudaErrorLaunchFailure : cudaSuccess;
}

}  // namespace ssd_executor

using namespace ssd_executor;
#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED void ssd_executor_reset() {
  faults.clear();
  launches.clear();
  fault_total = 0;
  seed_value = 0;
  memory_reset();
}
EXPORTED void ssd_executor_seed(std::uint64_t seed) { seed_value = seed; }
EXPORTED int ssd_executor_fault_count() { return fault_total; }
EXPORTED const char* ssd_executor_fault(int i) {
  return i >= 0 && i < static_cast<int>(faults.size()) ? faults[i].c_str() : nullptr;
}
EXPORTED int ssd_executor_launch_count() { return static_cast<int>(launches.size()); }
EXPORTED const char* ssd_executor_launch(int i) {
  return i >= 0 && i < static_cast<int>(launches.size()) ? launches[i].c_str() : nullptr;
}

EXPORTED cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  launches.push_back("memset 0 0 0");
  note_memset(to, bytes);
  return cudaSuccess;
}
