# CMake generated Testfile for 
# Source directory: /work/clones/cuda/kernels/tests
# Build directory: /work/clones/cuda/build-cuda/kernels/tests
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
subdirs("executor")
