// One image on its way from heads to detections.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "host_memory.h"
#include "host_nms.h"
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
    RawBuffer<float> rows;          // a block of rows, if conf is half
    RawBuffer<float> row_scratch;
    RawBuffer<float> scores;
    RawBuffer<std::int32_t> labels;
    RawBuffer<std::int32_t> survivors;
    KeptBoxes kept;
  };

  void find_candidates(const DecodeNmsInputs& inputs, int image, int range, Worker& worker);
  void add_row(const DecodeNmsInputs& inputs, int image, std::int32_t prior, const float* row,
               Range& range, Worker& worker);
  std::size_t lay_out_classes();
  void sort_into_classes(Range& range);
  void gather(HostDetections& detections);

  DecodeNmsShape shape_;
  DecodeNmsParams params_;
  int background_;  // -1 if no column of conf is the background
  float cut_;
  int block_rows_;  // rows looked at together
  RawBuffer<Box> boxes_;  // [P], only those of candidates are written
  std::vector<Range> ranges_;
  std::vector<Worker> workers_;
  RawBuffer<OrderKey> by_class_;
  std::vector<std::size_t> class_start_;
  std::vector<std::size_t> class_kept_;
  std::vector<std::int32_t> present_;  // classes that have a candidate
};

}  // namespace ssd_small
