// Order of the kernels of a launch where they may overlap (programmatic dependent launch, sm_90
// and newer), and the kernel that comes first.
//
//   clear -> score -> suppress -> merge or rank
//
// clear is launched plainly: all earlier work of the stream (the last user of the workspace, the
// writers of loc and conf, the readers of the outputs) is complete and visible before it begins.
// The others are launched with the attribute. What orders them, and where it is written:
//
//   1. One begins once every block of the kernel before has ended or called
//      let_next_kernel_begin(). That orders no memory. (CUDA Programming Guide 4.5.2; CUDA 13.0,
//      cuda_device_runtime_api.h at cudaTriggerProgrammaticLaunchCompletion; PTX ISA,
//      griddepcontrol.launch_dependents)
//   2. wait_for_previous_kernel() returns when the kernel before is complete and its memory is
//      visible (4.5.2; PTX ISA, griddepcontrol.wait). It waits for "all direct grid dependencies"
//      (the same header): in merge for suppress, and of itself for neither score nor clear.
//   3. So every thread of score, suppress, merge and rank waits, whatever it finds to do: a kernel
//      is complete only when all its threads are, each of which saw the one before complete. By
//      induction merge's wait covers all three, and so does the end of merge for what follows: on a
//      stream, and in a captured graph, where the next node has an edge from merge alone. (4.5.3:
//      captured, the attribute becomes an edge of type programmatic; from CUDA 12.3 on)
//   4. Before its wait a kernel reads no global memory that another one of the launch writes, and
//      writes none. Only score does anything there: it reads its tile of conf, complete before
//      clear began, and so before score did.
//   5. let_next_kernel_begin() stands after the wait, in clear at the front. So two kernels at most
//      have not ended, and one that waits takes no place from blocks that have not begun: there are
//      none by 1. merge and rank never call it: what others enqueue behind us finds our work
//      complete, or has a wait of its own.
//
// Why counts have a kernel of their own: blocks of score add to them in any order, so they must be
// zero before the first one adds, and within a grid nothing comes before all blocks (a grid-wide
// barrier would limit the grid to what is resident at once). They cannot be left zero by the launch
// before: between launches the workspace is anyone's, and that launch may have been aborted. Counts
// of each block for itself need no zero, but as many as blocks times classes, and lists cut into as
// many pieces, which overflow one by one.
#pragma once

#include "decode_nms_device.cuh"

namespace ssd_small {
namespace device {

#if defined(SSD_SMALL_EXECUTOR) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
#define SSD_SMALL_KERNELS_MAY_OVERLAP 1
#endif

// By every thread. Nothing to wait for where the launch was plain.
__device__ __forceinline__ void wait_for_previous_kernel() {
#if defined(SSD_SMALL_KERNELS_MAY_OVERLAP)
  cudaGridDependencySynchronize();
#endif
}

__device__ __forceinline__ void let_next_kernel_begin() {
#if defined(SSD_SMALL_KERNELS_MAY_OVERLAP)
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

constexpr unsigned kClearThreads = 256;

// Kernel 0: no candidates yet. Grid: a thread per (image, class).
__global__ void __launch_bounds__(kClearThreads) clear_kernel(const Problem problem) {
  let_next_kernel_begin();  // at once: score reads conf meanwhile
  const unsigned pair = blockIdx.x * kClearThreads + threadIdx.x;
  if (pair < problem.num_pairs) problem.counts[pair] = 0;
}

}  // namespace device
}  // namespace ssd_small
