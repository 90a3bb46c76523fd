// Kernels with one wrong address each, which AddressSanitizer must report: the argument names the
// case, and the process dies of it. "none" runs the same kernels rightly and returns.
//
// Compiled with AddressSanitizer, and once more traced, where the executor's hooks ask it. No
// buffer is declared: the executor has nothing to compare addresses with.
#include <cuda_runtime.h>

#include <cstdio>
#include <string>

#include "ssd_executor/executor.h"

extern __shared__ unsigned char shared_memory[];

__global__ void store_kernel(float* out, std::ptrdiff_t index) {
  __syncthreads();
  if (threadIdx.x == 5 && blockIdx.x == 1) out[index] = 1.0f;
}

__global__ void load_kernel(float* out, std::ptrdiff_t index) {
  __syncthreads();
  if (threadIdx.x == 5 && blockIdx.x == 1) out[0] = out[index];
}

__global__ void atomic_kernel(float* out, std::ptrdiff_t index) {
  if (threadIdx.x == 5 && blockIdx.x == 1) atomicAdd(out + index, 1.0f);
}

__global__ void dynamic_shared_kernel(float* out, std::ptrdiff_t index) {
  if (threadIdx.x == 0) {
    shared_memory[index] = 1;
    out[blockIdx.x] = shared_memory[index];
  }
}

// Out of line, so that nobody but the red zones knows how long the array is.
__device__ __noinline__ float element(const volatile float* values, std::ptrdiff_t index) {
  return values[index];
}

// Every thread has an array on its stack, and other threads run while it is in use.
__global__ void local_array_kernel(float* out, std::ptrdiff_t index) {
  volatile float values[8];
  for (int i = 0; i < 8; ++i) values[i] = 1.0f;
  __syncthreads();
  const float shared = __shfl_xor_sync(0xffffffffu, values[threadIdx.x % 8], 1);
  __syncthreads();
  const bool chosen = threadIdx.x == 33 && blockIdx.x == 1;
  out[threadIdx.x] = shared + element(values, chosen ? index : 0);
}

namespace {

constexpr std::ptrdiff_t kLength = 64;  // floats in the allocation
constexpr std::ptrdiff_t kBeyond = kLength + 4096 / 4;  // behind the guard zone of cudaMalloc

cudaError_t run(void (*kernel)(float*, std::ptrdiff_t), float* out, std::ptrdiff_t index) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(2);
  config.blockDim = dim3(64);
  config.dynamicSmemBytes = 256;
  return cudaLaunchKernelEx(&config, kernel, out, index);
}

}  // namespace

int main(int count, char** arguments) {
  const std::string fault = count == 2 ? arguments[1] : "none";
  float* out = nullptr;
  cudaMalloc(&out, kLength * sizeof(float));
  ssd_executor_remove_buffer(out);
  for (const auto kernel : {store_kernel, load_kernel, atomic_kernel, dynamic_shared_kernel}) {
    run(kernel, out, kLength - 1);
  }
  run(local_array_kernel, out, 7);

  if (fault == "store") run(store_kernel, out, kBeyond);
  if (fault == "load") run(load_kernel, out, kBeyond);
  if (fault == "atomic") run(atomic_kernel, out, kBeyond);
  if (fault == "guard") run(store_kernel, out, kLength);
  if (fault == "before") run(load_kernel, out, -1);
  if (fault == "dynamic_shared") run(dynamic_shared_kernel, out, 256);
  if (fault == "local_array") run(local_array_kernel, out, 8);
  if (fault == "memset") cudaMemsetAsync(out, 0, (kLength + 1) * sizeof(float), nullptr);
  cudaFree(out);
  if (fault == "freed") run(load_kernel, out, 0);
  const bool clean = ssd_executor_fault_count() == 0;
  std::printf(clean ? "all kernels returned\n" : "%s\n", ssd_executor_fault(0));
  return clean ? 0 : 1;
}
