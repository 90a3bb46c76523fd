// Scratch memory that outlives a call: fresh pages would cost a fifth of the time of a call.
#pragma once

#include <memory>

#include "host_image.h"

namespace ssd_small {

// Scratch of one image at a time, lent for the life of this object. A few are kept between calls,
// the larger ones excepted, whatever thread they came from.
class ScratchLease {
 public:
  ScratchLease();  // std::bad_alloc
  ScratchLease(ScratchLease&&) = default;
  ~ScratchLease();
  HostImage& operator*() const { return *image_; }

 private:
  std::unique_ptr<HostImage> image_;
};

}  // namespace ssd_small
