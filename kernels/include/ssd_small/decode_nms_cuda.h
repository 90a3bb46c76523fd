// Decode + NMS on a CUDA device: the launcher of kernels/src/decode_nms.cu.
//
// The launcher allocates nothing, never synchronises and only enqueues work on the stream, so it
// can be captured in a CUDA graph. Everything that a call needs lives in its arguments.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

#include "ssd_small/decode_nms.h"

namespace ssd_small {

// Scratch memory on the device, aligned to 16 bytes; its content need not survive between calls.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};

// Bytes of workspace that launch_decode_nms() needs; 0 where shape or params are not valid.
// About P * C bytes per image for large P: a quarter of fp32 conf, not the worst case, which
// takes a slower path that reads conf again.
std::size_t decode_nms_workspace_bytes(const DecodeNmsShape& shape, const DecodeNmsParams& params);

// Enqueues decode + NMS of a batch. Every pointer is a device pointer; loc, priors, boxes and
// workspace are best aligned to 16 bytes (workspace must be).
//
// Returns cudaErrorInvalidValue for arguments that cannot work (nothing is enqueued;
// decode_nms_launch_fault() says why), else what the runtime returned.
cudaError_t launch_decode_nms(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                              const DecodeNmsInputs& inputs, const DecodeNmsOutputs& outputs,
                              const Workspace& workspace, cudaStream_t stream);

// What is wrong with the arguments of a launch: one line that names the value received and the
// one expected; empty if nothing is. A pure function: no state, no CUDA call.
std::string decode_nms_launch_fault(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                                    const DecodeNmsInputs& inputs,
                                    const DecodeNmsOutputs& outputs, const Workspace& workspace);

}  // namespace ssd_small
