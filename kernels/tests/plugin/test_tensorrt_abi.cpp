// The place of every virtual function that TensorRT calls on a plugin, or a plugin on TensorRT: a
// function that is moved, added or left out in tensorrt_abi.h moves the ones behind it.

#include <cstring>

#include "check.h"
#include "tensorrt_abi.h"

namespace {

using namespace nvinfer1;

// Slot in the virtual table: the ABI of the Linux compilers keeps 1 + the offset in bytes (x86-64),
// or the offset in bytes with a flag behind it (AArch64), in a pointer to a virtual member.
template <class Function>
std::size_t slot_of(Function function) {
  std::size_t words[2];
  static_assert(sizeof(function) == sizeof(words));
  std::memcpy(words, &function, sizeof(words));
  const bool flag_in_first = (words[0] & 1) != 0;
  CHECK(flag_in_first || (words[1] & 1) != 0);  // it is virtual
  return (words[0] - (flag_in_first ? 1 : 0)) / sizeof(void*);
}

// Slots 0 to 3 of each: getAPILanguage, getInterfaceInfo, two destructors.

TEST(versioned_interface) {
  CHECK_EQUAL(slot_of(&IVersionedInterface::getAPILanguage), 0u);
  CHECK_EQUAL(slot_of(&IVersionedInterface::getInterfaceInfo), 1u);
  CHECK_EQUAL(slot_of(&IPluginV3::getInterfaceInfo), 1u);
}

TEST(plugin) {
  CHECK_EQUAL(slot_of(&IPluginV3::getCapabilityInterface), 4u);
  CHECK_EQUAL(slot_of(&IPluginV3::clone), 5u);
}

TEST(core) {
  CHECK_EQUAL(slot_of(&IPluginV3OneCore::getPluginName), 4u);
  CHECK_EQUAL(slot_of(&IPluginV3OneCore::getPluginVersion), 5u);
  CHECK_EQUAL(slot_of(&IPluginV3OneCore::getPluginNamespace), 6u);
}

TEST(build) {
  using Build = IPluginV3OneBuild;
  CHECK_EQUAL(slot_of(&Build::configurePlugin), 4u);
  CHECK_EQUAL(slot_of(&Build::getOutputDataTypes), 5u);
  CHECK_EQUAL(slot_of(&Build::getOutputShapes), 6u);
  CHECK_EQUAL(slot_of(&Build::supportsFormatCombination), 7u);
  CHECK_EQUAL(slot_of(&Build::getNbOutputs), 8u);
  CHECK_EQUAL(slot_of(&Build::getWorkspaceSize), 9u);
  CHECK_EQUAL(slot_of(&Build::getValidTactics), 10u);
  CHECK_EQUAL(slot_of(&Build::getNbTactics), 11u);
  CHECK_EQUAL(slot_of(&Build::getTimingCacheID), 12u);
  CHECK_EQUAL(slot_of(&Build::getFormatCombinationLimit), 13u);
  CHECK_EQUAL(slot_of(&Build::getMetadataString), 14u);
}

TEST(runtime) {
  using Runtime = IPluginV3OneRuntime;
  CHECK_EQUAL(slot_of(&Runtime::setTactic), 4u);
  CHECK_EQUAL(slot_of(&Runtime::onShapeChange), 5u);
  CHECK_EQUAL(slot_of(&Runtime::enqueue), 6u);
  CHECK_EQUAL(slot_of(&Runtime::attachToContext), 7u);
  CHECK_EQUAL(slot_of(&Runtime::getFieldsToSerialize), 8u);
}

TEST(creator) {
  CHECK_EQUAL(slot_of(&IPluginCreatorV3One::createPlugin), 4u);
  CHECK_EQUAL(slot_of(&IPluginCreatorV3One::getFieldNames), 5u);
  CHECK_EQUAL(slot_of(&IPluginCreatorV3One::getPluginName), 6u);
  CHECK_EQUAL(slot_of(&IPluginCreatorV3One::getPluginVersion), 7u);
  CHECK_EQUAL(slot_of(&IPluginCreatorV3One::getPluginNamespace), 8u);
}

// The destructors come first here; a version with more functions behind them has the same places.
TEST(expressions) {
  CHECK_EQUAL(slot_of(&apiv::VExprBuilder::constant), 2u);
  CHECK_EQUAL(slot_of(&apiv::VExprBuilder::operation), 3u);
}

}  // namespace
