/* C interface of the CPU library (libssd_small), for ctypes and other languages.
 *
 * No function throws or prints; all may be called from several threads at once. Between calls idle
 * threads and some scratch memory are kept, which no result depends on.
 *
 * The library must not be unloaded (dlclose, FreeLibrary): its idle threads sleep inside its code
 * until the process ends, and would wake where there is none. On Linux it is linked with
 * -z nodelete, so that dlclose leaves it where it is; elsewhere this is the caller's to see to.
 *
 * Contract of the results: ssd_small/postprocess/oracle.py.
 */
#ifndef SSD_SMALL_CAPI_SSD_SMALL_H_
#define SSD_SMALL_CAPI_SSD_SMALL_H_

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define SSD_SMALL_API __declspec(dllexport)
#elif defined(__GNUC__)
#define SSD_SMALL_API __attribute__((visibility("default")))
#else
#define SSD_SMALL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Grows with every change that a caller would notice; 3: bfloat16 heads. */
#define SSD_SMALL_ABI_VERSION 3

typedef enum ssd_small_status {
  SSD_SMALL_OK = 0,
  SSD_SMALL_BAD_PARAMETER = 1,
  SSD_SMALL_BAD_SHAPE = 2,
  SSD_SMALL_NULL_POINTER = 3,
  SSD_SMALL_WORKSPACE_TOO_SMALL = 4, /* GPU only */
  SSD_SMALL_OUT_OF_MEMORY = 5,
  SSD_SMALL_INTERNAL = 6,
  SSD_SMALL_BAD_STRUCT_SIZE = 7
} ssd_small_status;

/* Fields of PostprocessParams. */
typedef struct ssd_small_params {
  uint32_t struct_size; /* sizeof(ssd_small_params) */
  float score_threshold;
  float iou_threshold;
  float variances[2];
  int32_t activation;       /* 0 softmax, 1 sigmoid, 2 none */
  int32_t background_label; /* -1: none */
  int32_t pre_nms_topk;     /* 0: no cut; so the next two */
  int32_t keep_topk_per_class;
  int32_t keep_topk;
  float pixel_offset;
  int32_t clip_boxes;  /* 1: boxes are cut to the picture before NMS */
  float clip_edges[2]; /* its right and bottom edge in the unit of the priors; 1, 1 but for tiles */
} ssd_small_params;

typedef struct ssd_small_heads {
  uint32_t struct_size; /* sizeof(ssd_small_heads) */
  int32_t head_type;    /* 0 float, 1 half, 2 bfloat16; of loc and conf */
  int32_t batch;        /* N */
  int32_t num_priors;   /* P, at most 2^22 */
  int32_t num_classes;  /* C, at most 1024 */
  int32_t num_threads;  /* 0: SSD_SMALL_NUM_THREADS in the environment, or else all processors */
  const void* loc;      /* [N, P, 4] */
  const void* conf;     /* [N, P, C] */
  const float* priors;  /* [P, 4] cx, cy, w, h */
} ssd_small_heads;

typedef struct ssd_small_result ssd_small_result; /* detections of a batch */

SSD_SMALL_API int32_t ssd_small_abi_version(void);

/* Decodes and suppresses. On success *result is for ssd_small_result_free(); otherwise it is null
 * and `message` (which may be null) holds one line of at most message_size - 1 characters. */
SSD_SMALL_API int32_t ssd_small_decode_nms(const ssd_small_heads* heads,
                                           const ssd_small_params* params,
                                           ssd_small_result** result, char* message,
                                           size_t message_size);

/* Detections of each image into counts [N]; returns their sum D. */
SSD_SMALL_API int64_t ssd_small_result_counts(const ssd_small_result* result, int64_t* counts);

/* All detections, image after image: boxes [D, 4], scores, labels and priors [D]. */
SSD_SMALL_API void ssd_small_result_copy(const ssd_small_result* result, float* boxes,
                                         float* scores, int32_t* labels, int32_t* priors);

SSD_SMALL_API void ssd_small_result_free(ssd_small_result* result);

#ifdef __cplusplus
}
#endif

#endif /* SSD_SMALL_CAPI_SSD_SMALL_H_ */
