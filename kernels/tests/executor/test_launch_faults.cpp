// What cannot work is refused with a reason that names the value, and nothing is enqueued.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "expect.h"
#include "ssd_executor/executor.h"
#include "ssd_small/decode_nms_cuda.h"

namespace {

using namespace ssd_small;

struct Call {
  DecodeNmsShape shape{2, 3, 4, 9, HeadType::kFloat};
  DecodeNmsParams params;
  DecodeNmsInputs inputs;
  DecodeNmsOutputs outputs;
  Workspace workspace;
};

struct Arrays {
  alignas(16) float heads[64] = {};
  alignas(16) float out[256] = {};
  std::int32_t ints[256] = {};
  std::vector<unsigned char> memory = std::vector<unsigned char>(1 << 20);
};
Arrays arrays;

Call valid_call() {
  Call call;
  for (float& value : arrays.heads) value = 0.5f;
  call.inputs = {arrays.heads, arrays.heads, arrays.heads};
  call.outputs = {arrays.ints, arrays.out, arrays.out + 128, arrays.ints + 16, arrays.ints + 64};
  const auto address = reinterpret_cast<std::uintptr_t>(arrays.memory.data());
  call.workspace.data = arrays.memory.data() + (16 - address % 16) % 16;
  call.workspace.bytes = decode_nms_workspace_bytes(call.shape, call.params);
  return call;
}

std::string launch_fault(const Call& call) {
  char text[256];
  return decode_nms_launch_fault(call.shape, call.params, call.inputs, call.outputs,
                                 call.workspace, text, sizeof text) ? text : "";
}

void refused(const std::string& text, const std::function<void(Call&)>& spoil) {
  Call call = valid_call();
  spoil(call);
  ssd_executor_reset();
  const std::string fault = launch_fault(call);
  const cudaError_t error = launch_decode_nms(call.shape, call.params, call.inputs, call.outputs,
                                              call.workspace, {});
  expect(error == cudaErrorInvalidValue, text + ": error code " + std::to_string(error));
  expect(fault.find(text) != std::string::npos, "'" + text + "' not in '" + fault + "'");
  expect(ssd_executor_launch_count() == 0, text + ": something was launched");
}

void refuses_what_cannot_work() {
  refused("batch: got -1", [](Call& c) { c.shape.batch = -1; });
  refused("num_priors: got -5", [](Call& c) { c.shape.num_priors = -5; });
  refused("num_priors: got 4194305", [](Call& c) { c.shape.num_priors = (1 << 22) + 1; });
  refused("num_classes: got 0", [](Call& c) { c.shape.num_classes = 0; });
  refused("num_classes: got 1025", [](Call& c) { c.shape.num_classes = 1025; });
  refused("max_detections: got 8", [](Call& c) { c.shape.max_detections = 8; });
  refused("head_type: got 2", [](Call& c) { c.shape.head_type = static_cast<HeadType>(2); });
  refused("batch * num_priors: got", [](Call& c) {
    c.shape.batch = 1 << 20;
    c.shape.num_priors = 1 << 20;
    c.params.keep_topk = 1;
  });
  refused("batch * num_classes: got", [](Call& c) {
    c.shape.batch = INT32_MAX;
    c.shape.num_priors = 1;
  });
  refused("score_threshold: got nan", [](Call& c) { c.params.score_threshold = std::nanf(""); });
  refused("iou_threshold: got 1.5", [](Call& c) { c.params.iou_threshold = 1.5f; });
  refused("variances: got 0", [](Call& c) { c.params.variances[1] = 0.0f; });
  refused("activation: got 7", [](Call& c) { c.params.activation = static_cast<Activation>(7); });
  refused("background_label: got -2", [](Call& c) { c.params.background_label = -2; });
  refused("pre_nms_topk: got -1", [](Call& c) { c.params.pre_nms_topk = -1; });
  refused("keep_topk_per_class: got -1", [](Call& c) { c.params.keep_topk_per_class = -1; });
  refused("keep_topk: got -3", [](Call& c) { c.params.keep_topk = -3; });
  refused("pixel_offset: got -1", [](Call& c) { c.params.pixel_offset = -1.0f; });
  refused("clip_boxes: got 2", [](Call& c) { c.params.clip_boxes = 2; });
  refused("clip_edges: got 0", [](Call& c) { c.params.clip_edges[1] = 0.0f; });
  refused("loc is a null pointer", [](Call& c) { c.inputs.loc = nullptr; });
  refused("conf is a null pointer", [](Call& c) { c.inputs.conf = nullptr; });
  refused("priors is a null pointer", [](Call& c) { c.inputs.priors = nullptr; });
  refused("num_detections is a null", [](Call& c) { c.outputs.num_detections = nullptr; });
  refused("boxes is a null pointer", [](Call& c) { c.outputs.boxes = nullptr; });
  refused("scores is a null pointer", [](Call& c) { c.outputs.scores = nullptr; });
  refused("labels is a null pointer", [](Call& c) { c.outputs.labels = nullptr; });
  refused("prior_indices is a null", [](Call& c) { c.outputs.prior_indices = nullptr; });
  refused("workspace is a null pointer", [](Call& c) { c.workspace.data = nullptr; });
  refused("workspace_bytes: got 0", [](Call& c) { c.workspace.bytes = 0; });
  refused("workspace: got 4", [](Call& c) {
    c.workspace.data = static_cast<char*>(c.workspace.data) + 4;
  });
  refused("conf: got 2", [](Call& c) {
    c.inputs.conf = static_cast<const char*>(c.inputs.conf) + 2;
  });
  const auto shifted = [](auto* pointer) {
    return reinterpret_cast<decltype(pointer)>(reinterpret_cast<std::uintptr_t>(pointer) + 1);
  };
  refused("boxes: got 1", [&](Call& c) { c.outputs.boxes = shifted(c.outputs.boxes); });
  refused("labels: got 1", [&](Call& c) { c.outputs.labels = shifted(c.outputs.labels); });
  Call call = valid_call();
  refused("(" + std::to_string(call.workspace.bytes) + ")",
          [](Call& c) { c.workspace.bytes -= 1; });
}

void accepts_what_works() {
  Call call = valid_call();
  expect(launch_fault(call).empty(), "a valid call has no fault");
  expect(launch_decode_nms(call.shape, call.params, call.inputs, call.outputs, call.workspace,
                           {}) == cudaSuccess, "a valid call runs");
  expect(arrays.ints[0] > 0, "and finds something");
  // nothing to do needs no workspace, and null arrays are no fault where they hold nothing
  call.shape.batch = 0;
  expect(decode_nms_workspace_bytes(call.shape, call.params) == 0, "no batch, no workspace");
  expect(launch_decode_nms(call.shape, call.params, {}, {}, {}, {}) == cudaSuccess,
         "no batch, no pointers");
}

}  // namespace

int main() {
  refuses_what_cannot_work();
  accepts_what_works();
  std::printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
  return failures != 0;
}
