// Kernel 2: greedy NMS of one class of one image per block.
#pragma once

#include "decode_nms_score.cuh"
#include "decode_nms_select.cuh"

namespace ssd_small {
namespace device {

constexpr unsigned kSuppressThreads = 256;
constexpr unsigned kSuppressWarps = kSuppressThreads / kWarpSize;
constexpr unsigned kChunk = 1024;  // candidates that are sorted and boxed at once

struct SuppressScratch {
  OrderKey keys[kChunk];
  union {  // never needed at the same time
    SelectScratch select;
    Box boxes[kChunk];
  };
  Box kept[kKeptInShared];
  unsigned overlaps[kWarpSize];  // bit j of word i: i suppresses j, j > i, in a group of 32
  unsigned dead[kWarpSize];      // suppressed by a box kept before the group
};

// The candidates of an (image, class): its list, or conf itself where the list overflowed.
template <class T>
struct Candidates {
  const Problem& problem;
  unsigned image, label;
  unsigned count;
  const OrderKey* list;  // nullptr: read conf

  __device__ OrderKey key_from_conf(unsigned prior) const {
    const std::size_t row = static_cast<std::size_t>(image) * problem.num_priors + prior;
    float2 stats = make_float2(0.0f, 0.0f);
    if (problem.activation == Activation::kSoftmax) stats = problem.row_stats[row];
    const T* conf = static_cast<const T*>(problem.inputs.conf);
    const float logit = to_float(conf[row * problem.num_classes + label]);
    const float score = score_from_logit(problem, logit, stats);
    if (!(score > problem.score_threshold)) return kNoKey;
    if (!is_finite(decoded_box<T>(problem, image, prior))) return kNoKey;
    return key_from(score, static_cast<std::int32_t>(label), static_cast<std::int32_t>(prior));
  }

  template <class Visit>
  __device__ void visit(const Visit& visit) const {
    const unsigned end = list != nullptr ? count : problem.num_priors;
    for (unsigned i = threadIdx.x; i < end; i += kSuppressThreads) {
      visit(list != nullptr ? list[i] : key_from_conf(i));
    }
  }
};

// One block's progress through its class; the same in every thread.
struct Progress {
  std::size_t pair;
  unsigned kept;
};

__device__ __forceinline__ const Box& kept_box(const Problem& problem,
                                               const SuppressScratch& scratch,
                                               const Progress& progress, unsigned k) {
  return k < kKeptInShared ? scratch.kept[k]
                           : problem.kept_boxes[progress.pair * problem.kept_capacity + k];
}

// Compares a group of up to 32 candidates with each other and with the kept boxes. A warp takes
// a candidate, its lanes the others. Ends with a barrier.
__device__ inline void compare_group(const Problem& problem, SuppressScratch& scratch,
                                     const Progress& progress, unsigned base, unsigned size) {
  const unsigned lane = threadIdx.x % kWarpSize;
  const float offset = problem.convention.offset, threshold = problem.iou_threshold;
  for (unsigned i = threadIdx.x / kWarpSize; i < size; i += kSuppressWarps) {
    const Box box = scratch.boxes[base + i];
    const float box_area = area(box, offset);
    bool dead = false;
    for (unsigned first = 0; first < progress.kept && !dead; first += kWarpSize) {
      bool hit = false;
      if (first + lane < progress.kept) {
        const Box other = kept_box(problem, scratch, progress, first + lane);
        hit = iou(other, area(other, offset), box, box_area, offset) > threshold;
      }
      dead = __any_sync(kWholeWarp, hit) != 0;
    }
    bool overlap = false;
    if (lane > i && lane < size) {
      const Box other = scratch.boxes[base + lane];
      overlap = iou(box, box_area, other, area(other, offset), offset) > threshold;
    }
    const unsigned overlaps = __ballot_sync(kWholeWarp, overlap);
    if (lane == 0) {
      scratch.overlaps[i] = overlaps;
      scratch.dead[i] = dead;
    }
  }
  __syncthreads();
}

// Which of a group survive: greedy, in order. Every warp computes the same.
__device__ inline unsigned surviving(const SuppressScratch& scratch, unsigned size) {
  const unsigned lane = threadIdx.x % kWarpSize;
  const unsigned overlaps = lane < size ? scratch.overlaps[lane] : 0u;
  unsigned alive = __ballot_sync(kWholeWarp, lane < size && scratch.dead[lane] == 0);
  unsigned pending = alive & __ballot_sync(kWholeWarp, overlaps != 0);
  while (pending != 0) {
    const int first = __ffs(static_cast<int>(pending)) - 1;
    const unsigned gone = __shfl_sync(kWholeWarp, overlaps, first);
    alive &= ~gone;
    pending &= ~(gone | 1u << first);
  }
  return alive;
}

// Runs greedy NMS over the sorted chunk in scratch. Ends with a barrier.
__device__ inline void suppress_chunk(const Problem& problem, SuppressScratch& scratch,
                                      Progress& progress, unsigned count) {
  const unsigned lane = threadIdx.x % kWarpSize;
  OrderKey* kept_keys = problem.kept_keys + progress.pair * problem.kept_capacity;
  for (unsigned base = 0; base < count && progress.kept < problem.kept_capacity;
       base += kWarpSize) {
    const unsigned size = min(kWarpSize, count - base);
    compare_group(problem, scratch, progress, base, size);
    const unsigned alive = surviving(scratch, size);
    const unsigned room = problem.kept_capacity - progress.kept;
    const unsigned rank = static_cast<unsigned>(__popc(alive & ((1u << lane) - 1u)));
    if (threadIdx.x < kWarpSize && (alive >> lane & 1u) != 0 && rank < room) {
      const unsigned slot = progress.kept + rank;
      kept_keys[slot] = scratch.keys[base + lane];
      const Box box = scratch.boxes[base + lane];
      if (slot < kKeptInShared) {
        scratch.kept[slot] = box;
      } else {
        problem.kept_boxes[progress.pair * problem.kept_capacity + slot] = box;
      }
    }
    progress.kept += min(static_cast<unsigned>(__popc(alive)), room);
    __syncthreads();
  }
}

// Grid: one block per (image, class).
template <class T>
__global__ void __launch_bounds__(kSuppressThreads) suppress_kernel(const Problem problem) {
  __shared__ SuppressScratch scratch;
  wait_for_previous_kernel();
  let_next_kernel_begin();
  Progress progress{blockIdx.x, 0};
  const unsigned image = blockIdx.x / problem.num_classes;
  const unsigned label = blockIdx.x % problem.num_classes;
  const unsigned count = problem.counts[progress.pair];
  const OrderKey* list = count <= problem.list_capacity
                             ? problem.lists + progress.pair * problem.list_capacity
                             : nullptr;
  const Candidates<T> candidates{problem, image, label, count, list};
  OrderKey upper = ~OrderKey{0};
  for (unsigned done = 0;
       done < min(count, problem.pre_nms_topk) && progress.kept < problem.kept_capacity;) {
    unsigned chunk =
        next_chunk<kSuppressThreads>(candidates, count, kChunk, &upper, scratch.keys,
                                     scratch.select);
    if (chunk == 0) break;  // never while count is right; a loop must end all the same
    chunk = min(chunk, problem.pre_nms_topk - done);
    for (unsigned i = threadIdx.x; i < chunk; i += kSuppressThreads) {
      const auto prior = static_cast<unsigned>(prior_from_key(scratch.keys[i]));
      scratch.boxes[i] = scaled(candidate_box<T>(problem, image, prior), problem.convention.scale);
    }
    __syncthreads();
    suppress_chunk(problem, scratch, progress, chunk);
    done += chunk;
  }
  if (threadIdx.x == 0) problem.kept_counts[progress.pair] = progress.kept;
}

}  // namespace device
}  // namespace ssd_small
