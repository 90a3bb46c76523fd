// Stand-in for <cuda_runtime.h>: CUDA C++ as seen by a host compiler, run by the executor.
//
// What differs from a device on purpose: warp intrinsics and barriers take their source line, so
// that faults can name it; shared memory is thread_local, so that `extern __shared__` works too.
#pragma once

#include <cmath>
#include <cstring>
#include <tuple>
#include <utility>

#include "cuda_runtime_api.h"
#include "ssd_executor/device.h"

#define __host__
#define __device__
// default visibility gives faults the kernel's name
#define __global__ __attribute__((visibility("default")))
#define __shared__ thread_local
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }

namespace ssd_executor {
enum class Coordinate { kThread, kBlock, kBlockSize, kGridSize };
// Value of a built-in coordinate along an axis (0, 1, 2) for the thread that runs.
unsigned coordinate(Coordinate which, int axis);
template <Coordinate which, int axis>
struct Component {
  operator unsigned() const { return coordinate(which, axis); }
};
template <Coordinate which>
struct Triple {
  Component<which, 0> x;
  Component<which, 1> y;
  Component<which, 2> z;
};
}  // namespace ssd_executor
constexpr ssd_executor::Triple<ssd_executor::Coordinate::kThread> threadIdx{};
constexpr ssd_executor::Triple<ssd_executor::Coordinate::kBlock> blockIdx{};
constexpr ssd_executor::Triple<ssd_executor::Coordinate::kBlockSize> blockDim{};
constexpr ssd_executor::Triple<ssd_executor::Coordinate::kGridSize> gridDim{};

// ---- launches ----------------------------------------------------------------------------
enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization = 6 };
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  union {
    char padding[64];
    int programmaticStreamSerializationAllowed;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

namespace ssd_executor {
struct LaunchRequest {
  const void* kernel;
  dim3 grid, block;
  std::size_t dynamic_shared_bytes;
  const void* arguments;  // copied; read by the kernel's prologue, no part of any buffer
  std::size_t argument_bytes;
  void (*call)(const void* kernel, const void* arguments);
  bool dependent = false;  // may overlap the kernel before it
};
cudaError_t launch(const LaunchRequest& request);
cudaError_t launch_with(const cudaLaunchConfig_t& config, LaunchRequest request);
void wait_for_previous_grid();
void trigger_next_grid();
}  // namespace ssd_executor

template <class... Expected, class... Actual>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...),
                               Actual&&... actual) {
  using Pack = std::tuple<std::decay_t<Expected>...>;
  const auto call = [](const void* function, const void* arguments) {
    std::apply(reinterpret_cast<void (*)(Expected...)>(const_cast<void*>(function)),
               *static_cast<const Pack*>(arguments));
  };
  ssd_executor::LaunchRequest request{};
  request.kernel = reinterpret_cast<const void*>(kernel);
  request.grid = config->gridDim;
  request.block = config->blockDim;
  request.dynamic_shared_bytes = config->dynamicSmemBytes;
  const Pack pack(std::forward<Actual>(actual)...);
  request.arguments = &pack;
  request.argument_bytes = sizeof(Pack);
  request.call = call;
  return ssd_executor::launch_with(*config, request);
}
inline void cudaGridDependencySynchronize() { ssd_executor::wait_for_previous_grid(); }
inline void cudaTriggerProgrammaticLaunchCompletion() { ssd_executor::trigger_next_grid(); }

// ---- arithmetic --------------------------------------------------------------------------
template <class To, class From>
inline To ssd_executor_bit_cast(From value) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  std::memcpy(&to, &value, sizeof to);
  return to;
}
inline unsigned __float_as_uint(float x) { return ssd_executor_bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return ssd_executor_bit_cast<float>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }

#include "ssd_executor/intrinsics.h"
