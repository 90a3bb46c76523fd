// Barriers and warp collectives of the executor, and what goes wrong with them.
#include <algorithm>

#include "state.h"

namespace ssd_executor {
namespace {

std::uint64_t fold(WarpOp op, std::uint64_t a, std::uint64_t b) {
  const auto x = static_cast<std::int32_t>(a), y = static_cast<std::int32_t>(b);
  switch (op) {
    case WarpOp::kAdd: return static_cast<std::uint32_t>(a + b);
    case WarpOp::kMin: return std::min(a, b);
    case WarpOp::kMax: return std::max(a, b);
    case WarpOp::kMinSigned: return static_cast<std::uint32_t>(std::min(x, y));
    case WarpOp::kMaxSigned: return static_cast<std::uint32_t>(std::max(x, y));
    case WarpOp::kAll: return a & b;
    case WarpOp::kOr: case WarpOp::kAny: return a | b;
    case WarpOp::kXor: return a ^ b;
    default: return 0;
  }
}

// Results of a collective for all lanes in mask, which have all arrived.
void exchange(Thread* const* lanes, unsigned num_lanes, unsigned mask, WarpOp op) {
  const Inside inside;
  std::uint64_t folded = 0, ballot = 0;
  bool first = true;
  for (unsigned i = 0; i < num_lanes; ++i) {
    if (!(mask >> i & 1)) continue;
    folded = first ? lanes[i]->value : fold(op, folded, lanes[i]->value);
    ballot |= static_cast<std::uint64_t>(lanes[i]->value != 0) << i;
    first = false;
  }
  for (unsigned i = 0; i < num_lanes; ++i) {
    if (!(mask >> i & 1)) continue;
    Thread& lane = *lanes[i];
    if (op == WarpOp::kShuffle) {
      const int source = lane.source_lane < 0 ? static_cast<int>(i) : lane.source_lane;
      const bool present = static_cast<unsigned>(source) < num_lanes && (mask >> source & 1);
      if (!present) {
        fault("shuffle at " + site_name(lane.site) + ": " + thread_name(lane) +
              " reads lane " + std::to_string(source) + ", which takes no part");
      }
      lane.result = present ? lanes[source]->value : ~0ull;
    } else if (op == WarpOp::kMatchAny) {
      lane.result = 0;
      for (unsigned j = 0; j < num_lanes; ++j) {
        if ((mask >> j & 1) && lanes[j]->value == lane.value) lane.result |= 1ull << j;
      }
    } else {
      lane.result = op == WarpOp::kBallot ? ballot : folded;
    }
  }
}

}  // namespace

void complete_barrier() {
  const Inside inside;
  static std::vector<Thread*> waiting;
  waiting.clear();
  const Thread* first = nullptr;
  const Thread* elsewhere = nullptr;
  const Thread* gone = nullptr;
  int any = 0, all = 1, count = 0;
  bool waited = false;
  for (unsigned i = 0; i < machine.num_threads; ++i) {
    Thread& thread = *pool.threads[i];
    if (thread.status != Status::kAtBarrier) {
      gone = &thread;
      continue;
    }
    waiting.push_back(&thread);
    if (!first) first = &thread;
    if (thread.site.line != first->site.line || thread.barrier_op != first->barrier_op) {
      elsewhere = &thread;
    }
    waited |= thread.waited;
    any |= thread.predicate != 0;
    all &= thread.predicate != 0;
    count += thread.predicate != 0;
  }
  if (elsewhere) {
    fault("divergent barrier: " + thread_name(*first) + " waits at " + site_name(first->site) +
          ", " + thread_name(*elsewhere) + " at " + site_name(elsewhere->site));
  }
  if (gone) {
    fault("missing barrier: " + thread_name(*gone) + " exited, " + thread_name(*first) +
          " waits at " + site_name(first->site));
  }
  for (Thread* thread : waiting) {
    thread->waited = waited;  // what one thread waited for, the barrier shows to all
    const BarrierOp op = thread->barrier_op;
    thread->result = static_cast<std::uint64_t>(op == BarrierOp::kOr    ? any
                                                : op == BarrierOp::kAnd ? all
                                                                        : count);
  }
  pool.at_barrier = 0;
  next_epoch();
  make_all_ready(waiting);
}

void describe_stuck() {
  for (unsigned i = 0; i < machine.num_threads; ++i) {
    const Thread& thread = *pool.threads[i];
    if (thread.status == Status::kAtCollective) {
      const unsigned warp = i / kWarp;
      for (unsigned lane = 0; lane < kWarp; ++lane) {
        const unsigned j = warp * kWarp + lane;
        if (!(thread.mask >> lane & 1) || j >= machine.num_threads) continue;
        const Thread& other = *pool.threads[j];
        if (other.status == Status::kAtCollective && other.op == thread.op &&
            other.mask == thread.mask) {
          continue;
        }
        fault("warp collective never completes: " + thread_name(thread) + " waits at " +
              site_name(thread.site) + ", " + thread_name(other) +
              (other.status == Status::kExited ? " exited"
                                               : " waits at " + site_name(other.site)));
        return;
      }
    }
  }
  fault("the block cannot go on");
}

int block_barrier(BarrierOp op, int predicate, Site site) {
  Thread& thread = *machine.current;
  thread.status = Status::kAtBarrier;
  thread.barrier_op = op;
  thread.predicate = predicate;
  thread.site = site;
  if (++pool.at_barrier + pool.exited == machine.num_threads) complete_barrier();
  leave();
  return static_cast<int>(thread.result);
}

std::uint64_t warp_collective(WarpOp op, unsigned mask, std::uint64_t value, int source_lane,
                              Site site) {
  Thread& thread = *machine.current;
  const unsigned warp = thread.linear / kWarp, lane = thread.linear % kWarp;
  const unsigned num_lanes = std::min(kWarp, machine.num_threads - warp * kWarp);
  const unsigned present = num_lanes == kWarp ? ~0u : (1u << num_lanes) - 1;
  if (!(mask >> lane & 1) || (mask & ~present)) {
    const Inside inside;
    fault("mask " + std::to_string(mask) + " at " + site_name(site) +
          " leaves out its caller or names lanes that do not exist");
    mask = (mask & present) | 1u << lane;
  }
  thread.status = Status::kAtCollective;
  thread.op = op;
  thread.mask = mask;
  thread.value = value;
  thread.source_lane = source_lane;
  thread.site = site;
  Thread* lanes[kWarp];
  for (unsigned i = 0; i < num_lanes; ++i) {
    lanes[i] = pool.threads[warp * kWarp + i].get();
    const Thread& other = *lanes[i];
    if ((mask >> i & 1) && (other.status != Status::kAtCollective || other.op != op ||
                            other.mask != mask)) {
      leave();  // someone is still on the way; the last one to arrive serves all
      return thread.result;
    }
  }
  exchange(lanes, num_lanes, mask, op);
  // only __syncwarp orders memory
  if (op == WarpOp::kSync && mask == present) ++machine.warp_epoch[warp];
  const unsigned turn = shuffled() ? static_cast<unsigned>(random_bits()) : 0;
  for (unsigned i = 0; i < kWarp; ++i) {
    const unsigned next = (i + turn) % kWarp;
    if (mask >> next & 1) make_ready(*lanes[next]);
  }
  leave();
  return thread.result;
}

}  // namespace ssd_executor
