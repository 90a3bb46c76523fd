# Settings of everything compiled for the host: target ssd_small_settings.
include(CheckCXXSourceCompiles)

add_library(ssd_small_settings INTERFACE)
set(gnu_like $<CXX_COMPILER_ID:GNU,Clang,AppleClang>)
target_compile_options(ssd_small_settings INTERFACE
  # one rounding per operation: backends must agree bit for bit
  $<${gnu_like}:-ffp-contract=off>
  # no value changes: only exception flags and errno are given up, which nobody reads
  $<${gnu_like}:-fno-trapping-math;-fno-math-errno>
  # "omp simd" lets reductions vectorise; no OpenMP library is used
  $<${gnu_like}:-fopenmp-simd>
  $<${gnu_like}:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion;-Wno-sign-conversion>
  # what a sanitizer keeps from vectorising is no fault
  $<$<CXX_COMPILER_ID:Clang,AppleClang>:-Wno-pass-failed>
  $<$<CXX_COMPILER_ID:MSVC>:/fp:precise;/W4>)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_CXX_EXTENSIONS OFF)
# loops vectorise from -O3 on
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")

if(SSD_SMALL_SANITIZE)
  set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(ssd_small_settings INTERFACE ${sanitizers} -g)
  target_link_options(ssd_small_settings INTERFACE ${sanitizers})
endif()

# Several versions of one function, chosen when the library is loaded: needs compiler, C library
# (ifunc) and architecture. clang takes the names of x86-64's levels elsewhere too, and ignores them.
check_cxx_source_compiles([[
  #if !defined(__x86_64__)
  #error "levels of x86-64"
  #endif
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
  int twice(int x) { return 2 * x; }
  int main(int count, char**) { return twice(count) == 2 * count ? 0 : 1; }
]] SSD_SMALL_HAS_CLONES)
