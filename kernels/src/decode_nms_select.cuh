// Selection of the next keys of a set that is too large to sort at once.
//
// A set is any object with `template <class Visit> void visit(Visit)`, which calls
// visit(key) once for each key, spread over the threads of the block, and costs no barrier.
// Keys equal to kNoKey are ignored; all others are different from each other.
#pragma once

#include "decode_nms_device.cuh"

namespace ssd_small {
namespace device {

constexpr unsigned kBins = 2048;

struct SelectScratch {
  unsigned bins[kBins];
  unsigned warp_sums[kWarpSize];
  unsigned above;  // keys in bins above the boundary
  unsigned bin;    // the boundary: the bin that no longer fits whole; kBins if all fit
  unsigned gathered;
};

// Finds the bin at which the count from the top exceeds `room`. All threads get the result in
// scratch; ends with a barrier.
template <unsigned kThreads>
__device__ void find_boundary(SelectScratch& scratch, unsigned room) {
  constexpr unsigned kPerThread = kBins / kThreads;
  const unsigned lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const unsigned top = kBins - kPerThread * threadIdx.x;  // this thread: bins below `top`
  unsigned mine = 0;
  for (unsigned i = 1; i <= kPerThread; ++i) mine += scratch.bins[top - i];
  unsigned inclusive = mine;
  for (unsigned step = 1; step < kWarpSize; step *= 2) {
    const unsigned other = __shfl_up_sync(kWholeWarp, inclusive, step);
    if (lane >= step) inclusive += other;
  }
  if (lane == kWarpSize - 1) scratch.warp_sums[warp] = inclusive;
  if (threadIdx.x == 0) scratch.bin = kBins;
  __syncthreads();
  unsigned before = inclusive - mine;
  for (unsigned w = 0; w < warp; ++w) before += scratch.warp_sums[w];
  if (before <= room && before + mine > room) {  // one thread at most
    unsigned bin = top - 1;
    while (before + scratch.bins[bin] <= room) before += scratch.bins[bin--];
    scratch.bin = bin;
    scratch.above = before;
  }
  __syncthreads();
}

// Lower end of the next chunk: [result, upper) holds between room/2 and room keys, or, when
// fewer are left, all of them (result is then 0). Ends with a barrier.
template <unsigned kThreads, class Set>
__device__ OrderKey chunk_lower_bound(const Set& set, OrderKey upper, unsigned room,
                                      SelectScratch& scratch) {
  // digits from the top: score 11 + 11 + 10 bits, label 10, prior 11 + 11
  const unsigned shifts[] = {53, 42, 32, 22, 11, 0};
  unsigned parent_shift = 64;
  unsigned taken = 0;
  OrderKey prefix = 0;  // the bits above parent_shift of the bin that is being split
  OrderKey lower = 0;
#pragma unroll
  for (const unsigned shift : shifts) {
    const unsigned mask = (1u << (parent_shift - shift)) - 1;
    for (unsigned b = threadIdx.x; b < kBins; b += kThreads) scratch.bins[b] = 0;
    __syncthreads();
    set.visit([&](OrderKey key) {
      const bool inside = parent_shift == 64 || key >> (parent_shift & 63u) == prefix;
      if (key < upper && key != kNoKey && inside) {
        atomicAdd(&scratch.bins[static_cast<unsigned>(key >> shift) & mask], 1u);
      }
    });
    __syncthreads();
    find_boundary<kThreads>(scratch, room - taken);
    if (scratch.bin == kBins) break;  // all that is left fits; happens at the first digit only
    taken += scratch.above;
    prefix = (parent_shift == 64 ? 0 : prefix << (parent_shift - shift)) | scratch.bin;
    lower = (prefix + 1) << shift;
    parent_shift = shift;
    __syncthreads();  // scratch is about to be written again
    if (taken >= room / 2) break;
  }
  return lower;
}

// Copies the keys of [lower, upper) to `keys` in any order; their number. Ends with a barrier.
template <unsigned kThreads, class Set>
__device__ unsigned gather(const Set& set, OrderKey lower, OrderKey upper, OrderKey* keys,
                           SelectScratch& scratch) {
  __syncthreads();
  if (threadIdx.x == 0) scratch.gathered = 0;
  __syncthreads();
  set.visit([&](OrderKey key) {
    if (key >= lower && key < upper && key != kNoKey) {
      keys[atomicAdd(&scratch.gathered, 1u)] = key;
    }
  });
  __syncthreads();
  return scratch.gathered;
}

// The next keys below `upper`, in descending order at the front of `keys`, which has room for
// `room` (a power of two); their number, 0 if none is left. *upper moves to the chunk's end.
template <unsigned kThreads, class Set>
__device__ unsigned next_chunk(const Set& set, unsigned set_size, unsigned room, OrderKey* upper,
                               OrderKey* keys, SelectScratch& scratch) {
  if (*upper == kNoKey) return 0;
  const OrderKey lower =
      set_size <= room ? kNoKey : chunk_lower_bound<kThreads>(set, *upper, room, scratch);
  const unsigned count = gather<kThreads>(set, lower, *upper, keys, scratch);
  *upper = lower;
  const unsigned size = padded_size(count);
  for (unsigned i = count + threadIdx.x; i < size; i += kThreads) keys[i] = kNoKey;
  sort_descending(keys, size, kThreads);
  return count;
}

}  // namespace device
}  // namespace ssd_small
