// Messages of the plugin, to TensorRT's own logger.
#pragma once

#include "tensorrt_abi.h"

namespace ssd_small::plugin {

// What TensorRT hands to setLoggerFinder; nullptr takes it back.
void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

// One line, printf style, with "DecodeNms: " before it. Goes to the logger of TensorRT that is
// responsible for the calling thread, or to standard error where there is none. Allocates nothing.
__attribute__((format(printf, 1, 2))) void log_error(const char* format, ...) noexcept;

}  // namespace ssd_small::plugin
