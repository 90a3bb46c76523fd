// Selection and greedy NMS of one class.
#pragma once

#include <cstddef>

#include "ssd_small/boxes.h"
#include "ssd_small/decode_nms.h"
#include "ssd_small/order_key.h"
#include "host_memory.h"

namespace ssd_small {

// Kept boxes, scaled, as arrays; room for a multiple of kBlock boxes. What lies past the last
// one in its block has a NaN area and so suppresses nothing.
class KeptBoxes {
 public:
  static constexpr std::size_t kBlock = 32;

  void clear() { count_ = 0; }
  std::size_t size() const { return count_; }
  void add(const Box& box, float area);  // std::bad_alloc
  const float* block(std::size_t first) const { return values_.data() + first * 5; }

 private:
  // blocks of kBlock boxes: x1 of all, y1 of all, x2, y2, area
  RawBuffer<float> values_;
  std::size_t count_ = 0;
};

// Orders the keys of one class, suppresses, and moves the keys kept to the front, in order.
// boxes: [P], decoded, unscaled. Returns how many are kept.
std::size_t nms_class(OrderKey* keys, std::size_t count, const Box* boxes,
                      const DecodeNmsParams& params, KeptBoxes& kept);

// Puts the `top` greatest keys in front, descending; the rest follows in any order.
void sort_top(OrderKey* keys, std::size_t count, std::size_t top);

}  // namespace ssd_small
