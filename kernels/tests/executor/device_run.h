// One decode+NMS run with host arrays, for tests from Python: copies to the device, launches,
// copies back. Compiled twice: for the executor and, with nvcc, for a GPU.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ssd_small.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ssd_small_device_run {
  const ssd_small_heads* heads;
  const ssd_small_params* params;
  // how
  int32_t max_detections;
  int32_t shift;  // elements by which loc and conf are moved off their alignment
  int32_t graph;  // launches by replaying a captured graph
  int32_t plain;  // kernels do not overlap, also where the device lets them
  uint64_t list_bytes;  // bound of the candidate lists in the workspace; 0: the default
  // outputs, host arrays as well
  int32_t* num_detections;
  float *boxes, *scores;
  int32_t *labels, *prior_indices;
};

// Returns 0 or a CUDA error, whose reason stands in message.
int ssd_small_device_decode_nms(const struct ssd_small_device_run* run, char* message,
                                size_t message_bytes);
size_t ssd_small_device_workspace_bytes(const struct ssd_small_device_run* run);
// Number of devices; the executor is one.
int ssd_small_device_count(void);

// Launches `repeats` times and gives the mean microseconds of one launch, measured with CUDA
// events (0 on the executor, which measures nothing).
int ssd_small_device_time(const struct ssd_small_device_run* run, int repeats, float* microseconds);

#ifdef __cplusplus
}
#endif
