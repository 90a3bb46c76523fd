// The rest of the stand-in runtime: device memory with guard zones, copies, error names.
#include <cstdlib>
#include <string>

#include "address_sanitizer.h"
#include "cuda_runtime.h"
#include "ssd_executor/executor.h"

namespace {
constexpr std::size_t kGuard = 4096;  // nothing else lies near: an overrun is in no buffer
}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  static int count = 0;
  const std::size_t whole = (bytes + 2 * kGuard + 255) / 256 * 256;
  char* block = static_cast<char*>(std::aligned_alloc(256, whole));
  if (!block) return cudaErrorMemoryAllocation;
  std::memset(block, 0xff, whole);
  *pointer = block + kGuard;
  ssd_executor::forbid(block, kGuard);
  ssd_executor::forbid(block + kGuard + bytes, whole - kGuard - bytes);
  const std::string name = "allocation " + std::to_string(count++);
  ssd_executor_add_buffer(name.c_str(), *pointer, bytes, SSD_EXECUTOR_READ_WRITE);
  return cudaSuccess;
}
cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;
  ssd_executor_remove_buffer(pointer);
  std::free(static_cast<char*>(pointer) - kGuard);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  if (bytes) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
  }
  return "unknown error";
}
}
