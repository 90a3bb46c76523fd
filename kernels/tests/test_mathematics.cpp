// The host+device headers, against independent formulas.
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "check.h"
#include "ssd_small/activations.h"
#include "ssd_small/boxes.h"
#include "ssd_small/carver.h"
#include "ssd_small/half.h"
#include "ssd_small/lazy_scores.h"
#include "ssd_small/order_key.h"
#include "ssd_small/validate.h"

using namespace ssd_small;

namespace {

const float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

double from_half_by_formula(std::uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int mantissa = half & 1023;
  const double sign = half & 0x8000 ? -1 : 1;
  if (exponent == 31) return mantissa ? std::nan("") : sign * HUGE_VAL;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

}  // namespace

TEST(exponential_is_within_two_ulp_and_monotone_enough) {
  double worst = 0;
  for (std::uint32_t bits = 0; bits < 0xff800000u; bits += 977) {
    const float x = float_from_bits(bits);
    if (!is_finite(x) || x < kExpSmallest || x > kExpLargest) continue;
    const double exact = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::fabs(exp_f32(x) - exact) / exact);
  }
  CHECK(worst < 2 * 0x1p-23);
}

TEST(exponential_at_the_ends) {
  CHECK_EQUAL(exp_f32(0.0f), 1.0f);
  CHECK_EQUAL(exp_f32(-0.0f), 1.0f);
  CHECK_EQUAL(exp_f32(-87.5f), 0.0f);
  CHECK_EQUAL(exp_f32(-kInf), 0.0f);
  CHECK_EQUAL(exp_f32(89.0f), kInf);
  CHECK_EQUAL(exp_f32(kInf), kInf);
  CHECK(std::isnan(exp_f32(kNan)));
  CHECK(exp_f32(kExpSmallest) >= std::numeric_limits<float>::min());
  CHECK(is_finite(exp_f32(kExpLargest)));
}

TEST(exponential_of_what_is_not_positive_has_the_same_bits) {
  const auto check = [](float x) {
    CHECK_EQUAL(bits_from_float(exp_f32_nonpositive(x)), bits_from_float(exp_f32(x)));
  };
  for (std::uint32_t bits = 0x80000000u; bits <= 0xff800000u; bits += 331) {
    check(float_from_bits(bits));
  }
  // every float around the smallest that is not 0, where 2^n is smallest
  for (std::uint32_t bits = bits_from_float(-88.0f); bits > bits_from_float(-86.0f); --bits) {
    check(float_from_bits(bits));
  }
  for (const float x : {0.0f, -0.0f, kExpSmallest, -kInf}) check(x);
  CHECK(std::isnan(exp_f32_nonpositive(kNan)));
  CHECK(std::isnan(exp_f32_nonpositive(-kNan)));
}

TEST(every_bfloat16_converts_exactly_and_back) {
  for (std::uint32_t b = 0; b < 0x10000; ++b) {
    const auto bits = static_cast<std::uint16_t>(b);
    const float value = float_from(Bfloat16{bits});
    CHECK_EQUAL(bits_from_float(value), b << 16);
    if (std::isnan(value)) {
      CHECK(std::isnan(float_from(Bfloat16{bfloat16_from_float(value)})));
    } else {
      CHECK_EQUAL(bfloat16_from_float(value), bits);
    }
  }
  // half a step: to the even neighbour
  CHECK_EQUAL(bfloat16_from_float(float_from_bits(0x3f808000u)), 0x3f80);
  CHECK_EQUAL(bfloat16_from_float(float_from_bits(0x3f818000u)), 0x3f82);
  CHECK_EQUAL(bfloat16_from_float(float_from_bits(0x7f7fffffu)), 0x7f80);
}

// A necessary condition, without the division, at and around every threshold.
TEST(iou_may_exceed_wherever_it_does) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> unit(0.0f, 1.0f);
  int over = 0;
  for (int i = 0; i < 200000; ++i) {
    const float size = i % 3 == 0 ? 1e-20f : i % 3 == 1 ? 1.0f : 1e19f;
    const auto box = [&] {
      const float x = unit(random), y = unit(random);
      return Box{x * size, y * size, (x + unit(random)) * size, (y + unit(random)) * size};
    };
    const Box a = box();
    const Box b = i % 5 == 0 ? a : box();
    const float offset = i % 7 == 0 ? 1.0f : 0.0f;
    const float overlap = iou(a, area(a, offset), b, area(b, offset), offset);
    const auto neighbour = [&](float to) { return std::nextafter(overlap, to); };
    for (const float threshold : {0.0f, 0.3f, 1.0f, overlap, neighbour(0.0f), neighbour(1.0f)}) {
      if (!(threshold >= 0.0f && threshold <= 1.0f) || !(overlap > threshold)) continue;
      ++over;
      CHECK(iou_may_exceed(a, area(a, offset), b, area(b, offset), offset, threshold));
    }
  }
  CHECK(over > 100000);
}

TEST(every_half_converts_exactly_and_back) {
  for (std::uint32_t h = 0; h < 65536; ++h) {
    const auto half = static_cast<std::uint16_t>(h);
    const double exact = from_half_by_formula(half);
    const float value = float_from_half(half);
    if (std::isnan(exact)) {
      CHECK(std::isnan(value));
      CHECK(std::isnan(float_from_half(half_from_float(value))));
      continue;
    }
    if (value != exact || std::signbit(value) != std::signbit(exact)) {
      CHECK_EQUAL(value, exact);
    }
    if (half_from_float(value) != half) CHECK_EQUAL(half_from_float(value), half);
  }
}

TEST(half_rounds_to_nearest_even) {
  for (std::uint32_t h = 0; h < 0x7bff; ++h) {
    const float low = float_from_half(static_cast<std::uint16_t>(h));
    const float high = float_from_half(static_cast<std::uint16_t>(h + 1));
    const float middle = low + (high - low) / 2;  // exact
    const std::uint32_t even = h % 2 == 0 ? h : h + 1;
    if (half_from_float(middle) != even) CHECK_EQUAL(half_from_float(middle), even);
    CHECK(half_from_float(std::nextafter(middle, 0.0f)) == h);
    CHECK(half_from_float(std::nextafter(middle, kInf)) == h + 1);
  }
  CHECK_EQUAL(half_from_float(65519.996f), 0x7bff);
  CHECK_EQUAL(half_from_float(65520.0f), 0x7c00);
  CHECK_EQUAL(half_from_float(-kInf), 0xfc00);
}

TEST(keys_give_the_total_order_and_back) {
  const float scores[] = {-kInf, -1.0f, -1e-40f, 0.0f, 1e-40f, 0.5f, 1.0f, kInf};
  OrderKey before = kNoKey;
  for (const float score : scores) {
    for (const std::int32_t label : {1023, 1, 0}) {
      for (const std::int32_t prior : {kMaxPriors - 1, 7, 0}) {
        const OrderKey key = key_from(score, label, prior);
        CHECK(key > before);
        CHECK_EQUAL(score_from_key(key), score);
        CHECK_EQUAL(label_from_key(key), label);
        CHECK_EQUAL(prior_from_key(key), prior);
        before = key;
      }
    }
  }
  CHECK_EQUAL(key_from(-0.0f, 3, 4), key_from(0.0f, 3, 4));
}

TEST(lazy_cut_never_refuses_a_candidate) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> logit(-30.0f, 30.0f);
  const float thresholds[] = {-0.5f, 0.0f,  1e-45f, 1e-38f, 1e-6f, 0.01f,
                              0.3f,  0.5f,  0.9f,   0.999f, float_from_bits(0x3f7fffffu),
                              1.0f,  1.5f};
  for (const float threshold : thresholds) {
    const float softmax = lazy_cut(Activation::kSoftmax, threshold);
    const float sigmoid = lazy_cut(Activation::kSigmoid, threshold);
    const auto check_at = [&](float x) {
      // the least denominator there can be
      if (exp_f32(x > 0 ? -x : x) / 1.0f > threshold) CHECK((x > 0 ? -x : x) >= softmax);
      if (sigmoid_f32(x) > threshold) CHECK(x >= sigmoid);
    };
    for (int i = 0; i < 20000; ++i) check_at(logit(random));
    for (const float cut : {softmax, sigmoid}) {
      if (!is_finite(cut)) continue;
      float up = cut, down = cut;
      for (int i = 0; i < 200; ++i) {
        check_at(up = std::nextafter(up, kInf));
        check_at(down = std::nextafter(down, -kInf));
      }
    }
  }
  // and refuses nearly all it may: one part in 10 000 below ln(0.01), the odd one passes
  CHECK(lazy_cut(Activation::kSoftmax, 0.01f) > std::log(0.01) * 1.0001);
}

TEST(iou_by_hand) {
  const Box a = {0, 0, 1, 1}, b = {0.25f, 0, 1.25f, 1}, point = {3, 3, 3, 3};
  CHECK(std::fabs(iou(a, area(a, 0), b, area(b, 0), 0) - 0.6f) < 1e-6f);
  CHECK_EQUAL(iou(a, 1, b, 1, 0), iou(b, 1, a, 1, 0));
  CHECK_EQUAL(iou(a, 1, point, 0, 0), 0.0f);
  CHECK(std::isnan(iou(point, 0, point, 0, 0)));
  const Box everything = scaled({-1e38f, -1e38f, 1e38f, 1e38f}, 300.0f);
  CHECK(!(iou(everything, area(everything, 1), everything, area(everything, 1), 1) > 0.5f));
}

TEST(carver_counts_what_it_carves) {
  alignas(256) static unsigned char block[4096];
  const auto carve = [](Carver& carver) {
    char* bytes = carver.take<char>(3);
    double* numbers = carver.take<double>(33);
    return std::make_pair(bytes, numbers);
  };
  Carver counting(nullptr), carving(block);
  CHECK(carve(counting).second == nullptr);
  const auto arrays = carve(carving);
  CHECK_EQUAL(counting.bytes(), carving.bytes());
  CHECK_EQUAL(counting.bytes(), 256u + 512u);
  CHECK(reinterpret_cast<unsigned char*>(arrays.second) == block + 256);
  Carver huge(nullptr);
  huge.take<double>(SIZE_MAX / 4);
  CHECK_EQUAL(huge.bytes(), SIZE_MAX);
}

TEST(faults_name_field_and_value) {
  DecodeNmsParams params;
  params.iou_threshold = 1.5f;
  const Error error = check_params(params);
  CHECK(error.status == Status::kBadParameter);
  char text[120];
  format_error(error, text, sizeof text);
  CHECK_EQUAL(std::string(text), "iou_threshold: got 1.5, expected a number from 0 to 1");
  params = {};
  params.score_threshold = kNan;
  CHECK_EQUAL(std::string(check_params(params).field), "score_threshold");
  params = {};
  params.variances[1] = 0;
  CHECK_EQUAL(std::string(check_params(params).field), "variances");
  params = {};
  params.activation = static_cast<Activation>(9);
  CHECK_EQUAL(std::string(check_params(params).field), "activation");
  CHECK(!check_params({}));
}

TEST(fewer_output_rows_than_detections_are_refused) {
  DecodeNmsParams params;
  DecodeNmsShape shape;
  shape.batch = 1;
  shape.num_priors = 1000;
  shape.num_classes = 81;
  shape.max_detections = 199;
  CHECK_EQUAL(std::string(check_shape(shape, params).field), "max_detections");
  shape.max_detections = 200;
  CHECK(!check_shape(shape, params));
  params.keep_topk = 0;
  CHECK_EQUAL(max_detections(params, 1000, 81), 8000);
  params.pre_nms_topk = params.keep_topk_per_class = 0;
  CHECK_EQUAL(max_detections(params, kMaxPriors, kMaxClasses), std::int64_t{1023} << 22);
  shape.num_classes = 1025;
  CHECK_EQUAL(std::string(check_shape(shape, params).field), "num_classes");
}
