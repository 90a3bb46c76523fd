# Toolchain file: PyPI's ziglang, for an older C library or another processor than this machine's.
# kernels/build_manylinux.py sets, in the environment since CMake's trials read this file again:
#
#   SSD_SMALL_ZIG_PYTHON  the Python that has ziglang
#   SSD_SMALL_ZIG_TARGET  processor and C library, such as aarch64-linux-gnu.2.28
#   SSD_SMALL_NVCC_FLAGS, SSD_SMALL_CUDART  where nvcc compiles for another processor
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "$ENV{SSD_SMALL_ZIG_TARGET}")
set(CMAKE_SYSTEM_NAME Linux)
set(zig $ENV{SSD_SMALL_ZIG_PYTHON} -m ziglang)
set(CMAKE_CXX_COMPILER ${zig} c++ -target $ENV{SSD_SMALL_ZIG_TARGET})
# binutils may know this machine's format only
list(JOIN zig " " zig)
set(CMAKE_CXX_ARCHIVE_CREATE "${zig} ar qc <TARGET> <LINK_FLAGS> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_APPEND "${zig} ar q <TARGET> <LINK_FLAGS> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_FINISH "${zig} ranlib <TARGET>")
# zig's C++ library comes with its debugging symbols: four megabytes of them
set(CMAKE_SHARED_LINKER_FLAGS_INIT -s)
foreach(name IN ITEMS SSD_SMALL_NVCC_FLAGS SSD_SMALL_CUDART)
  if(DEFINED ENV{${name}})
    set(${name} "$ENV{${name}}" CACHE STRING "")
  endif()
endforeach()
