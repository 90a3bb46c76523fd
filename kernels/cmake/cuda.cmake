# The CUDA kernels by nvcc.
#
#   ssd_small_cuda           static library: kernels and launcher
#   ssd_small_device_tests   shared library for the GPU tests, CUDA runtime linked statically
#
# nvcc is called directly: CMake's CUDA language wants a whole toolkit, pip's compiler is a part.
set(SSD_SMALL_NVCC "" CACHE FILEPATH "nvcc; empty: the one that kernels/cuda_compiler.py finds")
set(SSD_SMALL_CUDA_ARCHITECTURES "" CACHE STRING "Compute capabilities to compile for, the lowest \
of each front end also as PTX; empty: those of kernels/cuda_targets.json")
set(SSD_SMALL_NVCC_FLAGS "" CACHE STRING "More arguments of nvcc, such as -ccbin;COMPILER")
option(SSD_SMALL_STRICT_NVCC "A warning of nvcc is an error, as in kernels/check_kernels.py" OFF)

find_package(Python3 COMPONENTS Interpreter REQUIRED)
set(cuda_compiler ${CMAKE_CURRENT_SOURCE_DIR}/cuda_compiler.py)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  ${cuda_compiler} ${CMAKE_CURRENT_SOURCE_DIR}/cuda_targets.json)
if(NOT SSD_SMALL_NVCC)
  # not cached: the next configuration looks again
  execute_process(COMMAND ${Python3_EXECUTABLE} ${cuda_compiler}
    OUTPUT_VARIABLE SSD_SMALL_NVCC OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
if(NOT SSD_SMALL_NVCC)
  message(FATAL_ERROR "SSD_SMALL_CUDA is on, but no nvcc was found; put one on PATH, name one in "
    "CUDACXX, or pip install '.[nvcc]'")
endif()
message(STATUS "nvcc: ${SSD_SMALL_NVCC}")

set(how --arguments ${SSD_SMALL_NVCC})
if(SSD_SMALL_CUDA_ARCHITECTURES)
  list(APPEND how --architectures ${SSD_SMALL_CUDA_ARCHITECTURES})
endif()
if(SSD_SMALL_STRICT_NVCC)
  list(APPEND how --strict)
endif()
execute_process(COMMAND ${Python3_EXECUTABLE} ${cuda_compiler} ${how}
  OUTPUT_VARIABLE nvcc_flags ERROR_VARIABLE nvcc_note RESULT_VARIABLE nvcc_status
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_STRIP_TRAILING_WHITESPACE)
if(NOT nvcc_status EQUAL 0)
  message(FATAL_ERROR "${nvcc_note}")
elseif(nvcc_note)
  message(NOTICE "${nvcc_note}")  # one line, not wrapped
endif()

list(APPEND nvcc_flags ${SSD_SMALL_NVCC_FLAGS} -Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off
  -I${CMAKE_CURRENT_SOURCE_DIR}/include)
file(GLOB cuda_headers CONFIGURE_DEPENDS
  ${CMAKE_CURRENT_SOURCE_DIR}/src/*.cuh ${CMAKE_CURRENT_SOURCE_DIR}/include/ssd_small/*.h)

set(cuda_library ${CMAKE_CURRENT_BINARY_DIR}/libssd_small_cuda.a)
add_custom_command(
  OUTPUT ${cuda_library}
  COMMAND ${SSD_SMALL_NVCC} ${nvcc_flags} -lib
    -o ${cuda_library} ${CMAKE_CURRENT_SOURCE_DIR}/src/decode_nms.cu
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/decode_nms.cu ${cuda_headers}
  COMMENT "nvcc: decode+NMS kernels"
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
