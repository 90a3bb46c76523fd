// The plugin lets its kernels overlap in a context whose device can, and only there; enqueue asks
// the device nothing.
#include <cstdint>
#include <memory>
#include <vector>

#include "check.h"
#include "decode_nms_plugin.h"
#include "ssd_executor/executor.h"
#include "ssd_small/decode_nms_cuda.h"

namespace {

using nvinfer1::PluginTensorDesc;
using ssd_small::plugin::DecodeNmsPlugin;

PluginTensorDesc tensor(std::vector<std::int64_t> extents) {
  PluginTensorDesc description{};
  description.dims.nbDims = static_cast<std::int32_t>(extents.size());
  for (std::size_t i = 0; i < extents.size(); ++i) description.dims.d[i] = extents[i];
  description.type = nvinfer1::DataType::kFLOAT;
  return description;
}

// Overlapping launches of an enqueue; -1 where it fails.
int overlapping_launches(DecodeNmsPlugin& plugin) {
  constexpr std::int32_t kPriors = 3, kClasses = 4, kRows = 9;
  const PluginTensorDesc in[] = {tensor({1, kPriors, 4}), tensor({1, kPriors, kClasses}),
                                 tensor({kPriors, 4})};
  const ssd_small::DecodeNmsShape shape{1, kPriors, kClasses, kRows, ssd_small::HeadType::kFloat};
  std::vector<float> heads(64, 0.5f), floats(128);
  std::vector<std::int32_t> ints(64);
  std::vector<unsigned char> memory(
      ssd_small::decode_nms_workspace_bytes(shape, ssd_small::DecodeNmsParams{}) + 256);
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  const void* inputs[] = {heads.data(), heads.data(), heads.data()};
  void* outputs[] = {ints.data(), floats.data(), floats.data() + 64, ints.data() + 16,
                     ints.data() + 32};
  ssd_executor_overlapping_launches();
  if (plugin.enqueue(in, nullptr, inputs, outputs, memory.data() + (256 - address % 256) % 256,
                     nullptr) != 0) {
    return -1;
  }
  return ssd_executor_overlapping_launches();
}

int overlapping_when_attached_on(int architecture) {
  ssd_executor_device(architecture, 0);
  DecodeNmsPlugin plugin{ssd_small::DecodeNmsParams{}, ssd_small::plugin::Version::kFirst};
  const std::unique_ptr<DecodeNmsPlugin> attached(
      static_cast<DecodeNmsPlugin*>(plugin.attachToContext(nullptr)));
  ssd_executor_device(architecture == 90 ? 80 : 90, 0);  // whoever asks later hears this
  const int launches = overlapping_launches(*attached);
  ssd_executor_device(90, 0);
  return launches;
}

}  // namespace

TEST(a_context_decides_once_whether_kernels_overlap) {
  CHECK_EQUAL(overlapping_when_attached_on(90), 3);
  CHECK_EQUAL(overlapping_when_attached_on(80), 0);
}

TEST(a_plugin_without_a_context_launches_plainly) {
  DecodeNmsPlugin plugin{ssd_small::DecodeNmsParams{}, ssd_small::plugin::Version::kFirst};
  CHECK_EQUAL(overlapping_launches(plugin), 0);
}
