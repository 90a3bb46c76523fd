// Several compilations of one function for different instruction sets, chosen at load time.
//
// SSD_SMALL_HAS_CLONES comes from CMake, which tries the attribute with the compiler at hand;
// without it the functions are compiled once, for the baseline.
#pragma once

#if defined(SSD_SMALL_HAS_CLONES)
#define SSD_SMALL_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SSD_SMALL_CLONES
#endif
