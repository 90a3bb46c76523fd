// The rest of the stand-in runtime: device memory with guard zones, copies, error names.
#include <cstdlib>
#include <string>
#include <utility>

#include "address_sanitizer.h"
#include "grids.h"
#include "ssd_executor/executor.h"

namespace {
constexpr std::size_t kGuard = 4096;  // nothing else lies near: an overrun is in no buffer
}  // namespace

namespace ssd_executor {
namespace {
int architecture = 90, overlapping = 0;
bool refuses = false;
cudaError_t last_error = cudaSuccess;
}  // namespace

cudaError_t launch_with(const cudaLaunchConfig_t& config, LaunchRequest request) {
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config.attrs[i];
    request.dependent |= attribute.id == cudaLaunchAttributeProgrammaticStreamSerialization &&
                         attribute.val.programmaticStreamSerializationAllowed != 0;
  }
  if (request.dependent && refuses) return last_error = cudaErrorNotSupported;
  overlapping += request.dependent;
  return launch(request);
}
}  // namespace ssd_executor

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
  ssd_executor::finish_launches();
  if (bytes) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  ssd_executor::finish_launches();
  return ssd_executor::take_failure();
}
cudaError_t cudaGetLastError() { return std::exchange(ssd_executor::last_error, cudaSuccess); }
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  attributes->ptxVersion = attributes->binaryVersion = ssd_executor::architecture;
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    case cudaErrorNotSupported: return "cudaErrorNotSupported";
  }
  return "unknown error";
}
}

void ssd_executor_device(int new_architecture, int refuses_dependent_launches) {
  ssd_executor::architecture = new_architecture;
  ssd_executor::refuses = refuses_dependent_launches != 0;
}
int ssd_executor_overlapping_launches() { return std::exchange(ssd_executor::overlapping, 0); }
