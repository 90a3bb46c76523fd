// What only an image too large for a test would show: its kept boxes counted beyond 32 bits.
#include <cstdio>
#include <vector>

#include "decode_nms_merge.cuh"
#include "ssd_executor/executor.h"

namespace {

int failures = 0;

void expect(unsigned found, unsigned expected, const char* what) {
  if (found == expected) return;
  ++failures;
  std::printf("FAILED: %s: %u, expected %u\n", what, found, expected);
}

}  // namespace

__global__ void total_kernel(ssd_small::device::Problem problem, unsigned* out) {
  __shared__ unsigned long long total;
  const unsigned kept = ssd_small::device::total_kept(problem, blockIdx.x, &total, 256);
  if (threadIdx.x == 0) out[blockIdx.x] = kept;
}

int main() {
  constexpr unsigned kClasses = 1024, kPriors = 1u << 22;
  std::vector<unsigned> kept(3 * kClasses, kPriors);  // the product is 2^32
  kept[kClasses] = kPriors - 1;
  for (unsigned c = 1; c < kClasses; ++c) kept[2 * kClasses + c] = 0;
  ssd_small::device::Problem problem{};
  problem.num_classes = kClasses;
  problem.kept_counts = kept.data();
  unsigned found[3] = {};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(3);
  config.blockDim = dim3(256);
  if (cudaLaunchKernelEx(&config, total_kernel, problem, &found[0]) != cudaSuccess ||
      ssd_executor_fault_count() > 0) {
    ++failures;
    std::printf("FAILED: %s\n", ssd_executor_fault(0));
  }
  expect(found[0], 0xffffffffu, "everything kept, 2^32 boxes");
  expect(found[1], 0xffffffffu, "all but one");
  expect(found[2], kPriors, "one class");
  std::printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
  return failures != 0;
}
