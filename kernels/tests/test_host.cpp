// The CPU library against the plain reference, over shapes, parameters and odd values.
#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <thread>

#include "check.h"
#include "reference.h"
#include "ssd_small/decode_nms_host.h"

using namespace ssd_small;
using reference::Heads;

namespace {

Heads random_heads(int batch, int priors, int classes, std::uint32_t seed, float odd_share) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 2.0f);
  std::uniform_real_distribution<float> unit(0.0f, 1.0f);
  const float odd[] = {0.0f, -0.0f, std::numeric_limits<float>::quiet_NaN(),
                       std::numeric_limits<float>::infinity(),
                       -std::numeric_limits<float>::infinity(), 1e-40f, 3e38f, -3e38f};
  const auto value = [&](float given) {
    return unit(random) < odd_share ? odd[random() % 8] : given;
  };
  Heads heads;
  heads.shape.batch = batch;
  heads.shape.num_priors = priors;
  heads.shape.num_classes = classes;
  const auto rows = static_cast<std::size_t>(batch) * priors;
  for (std::size_t i = 0; i < rows * 4; ++i) heads.loc.push_back(value(normal(random)));
  for (std::size_t i = 0; i < rows * classes; ++i) {
    // steps of a quarter: many equal scores
    heads.conf.push_back(value(std::round(normal(random) * 4) / 4));
  }
  for (int i = 0; i < priors * 4; ++i) heads.priors.push_back(0.3f * unit(random));
  return heads;
}

std::string describe(const HostDetections& found) {
  std::string text = std::to_string(found.keys.size()) + ":";
  for (std::size_t i = 0; i < found.keys.size(); ++i) {
    text += " " + std::to_string(found.keys[i]);
    for (const float side : {found.boxes[i].x1, found.boxes[i].y1, found.boxes[i].x2,
                             found.boxes[i].y2}) {
      text += "," + std::to_string(bits_from_float(side));
    }
  }
  return text;
}

void check_against_reference(const Heads& heads, const DecodeNmsParams& params) {
  for (const int threads : {1, 3}) {
    std::vector<HostDetections> found;
    const Error error = decode_nms_host(heads.shape, params, heads.inputs(), threads, found);
    CHECK(!error);
    CHECK_EQUAL(found.size(), static_cast<std::size_t>(heads.shape.batch));
    for (std::size_t image = 0; image < found.size(); ++image) {
      CHECK_EQUAL(describe(found[image]),
                  describe(reference::decode_nms_image(heads, static_cast<int>(image), params)));
    }
  }
}

}  // namespace

TEST(random_heads_and_parameters) {
  std::mt19937 random(11);
  const auto pick = [&](std::initializer_list<float> values) {
    return values.begin()[random() % values.size()];
  };
  for (std::uint32_t seed = 0; seed < 400; ++seed) {
    DecodeNmsParams params;
    params.score_threshold = pick({0.0f, 0.01f, 0.3f, -0.5f, 1.0f, 1e-38f});
    params.iou_threshold = pick({0.0f, 0.3f, 0.6f, 1.0f});
    params.activation = static_cast<Activation>(random() % 3);
    params.background_label = static_cast<std::int32_t>(pick({-1, 0, 1, 1023}));
    params.pre_nms_topk = static_cast<std::int32_t>(pick({0, 1, 5, 400}));
    params.keep_topk_per_class = static_cast<std::int32_t>(pick({0, 1, 3, 100}));
    params.keep_topk = static_cast<std::int32_t>(pick({0, 1, 7, 200}));
    params.pixel_offset = pick({0.0f, 1.0f / 300, 1e9f});
    params.clip_boxes = static_cast<std::int32_t>(random() % 2);
    params.clip_edges[0] = pick({1.0f, 0.4f, 3.25f});
    params.clip_edges[1] = pick({1.0f, 0.4f, 3.25f});
    const int classes = static_cast<int>(pick({1, 2, 21, 32, 33, 70}));
    Heads heads = random_heads(static_cast<int>(random() % 4), static_cast<int>(random() % 50),
                               classes, seed, pick({0.0f, 0.05f}));
    switch (random() % 3) {
      case 0: heads.to_half(); break;
      case 1: heads.to_bfloat16(); break;
      default: break;
    }
    check_against_reference(heads, params);
  }
}

TEST(enough_work_for_several_threads) {
  const Heads heads = random_heads(1, 9000, 33, 5, 0.0f);
  DecodeNmsParams params;
  params.score_threshold = 0.3f;
  check_against_reference(heads, params);
  params.pre_nms_topk = 0;
  params.keep_topk = 0;
  check_against_reference(heads, params);
}

TEST(rows_with_a_nan_beside_a_candidate) {
  // where classes do not share a sum, a NaN or infinity takes nothing from the others
  DecodeNmsParams params;
  params.activation = Activation::kNone;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float odd : {nan, -nan, -std::numeric_limits<float>::infinity()}) {
    Heads heads = random_heads(1, 3, 40, 2, 0.0f);
    for (float& value : heads.conf) value = odd;
    heads.conf[40 + 7] = 0.5f;
    check_against_reference(heads, params);
    heads.to_half();
    check_against_reference(heads, params);
    heads.to_bfloat16();
    check_against_reference(heads, params);
  }
}

// Every prior a candidate of every class: lists forget what cannot enter NMS.
TEST(more_candidates_than_a_list_keeps) {
  for (const float step : {0.0f, 1.0f, 64.0f}) {  // all scores equal, a few, many different ones
    Heads heads = random_heads(1, 3000, 9, 12, 0.0f);
    for (float& value : heads.conf) value = std::round(value * step) / 64;
    for (const std::int32_t pre : {1, 40, 400}) {
      for (const std::int32_t keep : {0, 3, 200}) {
        DecodeNmsParams params;
        params.pre_nms_topk = pre;
        params.keep_topk = keep;
        check_against_reference(heads, params);
      }
    }
  }
}

// NMS is tried with the greatest scores first; here most of them are one object.
TEST(few_detections_among_the_greatest_scores) {
  Heads heads = random_heads(1, 4000, 3, 13, 0.0f);
  std::fill(heads.loc.begin(), heads.loc.end(), 0.0f);
  for (std::size_t prior = 0; prior < 4000; ++prior) {
    const bool same = prior < 3000;
    for (std::size_t k = 0; k < 4; ++k) {
      if (same) heads.priors[prior * 4 + k] = 0.5f;
    }
    for (std::size_t label = 0; label < 3; ++label) {
      heads.conf[prior * 3 + label] = label == 0 ? 0.0f : same ? 3.0f : 1.0f;
    }
  }
  DecodeNmsParams params;
  params.pre_nms_topk = 0;
  for (const std::int32_t keep : {1, 2, 3, 50, 200}) {
    params.keep_topk = keep;
    check_against_reference(heads, params);
  }
}

TEST(long_lists_are_sorted_in_portions) {
  DecodeNmsParams params;
  params.activation = Activation::kNone;
  params.background_label = -1;
  params.score_threshold = -100.0f;
  for (const std::int32_t pre : {0, 300, 1500}) {
    for (const std::int32_t keep : {0, 40}) {
      params.pre_nms_topk = pre;
      params.keep_topk_per_class = keep;
      params.keep_topk = 0;
      check_against_reference(random_heads(1, 2500, 1, 8, 0.0f), params);
    }
  }
}

TEST(callers_in_parallel_share_the_pool) {
  const Heads heads = random_heads(1, 9000, 33, 6, 0.0f);
  DecodeNmsParams params;
  std::vector<HostDetections> expected;
  CHECK(!decode_nms_host(heads.shape, params, heads.inputs(), 1, expected));
  std::vector<std::thread> callers;
  std::vector<int> equal(4, 0);
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < 5; ++i) {
        std::vector<HostDetections> found;
        if (decode_nms_host(heads.shape, params, heads.inputs(), 3, found)) return;
        if (found[0].keys == expected[0].keys) ++equal[static_cast<std::size_t>(caller)];
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const int count : equal) CHECK_EQUAL(count, 5);
}

TEST(padded_outputs_end_in_zeros) {
  Heads heads = random_heads(2, 40, 5, 3, 0.0f);
  DecodeNmsParams params;
  heads.shape.max_detections = 250;
  std::vector<std::int32_t> counts(2, -7), labels(500, -7), priors(500, -7);
  std::vector<float> boxes(2000, -7), scores(500, -7);
  const DecodeNmsOutputs outputs = {counts.data(), boxes.data(), scores.data(), labels.data(),
                                    priors.data()};
  CHECK(!decode_nms_host_padded(heads.shape, params, heads.inputs(), outputs, 1));
  for (int image = 0; image < 2; ++image) {
    const HostDetections expected = reference::decode_nms_image(heads, image, params);
    const auto count = static_cast<std::size_t>(counts[static_cast<std::size_t>(image)]);
    CHECK_EQUAL(count, expected.keys.size());
    CHECK(count > 0 && count < 250);
    for (std::size_t i = 0; i < 250; ++i) {
      const std::size_t row = static_cast<std::size_t>(image) * 250 + i;
      if (i < count) {
        CHECK_EQUAL(key_from(scores[row], labels[row], priors[row]), expected.keys[i]);
        CHECK_EQUAL(boxes[row * 4 + 3], expected.boxes[i].y2);
      } else {
        CHECK(scores[row] == 0 && labels[row] == 0 && priors[row] == -1 && boxes[row * 4] == 0);
      }
    }
  }
}

TEST(wrong_calls_give_errors) {
  const Heads heads = random_heads(1, 4, 3, 1, 0.0f);
  std::vector<HostDetections> found;
  const auto field = [&](const DecodeNmsShape& shape, const DecodeNmsInputs& inputs) {
    return std::string(decode_nms_host(shape, {}, inputs, 1, found).field);
  };
  DecodeNmsInputs inputs = heads.inputs();
  inputs.conf = nullptr;
  CHECK_EQUAL(field(heads.shape, inputs), "conf");
  DecodeNmsShape shape = heads.shape;
  shape.num_priors = kMaxPriors + 1;
  CHECK_EQUAL(field(shape, heads.inputs()), "num_priors");
  shape = heads.shape;
  shape.batch = -1;
  CHECK_EQUAL(field(shape, heads.inputs()), "batch");
  shape = heads.shape;
  shape.head_type = static_cast<HeadType>(3);
  CHECK_EQUAL(field(shape, heads.inputs()), "head_type");
  shape = heads.shape;
  CHECK_EQUAL(std::string(decode_nms_host_padded(shape, {}, heads.inputs(), {}, 1).field),
              "max_detections");
  shape.max_detections = 200;
  CHECK_EQUAL(std::string(decode_nms_host_padded(shape, {}, heads.inputs(), {}, 1).field),
              "num_detections");
  shape.batch = 0;
  CHECK(!decode_nms_host_padded(shape, {}, {}, {}, 1));
}
