// One image on its way from heads to detections.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "host_memory.h"
#include "host_nms.h"
#include "host_rows.h"
#include "ssd_small/decode_nms_host.h"

namespace ssd_small {

// Runs task(index, worker) for every index; worker is below the number of workers.
using Task = std::function<void(int, int)>;
using ParallelLoop = std::function<void(int num_tasks, const Task& task)>;

// Scratch memory and steps; reused from image to image. prepare() and run() throw std::bad_alloc.
class HostImage {
 public:
  // Goes before run(); memory there already is used again.
  void prepare(const DecodeNmsShape& shape, const DecodeNmsParams& params, int num_workers);
  // What is held, but for small change.
  std::size_t bytes() const;

  void run(const DecodeNmsInputs& inputs, int image, const ParallelLoop& loop,
           HostDetections& detections);

 private:
  // Candidates of a range of priors, and how many (later: where) per class.
  struct Range {
    RawBuffer<OrderKey> keys;
    std::size_t count = 0;
    std::vector<std::size_t> per_class;
  };
  // What is left of the keys a class kept.
  struct Run {
    const OrderKey* next;
    const OrderKey* stop;
  };
  struct Worker {
    RawBuffer<float> rows;  // rows looked at together, if conf is half
    RawBuffer<std::int32_t> survivors;
    RawBuffer<float> values;  // a RowBlock
    RawBuffer<std::uint32_t> marks;
    RawBuffer<float> sums;
    RawBuffer<std::uint8_t> finite;
    RawBuffer<KeptBox> kept;
  };

  void find_candidates(const DecodeNmsInputs& inputs, int image, int range, Worker& worker);
  void add_block(const DecodeNmsInputs& inputs, int image, std::int32_t first_prior,
                 const std::int32_t* rows, const RowBlock& block, Range& range,
                 Worker& worker);
  void prefetch_boxes(const DecodeNmsInputs& inputs, int image, std::int32_t first_prior,
                      const std::int32_t* rows, int num_rows);
  std::size_t lay_out_classes();
  void sort_into_classes(Range& range);
  void gather(HostDetections& detections);
  void merge_top(std::size_t count);

  DecodeNmsShape shape_;
  DecodeNmsParams params_;
  RowFilter filter_ = {};
  int scan_rows_ = 0;   // rows looked at together
  int block_rows_ = 0;  // rows in a RowBlock
  RawBuffer<Box> boxes_;  // [P], only those of candidates are written
  std::vector<Range> ranges_;
  std::vector<Worker> workers_;
  RawBuffer<OrderKey> by_class_;
  RawBuffer<OrderKey> merged_;
  std::vector<Run> runs_;
  std::vector<std::size_t> class_start_;
  std::vector<std::size_t> class_kept_;
  std::vector<std::int32_t> present_;  // classes that have a candidate
};

}  // namespace ssd_small
