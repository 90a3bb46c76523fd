// The few TensorRT interfaces that a plugin library implements or calls.
//
// NVIDIA's pip packages bring no C++ headers. So this file declares, from the documented binary
// interface (TensorRT 10 and 11, TensorRT for RTX 1.x), what the plugin needs: the order of the
// virtual functions, the plain structures and the enum values. Where NVIDIA's headers of TensorRT 10
// or newer are present and SSD_SMALL_TENSORRT_HEADERS is not 0, they are used instead and the rest
// of the plugin source does not change. Those of 8 and 9 have no IPluginV3, and those of TensorRT
// for RTX call themselves 1: with these the declarations below are used as without any.
//
// Rules that keep the two interchangeable: no function may be added, removed or moved; all are
// noexcept unless noted; values of enums are those of NVIDIA's headers. tensorrt_layout.cpp holds
// both to the same sizes, offsets and values.
#pragma once

#ifndef SSD_SMALL_TENSORRT_HEADERS
#if __has_include(<NvInferRuntime.h>) && __has_include(<NvInferVersion.h>)
#include <NvInferVersion.h>
// a number, or from 10.11 on another macro that is one
#if NV_TENSORRT_MAJOR >= 10
#define SSD_SMALL_TENSORRT_HEADERS 1
#endif
#endif
#ifndef SSD_SMALL_TENSORRT_HEADERS
#define SSD_SMALL_TENSORRT_HEADERS 0
#endif
#endif

#if SSD_SMALL_TENSORRT_HEADERS

#include <NvInferVersion.h>
#if NV_TENSORRT_MAJOR < 10
#error "NvInferVersion.h is not of TensorRT 10 or newer: use -DSSD_SMALL_TENSORRT_HEADERS=OFF"
#endif
#include <NvInferRuntime.h>

#else

#include <cstddef>
#include <cstdint>

struct CUstream_st;
using cudaStream_t = CUstream_st*;

namespace nvinfer1 {

using AsciiChar = char;

enum class APILanguage : std::int32_t { kCPP = 0, kPYTHON = 1 };
enum class PluginCapabilityType : std::int32_t { kCORE = 0, kBUILD = 1, kRUNTIME = 2 };
enum class TensorRTPhase : std::int32_t { kBUILD = 0, kRUNTIME = 1 };
enum class TensorFormat : std::int32_t { kLINEAR = 0 };
enum class DataType : std::int32_t {
  kFLOAT = 0,
  kHALF = 1,
  kINT8 = 2,
  kINT32 = 3,
  kBOOL = 4,
  kUINT8 = 5,
  kFP8 = 6,
  kBF16 = 7,
  kINT64 = 8,
  kINT4 = 9
};
enum class PluginFieldType : std::int32_t {
  kFLOAT16 = 0,
  kFLOAT32 = 1,
  kFLOAT64 = 2,
  kINT8 = 3,
  kINT16 = 4,
  kINT32 = 5,
  kCHAR = 6,
  kDIMS = 7,
  kUNKNOWN = 8,
  kINT64 = 10
};
enum class DimensionOperation : std::int32_t {
  kSUM = 0,
  kPROD = 1,
  kMAX = 2,
  kMIN = 3,
  kSUB = 4,
  kEQUAL = 5,
  kLESS = 6,
  kFLOOR_DIV = 7,
  kCEIL_DIV = 8
};

struct InterfaceInfo {
  AsciiChar const* kind;
  std::int32_t major;
  std::int32_t minor;
};

struct Dims {
  std::int32_t nbDims;
  std::int64_t d[8];
};

struct PluginTensorDesc {
  Dims dims;
  DataType type;
  TensorFormat format;
  float scale;
};

struct DynamicPluginTensorDesc {
  PluginTensorDesc desc;  // at build time a dynamic extent is -1 here
  Dims min;
  Dims max;
  Dims opt;
};

struct PluginField {
  AsciiChar const* name;
  void const* data;
  PluginFieldType type;
  std::int32_t length;
};

struct PluginFieldCollection {
  std::int32_t nbFields;
  PluginField const* fields;
};

// Handed to setLoggerFinder. Its layout differs between versions: see plugin_log.cpp.
class ILoggerFinder;

// --- symbolic extents: objects of TensorRT that forward to an implementation behind a pointer ---

class IDimensionExpr;

namespace apiv {

class VRoot {
 public:
  virtual ~VRoot() noexcept = default;
};

class VExprBuilder : public VRoot {
 public:
  virtual IDimensionExpr const* constant(std::int64_t value) = 0;
  virtual IDimensionExpr const* operation(DimensionOperation op, IDimensionExpr const& first,
                                          IDimensionExpr const& second) = 0;
};

}  // namespace apiv

class IExprBuilder {
 public:
  IDimensionExpr const* constant(std::int64_t value) noexcept { return mImpl->constant(value); }
  IDimensionExpr const* operation(DimensionOperation op, IDimensionExpr const& first,
                                  IDimensionExpr const& second) noexcept {
    return mImpl->operation(op, first, second);
  }
  virtual ~IExprBuilder() noexcept = default;

 protected:
  apiv::VExprBuilder* mImpl;
};

struct DimsExprs {
  std::int32_t nbDims;
  IDimensionExpr const* d[8];
};

// --- what a plugin implements ---

class IVersionedInterface {
 public:
  virtual APILanguage getAPILanguage() const noexcept { return APILanguage::kCPP; }
  virtual InterfaceInfo getInterfaceInfo() const noexcept = 0;
  virtual ~IVersionedInterface() noexcept = default;
};

class IPluginCapability : public IVersionedInterface {};
class IPluginCreatorInterface : public IVersionedInterface {};
class IPluginResourceContext;

class IPluginV3 : public IVersionedInterface {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"PLUGIN", 1, 0}; }
  virtual IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept = 0;
  virtual IPluginV3* clone() noexcept = 0;
};

class IPluginV3OneCore : public IPluginCapability {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"PLUGIN_V3ONE_CORE", 1, 0}; }
  virtual AsciiChar const* getPluginName() const noexcept = 0;
  virtual AsciiChar const* getPluginVersion() const noexcept = 0;
  virtual AsciiChar const* getPluginNamespace() const noexcept = 0;
};

class IPluginV3OneBuild : public IPluginCapability {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"PLUGIN_V3ONE_BUILD", 1, 0}; }
  virtual std::int32_t configurePlugin(DynamicPluginTensorDesc const* in, std::int32_t nbInputs,
                                       DynamicPluginTensorDesc const* out,
                                       std::int32_t nbOutputs) noexcept = 0;
  virtual std::int32_t getOutputDataTypes(DataType* outputTypes, std::int32_t nbOutputs,
                                          DataType const* inputTypes,
                                          std::int32_t nbInputs) const noexcept = 0;
  virtual std::int32_t getOutputShapes(DimsExprs const* inputs, std::int32_t nbInputs,
                                       DimsExprs const* shapeInputs, std::int32_t nbShapeInputs,
                                       DimsExprs* outputs, std::int32_t nbOutputs,
                                       IExprBuilder& exprBuilder) noexcept = 0;
  virtual bool supportsFormatCombination(std::int32_t pos, DynamicPluginTensorDesc const* inOut,
                                         std::int32_t nbInputs,
                                         std::int32_t nbOutputs) noexcept = 0;
  virtual std::int32_t getNbOutputs() const noexcept = 0;
  virtual std::size_t getWorkspaceSize(DynamicPluginTensorDesc const*, std::int32_t,
                                       DynamicPluginTensorDesc const*,
                                       std::int32_t) const noexcept {
    return 0;
  }
  virtual std::int32_t getValidTactics(std::int32_t*, std::int32_t) noexcept { return 0; }
  virtual std::int32_t getNbTactics() noexcept { return 0; }
  virtual char const* getTimingCacheID() noexcept { return nullptr; }
  virtual std::int32_t getFormatCombinationLimit() noexcept { return 100; }
  virtual char const* getMetadataString() noexcept { return nullptr; }
};

class IPluginV3OneRuntime : public IPluginCapability {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override {
    return {"PLUGIN_V3ONE_RUNTIME", 1, 0};
  }
  virtual std::int32_t setTactic(std::int32_t) noexcept { return 0; }
  virtual std::int32_t onShapeChange(PluginTensorDesc const* in, std::int32_t nbInputs,
                                     PluginTensorDesc const* out,
                                     std::int32_t nbOutputs) noexcept = 0;
  virtual std::int32_t enqueue(PluginTensorDesc const* inputDesc,
                               PluginTensorDesc const* outputDesc, void const* const* inputs,
                               void* const* outputs, void* workspace,
                               cudaStream_t stream) noexcept = 0;
  virtual IPluginV3* attachToContext(IPluginResourceContext* context) noexcept = 0;
  virtual PluginFieldCollection const* getFieldsToSerialize() noexcept = 0;
};

class IPluginCreatorV3One : public IPluginCreatorInterface {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override {
    return {"PLUGIN CREATOR_V3ONE", 1, 0};
  }
  virtual IPluginV3* createPlugin(AsciiChar const* name, PluginFieldCollection const* fc,
                                  TensorRTPhase phase) noexcept = 0;
  virtual PluginFieldCollection const* getFieldNames() noexcept = 0;
  virtual AsciiChar const* getPluginName() const noexcept = 0;
  virtual AsciiChar const* getPluginVersion() const noexcept = 0;
  virtual AsciiChar const* getPluginNamespace() const noexcept = 0;
};

}  // namespace nvinfer1

#endif  // SSD_SMALL_TENSORRT_HEADERS
