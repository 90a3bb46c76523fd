# What AddressSanitizer must report in kernels, and the Python tests of the kernels under it.

# kind (sanitized or traced), then for each case: name, report of AddressSanitizer, kernel
function(ssd_small_address_faults kind)
  set(target ssd_small_test_address_faults_${kind})
  add_executable(${target} test_address_faults.cpp)
  target_link_libraries(${target} PRIVATE ssd_small_executor ssd_small_executor_${kind})
  add_test(NAME address_faults_${kind}_none COMMAND ${target} none)
  while(ARGN)
    list(POP_FRONT ARGN case report where)
    add_test(NAME address_faults_${kind}_${case} COMMAND ${target} ${case})
    set_tests_properties(address_faults_${kind}_${case} PROPERTIES TIMEOUT 60
      PASS_REGULAR_EXPRESSION "AddressSanitizer: ${report}.*${where}")
  endwhile()
endfunction()

set(global_cases
  store heap-buffer-overflow store_kernel
  load heap-buffer-overflow load_kernel
  atomic heap-buffer-overflow atomic_kernel
  guard use-after-poison store_kernel
  before use-after-poison load_kernel
  freed heap-use-after-free load_kernel
  memset use-after-poison cudaMemsetAsync)
ssd_small_address_faults(traced ${global_cases})
ssd_small_address_faults(sanitized ${global_cases}
  dynamic_shared use-after-poison dynamic_shared_kernel
  local_array stack-buffer-overflow local_array_kernel)

# Kernels and plugin against the oracle, as in the ordinary test run, on libraries under
# AddressSanitizer; the interpreter is not, so that its runtime is loaded first.
find_package(Python3 COMPONENTS Interpreter QUIET)
if(Python3_FOUND)
  execute_process(COMMAND ${Python3_EXECUTABLE} -c "import hypothesis, numpy, pytest"
    RESULT_VARIABLE missing OUTPUT_QUIET ERROR_QUIET)
endif()
if(NOT Python3_FOUND OR missing)
  message(STATUS "kernels and plugin against the oracle under AddressSanitizer: skipped "
    "(Python with hypothesis, numpy and pytest is needed)")
  return()
endif()
set(preloaded)
foreach(name IN ITEMS asan ubsan stdc++)
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=lib${name}.so
    OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE)
  list(APPEND preloaded ${path})
endforeach()
list(JOIN preloaded " " preloaded)

# name, then files in tests/
function(ssd_small_python_test name)
  list(TRANSFORM ARGN PREPEND ${PROJECT_SOURCE_DIR}/tests/)
  add_test(NAME ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    # a report goes past Python's streams, to where it is seen
    COMMAND ${Python3_EXECUTABLE} -m pytest -q -p no:cacheprovider --capture=sys -m "not gpu" ${ARGN})
  set_tests_properties(${name} PROPERTIES TIMEOUT 900 ENVIRONMENT
    "LD_PRELOAD=${preloaded};ASAN_OPTIONS=detect_leaks=0;SSD_SMALL_EXECUTOR=$<TARGET_FILE:ssd_small_executor_library>;SSD_SMALL_PLUGIN_TESTS=${CMAKE_LIBRARY_OUTPUT_DIRECTORY}")
endfunction()
ssd_small_python_test(kernels_vs_oracle
  parity/test_kernels_vs_oracle.py
  parity/test_kernels_at_boundaries.py
  parity/test_kernels_beyond_capacities.py)
ssd_small_python_test(plugin_vs_oracle
  unit/test_plugin_build.py
  unit/test_plugin_enqueue.py
  unit/test_plugin_fields.py)
