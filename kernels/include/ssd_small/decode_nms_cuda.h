// Decode + NMS on a CUDA device: the launcher of kernels/src/decode_nms.cu.
//
// The launcher allocates nothing, never synchronises and only enqueues work on the stream, so it
// can be captured in a CUDA graph. Everything that a call needs lives in its arguments.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "ssd_small/decode_nms.h"

namespace ssd_small {

// Candidates wait in lists in the workspace, 8 bytes each. Where N * P * C of them fit within this
// bound (up to 33 554 432 for the default: 9 images of 44 866 priors and 81 classes), conf is read
// once whatever it holds. Beyond, the lists share the bound, but hold at least an eighth of the
// priors each; a class of an image with more candidates than its list holds is read from conf
// again, three to seven times: slower, same result.
constexpr std::size_t kListBytes = std::size_t{256} << 20;

// Scratch memory on the device, aligned to 16 bytes; its content need not survive between calls.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
  std::size_t list_bytes = kListBytes;  // as given to decode_nms_workspace_bytes()
};

// Bytes of workspace that launch_decode_nms() needs; 0 where shape or params are not valid. No
// less for a shape that is larger in any extent. Mostly the lists: 2 * conf (fp32), up to the
// bound; then the kept boxes, at most 24 bytes each.
std::size_t decode_nms_workspace_bytes(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                                       std::size_t list_bytes = kListBytes);

// Where work is enqueued.
struct LaunchQueue {
  cudaStream_t stream = nullptr;
  bool overlap = false;  // as decode_nms_can_overlap() says: ends and beginnings of kernels overlap
};

// Whether the kernels of a launch may overlap on the current device (programmatic dependent
// launch): the code that it loads was compiled for compute capability 9.0 or newer, so that it
// holds the waits (compiled at load from older PTX it does not, whatever the device), and the
// driver is of CUDA 12.3 or newer, which captures such launches into graphs. False where that
// cannot be told. To be asked once for a device, not for each launch, and not while a stream is
// captured: it may load the kernels.
bool decode_nms_can_overlap();

// Enqueues decode + NMS of a batch. Every pointer is a device pointer; loc, priors, boxes and
// workspace are best aligned to 16 bytes (workspace must be).
//
// Returns cudaErrorInvalidValue for arguments that cannot work (nothing is enqueued;
// decode_nms_launch_fault() says why), else what the runtime returned.
cudaError_t launch_decode_nms(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                              const DecodeNmsInputs& inputs, const DecodeNmsOutputs& outputs,
                              const Workspace& workspace, const LaunchQueue& queue);

// What is wrong with the arguments of a launch: writes one line that names the value received and
// the one expected (256 bytes hold each) and returns true; false if nothing is wrong. A pure
// function: no state, no CUDA call. No C++ string: nvcc's host compiler and the caller's may have
// different C++ libraries.
bool decode_nms_launch_fault(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                             const DecodeNmsInputs& inputs, const DecodeNmsOutputs& outputs,
                             const Workspace& workspace, char* text, std::size_t size);

}  // namespace ssd_small
