#include "host_nms.h"

#include <algorithm>
#include <functional>

#include "host_clones.h"

namespace ssd_small {
namespace {

// Whether a kept box of the `count` first ones overlaps the box by more than the threshold.
SSD_SMALL_CLONES
bool is_suppressed(const float* blocks, std::size_t count, Box box, float box_area, float offset,
                   float threshold) {
  constexpr std::size_t kBlock = KeptBoxes::kBlock;
  for (std::size_t first = 0; first < count; first += kBlock) {
    const float* block = blocks + first * 5;
    int any = 0;
#pragma omp simd reduction(| : any)
    for (std::size_t j = 0; j < kBlock; ++j) {
      const Box other = {block[j], block[j + kBlock], block[j + 2 * kBlock],
                         block[j + 3 * kBlock]};
      any |= iou(other, block[j + 4 * kBlock], box, box_area, offset) > threshold ? 1 : 0;
    }
    if (any) return true;
  }
  return false;
}

// Longest list that is sorted by rank.
constexpr std::size_t kRankSort = 256;

// Sorts different keys, descending, each to the place that is the number of greater ones:
// quadratic, but without a branch. At most kRankSort keys.
SSD_SMALL_CLONES
void rank_sort(OrderKey* keys, std::size_t count) {
  OrderKey sorted[kRankSort];
  for (std::size_t i = 0; i < count; ++i) {
    const OrderKey key = keys[i];
    std::uint64_t rank = 0;
    for (std::size_t j = 0; j < count; ++j) rank += keys[j] > key ? 1 : 0;
    sorted[rank] = key;
  }
  std::copy_n(sorted, count, keys);
}

}  // namespace

void KeptBoxes::add(const Box& box, float area) {
  const std::size_t lane = count_ % kBlock;
  if (lane == 0) {
    values_.reserve((count_ + kBlock) * 5);
    float* fresh = values_.data() + count_ * 5;
    std::fill(fresh, fresh + 5 * kBlock, float_from_bits(0x7fc00000u));
  }
  float* block = values_.data() + (count_ - lane) * 5 + lane;
  block[0] = box.x1;
  block[kBlock] = box.y1;
  block[2 * kBlock] = box.x2;
  block[3 * kBlock] = box.y2;
  block[4 * kBlock] = area;
  ++count_;
}

void sort_top(OrderKey* keys, std::size_t count, std::size_t top) {
  while (count > kRankSort) {
    // split at the top, then in halves, until portions are short
    const std::size_t middle = top < count ? top : count / 2;
    std::nth_element(keys, keys + middle, keys + count, std::greater<OrderKey>());
    if (top <= middle) {
      count = middle;
      continue;
    }
    sort_top(keys, middle, middle);
    keys += middle;
    count -= middle;
    top -= middle;
  }
  if (count > 1 && top > 0) rank_sort(keys, count);
}

std::size_t nms_class(OrderKey* keys, std::size_t count, const Box* boxes,
                      const DecodeNmsParams& params, KeptBoxes& kept) {
  const IouConvention convention = iou_convention(params.pixel_offset);
  const auto cut_at = [](std::size_t number, std::int32_t cut) {
    return cut > 0 ? std::min(number, static_cast<std::size_t>(cut)) : number;
  };
  const std::size_t entering = cut_at(count, params.pre_nms_topk);
  const std::size_t keep = cut_at(entering, params.keep_topk_per_class);
  kept.clear();
  // sorted in portions: with a cut on what is kept, most of a long list is never looked at
  std::size_t portion = entering <= 1024 ? entering : std::max<std::size_t>(512, 2 * keep);
  for (std::size_t start = 0; start < entering && kept.size() < keep; portion *= 2) {
    const std::size_t stop = start + std::min(portion, entering - start);
    sort_top(keys + start, count - start, stop - start);
    for (; start < stop && kept.size() < keep; ++start) {
      const OrderKey key = keys[start];
      const Box box = scaled(boxes[prior_from_key(key)], convention.scale);
      const float box_area = area(box, convention.offset);
      if (is_suppressed(kept.block(0), kept.size(), box, box_area, convention.offset,
                        params.iou_threshold)) {
        continue;
      }
      keys[kept.size()] = key;  // never ahead of `start`
      kept.add(box, box_area);
    }
  }
  return kept.size();
}

}  // namespace ssd_small
