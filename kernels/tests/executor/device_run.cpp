#include "device_run.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "from_structs.h"
#include "ssd_small/decode_nms_cuda.h"

#if defined(SSD_SMALL_EXECUTOR)
#include "ssd_executor/executor.h"
#endif

namespace {

using namespace ssd_small;

enum class Content { kInput, kOutput, kScratch };

// Device memory of one array.
class DeviceArray {
 public:
  DeviceArray(const char* name, std::size_t bytes, std::size_t offset, Content content)
      : offset_(offset) {
    error_ = cudaMalloc(&block_, std::max<std::size_t>(bytes + offset, 1));
    if (error_ != cudaSuccess) return;
#if defined(SSD_SMALL_EXECUTOR)
    ssd_executor_remove_buffer(block_);  // declared anew: by name, at its exact size
    ssd_executor_add_buffer(name, data(), bytes,
                            content == Content::kInput ? SSD_EXECUTOR_READ_ONLY
                                                       : SSD_EXECUTOR_UNWRITTEN);
#else
    (void)name, (void)content;
#endif
  }
  ~DeviceArray() {
#if defined(SSD_SMALL_EXECUTOR)
    ssd_executor_remove_buffer(data());
#endif
    cudaFree(block_);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  void* data() const { return static_cast<char*>(block_) + offset_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data());
  }
  cudaError_t error() const { return error_; }

 private:
  void* block_ = nullptr;
  std::size_t offset_;
  cudaError_t error_;
};

// A call of the launcher, as far as it needs no memory.
struct Call {
  DecodeNmsShape shape;
  DecodeNmsParams params;
  std::size_t list_bytes;

  explicit Call(const ssd_small_device_run& run)
      : shape(shape_from(*run.heads)),
        params(params_from(*run.params)),
        list_bytes(run.list_bytes > 0 ? run.list_bytes : kListBytes) {
    shape.max_detections = run.max_detections;
  }
  std::size_t workspace_bytes() const {
    return decode_nms_workspace_bytes(shape, params, list_bytes);
  }
};

std::size_t product(std::int32_t a, std::int32_t b, std::int32_t c) {
  const auto positive = [](std::int32_t v) { return static_cast<std::size_t>(v > 0 ? v : 0); };
  return positive(a) * positive(b) * positive(c);
}

// Everything a launch needs, on the device.
struct Device {
  Call call;
  std::size_t element, loc_bytes, conf_bytes, prior_bytes, rows;
  bool overlap;
  DeviceArray loc, conf, priors, num_detections, boxes, scores, labels, prior_indices, workspace;

  explicit Device(const ssd_small_device_run& run)
      : call(run),
        element(call.shape.head_type == HeadType::kHalf ? 2 : 4),
        loc_bytes(product(call.shape.batch, call.shape.num_priors, 4) * element),
        conf_bytes(product(call.shape.batch, call.shape.num_priors, call.shape.num_classes) *
                   element),
        prior_bytes(product(call.shape.num_priors, 4, 4)),
        rows(product(call.shape.batch, run.max_detections, 1)),
        overlap(!run.plain && decode_nms_can_overlap()),
        loc("loc", loc_bytes, run.shift * element, Content::kInput),
        conf("conf", conf_bytes, run.shift * element, Content::kInput),
        priors("priors", prior_bytes, run.shift ? 4 : 0, Content::kInput),
        num_detections("num_detections", product(call.shape.batch, 4, 1), 0, Content::kOutput),
        boxes("boxes", rows * 16, 0, Content::kOutput),
        scores("scores", rows * 4, 0, Content::kOutput),
        labels("labels", rows * 4, 0, Content::kOutput),
        prior_indices("prior_indices", rows * 4, 0, Content::kOutput),
        workspace("workspace", call.workspace_bytes(), 0, Content::kScratch) {}

  DecodeNmsInputs inputs() const { return {loc.data(), conf.data(), priors.as<float>()}; }
  DecodeNmsOutputs outputs() const {
    return {num_detections.as<std::int32_t>(), boxes.as<float>(), scores.as<float>(),
            labels.as<std::int32_t>(), prior_indices.as<std::int32_t>()};
  }
  Workspace scratch() const { return {workspace.data(), call.workspace_bytes(), call.list_bytes}; }

  cudaError_t upload(const ssd_small_device_run& run) const {
    for (const DeviceArray* array : {&loc, &conf, &priors, &num_detections, &boxes, &scores,
                                     &labels, &prior_indices, &workspace}) {
      if (array->error() != cudaSuccess) return array->error();
    }
    cudaMemcpy(loc.data(), run.heads->loc, loc_bytes, cudaMemcpyHostToDevice);
    cudaMemcpy(conf.data(), run.heads->conf, conf_bytes, cudaMemcpyHostToDevice);
    return cudaMemcpy(priors.data(), run.heads->priors, prior_bytes, cudaMemcpyHostToDevice);
  }
  cudaError_t download(const ssd_small_device_run& run) const {
    const auto copy = [](void* to, const DeviceArray& from, std::size_t bytes) {
      return cudaMemcpy(to, from.data(), bytes, cudaMemcpyDeviceToHost);
    };
    copy(run.num_detections, num_detections, product(call.shape.batch, 4, 1));
    copy(run.boxes, boxes, rows * 16);
    copy(run.scores, scores, rows * 4);
    copy(run.labels, labels, rows * 4);
    return copy(run.prior_indices, prior_indices, rows * 4);
  }
  cudaError_t launch(cudaStream_t stream) const {
    return launch_decode_nms(call.shape, call.params, inputs(), outputs(), scratch(),
                             {stream, overlap});
  }
  bool fault(char* text, std::size_t size) const {
    return decode_nms_launch_fault(call.shape, call.params, inputs(), outputs(), scratch(), text,
                                   size);
  }
};

#if !defined(SSD_SMALL_EXECUTOR)
// Captures one launch, replays it twice: the second run must not depend on the first.
cudaError_t launch_graph(const Device& device, cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  cudaError_t error = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  if (error != cudaSuccess) return error;
  const cudaError_t launched = device.launch(stream);
  error = cudaStreamEndCapture(stream, &graph);
  if (launched != cudaSuccess) return launched;
  if (error == cudaSuccess) error = cudaGraphInstantiate(&executable, graph, 0);
  for (int i = 0; i < 2 && error == cudaSuccess; ++i) error = cudaGraphLaunch(executable, stream);
  if (executable) cudaGraphExecDestroy(executable);
  if (graph) cudaGraphDestroy(graph);
  return error;
}
#endif

cudaError_t run_once(const ssd_small_device_run& run, const Device& device) {
  cudaStream_t stream = nullptr;
#if !defined(SSD_SMALL_EXECUTOR)
  cudaError_t made = cudaStreamCreate(&stream);
  if (made != cudaSuccess) return made;
  cudaError_t error = run.graph ? launch_graph(device, stream) : device.launch(stream);
#else
  (void)run;
  cudaError_t error = device.launch(stream);
#endif
  if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
#if !defined(SSD_SMALL_EXECUTOR)
  cudaStreamDestroy(stream);
#endif
  return error;
}

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED int ssd_small_device_decode_nms(const ssd_small_device_run* run, char* message,
                                         size_t message_bytes) {
  const Device device(*run);
  cudaError_t error = device.upload(*run);
  if (error == cudaSuccess) error = run_once(*run, device);
  if (error == cudaSuccess) error = device.download(*run);
  if (!device.fault(message, message_bytes)) {
    std::snprintf(message, message_bytes, "%s", cudaGetErrorName(error));
  }
  return error;
}

EXPORTED size_t ssd_small_device_workspace_bytes(const ssd_small_device_run* run) {
  return Call(*run).workspace_bytes();
}

EXPORTED int ssd_small_device_count() {
#if defined(SSD_SMALL_EXECUTOR)
  return 1;
#else
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
#endif
}

EXPORTED int ssd_small_device_time(const ssd_small_device_run* run, int repeats,
                                   float* microseconds) {
  *microseconds = 0.0f;
#if defined(SSD_SMALL_EXECUTOR)
  (void)run, (void)repeats;
  return cudaSuccess;
#else
  const Device device(*run);
  cudaError_t error = device.upload(*run);
  for (int i = 0; i < 10 && error == cudaSuccess; ++i) error = device.launch(nullptr);
  cudaEvent_t begin = nullptr, end = nullptr;
  if (error == cudaSuccess) error = cudaEventCreate(&begin);
  if (error == cudaSuccess) error = cudaEventCreate(&end);
  if (error != cudaSuccess) return error;
  cudaEventRecord(begin);
  for (int i = 0; i < repeats && error == cudaSuccess; ++i) error = device.launch(nullptr);
  cudaEventRecord(end);
  cudaEventSynchronize(end);
  float milliseconds = 0.0f;
  cudaEventElapsedTime(&milliseconds, begin, end);
  *microseconds = milliseconds * 1000.0f / static_cast<float>(repeats);
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return error;
#endif
}
