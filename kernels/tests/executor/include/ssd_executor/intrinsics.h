// Barriers, warp intrinsics and atomics of the stand-in runtime.
#pragma once

#define SSD_EXECUTOR_SITE \
  const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(SSD_EXECUTOR_SITE) {
  ssd_executor::block_barrier(ssd_executor::BarrierOp::kPlain, 0, {file, line});
}
inline int __syncthreads_or(int predicate, SSD_EXECUTOR_SITE) {
  return ssd_executor::block_barrier(ssd_executor::BarrierOp::kOr, predicate, {file, line});
}
inline int __syncthreads_and(int predicate, SSD_EXECUTOR_SITE) {
  return ssd_executor::block_barrier(ssd_executor::BarrierOp::kAnd, predicate, {file, line});
}
inline int __syncthreads_count(int predicate, SSD_EXECUTOR_SITE) {
  return ssd_executor::block_barrier(ssd_executor::BarrierOp::kCount, predicate, {file, line});
}
inline void __syncwarp(unsigned mask = 0xffffffffu, SSD_EXECUTOR_SITE) {
  ssd_executor::warp_collective(ssd_executor::WarpOp::kSync, mask, 0, -1, {file, line});
}

namespace ssd_executor {
template <class T>
T shuffle(unsigned mask, T value, int source, Site site) {
  static_assert(sizeof(T) <= 8, "shuffles move at most 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_collective(WarpOp::kShuffle, mask, bits, source, site);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned vote(WarpOp op, unsigned mask, std::uint64_t value, Site site) {
  return static_cast<unsigned>(warp_collective(op, mask, value, -1, site));
}
}  // namespace ssd_executor

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, SSD_EXECUTOR_SITE) {
  const int lane = ssd_executor::lane_index();
  return ssd_executor::shuffle(mask, value, (lane & ~(width - 1)) + (source & (width - 1)),
                               {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, SSD_EXECUTOR_SITE) {
  const int lane = ssd_executor::lane_index();
  const int source = lane ^ lane_mask;
  const bool inside = source < (lane & ~(width - 1)) + width;
  return ssd_executor::shuffle(mask, value, inside ? source : -1, {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SSD_EXECUTOR_SITE) {
  const int lane = ssd_executor::lane_index();
  const int source = lane - static_cast<int>(delta);
  const bool inside = source >= (lane & ~(width - 1));
  return ssd_executor::shuffle(mask, value, inside ? source : -1, {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SSD_EXECUTOR_SITE) {
  const int lane = ssd_executor::lane_index();
  const int source = lane + static_cast<int>(delta);
  const bool inside = source < (lane & ~(width - 1)) + width;
  return ssd_executor::shuffle(mask, value, inside ? source : -1, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, SSD_EXECUTOR_SITE) {
  return ssd_executor::vote(ssd_executor::WarpOp::kBallot, mask, predicate != 0, {file, line});
}
inline int __any_sync(unsigned mask, int predicate, SSD_EXECUTOR_SITE) {
  return ssd_executor::vote(ssd_executor::WarpOp::kAny, mask, predicate != 0, {file, line}) != 0;
}
inline int __all_sync(unsigned mask, int predicate, SSD_EXECUTOR_SITE) {
  return ssd_executor::vote(ssd_executor::WarpOp::kAll, mask, predicate != 0, {file, line}) != 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, SSD_EXECUTOR_SITE) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return ssd_executor::vote(ssd_executor::WarpOp::kMatchAny, mask, bits, {file, line});
}
#define SSD_EXECUTOR_REDUCE(name, op)                                                   \
  inline unsigned name(unsigned mask, unsigned value, SSD_EXECUTOR_SITE) {              \
    return ssd_executor::vote(ssd_executor::WarpOp::op, mask, value, {file, line});     \
  }
SSD_EXECUTOR_REDUCE(__reduce_add_sync, kAdd)
SSD_EXECUTOR_REDUCE(__reduce_min_sync, kMin)
SSD_EXECUTOR_REDUCE(__reduce_max_sync, kMax)
SSD_EXECUTOR_REDUCE(__reduce_or_sync, kOr)
SSD_EXECUTOR_REDUCE(__reduce_xor_sync, kXor)
#undef SSD_EXECUTOR_REDUCE
inline int __reduce_min_sync(unsigned mask, int value, SSD_EXECUTOR_SITE) {
  return static_cast<int>(ssd_executor::vote(ssd_executor::WarpOp::kMinSigned, mask,
                                             static_cast<unsigned>(value), {file, line}));
}
inline int __reduce_max_sync(unsigned mask, int value, SSD_EXECUTOR_SITE) {
  return static_cast<int>(ssd_executor::vote(ssd_executor::WarpOp::kMaxSigned, mask,
                                             static_cast<unsigned>(value), {file, line}));
}

// ---- atomics: one fiber runs at a time, so a plain operation is atomic --------------------
#if defined(__SANITIZE_THREAD__)
#define SSD_EXECUTOR_UNTRACED __attribute__((no_sanitize("thread"), noinline))
#define SSD_EXECUTOR_NOTE_ATOMIC(address) ssd_executor::note_atomic(address, sizeof *(address))
#else
#define SSD_EXECUTOR_UNTRACED
#define SSD_EXECUTOR_NOTE_ATOMIC(address)
#endif
template <class T>
SSD_EXECUTOR_UNTRACED T atomicAdd(T* address, std::common_type_t<T> value) {
  SSD_EXECUTOR_NOTE_ATOMIC(address);
  const T old = *address;
  *address = static_cast<T>(old + value);
  return old;
}
#undef SSD_EXECUTOR_UNTRACED
#undef SSD_EXECUTOR_NOTE_ATOMIC
#undef SSD_EXECUTOR_SITE
