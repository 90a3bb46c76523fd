// Kernel 1: reads conf once, finds the candidates and appends each to the list of its class.
#pragma once

#include "decode_nms_order.cuh"

// conf tile of score_kernel; at global scope, where every runtime finds it
extern __shared__ __align__(16) unsigned char shared_memory[];

namespace ssd_small {
namespace device {

constexpr unsigned kScoreThreads = 256;
constexpr unsigned kScoreWarps = kScoreThreads / kWarpSize;

// Copies `count` values to shared memory by 16-byte loads, whatever the alignment of `from`: the
// copy gets the same phase within 16 bytes, only the ends go value by value.
template <class T>
__device__ const T* load_tile(const T* from, unsigned count) {
  constexpr unsigned kPerVector = 16 / sizeof(T);
  const unsigned phase =
      static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(from) % 16 / sizeof(T));
  T* tile = reinterpret_cast<T*>(shared_memory) + phase;
  const unsigned head = min(count, (kPerVector - phase) % kPerVector);
  const unsigned vectors = (count - head) / kPerVector;
  const unsigned tail = head + vectors * kPerVector;
  const uint4* source = reinterpret_cast<const uint4*>(from + head);
  uint4* target = reinterpret_cast<uint4*>(tile + head);
  for (unsigned i = threadIdx.x; i < vectors; i += kScoreThreads) target[i] = source[i];
  if (threadIdx.x < head) tile[threadIdx.x] = from[threadIdx.x];
  if (tail + threadIdx.x < count) tile[tail + threadIdx.x] = from[tail + threadIdx.x];
  return tile;
}

// Appends (label, prior). A list that is full still counts: the next kernel then leaves it and
// reads conf again.
__device__ inline void append(const Problem& problem, unsigned image, unsigned prior,
                              unsigned label, float score) {
  const std::size_t pair = static_cast<std::size_t>(image) * problem.num_classes + label;
  const unsigned slot = atomicAdd(&problem.counts[pair], 1u);
  if (slot < problem.list_capacity) {
    problem.lists[pair * problem.list_capacity + slot] =
        key_from(score, static_cast<std::int32_t>(label), static_cast<std::int32_t>(prior));
  }
}

// One warp: true in every lane if the row may hold a candidate (see lazy_scores.h).
template <class T>
__device__ bool may_pass(const Problem& problem, const T* logits, unsigned lane) {
  if (problem.background >= problem.num_classes) return true;
  const float other = to_float(logits[problem.background]);
  bool pass = false;
  for (unsigned c = lane; c < problem.num_classes; c += kWarpSize) {
    pass |= c != problem.background && to_float(logits[c]) - other >= problem.lazy_cut;
  }
  return __any_sync(kWholeWarp, pass) != 0;
}

// One warp: maximum of a row and the sum of its exponentials, the same bits in every lane: the
// butterfly adds what the contract's fold 16, 8, 4, 2, 1 adds, and addition commutes.
template <class T>
__device__ float2 softmax_stats(const Problem& problem, const T* logits, unsigned lane) {
  float maximum = -HUGE_VALF;  // NaN never wins here; it makes the sum NaN
  for (unsigned c = lane; c < problem.num_classes; c += kWarpSize) {
    const float logit = to_float(logits[c]);
    maximum = logit > maximum ? logit : maximum;
  }
  for (int step = kSumLanes / 2; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(kWholeWarp, maximum, step);
    maximum = other > maximum ? other : maximum;
  }
  float sum = 0.0f;
  for (unsigned c = lane; c < problem.num_classes; c += kWarpSize) {
    sum = sum + exp_f32(to_float(logits[c]) - maximum);
  }
  for (int step = kSumLanes / 2; step > 0; step /= 2) {
    sum = sum + __shfl_xor_sync(kWholeWarp, sum, step);
  }
  return make_float2(maximum, sum);
}

// Score of a logit, or NaN where the lazy cut refuses it. row_stats: softmax only.
__device__ __forceinline__ float score_from_logit(const Problem& problem, float logit,
                                                  float2 row_stats) {
  const float nan = float_from_bits(0x7fc00000u);
  if (problem.activation == Activation::kSoftmax) {
    const float exponent = logit - row_stats.x;
    return exponent >= problem.lazy_cut ? exp_f32(exponent) / row_stats.y : nan;
  }
  if (!(logit >= problem.lazy_cut)) return nan;
  return problem.activation == Activation::kSigmoid ? sigmoid_f32(logit) : logit;
}

// One warp, one row of conf.
template <class T>
__device__ void score_row(const Problem& problem, const T* logits, unsigned row, unsigned lane) {
  const unsigned image = row / problem.num_priors, prior = row % problem.num_priors;
  float2 stats = make_float2(0.0f, 0.0f);
  if (problem.activation == Activation::kSoftmax) {
    const bool pass = may_pass(problem, logits, lane);
    const float nan = float_from_bits(0x7fc00000u);
    stats = pass ? softmax_stats(problem, logits, lane) : make_float2(nan, nan);
    if (problem.row_stats != nullptr && lane == 0) problem.row_stats[row] = stats;
    if (!pass) return;
  }
  bool is_decoded = false;  // the same in every lane
  for (unsigned first = 0; first < problem.num_classes; first += kWarpSize) {
    const unsigned c = first + lane;
    float score = 0.0f;
    bool found = false;
    if (c < problem.num_classes && c != problem.background) {
      score = score_from_logit(problem, to_float(logits[c]), stats);
      found = score > problem.score_threshold;
    }
    if (!is_decoded && __any_sync(kWholeWarp, found) != 0) {
      // once for all classes, and only for rows with a score over the threshold
      bool finite = false;
      if (lane == 0) finite = is_finite(decoded_box<T>(problem, image, prior));
      if (__any_sync(kWholeWarp, finite) == 0) return;
      is_decoded = true;
    }
    if (found) append(problem, image, prior, c, score);
  }
}

// Grid: one block per tile of rows_per_tile rows of the whole batch; a warp takes a row.
template <class T>
__global__ void __launch_bounds__(kScoreThreads) score_kernel(const Problem problem) {
  const unsigned first = blockIdx.x * problem.rows_per_tile;
  const unsigned rows = min(problem.rows_per_tile, problem.num_rows - first);
  const T* conf = static_cast<const T*>(problem.inputs.conf) +
                  static_cast<std::size_t>(first) * problem.num_classes;
  const T* tile = load_tile(conf, rows * problem.num_classes);
  wait_for_previous_kernel();
  let_next_kernel_begin();
  __syncthreads();
  const unsigned lane = threadIdx.x % kWarpSize;
  for (unsigned r = threadIdx.x / kWarpSize; r < rows; r += kScoreWarps) {
    score_row(problem, tile + static_cast<std::size_t>(r) * problem.num_classes, first + r, lane);
  }
}

}  // namespace device
}  // namespace ssd_small
