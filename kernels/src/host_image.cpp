#include "host_image.h"

#include <algorithm>

#include "host_bits.h"
#include "ssd_small/lazy_scores.h"

namespace ssd_small {
namespace {

constexpr std::int32_t kRangePriors = 1024;
constexpr int kScanFloats = 16384;  // what is looked at together stays in the second-level cache
constexpr int kBlockFloats = 4096;

}  // namespace

void HostImage::prepare(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                        int num_workers) {
  shape_ = shape;
  params_ = params;
  filter_ = {params.background_label < shape.num_classes ? params.background_label : -1,
             params.score_threshold, lazy_cut(params.activation, params.score_threshold)};
  scan_rows_ = std::max(1, kScanFloats / shape.num_classes);
  block_rows_ = std::max(1, kBlockFloats / row_stride(shape.num_classes));
  ranges_.resize(static_cast<std::size_t>((shape.num_priors + kRangePriors - 1) / kRangePriors));
  workers_.resize(std::max(workers_.size(), static_cast<std::size_t>(num_workers)));
  const auto classes = static_cast<std::size_t>(shape.num_classes);
  boxes_.reserve(static_cast<std::size_t>(shape.num_priors));
  for (Range& range : ranges_) range.per_class.resize(classes);
  class_start_.resize(classes + 1);
  class_kept_.resize(classes);
  present_.reserve(classes);
  runs_.reserve(classes);
  const auto scanned = static_cast<std::size_t>(scan_rows_);
  const auto block = static_cast<std::size_t>(block_rows_);
  const auto stride = static_cast<std::size_t>(row_stride(shape.num_classes));
  for (Worker& worker : workers_) {
    if (shape.head_type == HeadType::kHalf) worker.rows.reserve(scanned * classes);
    worker.survivors.reserve(scanned + 1);
    worker.values.reserve(block * stride);
    worker.marks.reserve(block * (stride / kRowGroup));
    worker.sums.reserve(block);
    worker.finite.reserve(block);
  }
}

std::size_t HostImage::bytes() const {
  std::size_t total = boxes_.bytes() + by_class_.bytes() + merged_.bytes();
  for (const Range& range : ranges_) {
    total += range.keys.bytes() + range.per_class.capacity() * sizeof(std::size_t);
  }
  for (const Worker& worker : workers_) {
    total += worker.rows.bytes() + worker.values.bytes() + worker.kept.bytes();
  }
  return total;
}

void HostImage::run(const DecodeNmsInputs& inputs, int image, const ParallelLoop& loop,
                    HostDetections& detections) {
  const int num_ranges = static_cast<int>(ranges_.size());
  loop(num_ranges, [&](int range, int worker) {
    find_candidates(inputs, image, range, workers_[static_cast<std::size_t>(worker)]);
  });
  detections.keys.clear();
  detections.boxes.clear();
  const std::size_t candidates = lay_out_classes();
  if (candidates == 0) return;
  by_class_.reserve(candidates);
  loop(num_ranges, [&](int range, int) {
    sort_into_classes(ranges_[static_cast<std::size_t>(range)]);
  });
  loop(static_cast<int>(present_.size()), [&](int index, int worker) {
    const auto label = static_cast<std::size_t>(present_[static_cast<std::size_t>(index)]);
    const std::size_t start = class_start_[label];
    class_kept_[label] =
        nms_class(by_class_.data() + start, class_start_[label + 1] - start, boxes_.data(),
                  params_, workers_[static_cast<std::size_t>(worker)].kept);
  });
  gather(detections);
}

void HostImage::find_candidates(const DecodeNmsInputs& inputs, int image, int index,
                                Worker& worker) {
  Range& range = ranges_[static_cast<std::size_t>(index)];
  range.count = 0;
  std::fill(range.per_class.begin(), range.per_class.end(), 0);
  const std::int32_t first = index * kRangePriors;
  const std::int32_t last = std::min(shape_.num_priors, first + kRangePriors);
  const int classes = shape_.num_classes;
  std::int32_t* survivors = worker.survivors.data();
  for (std::int32_t prior = first; prior < last; prior += scan_rows_) {
    const int num_rows = std::min(scan_rows_, last - prior);
    const std::size_t offset =
        (static_cast<std::size_t>(image) * shape_.num_priors + prior) * classes;
    const float* rows = static_cast<const float*>(inputs.conf) + offset;
    if (shape_.head_type == HeadType::kHalf) {
      floats_from_halves(static_cast<const std::uint16_t*>(inputs.conf) + offset,
                         static_cast<std::size_t>(num_rows) * classes, worker.rows.data());
      rows = worker.rows.data();
    }
    int count = num_rows;
    if (params_.activation != Activation::kSoftmax) {
      count = surviving_rows_plain(rows, num_rows, classes, filter_, survivors);
    } else if (filter_.background >= 0) {
      count = surviving_rows_softmax(rows, num_rows, classes, filter_, survivors);
    } else {
      for (int r = 0; r < num_rows; ++r) survivors[r] = r;
    }
    for (int done = 0; done < count; done += block_rows_) {
      const RowBlock block = {worker.values.data(), worker.marks.data(), worker.sums.data(),
                              std::min(block_rows_, count - done), classes};
      prefetch_boxes(inputs, image, prior, survivors + done, block.num_rows);
      load_rows(rows, survivors + done, block);
      switch (params_.activation) {
        case Activation::kSoftmax: softmax_rows(block, filter_); break;
        case Activation::kSigmoid: sigmoid_rows(block, filter_); break;
        case Activation::kNone: plain_rows(block, filter_); break;
      }
      add_block(inputs, image, prior, survivors + done, block, range, worker);
    }
  }
}

// Asks for what add_block() is going to need.
void HostImage::prefetch_boxes(const DecodeNmsInputs& inputs, int image, std::int32_t first_prior,
                               const std::int32_t* rows, int num_rows) {
  const std::size_t loc_bytes = shape_.head_type == HeadType::kHalf ? 8 : 16;
  const auto loc = reinterpret_cast<std::uintptr_t>(inputs.loc) +
                   static_cast<std::size_t>(image) * shape_.num_priors * loc_bytes;
  const auto priors = reinterpret_cast<std::uintptr_t>(inputs.priors);
  for (int i = 0; i < num_rows; ++i) {
    const auto prior = static_cast<std::size_t>(first_prior + rows[i]);
    prefetch(loc + prior * loc_bytes);
    prefetch(priors + prior * 16);
  }
}

// Turns what is marked and exceeds the threshold into candidates of the range.
void HostImage::add_block(const DecodeNmsInputs& inputs, int image, std::int32_t first_prior,
                          const std::int32_t* rows, const RowBlock& block, Range& range,
                          Worker& worker) {
  const auto stride = static_cast<std::size_t>(row_stride(block.num_classes));
  const std::size_t offset = static_cast<std::size_t>(image) * shape_.num_priors * 4;
  std::uint8_t* finite = worker.finite.data();
  if (shape_.head_type == HeadType::kHalf) {
    decode_boxes(static_cast<const std::uint16_t*>(inputs.loc) + offset, inputs.priors,
                 params_.variances, first_prior, rows, block.num_rows, boxes_.data(), finite);
  } else {
    decode_boxes(static_cast<const float*>(inputs.loc) + offset, inputs.priors,
                 params_.variances, first_prior, rows, block.num_rows, boxes_.data(), finite);
  }
  if (params_.clip_boxes != 0) {  // what is no candidate is never read
    const Edges edges = {params_.clip_edges[0], params_.clip_edges[1]};
    for (int i = 0; i < block.num_rows; ++i) {
      Box& box = boxes_.data()[first_prior + rows[i]];
      box = clipped(box, edges);
    }
  }
  range.keys.reserve(range.count + static_cast<std::size_t>(block.num_rows) * stride);
  const std::size_t groups = stride / kRowGroup;
  const float threshold = params_.score_threshold;
  OrderKey* next = range.keys.data() + range.count;
  std::size_t* per_class = range.per_class.data();
  for (int i = 0; i < block.num_rows; ++i) {
    if (!finite[i]) continue;
    const float* values = block.values + static_cast<std::size_t>(i) * stride;
    const std::uint32_t* marks = block.marks + static_cast<std::size_t>(i) * groups;
    const float sum = block.sums[i];
    for (std::size_t group = 0; group < groups; ++group) {
      for (std::uint32_t mark = marks[group]; mark != 0; mark &= mark - 1) {
        const std::size_t c = group * kRowGroup + lowest_bit(mark);
        const float score = values[c] / sum;
        if (!(score > threshold)) continue;
        *next++ = key_from(score, static_cast<std::int32_t>(c), first_prior + rows[i]);
        ++per_class[c];
      }
    }
  }
  range.count = static_cast<std::size_t>(next - range.keys.data());
}

// Turns the counts of each range into positions; returns the number of candidates.
std::size_t HostImage::lay_out_classes() {
  present_.clear();
  std::size_t position = 0;
  for (std::size_t label = 0; label < class_kept_.size(); ++label) {
    class_start_[label] = position;
    class_kept_[label] = 0;
    for (Range& range : ranges_) {
      const std::size_t count = range.per_class[label];
      range.per_class[label] = position;
      position += count;
    }
    if (position > class_start_[label]) present_.push_back(static_cast<std::int32_t>(label));
  }
  class_start_.back() = position;
  return position;
}

// Copies the keys of a range to their classes.
void HostImage::sort_into_classes(Range& range) {
  const OrderKey* keys = range.keys.data();
  OrderKey* by_class = by_class_.data();
  for (std::size_t i = 0; i < range.count; ++i) {
    by_class[range.per_class[static_cast<std::size_t>(label_from_key(keys[i]))]++] = keys[i];
  }
}

// Merges what the classes kept into the total order.
void HostImage::gather(HostDetections& detections) {
  std::size_t total = 0;
  for (const std::int32_t label : present_) total += class_kept_[static_cast<std::size_t>(label)];
  std::size_t count = total;
  if (params_.keep_topk > 0) count = std::min(count, static_cast<std::size_t>(params_.keep_topk));
  merged_.reserve(total);
  if (count < total / 8) {
    merge_top(count);
  } else {
    OrderKey* next = merged_.data();
    for (const std::int32_t present : present_) {
      const auto label = static_cast<std::size_t>(present);
      next = std::copy_n(by_class_.data() + class_start_[label], class_kept_[label], next);
    }
    sort_top(merged_.data(), total, count);
  }
  const OrderKey* keys = merged_.data();
  detections.keys.assign(keys, keys + count);
  detections.boxes.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    detections.boxes[i] = boxes_.data()[prior_from_key(keys[i])];
  }
}

// The `count` first in the total order, one after the other from a heap of the classes' firsts.
void HostImage::merge_top(std::size_t count) {
  const auto later = [&](const Run& a, const Run& b) { return *a.next < *b.next; };
  runs_.clear();
  for (const std::int32_t present : present_) {
    const auto label = static_cast<std::size_t>(present);
    const OrderKey* first = by_class_.data() + class_start_[label];
    runs_.push_back({first, first + class_kept_[label]});
  }
  std::make_heap(runs_.begin(), runs_.end(), later);
  for (std::size_t i = 0; i < count; ++i) {
    std::pop_heap(runs_.begin(), runs_.end(), later);
    Run& run = runs_.back();
    merged_.data()[i] = *run.next++;
    if (run.next == run.stop) {
      runs_.pop_back();
    } else {
      std::push_heap(runs_.begin(), runs_.end(), later);
    }
  }
}

}  // namespace ssd_small
