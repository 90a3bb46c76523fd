#include "grids.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <numeric>

#include "ssd_executor/executor.h"

namespace ssd_executor {
namespace {

constexpr unsigned kMostHeld = 2, kMostEarly = 2;  // blocks of a kernel that wait at once

std::vector<std::unique_ptr<Grid>> chain;
std::uint32_t chains = 1;
std::uint32_t last_epoch = 1, last_block = 0;
std::vector<Owner> owners;  // of the chain's epochs
std::uint32_t first_owned = 1;
std::vector<std::vector<std::unique_ptr<Thread>>> spare_threads;
cudaError_t failure = cudaSuccess;  // of a block that ran after its launch had returned
// Blocks that wait keep it locked: their shared memory is this thread's.
std::recursive_mutex launching;
bool kept_locked = false;
std::string forgotten;  // kernels of this name do not wait

Grid* previous_of(const Grid& grid) {
  return grid.position == 0 ? nullptr : chain[grid.position - 1].get();
}

void enter(Grid& grid) {
  machine.launched = &grid;
  machine.kernel = grid.name;
  machine.grid = grid.request.grid;
  machine.block = grid.request.block;
  machine.num_threads = grid.request.block.x * grid.request.block.y * grid.request.block.z;
  machine.arguments = reinterpret_cast<const char*>(grid.arguments.data());
  machine.argument_bytes = grid.request.argument_bytes;
  machine.launch_epoch = grid.launch_epoch;
  pool.call = grid.request.call;
  pool.kernel = grid.request.kernel;
  shared_memory_enter(grid.request.kernel, grid.request.dynamic_shared_bytes);
}

// Puts the block that runs aside.
void set_aside(Grid& grid) {
  Block block;
  block.machine = machine;
  block.threads = std::move(pool.threads);
  block.ready = std::move(pool.ready);
  block.head = pool.head, block.count = pool.count;
  block.exited = pool.exited, block.at_barrier = pool.at_barrier;
  block.held = pool.held;
  block.shared = shared_memory_image();
  grid.waiting.push_back(std::move(block));
  pool.threads.clear();
  pool.ready.clear();
  if (!spare_threads.empty()) {
    pool.threads = std::move(spare_threads.back());
    spare_threads.pop_back();
  }
}

void fail(const Grid& grid) {
  failure = cudaErrorLaunchFailure;
  for (auto& thread : pool.threads) drop(*thread);
  for (const auto& launched : chain) {
    for (Block& block : launched->waiting) {
      for (auto& thread : block.threads) drop(*thread);
      spare_threads.push_back(std::move(block.threads));
    }
    launched->waiting.clear();
    launched->begun = launched->order.size();
    launched->complete = launched->position <= grid.position;
  }
}

// Runs the block in the pool until it has ended or cannot go on.
void go_on(Grid& grid) {
  pool.held = pool.abandoned = false;
  run_pool();
  if (pool.exited == machine.num_threads) return;
  const Grid* previous = previous_of(grid);
  const bool waits = previous && !previous->complete &&
                     std::any_of(pool.threads.begin(), pool.threads.end(), [](const auto& thread) {
                       return thread->status == Status::kAtGridWait;
                     });
  if (!pool.abandoned && (pool.held || waits)) return set_aside(grid);
  if (!pool.abandoned) describe_stuck();
  fail(grid);
}

void begin_block(Grid& grid) {
  const std::uint32_t index = grid.order[grid.begun++];
  const dim3& size = grid.request.grid;
  enter(grid);
  machine.block_index = {index % size.x, index / size.x % size.y, index / (size.x * size.y)};
  machine.block_number = ++last_block;
  machine.triggered = false;
  next_epoch();
  machine.block_epoch = machine.epoch;
  shared_memory_begin_block();
  begin_pool();
  go_on(grid);
}

void resume_block(Grid& grid, std::size_t which) {
  Block block = std::move(grid.waiting[which]);
  grid.waiting.erase(grid.waiting.begin() + static_cast<std::ptrdiff_t>(which));
  enter(grid);
  machine = block.machine;
  spare_threads.push_back(std::move(pool.threads));
  pool.threads = std::move(block.threads);
  pool.ready = std::move(block.ready);
  pool.head = block.head, pool.count = block.count;
  pool.exited = block.exited, pool.at_barrier = block.at_barrier;
  shared_memory_restore(block.shared);
  std::vector<Thread*> released;
  for (unsigned i = 0; i < machine.num_threads; ++i) {
    Thread& thread = *pool.threads[i];
    if (thread.status != Status::kAtGridWait) continue;
    thread.waited = true;
    released.push_back(&thread);
  }
  make_all_ready(released);
  go_on(grid);
}

// Runs all that is left of a kernel whose predecessor is complete.
void complete(Grid& grid) {
  while (!grid.waiting.empty()) resume_block(grid, random_bits() % grid.waiting.size());
  if (grid.complete) return;
  grid.complete = true;
  if (grid.position > 0 && !grid.waits && failure == cudaSuccess) {
    enter(grid);
    fault("may overlap the kernel before and ends without waiting for it "
          "(cudaGridDependencySynchronize): what follows is not ordered after that one");
  }
}

// Blocks of a dependent kernel begin while some of the one before have not ended.
void overlap(Grid& previous, Grid& grid) {
  if (shuffled()) {
    std::size_t early = std::min<std::size_t>(kMostEarly, grid.order.size());
    while (failure == cudaSuccess && !previous.waiting.empty() && early > 0) {
      if (random_bits() % 3 == 0) {
        resume_block(previous, random_bits() % previous.waiting.size());
      } else {
        begin_block(grid);
        --early;
      }
    }
  }
  complete(previous);
}

void end_chain() {
  machine.running = true;
  if (!chain.empty()) complete(*chain.back());
  machine.running = false;
  chain.clear();
  owners.clear();
  first_owned = last_epoch + 1;
  ++chains;
}

// Until every block has ended or is held at its trigger.
void run(Grid& grid) {
  machine.running = true;
  if (Grid* previous = previous_of(grid)) overlap(*previous, grid);
  grid.holdable = shuffled() ? static_cast<unsigned>(random_bits() % (kMostHeld + 1)) : 0;
  while (failure == cudaSuccess) {
    const auto early = std::find_if(grid.waiting.begin(), grid.waiting.end(),
                                    [](const Block& block) { return !block.held; });
    const bool is_left = grid.begun < grid.order.size();
    if (early != grid.waiting.end() && (!is_left || random_bits() % 2 == 0)) {
      resume_block(grid, static_cast<std::size_t>(early - grid.waiting.begin()));
    } else if (is_left) {
      begin_block(grid);
    } else {
      break;
    }
  }
  if (grid.waiting.empty()) complete(grid);
  machine.running = false;
}

void keep_locked_while_blocks_wait() {
  const bool wait = !chain.empty() && !chain.back()->waiting.empty();
  if (wait && !kept_locked) launching.lock();
  if (!wait && kept_locked) launching.unlock();
  kept_locked = wait;
}

void own_next_epoch(std::uint32_t block, unsigned position) {
  ++last_epoch;
  owners.push_back({block, position});
}

}  // namespace

void next_epoch() {
  own_next_epoch(machine.block_number, machine.launched->position);
  machine.epoch = last_epoch;
}

Owner owner_of(std::uint32_t epoch) { return owners[epoch - first_owned]; }

std::uint32_t chain_number() { return chains; }

unsigned known_complete_from(unsigned position) {
  if (position == 0) return 0;
  unsigned from = position - 1;
  while (from > 0 && chain[from]->waits) --from;
  return from;
}

void wait_for_previous_grid() {
  Thread& thread = *machine.current;
  Grid& grid = *machine.launched;
  if (grid.forgets_to_wait) return;
  const Grid* previous = previous_of(grid);
  grid.waits = true;
  if (previous && !previous->complete) {
    thread.status = Status::kAtGridWait;
    leave();
  }
  thread.waited = true;
}

void trigger_next_grid() {
  if (machine.triggered) return;
  machine.triggered = true;
  Grid& grid = *machine.launched;
  // spread over the blocks of the grid
  if (random_bits() % (grid.order.size() - grid.begun + 1) >= grid.holdable) return;
  --grid.holdable;
  pool.held = true;
  Thread& thread = *machine.current;
  make_ready(thread);
  switch_fiber(thread.fiber, pool.scheduler);
}

void finish_launches() {
  const std::lock_guard<std::recursive_mutex> guard(launching);
  end_chain();
  keep_locked_while_blocks_wait();
}

cudaError_t take_failure() { return std::exchange(failure, cudaSuccess); }

cudaError_t launch(const LaunchRequest& request) {
  const std::lock_guard<std::recursive_mutex> guard(launching);
  const std::uint64_t threads = std::uint64_t{request.block.x} * request.block.y * request.block.z;
  const std::uint64_t blocks = std::uint64_t{request.grid.x} * request.grid.y * request.grid.z;
  if (threads == 0 || threads > kMaxThreads || blocks == 0 || blocks >= 1ull << 31 ||
      request.grid.y > 65535 || request.grid.z > 65535 || request.dynamic_shared_bytes > 232448) {
    return cudaErrorInvalidConfiguration;
  }
  if (!request.dependent || chain.size() == kMaxChain) end_chain();
  chain.push_back(std::make_unique<Grid>());
  Grid& grid = *chain.back();
  grid.request = request;
  grid.arguments.resize(request.argument_bytes / sizeof(std::max_align_t) + 1);
  std::memcpy(grid.arguments.data(), request.arguments, request.argument_bytes);
  grid.name = kernel_name(request.kernel);
  grid.position = static_cast<unsigned>(chain.size() - 1);
  grid.forgets_to_wait = !forgotten.empty() && grid.name.find(forgotten) != std::string::npos;
  own_next_epoch(0, grid.position);
  grid.launch_epoch = last_epoch;
  note_launch(grid.name + " " + std::to_string(blocks) + " " + std::to_string(threads) + " " +
              std::to_string(request.dynamic_shared_bytes));
  grid.order.resize(blocks);
  std::iota(grid.order.begin(), grid.order.end(), 0u);
  shuffle_order(grid.order);
  run(grid);
  keep_locked_while_blocks_wait();
  return take_failure();
}

}  // namespace ssd_executor

extern "C" __attribute__((visibility("default"))) void ssd_executor_forget_waits_of(
    const char* kernel) {
  ssd_executor::finish_launches();
  ssd_executor::forgotten = kernel ? kernel : "";
}
