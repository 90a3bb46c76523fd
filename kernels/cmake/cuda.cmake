# The CUDA kernels by nvcc.
#
#   ssd_small_cuda           static library: kernels and launcher
#   ssd_small_device_tests   shared library for the GPU tests, CUDA runtime linked statically
#
# nvcc is called directly: CMake's CUDA language wants a whole toolkit, pip's compiler is a part.
set(SSD_SMALL_NVCC "" CACHE FILEPATH "nvcc; empty: the one that kernels/cuda_compiler.py finds")
if(NOT SSD_SMALL_NVCC)
  find_package(Python3 COMPONENTS Interpreter REQUIRED)
  # not cached: the next configuration looks again
  execute_process(COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cuda_compiler.py
    OUTPUT_VARIABLE SSD_SMALL_NVCC OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
if(NOT SSD_SMALL_NVCC)
  message(FATAL_ERROR "SSD_SMALL_CUDA is on, but no nvcc was found; put one on PATH, name one in "
    "CUDACXX, or pip install 'ssd-small[nvcc]'")
endif()
message(STATUS "nvcc: ${SSD_SMALL_NVCC}")

# what kernels/check_kernels.py compiles for and with as well
set(cuda_targets_file ${CMAKE_CURRENT_SOURCE_DIR}/cuda_targets.json)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${cuda_targets_file})
file(READ ${cuda_targets_file} cuda_targets)
function(list_from_cuda_targets key result)
  string(JSON count LENGTH "${cuda_targets}" ${key})
  math(EXPR last "${count} - 1")
  set(values)
  foreach(index RANGE ${last})
    string(JSON value GET "${cuda_targets}" ${key} ${index})
    list(APPEND values ${value})
  endforeach()
  set(${result} ${values} PARENT_SCOPE)
endfunction()

set(SSD_SMALL_CUDA_ARCHITECTURES "" CACHE STRING "Compute capabilities to compile for; the last \
one also as PTX; empty: those of kernels/cuda_targets.json")
set(architectures ${SSD_SMALL_CUDA_ARCHITECTURES})
if(NOT architectures)
  list_from_cuda_targets(architectures architectures)
endif()
set(nvcc_targets)
foreach(arch IN LISTS architectures)
  list(APPEND nvcc_targets -gencode=arch=compute_${arch},code=sm_${arch})
endforeach()
list(GET architectures -1 newest)
list(APPEND nvcc_targets -gencode=arch=compute_${newest},code=compute_${newest})

list_from_cuda_targets(nvcc_flags nvcc_flags)
list(APPEND nvcc_flags -Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off
  -I${CMAKE_CURRENT_SOURCE_DIR}/include)
file(GLOB cuda_headers CONFIGURE_DEPENDS
  ${CMAKE_CURRENT_SOURCE_DIR}/src/*.cuh ${CMAKE_CURRENT_SOURCE_DIR}/include/ssd_small/*.h)

set(cuda_library ${CMAKE_CURRENT_BINARY_DIR}/libssd_small_cuda.a)
add_custom_command(
  OUTPUT ${cuda_library}
  COMMAND ${SSD_SMALL_NVCC} ${nvcc_flags} ${nvcc_targets} -lib
    -o ${cuda_library} ${CMAKE_CURRENT_SOURCE_DIR}/src/decode_nms.cu
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/decode_nms.cu ${cuda_headers}
  COMMENT "nvcc: decode+NMS kernels for ${architectures}"
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
