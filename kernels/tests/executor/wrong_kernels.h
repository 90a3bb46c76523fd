// Kernels with one deliberate fault each (and a few without): what the executor must tell apart.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

extern __shared__ unsigned char shared_memory[];

// Sums 64 values; `skip_barrier` leaves out the barrier between the warps' sums and their use.
__global__ void sum_kernel(const float* in, float* out, bool skip_barrier) {
  __shared__ float sums[2];
  float value = in[threadIdx.x];
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(~0u, value, step);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  if (!skip_barrier) __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = sums[0] + sums[1];
}

__global__ void unwritten_shared_kernel(float* out) {
  __shared__ float values[64];
  if (threadIdx.x != 5) values[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

__global__ void write_after_read_kernel(int* out) {
  __shared__ int values[64];
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  const int neighbour = values[(threadIdx.x + 1) % 64];
  values[threadIdx.x] = neighbour;  // a barrier is missing before this line
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

// Lanes exchange through shared memory: ordered only if `with_syncwarp`.
__global__ void warp_exchange_kernel(int* out, bool with_syncwarp) {
  __shared__ int values[64];
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (with_syncwarp) __syncwarp();
  out[threadIdx.x] = values[threadIdx.x ^ 1];
}

// One flag, written by all: a race even where all write the same value.
__global__ void same_value_kernel(int* out) {
  __shared__ int flag;
  flag = 1;
  __syncthreads();
  out[threadIdx.x] = flag;
}

__global__ void divergent_barrier_kernel(int* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1;
}

__global__ void missing_barrier_kernel(int* out) {
  out[threadIdx.x] = 1;
  if (threadIdx.x == 7) return;
  __syncthreads();
}

__global__ void missing_lane_kernel(int* out) {
  if (threadIdx.x == 9) return;
  out[threadIdx.x] = static_cast<int>(__ballot_sync(~0u, 1));
}

__global__ void foreign_lane_kernel(int* out) {
  int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x < 16) value = __shfl_sync(0xffffu, value, 20);
  out[threadIdx.x] = value;
}

__global__ void read_kernel(const float* in, float* out, int shift) {
  out[threadIdx.x] = in[static_cast<int>(threadIdx.x) + shift];
}

__global__ void write_kernel(float* out, int shift) {
  out[static_cast<int>(threadIdx.x) + shift] = 1.0f;
}

__global__ void vector_kernel(const unsigned char* in, uint4* out, int byte_shift) {
  out[threadIdx.x] = reinterpret_cast<const uint4*>(in + byte_shift)[threadIdx.x];
}

// Every block writes the same cell, by a plain store or by an atomic.
__global__ void block_race_kernel(int* out, bool atomic) {
  if (threadIdx.x != 0) return;
  if (atomic) {
    atomicAdd(out, 1);
  } else {
    *out = static_cast<int>(blockIdx.x);
  }
}

// A slot per block in order of arrival: deterministic only if the order of blocks is.
__global__ void arrival_kernel(int* counter, int* out) {
  if (threadIdx.x == 0) out[atomicAdd(counter, 1)] = static_cast<int>(blockIdx.x);
}

__global__ void thread_arrival_kernel(int* out) {
  __shared__ int counter;
  if (threadIdx.x == 0) counter = 0;
  __syncthreads();
  out[atomicAdd(&counter, 1)] = static_cast<int>(threadIdx.x);
}

// The plain read of the counter needs a barrier before it.
__global__ void atomic_and_plain_kernel(int* out, bool with_barrier) {
  __shared__ int counter;
  if (threadIdx.x == 0) counter = 0;
  __syncthreads();
  atomicAdd(&counter, 1);
  if (with_barrier) __syncthreads();
  out[threadIdx.x] = counter;
}

__global__ void dynamic_shared_kernel(int* out, int count) {
  int* values = reinterpret_cast<int*>(shared_memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < count; ++i) values[i] = i;
    out[0] = values[count - 1];
  }
}

__global__ void intrinsics_kernel(unsigned* out) {
  const unsigned lane = threadIdx.x;
  unsigned* row = out + 12 * lane;
  row[0] = __ballot_sync(~0u, lane % 3 == 0);
  row[1] = __match_any_sync(~0u, lane % 5);
  row[2] = __reduce_add_sync(~0u, lane);
  row[3] = __reduce_max_sync(~0u, lane ^ 7u);
  row[4] = static_cast<unsigned>(__reduce_min_sync(~0u, static_cast<int>(lane) - 9));
  row[5] = __shfl_up_sync(~0u, lane, 3);
  row[6] = __shfl_down_sync(~0u, lane, 3, 8);
  row[7] = __shfl_sync(~0u, lane, 2, 8);
  row[8] = static_cast<unsigned>(__any_sync(~0u, lane == 31) + 2 * __all_sync(~0u, lane != 31));
  row[9] = static_cast<unsigned>(__syncthreads_count(lane < 11));
  row[10] = static_cast<unsigned>(__syncthreads_or(lane == 4) + 2 * __syncthreads_and(lane < 9));
  // disjoint halves of a warp, each on its own
  row[11] = lane < 16 ? __reduce_xor_sync(0xffffu, lane) : __reduce_or_sync(0xffff0000u, lane);
}
