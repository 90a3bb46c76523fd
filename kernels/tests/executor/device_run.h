// One decode+NMS run with host arrays, for tests from Python: copies to the device, launches,
// copies back. Compiled twice: for the executor and, with nvcc, for a GPU.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ssd_small_device_run {
  uint32_t struct_size;
  // shape
  int32_t batch, num_priors, num_classes, max_detections, head_type;
  // parameters
  float score_threshold, iou_threshold, variances[2];
  int32_t activation, background_label, pre_nms_topk, keep_topk_per_class, keep_topk;
  float pixel_offset;
  // how
  int32_t shift;  // elements by which loc and conf are moved off their alignment
  int32_t graph;  // launches by replaying a captured graph
  // host arrays
  const void *loc, *conf;
  const float* priors;
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
