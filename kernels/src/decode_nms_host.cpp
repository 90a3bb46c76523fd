#include "ssd_small/decode_nms_host.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "host_image.h"
#include "host_scratch.h"
#include "host_threads.h"

namespace ssd_small {
namespace {

// Splits the work over images if there is one for each thread, else each image over all threads.
void run_batch(const DecodeNmsShape& shape, const DecodeNmsParams& params,
               const DecodeNmsInputs& inputs, int num_threads,
               std::vector<HostDetections>& detections) {
  ThreadTeam team(num_threads);
  if (shape.batch < team.size()) {
    const ScratchLease lease;
    HostImage& scratch = *lease;
    scratch.prepare(shape, params, team.size());
    const ParallelLoop loop = [&](int num_tasks, const Task& task) { team.run(num_tasks, task); };
    for (int image = 0; image < shape.batch; ++image) {
      scratch.run(inputs, image, loop, detections[static_cast<std::size_t>(image)]);
    }
    return;
  }
  const ParallelLoop serial = [](int num_tasks, const Task& task) {
    for (int index = 0; index < num_tasks; ++index) task(index, 0);
  };
  std::vector<ScratchLease> leases(static_cast<std::size_t>(team.size()));
  for (const ScratchLease& lease : leases) (*lease).prepare(shape, params, 1);
  team.run(shape.batch, [&](int image, int worker) {
    HostImage& scratch = *leases[static_cast<std::size_t>(worker)];
    scratch.run(inputs, image, serial, detections[static_cast<std::size_t>(image)]);
  });
}

}  // namespace

Error decode_nms_host(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                      const DecodeNmsInputs& inputs, int num_threads,
                      std::vector<HostDetections>& detections) noexcept {
  if (const Error error = check_params(params)) return error;
  if (const Error error = check_heads(shape, false)) return error;
  if (const Error error = check_inputs(shape, inputs)) return error;
  try {
    detections.clear();
    detections.resize(static_cast<std::size_t>(shape.batch));
    if (shape.batch == 0 || shape.num_priors == 0) return {};
    const double elements = static_cast<double>(shape.batch) * shape.num_priors * shape.num_classes;
    run_batch(shape, params, inputs, choose_num_threads(num_threads, elements), detections);
  } catch (const std::bad_alloc&) {
    return Error{Status::kOutOfMemory, "batch", static_cast<double>(shape.batch),
                 "a batch whose candidates fit into memory"};
  } catch (...) {
    return Error{Status::kInternal, "batch", static_cast<double>(shape.batch),
                 "no fault of the library; please report"};
  }
  return {};
}

Error decode_nms_host_padded(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                             const DecodeNmsInputs& inputs, const DecodeNmsOutputs& outputs,
                             int num_threads) noexcept {
  if (const Error error = check_all(shape, params, inputs, outputs, false)) return error;
  std::vector<HostDetections> detections;
  if (const Error error = decode_nms_host(shape, params, inputs, num_threads, detections)) {
    return error;
  }
  const auto rows = static_cast<std::size_t>(shape.max_detections);
  for (std::size_t image = 0; image < detections.size(); ++image) {
    const std::vector<OrderKey>& keys = detections[image].keys;
    const std::size_t count = keys.size();
    const std::size_t first = image * rows;
    outputs.num_detections[image] = static_cast<std::int32_t>(count);
    if (rows == 0) continue;
    if (count > 0) {
      std::memcpy(outputs.boxes + first * 4, detections[image].boxes.data(), count * sizeof(Box));
    }
    for (std::size_t i = 0; i < count; ++i) {
      outputs.scores[first + i] = score_from_key(keys[i]);
      outputs.labels[first + i] = label_from_key(keys[i]);
      outputs.prior_indices[first + i] = prior_from_key(keys[i]);
    }
    std::fill_n(outputs.boxes + (first + count) * 4, (rows - count) * 4, 0.0f);
    std::fill_n(outputs.scores + first + count, rows - count, 0.0f);
    std::fill_n(outputs.labels + first + count, rows - count, 0);
    std::fill_n(outputs.prior_indices + first + count, rows - count, -1);
  }
  return {};
}

}  // namespace ssd_small
