// Fuzz target: shape, parameters and bit patterns of the heads from arbitrary bytes; the C
// interface must refuse with a message or agree with the plain reference.
//
// With clang: libFuzzer. Without: fuzz_replay.cpp calls the same function.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "reference.h"
#include "ssd_small.h"

namespace {

// Bytes in order; zeros after the last.
class Source {
 public:
  Source(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  template <typename T>
  T take() {
    T value = {};
    const std::size_t count = std::min(sizeof value, size_);
    if (count > 0) std::memcpy(&value, data_, count);
    data_ += count;
    size_ -= count;
    return value;
  }

  bool empty() const { return size_ == 0; }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

// Mostly a legal value near the given ones, at times any bits at all.
float take_float(Source& source, std::initializer_list<float> usual) {
  const auto selector = source.take<std::uint8_t>();
  if (selector >= 240) return source.take<float>();
  return usual.begin()[selector % usual.size()];
}

std::int32_t take_int(Source& source, std::int32_t low, std::int32_t high) {
  const auto selector = source.take<std::uint8_t>();
  if (selector >= 250) return source.take<std::int32_t>();
  return low + selector % (high - low + 1);
}

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "fuzz: %s\n", what);
  std::abort();
}

void fill(std::vector<float>& values, std::size_t count, Source& source) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto selector = source.take<std::uint8_t>();
    // any bits, or eighths from -16 to 8: many ties
    values.push_back(selector >= 200 ? source.take<float>() : (selector - 128) / 8.0f);
  }
}

void compare(const ssd_small_result* result, const reference::Heads& heads,
             const ssd_small::DecodeNmsParams& params) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(heads.shape.batch));
  const auto total = static_cast<std::size_t>(ssd_small_result_counts(result, counts.data()));
  std::vector<float> boxes(total * 4), scores(total);
  std::vector<std::int32_t> labels(total), priors(total);
  ssd_small_result_copy(result, boxes.data(), scores.data(), labels.data(), priors.data());
  std::size_t row = 0;
  for (int image = 0; image < heads.shape.batch; ++image) {
    const auto expected = reference::decode_nms_image(heads, image, params);
    require(counts[static_cast<std::size_t>(image)] == std::int64_t(expected.keys.size()),
            "the number of detections differs");
    for (std::size_t i = 0; i < expected.keys.size(); ++i, ++row) {
      require(ssd_small::key_from(scores[row], labels[row], priors[row]) == expected.keys[i],
              "a detection differs");
      require(std::memcmp(&boxes[row * 4], &expected.boxes[i], 16) == 0, "a box differs");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Source source(data, size);
  ssd_small_params given = {};
  given.struct_size = sizeof given;
  given.score_threshold = take_float(source, {0.01f, 0.0f, 0.5f, -1.0f});
  given.iou_threshold = take_float(source, {0.6f, 0.0f, 0.5f, 1.0f});
  given.variances[0] = take_float(source, {0.1f, 1.0f});
  given.variances[1] = take_float(source, {0.2f, 3.0f});
  given.activation = take_int(source, 0, 2);
  given.background_label = take_int(source, -1, 4);
  given.pre_nms_topk = take_int(source, 0, 6);
  given.keep_topk_per_class = take_int(source, 0, 6);
  given.keep_topk = take_int(source, 0, 9);
  given.pixel_offset = take_float(source, {0.0f, 1.0f / 300, 1.0f});
  given.clip_boxes = take_int(source, 0, 1);
  given.clip_edges[0] = take_float(source, {1.0f, 0.5f, 3.25f});
  given.clip_edges[1] = take_float(source, {1.0f, 0.5f, 3.25f});
  ssd_small_heads shape = {};
  shape.struct_size = sizeof shape;
  shape.head_type = take_int(source, 0, 2);
  shape.batch = take_int(source, 0, 3);
  shape.num_priors = take_int(source, 0, 40);
  shape.num_classes = take_int(source, 1, 70);
  shape.num_threads = take_int(source, 1, 3);

  // a batch of billions of empty images is legal: it only takes memory
  if (shape.num_priors == 0 && shape.batch > 1000) return 0;

  // memory for the heads there is only where the shape is small enough to be real
  reference::Heads heads;
  const bool real = shape.batch >= 0 && shape.batch <= 3 && shape.num_priors >= 0 &&
                    shape.num_priors <= 64 && shape.num_classes >= 1 && shape.num_classes <= 1024;
  if (real) {
    const auto rows = static_cast<std::size_t>(shape.batch * shape.num_priors);
    fill(heads.loc, rows * 4, source);
    fill(heads.priors, static_cast<std::size_t>(shape.num_priors) * 4, source);
    fill(heads.conf, rows * shape.num_classes, source);
  }
  heads.shape.batch = shape.batch;
  heads.shape.num_priors = shape.num_priors;
  heads.shape.num_classes = shape.num_classes;
  if (shape.head_type == 1) heads.to_half();
  if (shape.head_type == 2) heads.to_bfloat16();
  const ssd_small::DecodeNmsInputs inputs = heads.inputs();
  shape.loc = real ? inputs.loc : nullptr;
  shape.conf = real ? inputs.conf : nullptr;
  shape.priors = real ? inputs.priors : nullptr;

  ssd_small_result* result = nullptr;
  char message[200] = "";
  const int32_t status = ssd_small_decode_nms(&shape, &given, &result, message, sizeof message);
  require((status == SSD_SMALL_OK) == (result != nullptr), "status and result disagree");
  require((status == SSD_SMALL_OK) == (message[0] == '\0'), "status and message disagree");
  require(status != SSD_SMALL_INTERNAL, "internal error");
  if (status == SSD_SMALL_OK && real) {
    ssd_small::DecodeNmsParams params;
    params.score_threshold = given.score_threshold;
    params.iou_threshold = given.iou_threshold;
    params.variances[0] = given.variances[0];
    params.variances[1] = given.variances[1];
    params.activation = static_cast<ssd_small::Activation>(given.activation);
    params.background_label = given.background_label;
    params.pre_nms_topk = given.pre_nms_topk;
    params.keep_topk_per_class = given.keep_topk_per_class;
    params.keep_topk = given.keep_topk;
    params.pixel_offset = given.pixel_offset;
    params.clip_boxes = given.clip_boxes;
    params.clip_edges[0] = given.clip_edges[0];
    params.clip_edges[1] = given.clip_edges[1];
    compare(result, heads, params);
  }
  ssd_small_result_free(result);
  return 0;
}
