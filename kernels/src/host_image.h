// One image on its way from heads to detections.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "host_candidates.h"
#include "host_memory.h"
#include "host_nms.h"
#include "ssd_small/decode_nms_host.h"

namespace ssd_small {

// Runs task(index, worker) for every index, of each worker in ascending order; worker is below the
// number of workers.
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
  struct Worker {
    CandidateFinder finder;
    RawBuffer<KeptBox> kept;
  };
  // What NMS keeps of a class, in order.
  struct Kept {
    RawBuffer<OrderKey> keys;
    std::size_t count = 0;
  };
  // The candidates that take part: those with at least this key, and how many they are.
  struct Part {
    OrderKey least;
    std::size_t count;
  };

  std::size_t join_workers();
  Part greatest(std::size_t wanted, std::size_t total);
  void suppress(Part part, const ParallelLoop& loop);
  void gather(HostDetections& detections);

  DecodeNmsShape shape_;
  DecodeNmsParams params_;
  int num_workers_ = 0;
  RawBuffer<Box> boxes_;  // [P], only those of candidates are written
  std::vector<Worker> workers_;  // of at least num_workers_; the first one's lists become the image's
  std::vector<std::int32_t> present_;  // classes that have a candidate
  std::vector<Kept> kept_;             // [C]
  RawBuffer<OrderKey> merged_;
};

}  // namespace ssd_small
