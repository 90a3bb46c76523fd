// Kernel 3: the detections of all classes of an image in one order, written to the outputs.
//
// merge_kernel sorts in shared memory, one block per image. rank_kernel, for very many kept
// boxes, finds each one's place by binary search in the lists of the other classes.
#pragma once

#include "decode_nms_order.cuh"
#include "decode_nms_select.cuh"

namespace ssd_small {
namespace device {

constexpr unsigned kMergeThreads = 512;
constexpr unsigned kMergeRoom = 4096;  // keys sorted at once
constexpr unsigned kRankThreads = 256;
constexpr unsigned kRankWarps = kRankThreads / kWarpSize;

struct MergeScratch {
  OrderKey keys[kMergeRoom];
  SelectScratch select;
  unsigned long long total;
};

// All kept keys of an image; a warp takes a class.
struct KeptKeys {
  const Problem& problem;
  unsigned image;

  template <class Visit>
  __device__ void visit(const Visit& visit) const {
    const std::size_t first = static_cast<std::size_t>(image) * problem.num_classes;
    for (unsigned c = threadIdx.x / kWarpSize; c < problem.num_classes;
         c += kMergeThreads / kWarpSize) {
      const unsigned count = problem.kept_counts[first + c];
      const OrderKey* keys = problem.kept_keys + (first + c) * problem.kept_capacity;
      for (unsigned i = threadIdx.x % kWarpSize; i < count; i += kWarpSize) visit(keys[i]);
    }
  }
};

template <class T>
__device__ void write_row(const Problem& problem, unsigned image, unsigned rank, OrderKey key) {
  const std::size_t row = static_cast<std::size_t>(image) * problem.max_detections + rank;
  const std::int32_t prior = prior_from_key(key);
  const Box box = candidate_box<T>(problem, image, static_cast<unsigned>(prior));
  float* to = problem.outputs.boxes + 4 * row;
  to[0] = box.x1, to[1] = box.y1, to[2] = box.x2, to[3] = box.y2;
  problem.outputs.scores[row] = score_from_key(key);
  problem.outputs.labels[row] = label_from_key(key);
  problem.outputs.prior_indices[row] = prior;
}

// Clears the rows from `first` on; `worker` of `workers` threads takes every workers-th one.
__device__ inline void clear_rows(const Problem& problem, unsigned image, unsigned first,
                                  unsigned worker, unsigned workers) {
  for (std::size_t rank = std::size_t{first} + worker; rank < problem.max_detections;
       rank += workers) {
    const std::size_t row = static_cast<std::size_t>(image) * problem.max_detections + rank;
    float* to = problem.outputs.boxes + 4 * row;
    to[0] = to[1] = to[2] = to[3] = 0.0f;
    problem.outputs.scores[row] = 0.0f;
    problem.outputs.labels[row] = 0;
    problem.outputs.prior_indices[row] = -1;
  }
}

// Kept boxes of an image, all classes, or the largest unsigned integer where there are more (2^32
// in 1024 classes of 2^22 priors); `total` is shared. Ends with a barrier.
__device__ inline unsigned total_kept(const Problem& problem, unsigned image,
                                      unsigned long long* total, unsigned threads) {
  if (threadIdx.x == 0) *total = 0;
  __syncthreads();
  unsigned long long mine = 0;
  for (unsigned c = threadIdx.x; c < problem.num_classes; c += threads) {
    mine += problem.kept_counts[static_cast<std::size_t>(image) * problem.num_classes + c];
  }
  atomicAdd(total, mine);
  __syncthreads();
  return *total < 0xffffffffull ? static_cast<unsigned>(*total) : 0xffffffffu;
}

// Grid: (images, helpers); block y = 0 sorts and writes, all clear what lies past the last row.
template <class T>
__global__ void __launch_bounds__(kMergeThreads) merge_kernel(const Problem problem) {
  __shared__ MergeScratch scratch;
  wait_for_previous_kernel();
  const unsigned image = blockIdx.x;
  const unsigned total = total_kept(problem, image, &scratch.total, kMergeThreads);
  const unsigned num = min(total, problem.keep_topk);
  clear_rows(problem, image, num, blockIdx.y * kMergeThreads + threadIdx.x,
             gridDim.y * kMergeThreads);
  if (blockIdx.y != 0) return;
  if (threadIdx.x == 0) {
    problem.outputs.num_detections[image] = static_cast<std::int32_t>(num);
  }
  const KeptKeys kept{problem, image};
  OrderKey upper = ~OrderKey{0};
  for (unsigned done = 0; done < num;) {
    // at least half the room is filled: twice what is missing is enough
    unsigned room = 2;
    while (room < kMergeRoom && room < 2 * (num - done)) room *= 2;
    unsigned count =
        next_chunk<kMergeThreads>(kept, total, room, &upper, scratch.keys, scratch.select);
    if (count == 0) break;
    count = min(count, num - done);
    for (unsigned i = threadIdx.x; i < count; i += kMergeThreads) {
      write_row<T>(problem, image, done + i, scratch.keys[i]);
    }
    done += count;
    __syncthreads();
  }
}

// Keys of a descending list that are greater than `key`.
__device__ inline unsigned greater_keys(const OrderKey* keys, unsigned count, OrderKey key) {
  unsigned low = 0, high = count;
  while (low < high) {
    const unsigned middle = (low + high) / 2;
    if (keys[middle] > key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Grid: (images * classes, slices); a warp takes a kept box, its lanes the other classes.
template <class T>
__global__ void __launch_bounds__(kRankThreads) rank_kernel(const Problem problem) {
  __shared__ unsigned long long shared_total;
  wait_for_previous_kernel();
  const unsigned image = blockIdx.x / problem.num_classes;
  const unsigned label = blockIdx.x % problem.num_classes;
  const unsigned lane = threadIdx.x % kWarpSize;
  const unsigned total = total_kept(problem, image, &shared_total, kRankThreads);
  const unsigned num = min(total, problem.keep_topk);
  const std::size_t first = static_cast<std::size_t>(image) * problem.num_classes;
  const unsigned slice = label * gridDim.y + blockIdx.y;
  clear_rows(problem, image, num, slice * kRankThreads + threadIdx.x,
             problem.num_classes * gridDim.y * kRankThreads);
  if (slice == 0 && threadIdx.x == 0) {
    problem.outputs.num_detections[image] = static_cast<std::int32_t>(num);
  }
  const unsigned mine = problem.kept_counts[first + label];
  const OrderKey* my_keys = problem.kept_keys + (first + label) * problem.kept_capacity;
  for (unsigned i = blockIdx.y * kRankWarps + threadIdx.x / kWarpSize; i < mine;
       i += gridDim.y * kRankWarps) {
    const OrderKey key = my_keys[i];
    unsigned rank = lane == 0 ? i : 0;
    for (unsigned c = lane; c < problem.num_classes; c += kWarpSize) {
      if (c == label) continue;
      rank += greater_keys(problem.kept_keys + (first + c) * problem.kept_capacity,
                           problem.kept_counts[first + c], key);
    }
    for (int step = 16; step > 0; step /= 2) rank += __shfl_xor_sync(kWholeWarp, rank, step);
    if (lane == 0 && rank < num) write_row<T>(problem, image, rank, key);
  }
}

}  // namespace device
}  // namespace ssd_small
