// The C interface as another program sees it: linked to the shared library.
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "ssd_small.h"

namespace {

// softmax with background, no cut
ssd_small_params plain_params() {
  return {sizeof(ssd_small_params), 0.01f, 0.6f, {0.1f, 0.2f}, 0, 0, 0, 0, 0, 0.0f, 0,
          {1.0f, 1.0f}};
}

struct Call {
  std::vector<float> loc = std::vector<float>(8, 0.0f);
  std::vector<float> conf = {0, 9, 0, 8};
  std::vector<float> priors = {0.5f, 0.5f, 0.2f, 0.2f, 0.1f, 0.1f, 0.1f, 0.1f};
  ssd_small_heads heads = {sizeof(ssd_small_heads), 0, 1, 2, 2, 0, nullptr, nullptr, nullptr};
  ssd_small_params params = plain_params();
  ssd_small_result* result = nullptr;
  char message[160] = "";

  int32_t run() {
    if (heads.loc == nullptr) heads.loc = loc.data();
    if (heads.conf == nullptr) heads.conf = conf.data();
    if (heads.priors == nullptr) heads.priors = priors.data();
    return ssd_small_decode_nms(&heads, &params, &result, message, sizeof message);
  }
};

}  // namespace

TEST(two_boxes) {
  Call call;
  CHECK_EQUAL(call.run(), SSD_SMALL_OK);
  int64_t counts[1] = {-1};
  CHECK_EQUAL(ssd_small_result_counts(call.result, counts), 2);
  CHECK_EQUAL(counts[0], 2);
  float boxes[8], scores[2];
  int32_t labels[2], priors[2];
  ssd_small_result_copy(call.result, boxes, scores, labels, priors);
  CHECK(scores[0] > scores[1] && scores[1] > 0.99f);
  CHECK(labels[0] == 1 && priors[0] == 0 && priors[1] == 1);
  CHECK_EQUAL(boxes[0], 0.4f);
  ssd_small_result_free(call.result);
}

TEST(version) { CHECK_EQUAL(ssd_small_abi_version(), SSD_SMALL_ABI_VERSION); }

TEST(faults_have_codes_and_messages) {
  Call size;
  size.params.struct_size = 12;
  CHECK_EQUAL(size.run(), SSD_SMALL_BAD_STRUCT_SIZE);
  CHECK(std::strstr(size.message, "params.struct_size: got 12") != nullptr);
  Call threshold;
  threshold.params.iou_threshold = -3.0f;
  CHECK_EQUAL(threshold.run(), SSD_SMALL_BAD_PARAMETER);
  CHECK_EQUAL(std::string(threshold.message),
              "iou_threshold: got -3, expected a number from 0 to 1");
  CHECK(threshold.result == nullptr);
  Call classes;
  classes.heads.num_classes = 5000;
  CHECK_EQUAL(classes.run(), SSD_SMALL_BAD_SHAPE);
  CHECK_EQUAL(std::string(classes.message), "num_classes: got 5000, expected 1 to 1024");
}

TEST(null_pointers_do_no_harm) {
  Call call;
  char tiny[4];
  ssd_small_result* result = nullptr;
  CHECK_EQUAL(ssd_small_decode_nms(nullptr, &call.params, &result, tiny, sizeof tiny),
              SSD_SMALL_NULL_POINTER);
  CHECK_EQUAL(std::string(tiny), "hea");
  CHECK_EQUAL(ssd_small_decode_nms(&call.heads, nullptr, &result, nullptr, 0),
              SSD_SMALL_NULL_POINTER);
  CHECK_EQUAL(ssd_small_decode_nms(&call.heads, &call.params, nullptr, nullptr, 0),
              SSD_SMALL_NULL_POINTER);
  CHECK_EQUAL(ssd_small_decode_nms(&call.heads, &call.params, &result, nullptr, 0),
              SSD_SMALL_NULL_POINTER);
  ssd_small_result_copy(nullptr, nullptr, nullptr, nullptr, nullptr);
  CHECK_EQUAL(ssd_small_result_counts(nullptr, nullptr), 0);
  ssd_small_result_free(nullptr);
}
