// Kernels that may overlap, with one fault each at most: a wait left out, or in the wrong place.
#pragma once

#include <cuda_runtime.h>

constexpr int kUnwritten = -1, kValue = 7;

// Writes its cells after it has let the next kernel begin, or without doing so. The barrier puts
// the write into an epoch that may be newer than the next kernel's first.
__global__ void produce_kernel(int* out, bool trigger) {
  if (trigger) cudaTriggerProgrammaticLaunchCompletion();
  __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = kValue;
}

enum class Wait {
  kFirst,
  kNever,
  kAfterRead,
  kOneThread,             // the others pass without
  kOneThreadThenBarrier,  // which orders them too
};

// Copies one cell of a block of the kernel before; not its own block's, for one that happens to be
// the last to begin would hide the fault.
__global__ void consume_kernel(const int* in, int* out, Wait wait) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned from = gridDim.x * blockDim.x - 1 - i;
  int value = 0;
  if (wait == Wait::kAfterRead) value = in[from];
  const bool one = wait == Wait::kOneThread || wait == Wait::kOneThreadThenBarrier;
  if (wait != Wait::kNever && (!one || threadIdx.x == 0)) cudaGridDependencySynchronize();
  if (wait == Wait::kOneThreadThenBarrier) __syncthreads();
  if (wait != Wait::kAfterRead) value = in[from];
  out[i] = value;
}

// Reads its cells after it has let the next kernel begin.
__global__ void read_late_kernel(const int* in, int* out) {
  cudaTriggerProgrammaticLaunchCompletion();
  __syncthreads();
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = in[i];
}

// Writes over what the kernel before may still read.
__global__ void overwrite_kernel(int* out, bool wait_first) {
  if (wait_first) cudaGridDependencySynchronize();
  out[blockIdx.x * blockDim.x + threadIdx.x] = kValue + 1;
  if (!wait_first) cudaGridDependencySynchronize();
}

// Between two others: has nothing to do with the memory of either.
__global__ void between_kernel(int* own, bool wait, bool trigger_first) {
  if (trigger_first) cudaTriggerProgrammaticLaunchCompletion();
  if (wait) cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
  own[blockIdx.x * blockDim.x + threadIdx.x] = 0;
}

// A counter that the kernel before sets to zero.
__global__ void zero_kernel(int* counter) {
  cudaTriggerProgrammaticLaunchCompletion();
  if (threadIdx.x == 0 && blockIdx.x == 0) *counter = 0;
}
__global__ void count_kernel(int* counter, bool wait) {
  if (wait) cudaGridDependencySynchronize();
  atomicAdd(counter, 1);
  if (!wait) cudaGridDependencySynchronize();
}

// Shared memory and a barrier on both sides of the wait: what a stopped block holds must be there
// when it goes on.
__global__ void shared_across_wait_kernel(const int* in, int* out) {
  __shared__ int values[64];
  values[threadIdx.x] = static_cast<int>(threadIdx.x + 64 * blockIdx.x);
  __syncthreads();
  const int before = values[63 - threadIdx.x];
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  __syncthreads();
  values[threadIdx.x] += in[threadIdx.x];
  __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = values[63 - threadIdx.x] - before;
}

// Hangs after it has let the next kernel begin.
__global__ void hang_kernel(int* out) {
  cudaTriggerProgrammaticLaunchCompletion();
  if (threadIdx.x == 9) return;
  out[threadIdx.x] = static_cast<int>(__ballot_sync(~0u, 1));
}
