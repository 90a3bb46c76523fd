// Decode + NMS in the plainest loops there are, from the same scalar mathematics: what the
// library's vectorised and threaded code is compared with where Python is not at hand.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "ssd_small/activations.h"
#include "ssd_small/boxes.h"
#include "ssd_small/decode_nms.h"
#include "ssd_small/decode_nms_host.h"
#include "ssd_small/half.h"
#include "ssd_small/order_key.h"

namespace reference {

struct Heads {
  ssd_small::DecodeNmsShape shape;
  std::vector<float> loc, conf, priors;

  std::vector<std::uint16_t> bits_of_loc, bits_of_conf;

  // Rounds loc and conf to 16 bits and presents them as such.
  void to_half() {
    shape.head_type = ssd_small::HeadType::kHalf;
    const auto half = [](float value) { return ssd_small::Half{ssd_small::half_from_float(value)}; };
    round(loc, bits_of_loc, half);
    round(conf, bits_of_conf, half);
  }
  void to_bfloat16() {
    shape.head_type = ssd_small::HeadType::kBfloat16;
    const auto bfloat16 = [](float value) {
      return ssd_small::Bfloat16{ssd_small::bfloat16_from_float(value)};
    };
    round(loc, bits_of_loc, bfloat16);
    round(conf, bits_of_conf, bfloat16);
  }

  template <typename Convert>
  static void round(std::vector<float>& values, std::vector<std::uint16_t>& rounded,
                    const Convert& convert) {
    rounded.clear();
    for (float& value : values) {
      const auto converted = convert(value);
      rounded.push_back(converted.bits);
      value = ssd_small::float_from(converted);
    }
  }

  ssd_small::DecodeNmsInputs inputs() const {
    if (shape.head_type != ssd_small::HeadType::kFloat) {
      return {bits_of_loc.data(), bits_of_conf.data(), priors.data()};
    }
    return {loc.data(), conf.data(), priors.data()};
  }
};

inline std::vector<float> scores_of_row(const float* row, int classes,
                                        ssd_small::Activation activation) {
  std::vector<float> scores(row, row + classes);
  if (activation == ssd_small::Activation::kSigmoid) {
    for (float& score : scores) score = ssd_small::sigmoid_f32(score);
  } else if (activation == ssd_small::Activation::kSoftmax) {
    const float maximum = *std::max_element(row, row + classes);
    const float sum = ssd_small::softmax_sum(row, classes, maximum);
    for (float& score : scores) score = ssd_small::exp_f32(score - maximum) / sum;
  }
  return scores;
}

inline ssd_small::HostDetections decode_nms_image(const Heads& heads, int image,
                                                  const ssd_small::DecodeNmsParams& params) {
  using namespace ssd_small;
  const int num_priors = heads.shape.num_priors;
  const int classes = heads.shape.num_classes;
  const auto first = static_cast<std::size_t>(image) * num_priors;
  std::vector<std::vector<OrderKey>> by_class(static_cast<std::size_t>(classes));
  std::vector<Box> boxes;
  for (int p = 0; p < num_priors; ++p) {
    boxes.push_back(box_from_loc(&heads.loc[(first + p) * 4], &heads.priors[std::size_t(p) * 4],
                                 params.variances[0], params.variances[1]));
    const float* row = &heads.conf[(first + p) * classes];
    const std::vector<float> scores = scores_of_row(row, classes, params.activation);
    for (int c = 0; c < classes; ++c) {
      if (c == params.background_label || !is_finite(boxes.back())) continue;
      const float score = scores[std::size_t(c)];
      if (score > params.score_threshold) by_class[std::size_t(c)].push_back(key_from(score, c, p));
    }
    if (params.clip_boxes != 0) {
      boxes.back() = clipped(boxes.back(), {params.clip_edges[0], params.clip_edges[1]});
    }
  }
  const IouConvention convention = iou_convention(params.pixel_offset);
  const auto cut = [](std::vector<OrderKey>& keys, std::int32_t most) {
    if (most > 0 && keys.size() > std::size_t(most)) keys.resize(std::size_t(most));
  };
  HostDetections found;
  for (std::vector<OrderKey>& keys : by_class) {
    std::sort(keys.begin(), keys.end(), std::greater<OrderKey>());
    cut(keys, params.pre_nms_topk);
    std::vector<OrderKey> kept;
    for (const OrderKey key : keys) {
      const auto scaled_box = [&](OrderKey of) {
        return scaled(boxes[std::size_t(prior_from_key(of))], convention.scale);
      };
      const Box box = scaled_box(key);
      const bool suppressed = std::any_of(kept.begin(), kept.end(), [&](OrderKey other) {
        const Box winner = scaled_box(other);
        return iou(winner, area(winner, convention.offset), box, area(box, convention.offset),
                   convention.offset) > params.iou_threshold;
      });
      if (!suppressed) kept.push_back(key);
    }
    cut(kept, params.keep_topk_per_class);
    found.keys.insert(found.keys.end(), kept.begin(), kept.end());
  }
  std::sort(found.keys.begin(), found.keys.end(), std::greater<OrderKey>());
  cut(found.keys, params.keep_topk);
  for (const OrderKey key : found.keys) {
    found.boxes.push_back(boxes[std::size_t(prior_from_key(key))]);
  }
  return found;
}

}  // namespace reference
