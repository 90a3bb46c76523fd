#include "host_candidates.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "host_bits.h"
#include "ssd_small/lazy_scores.h"

namespace ssd_small {
namespace {

constexpr int kScanFloats = 16384;  // what is looked at together stays in the second-level cache
constexpr int kBlockFloats = 4096;
constexpr std::size_t kFirstKeys = 256;  // of a list

bool has_background(const DecodeNmsShape& shape, const DecodeNmsParams& params) {
  return params.background_label >= 0 && params.background_label < shape.num_classes;
}

}  // namespace

void CandidateLists::prepare(const DecodeNmsShape& shape, const DecodeNmsParams& params) {
  params_ = params;
  num_classes_ = shape.num_classes;
  const auto classes = static_cast<std::size_t>(num_classes_);
  if (lists_.size() < classes) lists_.resize(classes);
  shares_.resize(static_cast<std::size_t>(row_stride(num_classes_)));
  if (!has_background(shape, params)) params_.background_label = -1;
}

void CandidateLists::start() {
  for (List& list : lists_) {
    list.count = 0;
    list.limit = limit_of(list);
    list.threshold = params_.score_threshold;
  }
  std::fill(shares_.begin(), shares_.end(), std::numeric_limits<float>::quiet_NaN());
  std::fill_n(shares_.begin(), num_classes_,
              share_from_threshold(params_.activation, params_.score_threshold));
  if (params_.background_label >= 0) {
    shares_[static_cast<std::size_t>(params_.background_label)] =
        std::numeric_limits<float>::quiet_NaN();
  }
}

// What the list holds, or where it is to forget, whichever comes first.
std::size_t CandidateLists::limit_of(const List& list) const {
  const std::size_t room = list.keys.bytes() / sizeof(OrderKey);
  if (params_.pre_nms_topk == 0) return room;
  return std::min(room, 2 * static_cast<std::size_t>(params_.pre_nms_topk) + kFirstKeys);
}

void CandidateLists::make_room(std::int32_t label) {
  List& list = lists_[static_cast<std::size_t>(label)];
  const auto entering = static_cast<std::size_t>(params_.pre_nms_topk);
  if (entering > 0 && list.count >= 2 * entering + kFirstKeys) {
    OrderKey* keys = list.keys.data();
    OrderKey* last = keys + entering - 1;
    std::nth_element(keys, last, keys + list.count, std::greater<OrderKey>());
    list.count = entering;
    list.threshold = score_from_key(*last);
    shares_[static_cast<std::size_t>(label)] =
        share_from_threshold(params_.activation, list.threshold);
    return;
  }
  list.keys.reserve(std::max(kFirstKeys, list.count + 1));
  list.limit = limit_of(list);
}

void CandidateLists::take(std::size_t label, CandidateLists& other) {
  List& mine = lists_[label];
  List& theirs = other.lists_[label];
  mine.keys.reserve(mine.count + theirs.count);
  std::copy_n(theirs.keys.data(), theirs.count, mine.keys.data() + mine.count);
  mine.count += theirs.count;
  theirs.count = 0;
}

std::size_t CandidateLists::bytes() const {
  std::size_t total = 0;
  for (const List& list : lists_) total += list.keys.bytes();
  return total;
}

void CandidateFinder::prepare(const DecodeNmsShape& shape, const DecodeNmsParams& params) {
  shape_ = shape;
  params_ = params;
  filter_ = {has_background(shape, params) ? params.background_label : -1,
             lazy_cut(params.activation, params.score_threshold)};
  const int stride = row_stride(shape.num_classes);
  scan_rows_ = std::max(1, kScanFloats / shape.num_classes);
  block_rows_ = std::max(1, kBlockFloats / stride);
  const auto block = static_cast<std::size_t>(block_rows_);
  const auto groups = static_cast<std::size_t>(stride / kRowGroup);
  survivors_.reserve(static_cast<std::size_t>(scan_rows_) + 1);
  values_.reserve(block * static_cast<std::size_t>(stride));
  marks_.reserve(block * groups);
  sums_.reserve(block);
  marked_.reserve(block * groups + 1);
  decoded_.reserve(block + 1);
  finite_.reserve(block);
  lists_.prepare(shape, params);
}

void CandidateFinder::find(const DecodeNmsInputs& inputs, int image, std::int32_t first,
                           std::int32_t last, Box* boxes) {
  const auto priors = static_cast<std::size_t>(shape_.num_priors);
  const auto classes = static_cast<std::size_t>(shape_.num_classes);
  const std::size_t before = static_cast<std::size_t>(image) * priors;
  const std::size_t readable = (static_cast<std::size_t>(shape_.batch) * priors - before) * classes;
  const auto find_of = [&](auto type) {
    using T = decltype(type);
    find_in(static_cast<const T*>(inputs.loc) + before * 4,
            static_cast<const T*>(inputs.conf) + before * classes, readable, inputs.priors, first,
            last, boxes);
  };
  switch (shape_.head_type) {
    case HeadType::kFloat: find_of(float{}); break;
    case HeadType::kHalf: find_of(Half{}); break;
    case HeadType::kBfloat16: find_of(Bfloat16{}); break;
  }
}

template <typename T>
int CandidateFinder::survivors_of(const T* rows, int num_rows) {
  std::int32_t* survivors = survivors_.data();
  if (params_.activation != Activation::kSoftmax) {
    return surviving_rows_plain(rows, num_rows, shape_.num_classes, filter_, survivors);
  }
  if (filter_.background >= 0) {
    return surviving_rows_softmax(rows, num_rows, shape_.num_classes, filter_, survivors);
  }
  for (int r = 0; r < num_rows; ++r) survivors[r] = r;
  return num_rows;
}

// readable: values of conf from the image on.
template <typename T>
void CandidateFinder::find_in(const T* loc, const T* conf, std::size_t readable,
                              const float* priors, std::int32_t first, std::int32_t last,
                              Box* boxes) {
  for (std::int32_t prior = first; prior < last; prior += scan_rows_) {
    const std::size_t offset = static_cast<std::size_t>(prior) * shape_.num_classes;
    const T* rows = conf + offset;
    const int count = survivors_of(rows, std::min(scan_rows_, last - prior));
    for (int done = 0; done < count; done += block_rows_) {
      const std::int32_t* block_survivors = survivors_.data() + done;
      const RowBlock block = {values_.data(), marks_.data(), sums_.data(),
                              std::min(block_rows_, count - done), shape_.num_classes};
      for (int i = 0; i < block.num_rows; ++i) {  // add_block() is going to need them
        const std::size_t at = static_cast<std::size_t>(prior + block_survivors[i]) * 4;
        prefetch(reinterpret_cast<std::uintptr_t>(loc + at));
        prefetch(reinterpret_cast<std::uintptr_t>(priors + at));
      }
      load_rows(rows, readable - offset, block_survivors, block);
      switch (params_.activation) {
        case Activation::kSoftmax: softmax_rows(block, lists_.shares()); break;
        case Activation::kSigmoid: sigmoid_rows(block, lists_.shares()); break;
        case Activation::kNone: plain_rows(block, lists_.shares()); break;
      }
      add_block(loc, priors, prior, block_survivors, block, boxes);
    }
  }
}

// Adds what is marked in a block to the lists.
template <typename T>
void CandidateFinder::add_block(const T* loc, const float* priors, std::int32_t first_prior,
                                const std::int32_t* rows, const RowBlock& block, Box* boxes) {
  const int stride = row_stride(block.num_classes);
  const int groups = stride / kRowGroup;
  // lists without branches: where something is marked is nothing that a processor could foresee
  Marked* marked = marked_.data();
  std::int32_t* decoded = decoded_.data();
  std::size_t num_marked = 0;
  int num_decoded = 0;
  for (int i = 0; i < block.num_rows; ++i) {
    std::uint32_t any = 0;
    for (int group = 0; group < groups; ++group) {
      const std::uint32_t mark = block.marks[i * groups + group];
      marked[num_marked] = {i, group, num_decoded};
      num_marked += mark != 0 ? 1 : 0;
      any |= mark;
    }
    decoded[num_decoded] = rows[i];
    num_decoded += any != 0 ? 1 : 0;
  }
  if (num_decoded == 0) return;
  decode_boxes(loc, priors, params_.variances, first_prior, decoded, num_decoded, boxes,
               finite_.data());
  if (params_.clip_boxes != 0) {  // what is no candidate is never read
    const Edges edges = {params_.clip_edges[0], params_.clip_edges[1]};
    for (int i = 0; i < num_decoded; ++i) {
      Box& box = boxes[first_prior + decoded[i]];
      box = clipped(box, edges);
    }
  }
  for (std::size_t m = 0; m < num_marked; ++m) {
    const auto [row, group, box] = marked[m];
    if (finite_.data()[box] == 0) continue;
    const float* values = block.values + static_cast<std::size_t>(row) * stride + group * kRowGroup;
    for (std::uint32_t mark = block.marks[row * groups + group]; mark != 0; mark &= mark - 1) {
      const std::size_t j = lowest_bit(mark);
      lists_.add(values[j] / block.sums[row], group * kRowGroup + static_cast<std::int32_t>(j),
                 first_prior + rows[row]);
    }
  }
}

}  // namespace ssd_small
