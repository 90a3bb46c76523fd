# CMake generated Testfile for 
# Source directory: /work/clones/cuda/kernels
# Build directory: /work/clones/cuda/build-cuda/kernels
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
subdirs("tests")
