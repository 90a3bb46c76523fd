// What the decode+NMS kernels share: the problem as they see it, loads, block-wide sort.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "ssd_small/activations.h"
#include "ssd_small/boxes.h"
#include "ssd_small/decode_nms.h"
#include "ssd_small/order_key.h"

namespace ssd_small {
namespace device {

constexpr unsigned kWarpSize = 32;
constexpr unsigned kWholeWarp = 0xffffffffu;
constexpr unsigned kKeptInShared = 256;  // kept boxes of a class beyond these lie in the workspace

// Arguments of every kernel, by value. "Pair" is image * num_classes + label.
struct Problem {
  DecodeNmsInputs inputs;
  DecodeNmsOutputs outputs;
  // workspace
  unsigned* counts;       // [N * C] candidates found
  unsigned* kept_counts;  // [N * C] detections kept
  OrderKey* lists;        // [N * C, list_capacity] candidates in any order
  OrderKey* kept_keys;    // [N * C, kept_capacity] in descending order
  Box* kept_boxes;        // [N * C, kept_capacity] scaled, or nullptr
  float2* row_stats;      // [N * P] maximum and sum of softmax rows, or nullptr; NaN: no candidate
  // problem
  unsigned num_rows;   // N * P
  unsigned num_pairs;  // N * C
  unsigned num_priors;
  unsigned num_classes;
  unsigned background;  // num_classes or more if there is none
  unsigned list_capacity;
  unsigned kept_capacity;
  unsigned pre_nms_topk;  // UINT_MAX for no cut
  unsigned keep_topk;     // UINT_MAX for no cut
  unsigned max_detections;
  unsigned rows_per_tile;
  Activation activation;
  float score_threshold;
  float lazy_cut;
  float iou_threshold;
  float variances[2];
  IouConvention convention;
  bool clip_boxes;
  Edges edges;
};

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(__half value) { return __half2float(value); }

template <class T>
__device__ __forceinline__ bool is_aligned(const void* pointer, T bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

// Four consecutive values, by one load where their address allows it.
__device__ __forceinline__ void load_four(const float* from, float to[4]) {
  if (is_aligned(from, sizeof(float4))) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  } else {
    for (int i = 0; i < 4; ++i) to[i] = from[i];
  }
}

__device__ __forceinline__ void load_four(const __half* from, float to[4]) {
  if (is_aligned(from, sizeof(uint2))) {
    const uint2 four = *reinterpret_cast<const uint2*>(from);
    to[0] = __half2float(__ushort_as_half(static_cast<unsigned short>(four.x & 0xffffu)));
    to[1] = __half2float(__ushort_as_half(static_cast<unsigned short>(four.x >> 16)));
    to[2] = __half2float(__ushort_as_half(static_cast<unsigned short>(four.y & 0xffffu)));
    to[3] = __half2float(__ushort_as_half(static_cast<unsigned short>(four.y >> 16)));
  } else {
    for (int i = 0; i < 4; ++i) to[i] = __half2float(from[i]);
  }
}

// The box of a prior in an image, unit square, before it is cut: whether it is a candidate's.
template <class T>
__device__ __forceinline__ Box decoded_box(const Problem& problem, unsigned image,
                                           unsigned prior) {
  const std::size_t row = static_cast<std::size_t>(image) * problem.num_priors + prior;
  float loc[4], prior_cxcywh[4];
  load_four(static_cast<const T*>(problem.inputs.loc) + 4 * row, loc);
  load_four(problem.inputs.priors + 4 * static_cast<std::size_t>(prior), prior_cxcywh);
  return box_from_loc(loc, prior_cxcywh, problem.variances[0], problem.variances[1]);
}

// The box of a candidate, as NMS sees it and as it comes out.
template <class T>
__device__ __forceinline__ Box candidate_box(const Problem& problem, unsigned image,
                                             unsigned prior) {
  const Box box = decoded_box<T>(problem, image, prior);
  return problem.clip_boxes ? clipped(box, problem.edges) : box;
}

// Sorts `size` keys (a power of two) in shared memory, greatest first. Ends with a barrier.
__device__ inline void sort_descending(OrderKey* keys, unsigned size, unsigned threads) {
  __syncthreads();
  for (unsigned run = 2; run <= size; run *= 2) {
    for (unsigned stride = run / 2; stride > 0; stride /= 2) {
      for (unsigned first = 0; first < size / 2; first += threads) {
        const unsigned pair = first + threadIdx.x;
        if (pair >= size / 2) continue;
        const unsigned low = 2 * pair - (pair & (stride - 1)), high = low + stride;
        const OrderKey a = keys[low], b = keys[high];
        if ((a < b) == ((low & run) == 0)) {
          keys[low] = b;
          keys[high] = a;
        }
      }
      // with strides up to 32 a warp stays within its own 64 keys
      const unsigned next = stride > 1 ? stride / 2 : run;
      if (stride > kWarpSize || next > kWarpSize) {
        __syncthreads();
      } else {
        __syncwarp();
      }
    }
  }
  __syncthreads();
}

// Least power of two that is at least `count` and 2.
__device__ __forceinline__ unsigned padded_size(unsigned count) {
  unsigned size = 2;
  while (size < count) size *= 2;
  return size;
}

}  // namespace device
}  // namespace ssd_small
