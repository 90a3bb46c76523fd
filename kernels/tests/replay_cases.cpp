// Runs recorded cases through a CPU library on whatever processor this program is for: how the
// library for aarch64 is compared with the oracle under an emulator.
//
//   replay_cases LIBRARY < cases > results
//
// A case is ssd_small_heads (pointers ignored), ssd_small_params, loc, conf and priors; its result
// the counts of each image, then boxes, scores, labels and priors of all. Exit: 0, or 1 with a line.
#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "ssd_small.h"

namespace {

template <class Function>
Function symbol(void* library, const char* name, Function) {
  return reinterpret_cast<Function>(dlsym(library, name));
}
#define FROM(library, function) symbol(library, #function, &function)

bool read_all(void* to, std::size_t bytes) { return std::fread(to, 1, bytes, stdin) == bytes; }

template <class T>
void write_all(const std::vector<T>& values) {
  std::fwrite(values.data(), sizeof(T), values.size(), stdout);
}

}  // namespace

int main(int count, char** arguments) {
  void* library = count == 2 ? dlopen(arguments[1], RTLD_NOW) : nullptr;
  if (library == nullptr) {
    std::fprintf(stderr, "%s; expected the path of libssd_small.so\n",
                 count == 2 ? dlerror() : "no library given");
    return 1;
  }
  const auto decode_nms = FROM(library, ssd_small_decode_nms);
  const auto result_counts = FROM(library, ssd_small_result_counts);
  const auto result_copy = FROM(library, ssd_small_result_copy);
  const auto result_free = FROM(library, ssd_small_result_free);
  ssd_small_heads heads;
  while (read_all(&heads, sizeof heads)) {
    ssd_small_params params;
    const auto rows = static_cast<std::size_t>(heads.batch) * heads.num_priors;
    const std::size_t element = heads.head_type == 0 ? 4 : 2;
    std::vector<char> loc(rows * 4 * element), conf(rows * heads.num_classes * element);
    std::vector<float> priors(static_cast<std::size_t>(heads.num_priors) * 4);
    if (!read_all(&params, sizeof params) || !read_all(loc.data(), loc.size()) ||
        !read_all(conf.data(), conf.size()) || !read_all(priors.data(), priors.size() * 4)) {
      std::fprintf(stderr, "a case ends too early\n");
      return 1;
    }
    heads.loc = loc.data();
    heads.conf = conf.data();
    heads.priors = priors.data();
    ssd_small_result* result = nullptr;
    char message[256];
    if (decode_nms(&heads, &params, &result, message, sizeof message) != SSD_SMALL_OK) {
      std::fprintf(stderr, "%s\n", message);
      return 1;
    }
    std::vector<std::int64_t> counts(heads.batch);
    const auto total = static_cast<std::size_t>(result_counts(result, counts.data()));
    std::vector<float> boxes(total * 4), scores(total);
    std::vector<std::int32_t> labels(total), indices(total);
    result_copy(result, boxes.data(), scores.data(), labels.data(), indices.data());
    result_free(result);
    write_all(counts);
    write_all(boxes);
    write_all(scores);
    write_all(labels);
    write_all(indices);
  }
  return std::fflush(stdout) == 0 ? 0 : 1;
}
