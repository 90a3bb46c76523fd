// What of the binary interface a compiler can check, for the declarations of tensorrt_abi.h as for
// NVIDIA's headers: where a build with either stops here, the two are no longer interchangeable.
// The order of virtual functions is checked by kernels/tests/plugin/test_tensorrt_abi.cpp.

#include <cstddef>
#include <type_traits>

#include "tensorrt_abi.h"

namespace {

using namespace nvinfer1;

template <class Enum>
constexpr bool is_number(Enum value, std::int32_t number) {
  return sizeof(Enum) == 4 && static_cast<std::int32_t>(value) == number;
}

static_assert(sizeof(void*) == 8, "the sizes below are those of 64-bit systems");

static_assert(std::is_standard_layout_v<InterfaceInfo> && sizeof(InterfaceInfo) == 16);
static_assert(offsetof(InterfaceInfo, kind) == 0 && offsetof(InterfaceInfo, major) == 8 &&
              offsetof(InterfaceInfo, minor) == 12);

static_assert(std::is_standard_layout_v<Dims> && sizeof(Dims) == 72);
static_assert(offsetof(Dims, nbDims) == 0 && offsetof(Dims, d) == 8);
static_assert(sizeof(Dims::d) == 8 * sizeof(std::int64_t));

static_assert(std::is_standard_layout_v<PluginTensorDesc> && sizeof(PluginTensorDesc) == 88);
static_assert(offsetof(PluginTensorDesc, dims) == 0 && offsetof(PluginTensorDesc, type) == 72 &&
              offsetof(PluginTensorDesc, format) == 76 && offsetof(PluginTensorDesc, scale) == 80);

static_assert(std::is_standard_layout_v<DynamicPluginTensorDesc> &&
              sizeof(DynamicPluginTensorDesc) == 304);
static_assert(offsetof(DynamicPluginTensorDesc, desc) == 0 &&
              offsetof(DynamicPluginTensorDesc, min) == 88 &&
              offsetof(DynamicPluginTensorDesc, max) == 160 &&
              offsetof(DynamicPluginTensorDesc, opt) == 232);

static_assert(std::is_standard_layout_v<PluginField> && sizeof(PluginField) == 24);
static_assert(offsetof(PluginField, name) == 0 && offsetof(PluginField, data) == 8 &&
              offsetof(PluginField, type) == 16 && offsetof(PluginField, length) == 20);

static_assert(std::is_standard_layout_v<PluginFieldCollection> &&
              sizeof(PluginFieldCollection) == 16);
static_assert(offsetof(PluginFieldCollection, nbFields) == 0 &&
              offsetof(PluginFieldCollection, fields) == 8);

static_assert(std::is_standard_layout_v<DimsExprs> && sizeof(DimsExprs) == 72);
static_assert(offsetof(DimsExprs, nbDims) == 0 && offsetof(DimsExprs, d) == 8);
static_assert(sizeof(DimsExprs::d) == 8 * sizeof(void*));

// interfaces: a virtual table and nothing else, but for the pointer of IExprBuilder
static_assert(sizeof(IVersionedInterface) == 8 && sizeof(IPluginCapability) == 8 &&
              sizeof(IPluginCreatorInterface) == 8 && sizeof(IPluginV3) == 8 &&
              sizeof(IPluginV3OneCore) == 8 && sizeof(IPluginV3OneBuild) == 8 &&
              sizeof(IPluginV3OneRuntime) == 8 && sizeof(IPluginCreatorV3One) == 8);
static_assert(sizeof(IExprBuilder) == 16);

static_assert(is_number(APILanguage::kCPP, 0) && is_number(APILanguage::kPYTHON, 1));
static_assert(is_number(PluginCapabilityType::kCORE, 0) &&
              is_number(PluginCapabilityType::kBUILD, 1) &&
              is_number(PluginCapabilityType::kRUNTIME, 2));
static_assert(is_number(TensorRTPhase::kBUILD, 0) && is_number(TensorRTPhase::kRUNTIME, 1));
static_assert(is_number(TensorFormat::kLINEAR, 0));
static_assert(is_number(DataType::kFLOAT, 0) && is_number(DataType::kHALF, 1) &&
              is_number(DataType::kINT8, 2) && is_number(DataType::kINT32, 3) &&
              is_number(DataType::kBOOL, 4) && is_number(DataType::kUINT8, 5) &&
              is_number(DataType::kFP8, 6) && is_number(DataType::kBF16, 7) &&
              is_number(DataType::kINT64, 8) && is_number(DataType::kINT4, 9));
static_assert(
    is_number(PluginFieldType::kFLOAT16, 0) && is_number(PluginFieldType::kFLOAT32, 1) &&
    is_number(PluginFieldType::kFLOAT64, 2) && is_number(PluginFieldType::kINT8, 3) &&
    is_number(PluginFieldType::kINT16, 4) && is_number(PluginFieldType::kINT32, 5) &&
    is_number(PluginFieldType::kCHAR, 6) && is_number(PluginFieldType::kDIMS, 7) &&
    is_number(PluginFieldType::kUNKNOWN, 8) && is_number(PluginFieldType::kINT64, 10));
static_assert(
    is_number(DimensionOperation::kSUM, 0) && is_number(DimensionOperation::kPROD, 1) &&
    is_number(DimensionOperation::kMAX, 2) && is_number(DimensionOperation::kMIN, 3) &&
    is_number(DimensionOperation::kSUB, 4) && is_number(DimensionOperation::kEQUAL, 5) &&
    is_number(DimensionOperation::kLESS, 6) && is_number(DimensionOperation::kFLOOR_DIV, 7) &&
    is_number(DimensionOperation::kCEIL_DIV, 8));

}  // namespace
