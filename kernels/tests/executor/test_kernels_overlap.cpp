// The decode+NMS kernels where they may overlap: each of their waits is needed, and the launcher
// asks for it only where the device can.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <cuda_runtime.h>

#include "expect.h"
#include "ssd_executor/executor.h"
#include "ssd_small/decode_nms_cuda.h"

namespace {

// Heads in which nearly every prior is a candidate of every class.
struct Heads {
  ssd_small::DecodeNmsShape shape{2, 80, 5, 200, ssd_small::HeadType::kFloat};
  ssd_small::DecodeNmsParams params;
  std::vector<float> loc, conf, priors, boxes, scores;
  std::vector<std::int32_t> num, labels, indices;
  std::vector<uint4> workspace;

  explicit Heads(bool many) {
    if (many) {  // more than merge_kernel sorts
      shape = {1, 170, 101, 17000, ssd_small::HeadType::kFloat};
      params.score_threshold = 0.001f;
      params.keep_topk = params.keep_topk_per_class = params.pre_nms_topk = 0;
      params.iou_threshold = 1.0f;
    }
    const std::size_t rows = static_cast<std::size_t>(shape.batch) * shape.num_priors;
    const std::size_t out_rows = static_cast<std::size_t>(shape.batch) * shape.max_detections;
    loc.assign(4 * rows, 0.0f);
    conf.resize(rows * shape.num_classes);
    for (std::size_t i = 0; i < conf.size(); ++i) {
      conf[i] = 0.001f * static_cast<float>(i * 7919 % 1000);
    }
    priors.resize(4 * static_cast<std::size_t>(shape.num_priors));
    for (std::size_t i = 0; i < priors.size(); ++i) {
      priors[i] = i % 4 < 2 ? 0.01f * static_cast<float>(i * 31 % 97) : 0.05f;
    }
    num.assign(shape.batch, 0);
    boxes.assign(4 * out_rows, 0.0f);
    scores.assign(out_rows, 0.0f);
    labels.assign(out_rows, 0);
    indices.assign(out_rows, 0);
    workspace.resize(decode_nms_workspace_bytes(shape, params) / sizeof(uint4) + 1);
  }
  cudaError_t run(const ssd_small::LaunchQueue& queue) {
    const std::size_t bytes = workspace.size() * sizeof(uint4);
    std::memset(workspace.data(), 0xa5, bytes);
    ssd_executor_add_buffer("loc", loc.data(), 4 * loc.size(), SSD_EXECUTOR_READ_ONLY);
    ssd_executor_add_buffer("conf", conf.data(), 4 * conf.size(), SSD_EXECUTOR_READ_ONLY);
    ssd_executor_add_buffer("priors", priors.data(), 4 * priors.size(), SSD_EXECUTOR_READ_ONLY);
    ssd_executor_add_buffer("workspace", workspace.data(), bytes, SSD_EXECUTOR_UNWRITTEN);
    ssd_executor_add_buffer("num", num.data(), 4 * num.size(), SSD_EXECUTOR_READ_WRITE);
    ssd_executor_add_buffer("boxes", boxes.data(), 4 * boxes.size(), SSD_EXECUTOR_READ_WRITE);
    ssd_executor_add_buffer("scores", scores.data(), 4 * scores.size(), SSD_EXECUTOR_READ_WRITE);
    ssd_executor_add_buffer("labels", labels.data(), 4 * labels.size(), SSD_EXECUTOR_READ_WRITE);
    ssd_executor_add_buffer("indices", indices.data(), 4 * indices.size(),
                            SSD_EXECUTOR_READ_WRITE);
    const cudaError_t error = launch_decode_nms(
        shape, params, {loc.data(), conf.data(), priors.data()},
        {num.data(), boxes.data(), scores.data(), labels.data(), indices.data()},
        {workspace.data(), bytes}, queue);
    return error == cudaSuccess ? cudaStreamSynchronize(queue.stream) : error;
  }
};

void each_wait_of_the_kernels_is_needed() {
  if (!ssd_executor_traces()) return;
  for (const char* kernel : {"score_kernel", "suppress_kernel", "merge_kernel", "rank_kernel"}) {
    Heads heads(std::string(kernel) == "rank_kernel");
    for (const std::uint64_t seed : {0, 1}) {  // kernel after kernel, and overlapping
      if (seed == 0 && heads.shape.batch == 1) continue;  // many boxes take long
      ssd_executor_forget_waits_of(nullptr);
      ssd_executor_reset();
      ssd_executor_seed(seed);
      expect(heads.run({nullptr, true}) == cudaSuccess && first_fault().empty(),
             std::string(kernel) + ": " + first_fault());
      expect(heads.num[0] > 0, "something is found");
      ssd_executor_forget_waits_of(kernel);
      ssd_executor_reset();
      ssd_executor_seed(seed);
      heads.run({nullptr, true});
      expect(any_fault("race between kernels on workspace") && any_fault(kernel),
             std::string(kernel) + " without its wait: '" + first_fault() + "'");
      if (seed == 1) std::printf("caught: %s\n", first_fault().c_str());
    }
  }
  ssd_executor_forget_waits_of(nullptr);
}

void kernels_overlap_where_the_device_can() {
  Heads heads(false);
  std::vector<std::int32_t> expected;
  const struct {
    int architecture;
    bool refuses, asked;
    int overlapping;
  } cases[] = {{75, false, false, 0}, {89, false, false, 0}, {90, false, true, 3},
               {120, false, true, 3}, {90, true, true, 0}};
  for (const auto& device : cases) {
    ssd_executor_reset();
    ssd_executor_seed(3);
    ssd_executor_device(device.architecture, device.refuses);
    ssd_executor_overlapping_launches();
    const bool overlap = ssd_small::decode_nms_can_overlap();
    const std::string label = "sm_" + std::to_string(device.architecture) + ": ";
    expect(overlap == device.asked, label + "what decode_nms_can_overlap() says");
    expect(heads.run({nullptr, overlap}) == cudaSuccess, label + "a launch that is refused");
    expect(first_fault().empty(), label + first_fault());
    expect(ssd_executor_launch_count() == 4, label + "launches");
    expect(ssd_executor_overlapping_launches() == device.overlapping, label + "overlapping ones");
    expect(cudaGetLastError() == cudaSuccess, label + "an error is left for the caller to find");
    if (expected.empty()) expected = heads.indices;
    expect(heads.indices == expected, label + "another result");
  }
  ssd_executor_device(90, 0);
}

}  // namespace

int main() {
  each_wait_of_the_kernels_is_needed();
  kernels_overlap_where_the_device_can();
  std::printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
  return failures != 0;
}
