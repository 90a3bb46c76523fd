// What TensorRT looks up in the library: the creators, and the way to its logger. All other symbols
// are hidden and no TensorRT library is linked, so one file serves every TensorRT that speaks
// IPluginV3 (10, 11, RTX), through registry.load_library(path) or trtexec --dynamicPlugins. Loading
// it registers nothing; register_on_load.cpp is for tools that only load.

#include <cstdint>
#include <new>

#if __has_include(<cuda_runtime_api.h>)
#include <cuda_runtime_api.h>
#endif

#include "decode_nms_plugin.h"
#include "plugin_fields.h"
#include "plugin_log.h"
#include "tensorrt_abi.h"

namespace ssd_small::plugin {
namespace {

// Of one version. Nothing that one node asks for reaches the next.
class DecodeNmsCreator final : public nvinfer1::IPluginCreatorV3One {
 public:
  explicit DecodeNmsCreator(Version version)
      : version_(version),
        names_{static_cast<std::int32_t>(field_count(version)), field_declarations().data()} {}

  // Both phases read the same fields: node attributes, or the serialised ones.
  nvinfer1::IPluginV3* createPlugin(const char*, const nvinfer1::PluginFieldCollection* fields,
                                    nvinfer1::TensorRTPhase) noexcept override {
    const auto params = params_from_fields(fields, version_);
    if (!params) return nullptr;
    try {
      return new DecodeNmsPlugin(*params, version_);
    } catch (const std::bad_alloc&) {
      log_error("out of memory");
      return nullptr;
    }
  }

  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override {
    return &names_;
  }

  const char* getPluginName() const noexcept override { return kPluginName; }
  const char* getPluginVersion() const noexcept override { return version_text(version_); }
  const char* getPluginNamespace() const noexcept override { return kPluginNamespace; }

 private:
  Version version_;
  nvinfer1::PluginFieldCollection names_;
};

}  // namespace
}  // namespace ssd_small::plugin

extern "C" {

__attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(
    std::int32_t& count) {
  // never destroyed: a registry may hold it until after this library's own objects are gone
  using ssd_small::plugin::DecodeNmsCreator;
  using ssd_small::plugin::Version;
  static auto* const first = new DecodeNmsCreator(Version::kFirst);
  static auto* const clipping = new DecodeNmsCreator(Version::kClipping);
  static nvinfer1::IPluginCreatorInterface* const creators[] = {first, clipping};
  count = 2;
  return creators;
}

__attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
  ssd_small::plugin::set_logger_finder(finder);
}

// The CUDA whose runtime is linked in, as CUDART_VERSION writes it (13000 for 13.0); 0 without one.
// For 'ssd-small doctor': a driver of an older major version cannot run it.
__attribute__((visibility("default"))) std::int32_t ssd_small_plugin_cuda_version() {
#ifdef CUDART_VERSION
  return CUDART_VERSION;
#else
  return 0;
#endif
}

}  // extern "C"
