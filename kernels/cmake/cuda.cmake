# The CUDA kernels by nvcc: PATH, $CUDACXX, or the nvidia/cu13 folder of a Python environment.
#
#   ssd_small_cuda           static library: kernels and launcher
#   ssd_small_device_tests   shared library for the GPU tests, CUDA runtime linked statically
#
# nvcc is called directly: CMake's CUDA language wants a whole toolkit, pip's compiler is a part.
if(DEFINED ENV{CUDACXX})
  find_program(SSD_SMALL_NVCC $ENV{CUDACXX})
endif()
find_program(SSD_SMALL_NVCC nvcc)
if(NOT SSD_SMALL_NVCC)
  find_package(Python3 COMPONENTS Interpreter QUIET)
  if(Python3_FOUND)
    execute_process(
      COMMAND ${Python3_EXECUTABLE} -c
        "import sysconfig; print(sysconfig.get_path('purelib') + '/nvidia/cu13/bin')"
      OUTPUT_VARIABLE pip_nvcc OUTPUT_STRIP_TRAILING_WHITESPACE)
    find_program(SSD_SMALL_NVCC nvcc HINTS ${pip_nvcc} NO_DEFAULT_PATH)
  endif()
endif()
if(NOT SSD_SMALL_NVCC)
  message(FATAL_ERROR "SSD_SMALL_CUDA is on, but no nvcc was found; put one on PATH or "
    "pip install 'ssd-small[nvcc]'")
endif()
message(STATUS "nvcc: ${SSD_SMALL_NVCC}")

set(SSD_SMALL_CUDA_ARCHITECTURES 75 80 86 89 90 100 120 CACHE STRING
  "Compute capabilities to compile for; the last one also as PTX")
set(nvcc_targets)
foreach(arch IN LISTS SSD_SMALL_CUDA_ARCHITECTURES)
  list(APPEND nvcc_targets -gencode=arch=compute_${arch},code=sm_${arch})
endforeach()
list(GET SSD_SMALL_CUDA_ARCHITECTURES -1 newest)
list(APPEND nvcc_targets -gencode=arch=compute_${newest},code=compute_${newest})

# -fmad=false: one rounding per operation, or the bits differ from the other backends'
set(nvcc_flags -std=c++17 -O3 -fmad=false -Werror all-warnings --threads 2
  -Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off
  -I${CMAKE_CURRENT_SOURCE_DIR}/include)
file(GLOB cuda_headers CONFIGURE_DEPENDS
  ${CMAKE_CURRENT_SOURCE_DIR}/src/*.cuh ${CMAKE_CURRENT_SOURCE_DIR}/include/ssd_small/*.h)

set(cuda_library ${CMAKE_CURRENT_BINARY_DIR}/libssd_small_cuda.a)
add_custom_command(
  OUTPUT ${cuda_library}
  COMMAND ${SSD_SMALL_NVCC} ${nvcc_flags} ${nvcc_targets} -lib
    -o ${cuda_library} ${CMAKE_CURRENT_SOURCE_DIR}/src/decode_nms.cu
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/decode_nms.cu ${cuda_headers}
  COMMENT "nvcc: decode+NMS kernels for ${SSD_SMALL_CUDA_ARCHITECTURES}"
  VERBATIM COMMAND_EXPAND_LISTS)
add_custom_target(ssd_small_cuda_build DEPENDS ${cuda_library})
add_library(ssd_small_cuda STATIC IMPORTED GLOBAL)
set_target_properties(ssd_small_cuda PROPERTIES IMPORTED_LOCATION ${cuda_library})
target_link_libraries(ssd_small_cuda INTERFACE ssd_small_headers)
add_dependencies(ssd_small_cuda ssd_small_cuda_build)

if(SSD_SMALL_BUILD_TESTS)
  set(device_tests ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/libssd_small_device_tests.so)
  set(device_run ${CMAKE_CURRENT_SOURCE_DIR}/tests/executor/device_run.cpp)
  add_custom_command(
    OUTPUT ${device_tests}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}
    COMMAND ${SSD_SMALL_NVCC} ${nvcc_flags} -shared -cudart static
      -I${CMAKE_CURRENT_SOURCE_DIR}/capi -o ${device_tests} ${device_run} ${cuda_library}
    DEPENDS ${device_run} ${cuda_library}
    COMMENT "nvcc: library for the GPU tests"
    VERBATIM COMMAND_EXPAND_LISTS)
  add_custom_target(ssd_small_device_tests ALL DEPENDS ${device_tests})
endif()
