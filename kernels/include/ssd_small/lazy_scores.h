// Exact lazy activation: which logits cannot give a score above the threshold.
//
// Softmax: score = e / sum with e = exp(logit - max) and sum >= 1 (the maximum's own term is
// exactly 1, and rounded addition of numbers that are not negative never falls below either
// operand). So score > t needs e > t, thus logit - max > ln t up to the rounding of exp_f32. For
// any logit `other` of the same row, logit - other >= logit - max, also after rounding; the
// background's is the natural choice: where it dominates, a row is refused without its maximum.
// A cut only ever refuses; what passes is computed in full and compared with the threshold.
#pragma once

#include <cmath>

#include "decode_nms.h"
#include "host_device.h"

namespace ssd_small {

// Host only. A score can exceed `score_threshold` only if
//   softmax: logit - other >= cut, for every `other` in its row;   sigmoid, none: logit >= cut.
// A NaN difference fails the comparison, rightly: then the logit or the whole row is no candidate.
// Returns -infinity where nothing can be refused, +infinity where everything can.
inline float lazy_cut(Activation activation, float score_threshold) {
  const double t = score_threshold;
  const double infinity = HUGE_VAL;
  // covers the error of exp_f32 (2 ulp: 2.4e-7), of this logarithm, and the conversion to float
  // of a cut of magnitude 105 at most (4e-6)
  const double margin = 1e-5;
  switch (activation) {
    case Activation::kNone:
      return score_threshold;
    case Activation::kSoftmax:
      return static_cast<float>(t > 0.0 ? std::log(t) - margin : -infinity);
    case Activation::kSigmoid:
      // 1 / (1 + e) > t with two more roundings: e < (1 - t + slack) / t
      if (t >= 1.0) return static_cast<float>(infinity);
      return static_cast<float>(t > 0.0 ? std::log(t / (1.0 - t + 0x1p-21)) - margin : -infinity);
  }
  return static_cast<float>(-infinity);
}

}  // namespace ssd_small
