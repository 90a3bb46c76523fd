// libssd_small_plugin_dlopen.so: registers DecodeNms when it is loaded.
//
// For tools that only dlopen a plugin library (Triton, DeepStream, trtexec --staticPlugins,
// polygraphy) or are given one in LD_PRELOAD. Those that call loadLibrary take
// libssd_small_plugin.so itself, which must not register on its own: loadLibrary would then find
// its creators taken and return null. This file holds no creator. It opens the plugin that lies
// beside it and hands that one's creators to every TensorRT of the process, so that there is one
// image of the code and one creator of each version, whichever of the two files is loaded, how often, in whatever
// order.
//
// No TensorRT is linked, and TensorRT's symbols are mostly not in the global scope (Python and
// Triton load it RTLD_LOCAL), so the libraries of the process are looked through by name.
// Nothing here ends the process that it is loaded into: what cannot be done is a line on stderr.

// It is C in C++: nothing of the C++ library, so nothing to throw and nothing of the host's age.

#include <dlfcn.h>
#include <limits.h>
#include <link.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace nvinfer1 {
class IPluginCreatorInterface;
}

namespace {

using nvinfer1::IPluginCreatorInterface;

constexpr char kThisFile[] = "libssd_small_plugin_dlopen.so";
constexpr char kPluginFile[] = "libssd_small_plugin.so";

constexpr const char* kLibraries[] = {"libnvinfer.so", "libnvinfer_lean.so",
                                      "libnvinfer_dispatch.so", "libtensorrt_rtx.so"};
constexpr char kRtx[] = "libtensorrt_rtx.so";

// What is opened where no TensorRT is loaded yet, as under LD_PRELOAD: every major version of the
// first kind that the loader finds, for which of them the program will take is not known.
constexpr const char* kSonames[][2] = {
    {"libnvinfer.so.11", "libnvinfer.so.10"},
    {"libnvinfer_lean.so.11", "libnvinfer_lean.so.10"},
    {"libnvinfer_dispatch.so.11", "libnvinfer_dispatch.so.10"},
    {"libtensorrt_rtx.so.1", nullptr},
};

// The paths of libraries of this process; a process with more of them than places has the first.
struct Paths {
  char text[8][PATH_MAX];
  std::size_t count;
};

void refuse(const char* format, const char* first, const char* second) {
  std::fprintf(stderr, "%s: DecodeNms is not registered: ", kThisFile);
  std::fprintf(stderr, format, first, second);
  std::fputc('\n', stderr);
}

const char* file_name(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

// "libnvinfer.so" itself, or with a version behind it.
bool is_library(const char* path, const char* library) {
  const char* name = file_name(path);
  const std::size_t length = std::strlen(library);
  return std::strncmp(name, library, length) == 0 && (name[length] == '\0' || name[length] == '.');
}

int keep_tensorrt(dl_phdr_info* info, std::size_t, void* data) {
  Paths& paths = *static_cast<Paths*>(data);
  constexpr std::size_t kPlaces = sizeof(paths.text) / sizeof(paths.text[0]);
  for (const char* library : kLibraries) {
    if (info->dlpi_name == nullptr || !is_library(info->dlpi_name, library)) continue;
    if (paths.count == kPlaces || std::strlen(info->dlpi_name) >= PATH_MAX) continue;
    std::strcpy(paths.text[paths.count++], info->dlpi_name);
  }
  return 0;
}

// Creators of one library, one of each version.
struct Creators {
  IPluginCreatorInterface* const* first;
  std::int32_t count;
};

// Those of the plugin beside this file; none, and said, where it is not there.
Creators find_creators() {
  Dl_info self{};
  char path[PATH_MAX];
  if (dladdr(reinterpret_cast<const void*>(&find_creators), &self) == 0) return {};
  const int folder = static_cast<int>(file_name(self.dli_fname) - self.dli_fname);
  const int length =
      std::snprintf(path, sizeof(path), "%.*s%s", folder, self.dli_fname, kPluginFile);
  if (length < 0 || static_cast<std::size_t>(length) >= sizeof(path)) return {};
  using GetCreators = IPluginCreatorInterface* const* (*)(std::int32_t&);
  void* plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void* symbol = plugin == nullptr ? nullptr : dlsym(plugin, "getCreators");
  if (symbol == nullptr) {
    refuse("%s; expected %s of the same release beside this file", dlerror(), kPluginFile);
    return {};
  }
  Creators creators{};
  creators.first = reinterpret_cast<GetCreators>(symbol)(creators.count);
  return creators;
}

// Where registerCreator(IPluginCreatorInterface&, namespace) stands in the virtual table of
// IPluginRegistry; 0 for a version whose table is not known. TensorRT 11 removed the four
// functions of IPluginCreator that stood before it, TensorRT for RTX has never had them.
std::size_t slot_from_version(const char* path, int version) {
  if (is_library(path, kRtx)) return version >= 10700 && version < 20000 ? 8 : 0;
  if (version >= 100000 && version < 110000) return 12;
  if (version >= 110000 && version < 120000) return 8;
  return 0;
}

void register_with(const char* path, void* tensorrt, const Creators& creators) {
  using GetVersion = std::int32_t (*)();
  using GetRegistry = void* (*)();
  using RegisterCreator = bool (*)(void*, IPluginCreatorInterface&, const char*);
  const auto get_version = reinterpret_cast<GetVersion>(dlsym(tensorrt, "getInferLibVersion"));
  const auto get_registry = reinterpret_cast<GetRegistry>(dlsym(tensorrt, "getPluginRegistry"));
  if (get_version == nullptr || get_registry == nullptr) {
    refuse("%s has no %s: it is no TensorRT runtime", path,
           get_version == nullptr ? "getInferLibVersion" : "getPluginRegistry");
    return;
  }
  const std::int32_t version = get_version();
  const std::size_t slot = slot_from_version(path, version);
  if (slot == 0) {
    char number[16];
    std::snprintf(number, sizeof(number), "%d", version);
    refuse("%s is of version %s; expected TensorRT 10 or 11, or TensorRT for RTX from 1.7: load "
           "libssd_small_plugin.so by loadLibrary", path, number);
    return;
  }
  void* registry = get_registry();
  if (registry == nullptr) {
    refuse("%s has no plugin registry%s", path, "");
    return;
  }
  // false where a creator of this name is registered already, which is as good
  void* const* table = *static_cast<void* const* const*>(registry);
  const auto register_creator = reinterpret_cast<RegisterCreator>(table[slot]);
  for (std::int32_t i = 0; i < creators.count; ++i) {
    register_creator(registry, *creators.first[i], "");
  }
}

// dlopen, and not a look at what is mapped: it also runs the initialisers of a library that has
// not had its turn, as those of an executable have not while its preloaded libraries start.
bool register_with_file(const char* path, const Creators& creators) {
  void* tensorrt = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
  if (tensorrt == nullptr) return false;
  register_with(path, tensorrt, creators);
  return true;
}

Paths loaded;  // too large for a thread's stack

__attribute__((constructor)) void register_on_load() {
  const Creators creators = find_creators();
  if (creators.count > 0) {
    dl_iterate_phdr(keep_tensorrt, &loaded);
    bool found = false;
    for (std::size_t i = 0; i < loaded.count; ++i) {
      found |= register_with_file(loaded.text[i], creators);
    }
    for (const auto& sonames : kSonames) {
      if (found) break;
      for (const char* soname : sonames) {
        if (soname != nullptr) found |= register_with_file(soname, creators);
      }
    }
    if (!found) {
      refuse("no TensorRT is loaded and the loader finds none%s: load TensorRT first, or name its "
             "folder in %s", "", "LD_LIBRARY_PATH");
    }
  }
  dlerror();  // what was not found is no error of the caller's
}

}  // namespace
