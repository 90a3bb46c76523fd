#include "host_image.h"

#include <algorithm>
#include <numeric>

namespace ssd_small {
namespace {

constexpr std::int32_t kRangePriors = 1024;
constexpr int kBins = 1024;
// candidates for each detection asked for with which NMS is tried first
constexpr std::size_t kTried = 4;
// candidates from which on it takes longer to suppress them than to call the other threads
constexpr std::size_t kManyCandidates = 4096;

std::uint32_t ordered_score(OrderKey key) { return static_cast<std::uint32_t>(key >> 32); }

// Keys of at least `least` to the front; returns how many.
std::size_t to_front(OrderKey* keys, std::size_t count, OrderKey least) {
  std::size_t front = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const OrderKey key = keys[i];
    keys[i] = keys[front];
    keys[front] = key;
    front += key >= least ? 1 : 0;
  }
  return front;
}

}  // namespace

void HostImage::prepare(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                        int num_workers) {
  shape_ = shape;
  params_ = params;
  num_workers_ = num_workers;
  const auto classes = static_cast<std::size_t>(shape.num_classes);
  if (workers_.size() < static_cast<std::size_t>(num_workers)) {
    workers_.resize(static_cast<std::size_t>(num_workers));
  }
  for (int i = 0; i < num_workers; ++i) {
    workers_[static_cast<std::size_t>(i)].finder.prepare(shape, params);
  }
  boxes_.reserve(static_cast<std::size_t>(shape.num_priors));
  present_.reserve(classes);
  if (kept_.size() < classes) kept_.resize(classes);
}

std::size_t HostImage::bytes() const {
  std::size_t total = boxes_.bytes() + merged_.bytes();
  for (const Kept& kept : kept_) total += kept.keys.bytes();
  for (const Worker& worker : workers_) {
    total += worker.finder.lists().bytes() + worker.kept.bytes();
  }
  return total;
}

void HostImage::run(const DecodeNmsInputs& inputs, int image, const ParallelLoop& loop,
                    HostDetections& detections) {
  for (int i = 0; i < num_workers_; ++i) workers_[static_cast<std::size_t>(i)].finder.start();
  const int num_ranges = (shape_.num_priors + kRangePriors - 1) / kRangePriors;
  loop(num_ranges, [&](int range, int worker) {
    const std::int32_t first = range * kRangePriors;
    workers_[static_cast<std::size_t>(worker)].finder.find(
        inputs, image, first, std::min(shape_.num_priors, first + kRangePriors), boxes_.data());
  });
  detections.keys.clear();
  detections.boxes.clear();
  const std::size_t total = join_workers();
  if (total == 0) return;
  // What NMS keeps of a class depends on nothing that comes later in the order. So if the greatest
  // candidates alone give keep_topk detections, all others would come after these.
  const auto wanted = static_cast<std::size_t>(params_.keep_topk);
  std::size_t tried = wanted > 0 ? kTried * wanted : total;
  for (;; tried *= kTried) {
    const Part part = greatest(tried, total);
    suppress(part, loop);
    if (part.count == total) break;
    std::size_t kept = 0;
    for (const std::int32_t label : present_) kept += kept_[static_cast<std::size_t>(label)].count;
    if (kept >= wanted) break;
  }
  gather(detections);
}

// Puts what all workers found into the lists of the first; returns the number of candidates.
std::size_t HostImage::join_workers() {
  present_.clear();
  std::size_t total = 0;
  CandidateLists& lists = workers_.front().finder.lists();
  for (std::size_t label = 0; label < static_cast<std::size_t>(shape_.num_classes); ++label) {
    for (int i = 1; i < num_workers_; ++i) {
      CandidateLists& other = workers_[static_cast<std::size_t>(i)].finder.lists();
      if (other.count(label) > 0) lists.take(label, other);
    }
    if (lists.count(label) > 0) present_.push_back(static_cast<std::int32_t>(label));
    total += lists.count(label);
  }
  return total;
}

// A part of at least `wanted` candidates that are the first ones of the total order, but not many
// more; all, if there are no more. Found by counting scores in bins of equal width.
HostImage::Part HostImage::greatest(std::size_t wanted, std::size_t total) {
  if (wanted >= total) return {kNoKey, total};
  CandidateLists& lists = workers_.front().finder.lists();
  const auto for_each_score = [&](const auto& act) {
    for (const std::int32_t present : present_) {
      const auto label = static_cast<std::size_t>(present);
      const OrderKey* keys = lists.keys(label);
      for (std::size_t i = 0; i < lists.count(label); ++i) act(ordered_score(keys[i]));
    }
  };
  std::uint32_t smallest = UINT32_MAX, largest = 0;
  for_each_score([&](std::uint32_t score) {
    smallest = std::min(smallest, score);
    largest = std::max(largest, score);
  });
  int shift = 0;
  while ((largest - smallest) >> shift >= kBins) ++shift;
  std::uint32_t counts[kBins] = {};
  for_each_score([&](std::uint32_t score) { ++counts[(largest - score) >> shift]; });
  Part part = {kNoKey, 0};
  std::uint32_t bin = 0;
  do part.count += counts[bin++]; while (part.count < wanted);
  // the smallest score of the last bin; there is none below 0
  const std::uint64_t width = static_cast<std::uint64_t>(bin) << shift;
  if (width <= largest) part.least = static_cast<OrderKey>(largest - width + 1) << 32;
  return part;
}

// NMS of each class over what takes part.
void HostImage::suppress(Part part, const ParallelLoop& loop) {
  CandidateLists& lists = workers_.front().finder.lists();
  const Task of_class = [&](int index, int worker) {
    const auto label = static_cast<std::size_t>(present_[static_cast<std::size_t>(index)]);
    OrderKey* keys = lists.keys(label);
    std::size_t count = lists.count(label);
    if (part.least != kNoKey) count = to_front(keys, count, part.least);
    Kept& kept = kept_[label];
    kept.keys.reserve(count);
    kept.count = nms_class(keys, count, boxes_.data(), params_,
                           workers_[static_cast<std::size_t>(worker)].kept, kept.keys.data());
  };
  const auto classes = static_cast<int>(present_.size());
  if (part.count >= kManyCandidates) {
    loop(classes, of_class);
  } else {
    for (int index = 0; index < classes; ++index) of_class(index, 0);
  }
}

// Merges what the classes kept into the total order.
void HostImage::gather(HostDetections& detections) {
  std::size_t total = 0;
  for (const std::int32_t label : present_) total += kept_[static_cast<std::size_t>(label)].count;
  std::size_t count = total;
  if (params_.keep_topk > 0) count = std::min(count, static_cast<std::size_t>(params_.keep_topk));
  merged_.reserve(total);
  OrderKey* next = merged_.data();
  for (const std::int32_t label : present_) {
    const Kept& kept = kept_[static_cast<std::size_t>(label)];
    next = std::copy_n(kept.keys.data(), kept.count, next);
  }
  sort_top(merged_.data(), total, count);
  const OrderKey* keys = merged_.data();
  detections.keys.assign(keys, keys + count);
  detections.boxes.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    detections.boxes[i] = boxes_.data()[prior_from_key(keys[i])];
  }
}

}  // namespace ssd_small
