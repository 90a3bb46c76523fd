#include "host_image.h"

#include <algorithm>

#include "host_rows.h"
#include "ssd_small/half.h"
#include "ssd_small/lazy_scores.h"

namespace ssd_small {
namespace {

constexpr std::int32_t kRangePriors = 1024;
constexpr int kBlockFloats = 16384;  // a block of rows stays in the first-level cache

}  // namespace

HostImage::HostImage(const DecodeNmsShape& shape, const DecodeNmsParams& params, int num_workers)
    : shape_(shape),
      params_(params),
      background_(params.background_label < shape.num_classes ? params.background_label : -1),
      cut_(lazy_cut(params.activation, params.score_threshold)),
      block_rows_(std::max(1, kBlockFloats / shape.num_classes)),
      ranges_(static_cast<std::size_t>((shape.num_priors + kRangePriors - 1) / kRangePriors)),
      workers_(static_cast<std::size_t>(num_workers)) {
  const auto classes = static_cast<std::size_t>(shape.num_classes);
  boxes_.reserve(static_cast<std::size_t>(shape.num_priors));
  for (Range& range : ranges_) range.per_class.resize(classes);
  class_start_.resize(classes + 1);
  class_kept_.resize(classes);
  present_.reserve(classes);
  const auto rows = static_cast<std::size_t>(block_rows_);
  for (Worker& worker : workers_) {
    if (shape.head_type == HeadType::kHalf) worker.rows.reserve(rows * classes);
    worker.row_scratch.reserve(static_cast<std::size_t>(row_scratch_floats(shape.num_classes)));
    worker.scores.reserve(classes + 1);
    worker.labels.reserve(classes + 1);
    worker.survivors.reserve(rows + 1);
  }
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
  for (std::int32_t prior = first; prior < last; prior += block_rows_) {
    const int num_rows = std::min(block_rows_, last - prior);
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
      count = surviving_rows_plain(rows, num_rows, classes, background_, cut_, survivors);
    } else if (background_ >= 0) {
      count = surviving_rows_softmax(rows, num_rows, classes, background_, cut_, survivors);
    } else {
      for (int r = 0; r < num_rows; ++r) survivors[r] = r;
    }
    for (int i = 0; i < count; ++i) {
      const float* row = rows + static_cast<std::size_t>(survivors[i]) * classes;
      add_row(inputs, image, prior + survivors[i], row, range, worker);
    }
  }
}

void HostImage::add_row(const DecodeNmsInputs& inputs, int image, std::int32_t prior,
                        const float* row, Range& range, Worker& worker) {
  const auto candidates = params_.activation == Activation::kSoftmax ? row_candidates_softmax
                          : params_.activation == Activation::kSigmoid
                              ? row_candidates_sigmoid
                              : row_candidates_none;
  const int count = candidates(row, shape_.num_classes, background_, params_.score_threshold,
                               worker.row_scratch.data(), worker.labels.data(),
                               worker.scores.data());
  if (count == 0) return;
  const std::size_t offset =
      (static_cast<std::size_t>(image) * shape_.num_priors + prior) * 4;
  float loc[4];
  for (std::size_t i = 0; i < 4; ++i) {
    loc[i] = shape_.head_type == HeadType::kHalf
                 ? float_from_half(static_cast<const std::uint16_t*>(inputs.loc)[offset + i])
                 : static_cast<const float*>(inputs.loc)[offset + i];
  }
  const Box box = box_from_loc(loc, inputs.priors + static_cast<std::size_t>(prior) * 4,
                               params_.variances[0], params_.variances[1]);
  if (!is_finite(box)) return;
  boxes_.data()[prior] = box;
  range.keys.reserve(range.count + static_cast<std::size_t>(count));
  OrderKey* keys = range.keys.data() + range.count;
  for (int i = 0; i < count; ++i) {
    const std::int32_t label = worker.labels.data()[i];
    keys[i] = key_from(worker.scores.data()[i], label, prior);
    ++range.per_class[static_cast<std::size_t>(label)];
  }
  range.count += static_cast<std::size_t>(count);
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
  std::vector<OrderKey>& keys = detections.keys;
  for (const std::int32_t present : present_) {
    const auto label = static_cast<std::size_t>(present);
    const OrderKey* kept = by_class_.data() + class_start_[label];
    keys.insert(keys.end(), kept, kept + class_kept_[label]);
  }
  std::size_t count = keys.size();
  if (params_.keep_topk > 0) count = std::min(count, static_cast<std::size_t>(params_.keep_topk));
  sort_top(keys.data(), keys.size(), count);
  keys.resize(count);
  detections.boxes.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    detections.boxes[i] = boxes_.data()[prior_from_key(keys[i])];
  }
}

}  // namespace ssd_small
