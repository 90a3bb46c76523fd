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

// Scratch memory and steps; reused from image to image. Steps throw std::bad_alloc.
class HostImage {
 public:
  HostImage(const DecodeNmsShape& shape, const DecodeNmsParams& params, int num_workers);

  void run(const DecodeNmsInputs& inputs, int image, const ParallelLoop& loop,
           HostDetections& detections);

 private:
  // Candidates of a range of priors, and how many (later: where) per class.
  struct Range {
    RawBuffer<OrderKey> keys;
    std::size_t count = 0;
    std::vector<std::size_t> per_class;
  };
  struct Worker {
    RawBuffer<float> rows;  // rows looked at together, if conf is half
    RawBuffer<std::int32_t> survivors;
    RawBuffer<float> values;  // a RowBlock
    RawBuffer<std::uint8_t> flags;
    RawBuffer<float> sums;
    RawBuffer<std::uint8_t> finite;
    KeptBoxes kept;
  };

  void find_candidates(const DecodeNmsInputs& inputs, int image, int range, Worker& worker);
  void add_block(const DecodeNmsInputs& inputs, int image, std::int32_t first_prior,
                 const std::int32_t* rows, const RowBlock& block, Range& range,
                 Worker& worker);
  std::size_t lay_out_classes();
  void sort_into_classes(Range& range);
  void gather(HostDetections& detections);

  DecodeNmsShape shape_;
  DecodeNmsParams params_;
  RowFilter filter_;
  int scan_rows_;   // rows looked at together
  int block_rows_;  // rows in a RowBlock
  RawBuffer<Box> boxes_;  // [P], only those of candidates are written
  std::vector<Range> ranges_;
  std::vector<Worker> workers_;
  RawBuffer<OrderKey> by_class_;
  std::vector<std::size_t> class_start_;
  std::vector<std::size_t> class_kept_;
  std::vector<std::int32_t> present_;  // classes that have a candidate
};

}  // namespace ssd_small
