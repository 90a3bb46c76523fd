#include "host_scratch.h"

#include <atomic>
#include <cstddef>

namespace ssd_small {
namespace {

// At most this many, each of at most this many bytes, stay between calls: enough for one of the
// six networks on each of a handful of threads (42754 priors: 3 MiB for a scene).
constexpr int kSlots = 8;
constexpr std::size_t kMostBytes = std::size_t{16} << 20;

// Atomic exchanges only: nothing is left locked in the child of a fork. Never freed, as calls may
// still run while static objects end.
std::atomic<HostImage*> slots[kSlots];

}  // namespace

ScratchLease::ScratchLease() {
  for (std::atomic<HostImage*>& slot : slots) {
    image_.reset(slot.exchange(nullptr));
    if (image_) return;
  }
  image_ = std::make_unique<HostImage>();
}

ScratchLease::~ScratchLease() {
  if (!image_ || image_->bytes() > kMostBytes) return;
  for (std::atomic<HostImage*>& slot : slots) {
    HostImage* none = nullptr;
    if (slot.compare_exchange_strong(none, image_.get())) {
      static_cast<void>(image_.release());  // the slot has it now
      return;
    }
  }
}

}  // namespace ssd_small
