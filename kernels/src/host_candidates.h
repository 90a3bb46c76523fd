// From heads to candidates: rows of conf are looked at, scored and sorted into lists by class.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "host_memory.h"
#include "host_rows.h"
#include "host_scan.h"
#include "ssd_small/decode_nms.h"
#include "ssd_small/order_key.h"

namespace ssd_small {

// Candidates by class. A list forgets what cannot enter NMS, since as many as enter go before it:
// with a cut before NMS no list grows beyond about twice the cut.
class CandidateLists {
 public:
  void prepare(const DecodeNmsShape& shape, const DecodeNmsParams& params);  // std::bad_alloc
  // Empties all lists.
  void start();

  // Adds a candidate whose score exceeds the threshold; std::bad_alloc. Of a class, priors come in
  // ascending order, so that of equal scores the later one is the later in the total order.
  void add(float score, std::int32_t label, std::int32_t prior) {
    List& list = lists_[static_cast<std::size_t>(label)];
    if (!(score > list.threshold)) return;
    if (list.count == list.limit) {
      make_room(label);
      if (!(score > list.threshold)) return;
    }
    list.keys.data()[list.count++] = key_from(score, label, prior);
  }

  // Appends all of another's candidates of a class, and empties that list; std::bad_alloc.
  void take(std::size_t label, CandidateLists& other);

  // [S]: what each class has at least of the sum of its row if it is to be added.
  const float* shares() const { return shares_.data(); }
  std::size_t count(std::size_t label) const { return lists_[label].count; }
  OrderKey* keys(std::size_t label) { return lists_[label].keys.data(); }
  std::size_t bytes() const;

 private:
  struct List {
    RawBuffer<OrderKey> keys;
    std::size_t count = 0;
    std::size_t limit = 0;  // count at which make_room() is due
    float threshold = 0.0f;
  };

  void make_room(std::int32_t label);
  std::size_t limit_of(const List& list) const;

  DecodeNmsParams params_;
  int num_classes_ = 0;
  std::vector<List> lists_;    // of at least num_classes_
  std::vector<float> shares_;  // [S]
};

// What one thread finds, and its scratch memory.
class CandidateFinder {
 public:
  void prepare(const DecodeNmsShape& shape, const DecodeNmsParams& params);  // std::bad_alloc
  // Goes before the first find() of an image.
  void start() { lists_.start(); }
  // Candidates of the priors first .. last of an image into the lists, their boxes into
  // boxes[prior]; ranges of an image come in ascending order. std::bad_alloc.
  void find(const DecodeNmsInputs& inputs, int image, std::int32_t first, std::int32_t last,
            Box* boxes);

  CandidateLists& lists() { return lists_; }
  const CandidateLists& lists() const { return lists_; }

 private:
  // A group of a row in which something is marked.
  struct Marked {
    std::int32_t row;  // of the block
    std::int32_t group;
    std::int32_t box;  // in decoded_ and finite_
  };

  template <typename T>
  void find_in(const T* loc, const T* conf, std::size_t readable, const float* priors,
               std::int32_t first, std::int32_t last, Box* boxes);
  template <typename T>
  int survivors_of(const T* rows, int num_rows);
  template <typename T>
  void add_block(const T* loc, const float* priors, std::int32_t first_prior,
                 const std::int32_t* rows, const RowBlock& block, Box* boxes);

  DecodeNmsShape shape_;
  DecodeNmsParams params_;
  RowFilter filter_ = {};
  int scan_rows_ = 0;   // rows looked at together
  int block_rows_ = 0;  // rows in a RowBlock
  RawBuffer<std::int32_t> survivors_;
  RawBuffer<float> values_;  // of a RowBlock
  RawBuffer<std::uint32_t> marks_;
  RawBuffer<float> sums_;
  RawBuffer<Marked> marked_;
  RawBuffer<std::int32_t> decoded_;  // survivors of the block in which something is marked
  RawBuffer<std::uint8_t> finite_;   // the boxes of these
  CandidateLists lists_;
};

}  // namespace ssd_small
