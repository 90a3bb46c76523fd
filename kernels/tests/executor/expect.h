// What the tests of the executor share: counted failures, and questions about reported faults.
#pragma once

#include <cstdio>
#include <string>

#include "ssd_executor/executor.h"

inline int failures = 0;

inline void expect(bool condition, const std::string& what) {
  if (condition) return;
  ++failures;
  std::printf("FAILED: %s\n", what.c_str());
}

inline std::string first_fault() {
  return ssd_executor_fault_count() > 0 ? ssd_executor_fault(0) : "";
}

inline bool any_fault(const std::string& text) {
  // as many as the executor keeps
  for (int i = 0; ssd_executor_fault(i); ++i) {
    if (std::string(ssd_executor_fault(i)).find(text) != std::string::npos) return true;
  }
  return false;
}
