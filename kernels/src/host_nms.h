// Selection and greedy NMS of one class.
#pragma once

#include <cstddef>

#include "ssd_small/boxes.h"
#include "ssd_small/decode_nms.h"
#include "ssd_small/order_key.h"
#include "host_memory.h"

namespace ssd_small {

// A kept box, scaled, and its area.
struct KeptBox {
  Box box;
  float area;
};

// Orders the keys of one class, as far as needed, suppresses, and copies those kept to kept_keys
// [count], in order. boxes: [P], decoded, unscaled. kept is scratch. Returns how many are kept.
std::size_t nms_class(OrderKey* keys, std::size_t count, const Box* boxes,
                      const DecodeNmsParams& params, RawBuffer<KeptBox>& kept,
                      OrderKey* kept_keys);

// Puts the `top` greatest keys in front, descending; the rest follows in any order.
void sort_top(OrderKey* keys, std::size_t count, std::size_t top);

}  // namespace ssd_small
