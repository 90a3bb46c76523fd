// Decode + NMS on the CPU: the same bits as the numpy oracle, vectorised and threaded.
#pragma once

#include <vector>

#include "boxes.h"
#include "decode_nms.h"
#include "order_key.h"
#include "validate.h"

namespace ssd_small {

// Detections of one image in the total order. Score, label and prior stand in the key.
struct HostDetections {
  std::vector<OrderKey> keys;
  std::vector<Box> boxes;  // one for each key
};

// Fills one HostDetections per image; shape.max_detections does not matter. There is no cap on
// candidates or detections; memory is 16 bytes per candidate of the images in work.
//
// num_threads: 0 takes SSD_SMALL_NUM_THREADS from the environment, or else all processors;
// little work takes fewer. The result does not depend on it. Between calls threads sleep, and
// scratch memory is kept: mostly a few MiB, never more than 128 (host_scratch.cpp).
// Never throws: what goes wrong is in the Error.
Error decode_nms_host(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                      const DecodeNmsInputs& inputs, int num_threads,
                      std::vector<HostDetections>& detections) noexcept;

// The same into padded arrays of shape.max_detections rows per image: the outputs of the
// DecodeNms operator. Rows past num_detections are zero, their prior index is -1.
Error decode_nms_host_padded(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                             const DecodeNmsInputs& inputs, const DecodeNmsOutputs& outputs,
                             int num_threads) noexcept;

}  // namespace ssd_small
