// TensorRT changed ILoggerFinder and ILogger within the life of IPluginV3: in TensorRT 10 each has
// one virtual function (and a destructor after it), later both derive from IVersionedInterface,
// whose functions come first. One library has to serve both, whatever headers it was compiled
// with, so the place of the function is read from the object's run-time type. Seen running with
// TensorRT for RTX 1.7.1, which is of the later kind. An object of neither kind is not called.

#include "plugin_log.h"

#include <atomic>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <optional>
#include <typeinfo>

namespace ssd_small::plugin {
namespace {

constexpr char kPlainFinder[] = "N8nvinfer113ILoggerFinderE";  // nvinfer1::ILoggerFinder
constexpr char kPlainLogger[] = "N8nvinfer17ILoggerE";         // nvinfer1::ILogger
constexpr char kVersioned[] = "N8nvinfer119IVersionedInterfaceE";

// Slots of a virtual table before the interface's own functions.
constexpr std::size_t kPlainSlot = 0;
constexpr std::size_t kVersionedSlot = 4;  // getAPILanguage, getInterfaceInfo, two destructors

constexpr int kSeverityError = 1;

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

// What a type_info of a derived class holds, by the Itanium C++ ABI (2.9.4). Not every C++ library
// has a header for it, and TensorRT's may be another than ours, so the kind is told by its name.
constexpr char kOneBase[] = "N10__cxxabiv120__si_class_type_infoE";
constexpr char kSeveralBases[] = "N10__cxxabiv121__vmi_class_type_infoE";
struct OneBase {
  const void* virtual_table;
  const char* name;
  const std::type_info* base;
};
struct SeveralBases {
  const void* virtual_table;
  const char* name;
  unsigned flags;
  unsigned count;
  struct {
    const std::type_info* type;
    long offset_and_flags;
  } bases[1];  // `count` of them
};

bool derives_from(const std::type_info* type, const char* name) {
  if (type == nullptr) return false;
  if (std::strcmp(type->name(), name) == 0) return true;
  const char* kind = typeid(*type).name();
  if (std::strcmp(kind, kOneBase) == 0) {
    return derives_from(reinterpret_cast<const OneBase*>(type)->base, name);
  }
  if (std::strcmp(kind, kSeveralBases) == 0) {
    const auto* several = reinterpret_cast<const SeveralBases*>(type);
    for (unsigned i = 0; i < several->count; ++i) {
      if (derives_from(several->bases[i].type, name)) return true;
    }
  }
  return false;
}

void* const* virtual_table(const void* object) {
  return *static_cast<void* const* const*>(object);
}

// Where the one function of ILoggerFinder or ILogger is in the table of this object.
std::optional<std::size_t> slot_of(const void* object, const char* plain_interface) {
  const auto* type = static_cast<const std::type_info*>(virtual_table(object)[-1]);
  if (derives_from(type, plain_interface)) return kPlainSlot;
  if (derives_from(type, kVersioned)) return kVersionedSlot;
  return std::nullopt;
}

void* find_logger(void* finder) noexcept {
  using FindLogger = void* (*)(void*);
  const auto slot = slot_of(finder, kPlainFinder);
  if (!slot) return nullptr;
  try {
    return reinterpret_cast<FindLogger>(virtual_table(finder)[*slot])(finder);
  } catch (...) {  // the interface does not promise otherwise
    return nullptr;
  }
}

bool log_with_tensorrt(const char* message) noexcept {
  using Log = void (*)(void*, int, const char*);
  void* finder = logger_finder.load();
  void* logger = finder == nullptr ? nullptr : find_logger(finder);
  if (logger == nullptr) return false;
  const auto slot = slot_of(logger, kPlainLogger);
  if (!slot) return false;
  reinterpret_cast<Log>(virtual_table(logger)[*slot])(logger, kSeverityError, message);
  return true;
}

}  // namespace

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept { logger_finder.store(finder); }

void log_error(const char* format, ...) noexcept {
  static constexpr char kPrefix[] = "DecodeNms: ";
  static constexpr std::size_t kPrefixLength = sizeof(kPrefix) - 1;
  char message[512];
  std::memcpy(message, kPrefix, sizeof(kPrefix));
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message + kPrefixLength, sizeof(message) - kPrefixLength, format, arguments);
  va_end(arguments);
  if (!log_with_tensorrt(message)) std::fprintf(stderr, "%s\n", message);
}

}  // namespace ssd_small::plugin
