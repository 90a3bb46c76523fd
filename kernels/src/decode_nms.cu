// Launcher of the decode+NMS kernels: four for a whole batch, whose ends and beginnings overlap
// where the device can (decode_nms_order.cuh).
//
//   clear     the lists are empty
//   score     one read of conf: candidates into a list per (image, class)
//   suppress  selection, sort and greedy NMS per (image, class); a list that overflowed (only
//             where the workspace has no room for every prior) is read from conf again
//   merge     one order over the classes of an image, outputs written (rank: for large outputs)
#include "ssd_small/decode_nms_cuda.h"

#include <algorithm>
#include <climits>
#include <cstdio>
#include <utility>

#include "decode_nms_merge.cuh"
#include "decode_nms_suppress.cuh"
#include "ssd_small/carver.h"
#include "ssd_small/lazy_scores.h"
#include "ssd_small/validate.h"

namespace ssd_small {
namespace {

using device::Problem;

// Each list holds at least this many candidates, or an eighth of the priors.
constexpr std::int32_t kListFloor = 2048;
constexpr unsigned kTileBytes = 12288;      // of conf per block of the score kernel, if C allows
constexpr unsigned kMaxRowGroups = 32;      // rows per tile / 8
constexpr std::int64_t kMaxSorted = 16384;  // detections of an image that merge_kernel sorts
constexpr std::size_t kAlignment = 16;
constexpr std::int64_t kMaxGrid = INT_MAX;

unsigned no_cut_if_zero(std::int32_t cut) {
  return cut > 0 ? static_cast<unsigned>(cut) : UINT_MAX;
}

bool is_empty(const DecodeNmsShape& shape, const DecodeNmsParams& params) {
  return shape.num_priors == 0 ||
         max_detections(params, shape.num_priors, shape.num_classes) == 0;
}

// Shape and parameters as the kernels want them; pointers follow in carve().
Problem describe(const DecodeNmsShape& shape, const DecodeNmsParams& params) {
  Problem problem{};
  problem.num_priors = static_cast<unsigned>(shape.num_priors);
  problem.num_classes = static_cast<unsigned>(shape.num_classes);
  problem.num_rows = static_cast<unsigned>(std::int64_t{shape.batch} * shape.num_priors);
  problem.num_pairs = static_cast<unsigned>(std::int64_t{shape.batch} * shape.num_classes);
  problem.background = params.background_label < 0 ? UINT_MAX
                                                   : static_cast<unsigned>(params.background_label);
  problem.pre_nms_topk = no_cut_if_zero(params.pre_nms_topk);
  problem.keep_topk = no_cut_if_zero(params.keep_topk);
  // what comes after keep_topk in its class does so in the image as well
  problem.kept_capacity =
      std::min({problem.num_priors, problem.pre_nms_topk, problem.keep_topk,
                no_cut_if_zero(params.keep_topk_per_class)});
  problem.max_detections = static_cast<unsigned>(shape.max_detections);
  const unsigned row_bytes = problem.num_classes * (shape.head_type == HeadType::kHalf ? 2 : 4);
  problem.rows_per_tile = device::kScoreWarps *
      std::max(1u, std::min(kMaxRowGroups, kTileBytes / (device::kScoreWarps * row_bytes)));
  problem.activation = params.activation;
  problem.score_threshold = params.score_threshold;
  problem.lazy_cut = lazy_cut(params.activation, params.score_threshold);
  problem.iou_threshold = params.iou_threshold;
  problem.variances[0] = params.variances[0];
  problem.variances[1] = params.variances[1];
  problem.convention = iou_convention(params.pixel_offset);
  problem.clip_boxes = params.clip_boxes != 0;
  problem.edges = {params.clip_edges[0], params.clip_edges[1]};
  return problem;
}

// Keys in the candidate lists of all (image, class) pairs: room for every prior as far as
// list_bytes goes. Grows with each extent, so that a workspace for the largest shape does for all.
std::size_t list_keys(const DecodeNmsShape& shape, std::size_t list_bytes) {
  const auto pairs = static_cast<std::size_t>(shape.batch) * shape.num_classes;
  const std::int32_t least =
      std::min(shape.num_priors, std::max(kListFloor, (shape.num_priors + 7) / 8));
  return std::max(pairs * least, std::min(pairs * shape.num_priors, list_bytes / sizeof(OrderKey)));
}

// Lays out the workspace, or only counts it (a Carver without memory). Returns its bytes.
std::size_t carve(const DecodeNmsShape& shape, const Workspace& workspace, Problem* problem) {
  Carver carver(workspace.data);
  const std::size_t pairs = static_cast<std::size_t>(shape.batch) * problem->num_classes;
  const std::size_t keys = list_keys(shape, workspace.list_bytes);
  problem->list_capacity =
      static_cast<unsigned>(std::min<std::size_t>(problem->num_priors, keys / pairs));
  problem->counts = carver.take<unsigned>(pairs);
  problem->kept_counts = carver.take<unsigned>(pairs);
  problem->lists = carver.take<OrderKey>(keys);
  problem->kept_keys = carver.take<OrderKey>(pairs * problem->kept_capacity);
  if (problem->kept_capacity > device::kKeptInShared) {
    problem->kept_boxes = carver.take<Box>(pairs * problem->kept_capacity);
  }
  if (problem->list_capacity < problem->num_priors &&
      problem->activation == Activation::kSoftmax) {
    problem->row_stats = carver.take<float2>(problem->num_rows);
  }
  return carver.bytes();
}

// What validate.h cannot know: the limits of this backend.
Error check_limits(const DecodeNmsShape& shape) {
  const std::int64_t rows = std::int64_t{shape.batch} * shape.num_priors;
  const std::int64_t pairs = std::int64_t{shape.batch} * shape.num_classes;
  if (rows > kMaxGrid) {
    return {Status::kBadShape, "batch * num_priors", static_cast<double>(rows),
            "at most 2147483647"};
  }
  if (pairs > kMaxGrid) {
    return {Status::kBadShape, "batch * num_classes", static_cast<double>(pairs),
            "at most 2147483647"};
  }
  return {};
}

Error check_alignment(const void* pointer, std::size_t alignment, const char* field,
                      const char* expected) {
  const std::size_t excess = reinterpret_cast<std::uintptr_t>(pointer) % alignment;
  if (excess == 0) return {};
  return {Status::kBadParameter, field, static_cast<double>(excess), expected};
}

Error check_launch(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                   const DecodeNmsInputs& inputs, const DecodeNmsOutputs& outputs,
                   const Workspace& workspace) {
  if (const Error error = check_all(shape, params, inputs, outputs)) return error;
  if (const Error error = check_limits(shape)) return error;
  const std::size_t element = shape.head_type == HeadType::kHalf ? 2 : 4;
  const char* of_element = "0 (address modulo the element size)";
  if (const Error e = check_alignment(inputs.loc, element, "loc", of_element)) return e;
  if (const Error e = check_alignment(inputs.conf, element, "conf", of_element)) return e;
  if (const Error e = check_alignment(inputs.priors, 4, "priors", of_element)) return e;
  const std::pair<const void*, const char*> four_byte_outputs[] = {
      {outputs.num_detections, "num_detections"}, {outputs.boxes, "boxes"},
      {outputs.scores, "scores"},                 {outputs.labels, "labels"},
      {outputs.prior_indices, "prior_indices"},
  };
  for (const auto& [pointer, field] : four_byte_outputs) {
    if (const Error e = check_alignment(pointer, 4, field, of_element)) return e;
  }
  const std::size_t needed = decode_nms_workspace_bytes(shape, params, workspace.list_bytes);
  if (needed == 0) return {};
  if (workspace.data == nullptr) {
    return {Status::kNullPointer, "workspace", 0.0, "decode_nms_workspace_bytes() of memory"};
  }
  if (const Error e = check_alignment(workspace.data, kAlignment, "workspace",
                                      "0 (address modulo 16)")) {
    return e;
  }
  return check_workspace(workspace.bytes, needed);
}

struct LaunchSize {
  dim3 grid;
  unsigned threads;
  std::size_t shared_bytes = 0;
};

template <class Kernel>
cudaError_t launch(Kernel kernel, const LaunchSize& size, const LaunchQueue& queue,
                   const Problem& problem) {
  cudaLaunchConfig_t config{};
  config.gridDim = size.grid;
  config.blockDim = dim3(size.threads);
  config.dynamicSmemBytes = size.shared_bytes;
  config.stream = queue.stream;
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  if (queue.overlap) {
    config.attrs = &overlap;
    config.numAttrs = 1;
    const cudaError_t error = cudaLaunchKernelEx(&config, kernel, problem);
    if (error != cudaErrorNotSupported) return error;
    cudaGetLastError();  // taken back: plainly launched, the kernels are right as well
    config.numAttrs = 0;
  }
  return cudaLaunchKernelEx(&config, kernel, problem);
}

template <class T>
cudaError_t launch_kernels(const DecodeNmsShape& shape, const Problem& problem,
                           std::int64_t most_detections, const LaunchQueue& queue) {
  const auto batch = static_cast<unsigned>(shape.batch);
  const unsigned pairs = problem.num_pairs;
  const unsigned tiles = (problem.num_rows - 1) / problem.rows_per_tile + 1;
  const std::size_t tile_bytes =
      std::size_t{problem.rows_per_tile} * problem.num_classes * sizeof(T) + kAlignment;
  // plainly: after everything that the stream holds, whoever enqueued it
  const dim3 clear_grid((pairs - 1) / device::kClearThreads + 1);
  cudaError_t error = launch(device::clear_kernel, {clear_grid, device::kClearThreads},
                             {queue.stream, false}, problem);
  if (error != cudaSuccess) return error;
  error = launch(device::score_kernel<T>, {dim3(tiles), device::kScoreThreads, tile_bytes}, queue,
                 problem);
  if (error != cudaSuccess) return error;
  error = launch(device::suppress_kernel<T>, {dim3(pairs), device::kSuppressThreads}, queue,
                 problem);
  if (error != cudaSuccess) return error;
  const unsigned helpers = std::min(64u, problem.max_detections / 4096 + 1);
  if (most_detections <= kMaxSorted) {
    return launch(device::merge_kernel<T>, {dim3(batch, helpers), device::kMergeThreads}, queue,
                  problem);
  }
  return launch(device::rank_kernel<T>, {dim3(pairs, helpers), device::kRankThreads}, queue,
                problem);
}

// No prior or no class that can be detected: outputs without a detection.
cudaError_t clear_outputs(const DecodeNmsShape& shape, const DecodeNmsOutputs& outputs,
                          cudaStream_t stream) {
  const auto batch = static_cast<std::size_t>(shape.batch);
  const std::size_t rows = batch * static_cast<std::size_t>(shape.max_detections);
  const struct {
    void* data;
    int value;
    std::size_t bytes;
  } fills[] = {
      {outputs.num_detections, 0, batch * 4}, {outputs.boxes, 0, rows * 16},
      {outputs.scores, 0, rows * 4},          {outputs.labels, 0, rows * 4},
      {outputs.prior_indices, 0xff, rows * 4},
  };
  for (const auto& fill : fills) {
    if (fill.bytes == 0) continue;
    const cudaError_t error = cudaMemsetAsync(fill.data, fill.value, fill.bytes, stream);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

std::size_t decode_nms_workspace_bytes(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                                       std::size_t list_bytes) {
  if (check_params(params) || check_shape(shape, params) || check_limits(shape)) return 0;
  if (shape.batch == 0 || is_empty(shape, params)) return 0;
  Problem problem = describe(shape, params);
  return carve(shape, {nullptr, 0, list_bytes}, &problem);
}

bool decode_nms_can_overlap() {
  constexpr int kOldestDriver = 12030, kOldestCode = 90;
  int driver = 0;
  cudaFuncAttributes attributes{};
  // of all kernels: they are compiled together
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver < kOldestDriver ||
      cudaFuncGetAttributes(&attributes, device::clear_kernel) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  return attributes.ptxVersion >= kOldestCode;
}

cudaError_t launch_decode_nms(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                              const DecodeNmsInputs& inputs, const DecodeNmsOutputs& outputs,
                              const Workspace& workspace, const LaunchQueue& queue) {
  if (check_launch(shape, params, inputs, outputs, workspace)) return cudaErrorInvalidValue;
  if (shape.batch == 0) return cudaSuccess;
  if (is_empty(shape, params)) return clear_outputs(shape, outputs, queue.stream);
  Problem problem = describe(shape, params);
  carve(shape, workspace, &problem);
  problem.inputs = inputs;
  problem.outputs = outputs;
  const std::int64_t most = max_detections(params, shape.num_priors, shape.num_classes);
  return shape.head_type == HeadType::kHalf
             ? launch_kernels<__half>(shape, problem, most, queue)
             : launch_kernels<float>(shape, problem, most, queue);
}

bool decode_nms_launch_fault(const DecodeNmsShape& shape, const DecodeNmsParams& params,
                             const DecodeNmsInputs& inputs, const DecodeNmsOutputs& outputs,
                             const Workspace& workspace, char* text, std::size_t size) {
  const Error error = check_launch(shape, params, inputs, outputs, workspace);
  if (!error) return false;
  const int written = format_error(error, text, size);
  if (error.status == Status::kWorkspaceTooSmall && written > 0 &&
      static_cast<std::size_t>(written) < size) {
    const std::size_t needed = decode_nms_workspace_bytes(shape, params, workspace.list_bytes);
    std::snprintf(text + written, size - written, " (%zu)", needed);
  }
  return true;
}

}  // namespace ssd_small
