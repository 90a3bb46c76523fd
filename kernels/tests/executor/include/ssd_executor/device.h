// What the stand-in intrinsics need from the executor.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssd_executor {

// A line of kernel source.
struct Site {
  const char* file;
  int line;
};

enum class BarrierOp { kPlain, kOr, kAnd, kCount };
enum class WarpOp {
  kSync,
  kShuffle,
  kBallot,
  kAny,
  kAll,
  kMatchAny,
  kAdd,
  kMin,
  kMax,
  kMinSigned,
  kMaxSigned,
  kOr,
  kXor,
};

// Waits for every thread of the block; the combined predicate.
int block_barrier(BarrierOp op, int predicate, Site site);

// Waits for every lane in mask; the lane's result. source_lane: shuffles only, -1 for own value.
std::uint64_t warp_collective(WarpOp op, unsigned mask, std::uint64_t value, int source_lane,
                              Site site);
int lane_index();

// Notes an atomic access, checks its address.
void note_atomic(const void* address, std::size_t bytes);

}  // namespace ssd_executor
