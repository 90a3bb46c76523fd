#include "host_nms.h"

#include <algorithm>
#include <functional>

#include "host_bits.h"
#include "host_clones.h"

namespace ssd_small {
namespace {

// Boxes that are judged together: one vector of the widest instruction set.
constexpr int kTile = 16;

// Some scaled boxes of one class in order, as columns.
struct Tile {
  float x1[kTile], y1[kTile], x2[kTile], y2[kTile], area[kTile];
};

SSD_SMALL_HD_INLINE Tile load_tile(const OrderKey* keys, int size, const Box* boxes,
                                   const IouConvention& convention) {
  Tile tile;
  for (int j = 0; j < kTile; ++j) {
    // what is missing repeats the first one
    const Box box = boxes[prior_from_key(keys[j < size ? j : 0])];
    tile.x1[j] = box.x1;
    tile.y1[j] = box.y1;
    tile.x2[j] = box.x2;
    tile.y2[j] = box.y2;
  }
  for (int j = 0; j < kTile; ++j) {
    const Box box = scaled({tile.x1[j], tile.y1[j], tile.x2[j], tile.y2[j]}, convention.scale);
    tile.x1[j] = box.x1;
    tile.y1[j] = box.y1;
    tile.x2[j] = box.x2;
    tile.y2[j] = box.y2;
    tile.area[j] = area(box, convention.offset);
  }
  return tile;
}

// Boxes that a tile is compared with before it is asked whether a quotient is needed.
constexpr int kCoarse = 8;

SSD_SMALL_HD_INLINE Box box_of(const Tile& tile, int j) {
  return {tile.x1[j], tile.y1[j], tile.x2[j], tile.y2[j]};
}

// Sets `bit` in marks[j] if box j of the tile overlaps `other` by more than the threshold.
SSD_SMALL_HD_INLINE void mark_overlaps(const Tile& tile, const KeptBox& other, float offset,
                                       float threshold, std::uint32_t bit, std::uint32_t* marks) {
  for (int j = 0; j < kTile; ++j) {
    const bool over = iou(other.box, other.area, box_of(tile, j), tile.area[j], offset) > threshold;
    marks[j] |= (over ? ~0u : 0u) & bit;
  }
}

// Whether a box of the tile may overlap one of `others` by more than the threshold.
SSD_SMALL_HD_INLINE bool any_may_exceed(const Tile& tile, const KeptBox* others, int count,
                                        float offset, float threshold) {
  std::uint32_t may[kTile] = {};
  for (int i = 0; i < count; ++i) {
    const KeptBox& other = others[i];
    for (int j = 0; j < kTile; ++j) {
      may[j] |= iou_may_exceed(other.box, other.area, box_of(tile, j), tile.area[j], offset,
                               threshold) ? 1u : 0u;
    }
  }
  std::uint32_t any = 0;
#pragma omp simd reduction(| : any)
  for (int j = 0; j < kTile; ++j) any |= may[j];
  return any != 0;
}

// Judges `size` boxes, those of keys[0 .. size), against `count` kept ones and against each other.
// Those that stay are appended to `kept`, which has room for kTile more. Returns which did, bit i
// for keys[i].
SSD_SMALL_CLONES
std::uint32_t judge_tile(const OrderKey* keys, int size, const Box* boxes,
                         const IouConvention& convention, float threshold, KeptBox* kept,
                         std::size_t count) {
  const Tile tile = load_tile(keys, size, boxes, convention);
  const float offset = convention.offset;
  std::uint32_t gone[kTile] = {};
  for (std::size_t start = 0; start < count; start += kCoarse) {
    const int part = static_cast<int>(std::min<std::size_t>(kCoarse, count - start));
    if (!any_may_exceed(tile, kept + start, part, offset, threshold)) continue;
    for (int i = 0; i < part; ++i) {
      mark_overlaps(tile, kept[start + static_cast<std::size_t>(i)], offset, threshold, 1, gone);
    }
  }
  // all pairs of the tile first, so that nothing waits for who stays
  KeptBox* mine = kept + count;
  for (int j = 0; j < size; ++j) {
    mine[j] = {{tile.x1[j], tile.y1[j], tile.x2[j], tile.y2[j]}, tile.area[j]};
  }
  std::uint32_t overlaps[kTile] = {};
  for (int i = 0; i < size; ++i) {
    mark_overlaps(tile, mine[i], offset, threshold, 1u << i, overlaps);
  }
  std::uint32_t stay = 0;
  for (int j = 0; j < size; ++j) {
    stay |= (gone[j] | (overlaps[j] & stay)) == 0 ? 1u << j : 0u;
  }
  for (std::uint32_t left = stay; left != 0; left &= left - 1) {
    *mine++ = kept[count + lowest_bit(left)];
  }
  return stay;
}

// Longest list that is sorted by rank.
constexpr std::size_t kRankSort = 512;

// Ranges of equal width from the greatest key of a list down; 2^shift is their width.
constexpr int kBuckets = 64;

int bucket_of(OrderKey key, OrderKey greatest, int shift) {
  return static_cast<int>((greatest - key) >> shift);
}

// Puts keys into the order of their buckets. starts[i] is where bucket i begins in `sorted`, and
// starts[kBuckets] the count.
void distribute(const OrderKey* keys, std::size_t count, OrderKey greatest, int shift,
                OrderKey* sorted, std::uint32_t* starts) {
  std::fill_n(starts, kBuckets + 1, 0u);
  for (std::size_t i = 0; i < count; ++i) ++starts[bucket_of(keys[i], greatest, shift) + 1];
  for (int i = 0; i < kBuckets; ++i) starts[i + 1] += starts[i];
  std::uint32_t next[kBuckets];
  std::copy_n(starts, kBuckets, next);
  for (std::size_t i = 0; i < count; ++i) {
    sorted[next[bucket_of(keys[i], greatest, shift)]++] = keys[i];
  }
}

// The first shift that leaves fewer than kBuckets buckets.
int bucket_shift(OrderKey range) {
  int shift = 0;
  while (range >> shift >= kBuckets) ++shift;
  return shift;
}

// Keys that are placed together: four vectors of the widest instruction set.
constexpr std::size_t kTogether = 32;

// Moves `part` keys of a group, at most kTogether, to their places; group[from .. to) holds them
// and all keys that are not certain to be before or after every one of them.
SSD_SMALL_CLONES
void place_by_rank(const OrderKey* group, std::size_t first, std::size_t part, std::size_t from,
                   std::size_t to, OrderKey* keys) {
  OrderKey mine[kTogether];
  std::uint64_t rank[kTogether] = {};
  for (std::size_t i = 0; i < kTogether; ++i) mine[i] = i < part ? group[first + i] : kNoKey;
  for (std::size_t j = from; j < to; ++j) {
    for (std::size_t i = 0; i < kTogether; ++i) rank[i] += group[j] > mine[i] ? 1 : 0;
  }
  for (std::size_t i = 0; i < part; ++i) keys[from + rank[i]] = mine[i];
}

// Sorts different keys, descending: each goes to the place that is the number of greater ones.
// Quadratic, but without a branch; a distribution over buckets first leaves each key few others
// to be compared with. At most kRankSort keys.
void rank_sort(OrderKey* keys, std::size_t count) {
  OrderKey sorted[kRankSort];
  if (count <= kTogether) {
    std::copy_n(keys, count, sorted);
    place_by_rank(sorted, 0, count, 0, count, keys);
    return;
  }
  const auto ends = std::minmax_element(keys, keys + count);
  const OrderKey greatest = *ends.second;
  const int shift = bucket_shift(greatest - *ends.first);
  std::uint32_t starts[kBuckets + 1];
  distribute(keys, count, greatest, shift, sorted, starts);
  for (std::size_t first = 0; first < count; first += kTogether) {
    const std::size_t part = std::min(kTogether, count - first);
    // these can only change places with what is in their own buckets
    const std::size_t from = starts[bucket_of(sorted[first], greatest, shift)];
    const std::size_t to = starts[bucket_of(sorted[first + part - 1], greatest, shift) + 1];
    place_by_rank(sorted, first, part, from, to, keys);
  }
}

}  // namespace

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
                      const DecodeNmsParams& params, RawBuffer<KeptBox>& kept,
                      OrderKey* kept_keys) {
  const IouConvention convention = iou_convention(params.pixel_offset);
  const auto cut_at = [](std::size_t number, std::int32_t cut) {
    return cut > 0 ? std::min(number, static_cast<std::size_t>(cut)) : number;
  };
  const std::size_t entering = cut_at(count, params.pre_nms_topk);
  const std::size_t keep = cut_at(entering, params.keep_topk_per_class);
  std::size_t num_kept = 0;
  // sorted in portions: with a cut on what is kept, most of a long list is never looked at
  std::size_t portion = entering <= 1024 ? entering : std::max<std::size_t>(512, 2 * keep);
  for (std::size_t start = 0; start < entering && num_kept < keep; portion *= 2) {
    const std::size_t stop = start + std::min(portion, entering - start);
    sort_top(keys + start, count - start, stop - start);
    for (std::size_t i = start; i < stop; ++i) {
      prefetch(reinterpret_cast<std::uintptr_t>(boxes + prior_from_key(keys[i])));
    }
    while (start < stop && num_kept < keep) {
      const int size = static_cast<int>(std::min<std::size_t>(kTile, stop - start));
      kept.reserve(num_kept + kTile);
      std::uint32_t stay = judge_tile(keys + start, size, boxes, convention,
                                      params.iou_threshold, kept.data(), num_kept);
      for (; stay != 0 && num_kept < keep; stay &= stay - 1) {
        kept_keys[num_kept++] = keys[start + lowest_bit(stay)];
      }
      start += static_cast<std::size_t>(size);
    }
  }
  return num_kept;
}

}  // namespace ssd_small
