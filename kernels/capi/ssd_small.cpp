#include "ssd_small.h"

#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

#include "from_structs.h"
#include "ssd_small/decode_nms_host.h"

struct ssd_small_result {
  std::vector<ssd_small::HostDetections> images;
};

namespace {

using ssd_small::Error;
using ssd_small::params_from;
using ssd_small::shape_from;
using ssd_small::Status;

static_assert(sizeof(ssd_small::Box) == 4 * sizeof(float), "boxes are copied as rows of 4");
static_assert(static_cast<int>(Status::kInternal) == SSD_SMALL_INTERNAL, "the codes are shared");

int32_t fail(const Error& error, char* message, size_t message_size) {
  if (message != nullptr && message_size > 0) {
    ssd_small::format_error(error, message, message_size);
  }
  return static_cast<int32_t>(error.status);
}

int32_t fail_size(const char* name, unsigned received, size_t expected, char* message,
                  size_t message_size) {
  if (message != nullptr && message_size > 0) {
    std::snprintf(message, message_size,
                  "%s.struct_size: got %u, expected %u; rebuild the caller or the library", name,
                  received, static_cast<unsigned>(expected));
  }
  return SSD_SMALL_BAD_STRUCT_SIZE;
}

}  // namespace

int32_t ssd_small_abi_version(void) { return SSD_SMALL_ABI_VERSION; }

int32_t ssd_small_decode_nms(const ssd_small_heads* heads, const ssd_small_params* params,
                             ssd_small_result** result, char* message, size_t message_size) {
  const auto null = [&](const char* field) {
    return fail(Error{Status::kNullPointer, field, 0.0, "its address"}, message, message_size);
  };
  if (result == nullptr) return null("result");
  *result = nullptr;
  if (heads == nullptr) return null("heads");
  if (params == nullptr) return null("params");
  if (heads->struct_size != sizeof *heads) {
    return fail_size("heads", heads->struct_size, sizeof *heads, message, message_size);
  }
  if (params->struct_size != sizeof *params) {
    return fail_size("params", params->struct_size, sizeof *params, message, message_size);
  }
  auto* fresh = new (std::nothrow) ssd_small_result;
  if (fresh == nullptr) {
    return fail(Error{Status::kOutOfMemory, "batch", static_cast<double>(heads->batch), "memory"},
                message, message_size);
  }
  const ssd_small::DecodeNmsInputs inputs = {heads->loc, heads->conf, heads->priors};
  const Error error = ssd_small::decode_nms_host(shape_from(*heads), params_from(*params), inputs,
                                                 heads->num_threads, fresh->images);
  if (error) {
    delete fresh;
    return fail(error, message, message_size);
  }
  *result = fresh;
  return SSD_SMALL_OK;
}

int64_t ssd_small_result_counts(const ssd_small_result* result, int64_t* counts) {
  int64_t total = 0;
  if (result == nullptr) return 0;
  for (const ssd_small::HostDetections& image : result->images) {
    const auto count = static_cast<int64_t>(image.keys.size());
    if (counts != nullptr) *counts++ = count;
    total += count;
  }
  return total;
}

void ssd_small_result_copy(const ssd_small_result* result, float* boxes, float* scores,
                           int32_t* labels, int32_t* priors) {
  if (result == nullptr) return;
  for (const ssd_small::HostDetections& image : result->images) {
    const size_t count = image.keys.size();
    if (boxes != nullptr && count > 0) {
      std::memcpy(boxes, image.boxes.data(), count * sizeof(ssd_small::Box));
      boxes += count * 4;
    }
    for (const ssd_small::OrderKey key : image.keys) {
      if (scores != nullptr) *scores++ = ssd_small::score_from_key(key);
      if (labels != nullptr) *labels++ = ssd_small::label_from_key(key);
      if (priors != nullptr) *priors++ = ssd_small::prior_from_key(key);
    }
  }
}

void ssd_small_result_free(ssd_small_result* result) { delete result; }
