# CMake generated Testfile for 
# Source directory: /work/clones/cuda/kernels/tests/executor
# Build directory: /work/clones/cuda/build-cuda/kernels/tests/executor
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
add_test([=[executor]=] "/work/clones/cuda/build-cuda/bin/ssd_small_test_executor")
set_tests_properties([=[executor]=] PROPERTIES  TIMEOUT "120" _BACKTRACE_TRIPLES "/work/clones/cuda/kernels/tests/executor/CMakeLists.txt;51;add_test;/work/clones/cuda/kernels/tests/executor/CMakeLists.txt;0;")
add_test([=[launch_faults]=] "/work/clones/cuda/build-cuda/bin/ssd_small_test_launch_faults")
set_tests_properties([=[launch_faults]=] PROPERTIES  TIMEOUT "60" _BACKTRACE_TRIPLES "/work/clones/cuda/kernels/tests/executor/CMakeLists.txt;57;add_test;/work/clones/cuda/kernels/tests/executor/CMakeLists.txt;0;")
