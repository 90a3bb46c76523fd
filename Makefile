# Two commands for users: `make demo` and `make test`. Both create .venv and install what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUILD := build
PLUGIN := ssd_small/_native/libssd_small_plugin.so
# libFuzzer comes with clang; without one the fuzz target runs unguided
CLANG := $(shell command -v clang++)
# the pair this version is tested with; torchvision fits one torch only
TORCH_PAIR := torch==2.14.1 torchvision==0.29.1

# where exactly the lower bounds of setup.cfg are installed; and other Pythons, with the newest
# releases. Those are made for the test and removed: each takes 6 GB, most of it CUDA for PyTorch
LOWEST := .venv-lowest
PYTHONS := 3.10 3.13 3.14
DEPLOYED := torch,onnx,onnxruntime,eval,images,demo

# packages that results are handed over to or compared with bring a hundred others: an environment of
# their own
HANDOVER := .venv-handover

# a first detection without torch
FIRST := .venv-first

# zig, which compiles the wheels for older systems, and auditwheel, which checks them
WHEELS := .venv-wheels

# TensorRT 10 and 11 as far as PyPI has them: the lean runtimes (older ones are not there) and the
# bindings of the full ones, a folder for each version and one for the newest
LEAN := .venv-lean
LEAN_VERSIONS := 10.15.1.29 10.16.1.11 11.0.0.114
LEAN_PACKAGES := tensorrt_lean_cu13_libs tensorrt_lean_cu13_bindings tensorrt_cu13_bindings

# a Triton server, and what its Python backend runs; numpy 1, for which that backend is built
TRITON := .venv-triton

.PHONY: demo test test-fast browser video install lint typecheck test-cpp test-python test-handover test-lean \
  test-triton run-test-triton test-first test-lowest test-pythons lowest-wheel wheels test-wheels fuzz-cli \
  kill-table docs coverage clean

demo: install
	$(BIN)/ssd-small demo --output demo

# one after the other whatever -j says: cheap checks first
test: install
	$(MAKE) lint
	$(MAKE) typecheck
	$(MAKE) test-cpp
	$(MAKE) browser
	$(MAKE) video
	$(MAKE) test-python
	$(MAKE) test-handover
	$(MAKE) test-wheels
	$(MAKE) test-lean
	$(MAKE) test-triton
	$(MAKE) test-first
	$(MAKE) test-lowest

# for every change: under two minutes on two cores. It leaves out sanitizers, fuzzing, nvcc's gates
# and the tests marked slow
test-fast: install
	$(MAKE) lint
	$(MAKE) typecheck
	$(call ctest,$(BUILD)/tests,-DSSD_SMALL_BUILD_TESTS=ON,-E nvcc_gates -j 2)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

install: $(STAMP)

$(STAMP): setup.cfg pyproject.toml Makefile $(shell find kernels CMakeLists.txt -type f \
		-not -path '*/__pycache__/*' 2>/dev/null)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	rm -f $(PLUGIN)
	$(BIN)/python -m pip install --quiet --editable '.[all,test]' $(TORCH_PAIR)
# no toolkit on this machine: the plugin is made by the nvcc that has just come from pip
	if [ ! -e $(PLUGIN) ] && nvcc=$$($(BIN)/python kernels/cuda_compiler.py --pip); then \
	  CUDACXX=$$nvcc $(BIN)/python -m pip install --quiet --no-deps --editable .; \
	fi
	touch $@

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# export/ is installed as ssd_small.export; a tree of links shows it to mypy at that place
typecheck:
	rm -rf $(BUILD)/typecheck && mkdir -p $(BUILD)/typecheck/ssd_small
	ln -s $(CURDIR)/ssd_small/* $(BUILD)/typecheck/ssd_small/
	ln -s $(CURDIR)/export $(BUILD)/typecheck/ssd_small/export
	cd $(BUILD)/typecheck && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml \
	  --cache-dir $(CURDIR)/$(BUILD)/mypy -p ssd_small

test-cpp:
	$(call ctest,$(BUILD)/tests,-DSSD_SMALL_BUILD_TESTS=ON)
	$(call ctest,$(BUILD)/sanitized,-DSSD_SMALL_BUILD_TESTS=ON -DSSD_SMALL_SANITIZE=ON,-E nvcc_gates)
	$(call ctest,$(BUILD)/fuzz,-DSSD_SMALL_BUILD_FUZZERS=ON -DSSD_SMALL_SANITIZE=ON \
	  $(CLANG:%=-DCMAKE_CXX_COMPILER=%),--no-tests=error)

define ctest
$(BIN)/cmake -S . -B $(1) -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
  -DPython3_EXECUTABLE=$(CURDIR)/$(BIN)/python $(2)
$(BIN)/cmake --build $(1)
$(BIN)/ctest --test-dir $(1) --output-on-failure $(3)
endef

# tests look at pages in a browser. Nothing is installed on anybody's own machine; where Debian's
# cannot be had, those tests are left out and say so
browser:
	mkdir -p $(BUILD)
	if [ "$$CI" = true ] && [ "$$(id -u)" = 0 ] && ! command -v chromium > /dev/null; then \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt='apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=10'; \
	  install='install --yes --no-install-recommends -o Dpkg::Options::=--force-unsafe-io'; \
	  { timeout 60 $$apt update && timeout 120 $$apt $$install --download-only chromium \
	    && $$apt $$install chromium; } > $(BUILD)/browser.log 2>&1 || echo 'no browser: $(BUILD)/browser.log'; \
	fi

# tests write clips that OpenCV has no encoder for, and read streams: Debian's ffmpeg, and GStreamer's
# RTSP server with the Python that the system's packages are for; 86 MB
VIDEO := ffmpeg gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good python3-gi
video:
	mkdir -p $(BUILD)
	if [ "$$CI" = true ] && [ "$$(id -u)" = 0 ] && ! command -v ffmpeg > /dev/null; then \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt='apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=10'; \
	  install='install --yes --no-install-recommends -o Dpkg::Options::=--force-unsafe-io'; \
	  { timeout 60 $$apt update && timeout 120 $$apt $$install --download-only $(VIDEO) \
	    && $$apt $$install $(VIDEO); } > $(BUILD)/video.log 2>&1 || echo 'no video: $(BUILD)/video.log'; \
	fi

# a process a core, each with one thread: together they are done in little more than half the time
test-python:
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

# 1 600 damaged inputs of every kind to the command line, in under ten minutes on two cores; the tests
# try a tenth. What fails lies in build/fuzz-cli/failures
fuzz-cli: install
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_cli.py --json $(BUILD)/fuzz-cli.json

# the checkout is tested as it lies here, since installing it would build the libraries again
test-handover: $(HANDOVER)/.installed
	mkdir -p $(BUILD)/handover
	$(BIN)/ssd-small export --weights digits/mobilenet_v1_s1l0 --inline -o $(BUILD)/handover/inline.onnx
	$(BIN)/ssd-small export --weights digits/mobilenet_v1_s1l0 -o $(BUILD)/handover/plain.onnx
	SSD_SMALL_ONNX=$(BUILD)/handover $(HANDOVER)/bin/python -m pytest tests/handover

# Building fiftyone-db downloads MongoDB, unless it is for a system that it does not know, and labels
# need none. That wheel must stay out of pip's cache, where another fiftyone would be given it.
$(HANDOVER)/.installed: Makefile
	test -x $(HANDOVER)/bin/python || $(PYTHON) -m venv $(HANDOVER)
	FODB_SYSTEM=none $(HANDOVER)/bin/python -m pip install --quiet --no-cache-dir --no-deps \
	  --config-settings=--build-option=--plat-name=any fiftyone-db
	$(HANDOVER)/bin/python -m pip install --quiet fiftyone mean-average-precision numpy onnx \
	  onnx-graphsurgeon onnxruntime onnxslim openvino pandas polygraphy pytest supervision
	touch $@

# for glibc 2.28 and newer, into dist/. The nvcc is that of the machine or of $(VENV)
wheels: install $(WHEELS)/.installed
	CUDACXX=$$($(BIN)/python kernels/cuda_compiler.py) $(WHEELS)/bin/python kernels/build_manylinux.py

# the libraries in them against the oracle; qemu-user runs those of other processors
test-wheels: wheels
	SSD_SMALL_WHEELS=dist SSD_SMALL_ZIG_PYTHON=$(CURDIR)/$(WHEELS)/bin/python \
	  $(BIN)/python -m pytest tests/wheels

$(WHEELS)/.installed: Makefile
	test -x $(WHEELS)/bin/python || $(PYTHON) -m venv $(WHEELS)
	$(WHEELS)/bin/python -m pip install --quiet auditwheel cmake ninja 'setuptools>=77' wheel ziglang
	touch $@

# `make test-lean RECORD=benchmarks/results/tensorrt_versions.json` is what the README's table is of
RECORD = $(BUILD)/tensorrt_versions.json
test-lean: $(LEAN)/.installed
	mkdir -p $(BUILD)
	SSD_SMALL_LEAN=$(CURDIR)/$(LEAN) $(BIN)/python -m pytest tests/lean --record $(RECORD)

# polygraphy: its loader of plugins is one of those that only dlopen
$(LEAN)/.installed: Makefile
	rm -rf $(LEAN)
	set -e; for version in $(LEAN_VERSIONS); do \
	  $(BIN)/python -m pip install --quiet --no-deps --target $(LEAN)/$$version \
	    $(LEAN_PACKAGES:%=%==$$version) polygraphy; \
	done
	$(BIN)/python -m pip install --quiet --no-deps --target $(LEAN)/newest $(LEAN_PACKAGES) polygraphy
	touch $@

# the checkout is what the server's Python imports, with the OpenCV that it is compared with
test-triton: install
	if $(MAKE) $(TRITON)/.installed; then \
	  $(MAKE) run-test-triton; \
	elif [ "$$CI" = true ]; then \
	  exit 1; \
	else \
	  echo 'test-triton: not run, the packages of its environment cannot be had'; \
	fi

run-test-triton:
	mkdir -p $(BUILD)/triton
	$(call triton_file,plain,)
	$(call triton_file,inline,--inline)
	$(call triton_file,heads,--heads)
	$(call triton_file,any,--input uint8)
	$(call triton_file,framed,--preprocessing tests/triton/letterbox.json)
	SSD_SMALL_TRITON=$(CURDIR)/$(TRITON) SSD_SMALL_TRITON_ONNX=$(CURDIR)/$(BUILD)/triton \
	  OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/triton

triton_file = $(BIN)/ssd-small export --weights digits/mobilenet_v1_s1l0 $(2) -o $(BUILD)/triton/$(1).onnx

$(TRITON)/.installed: Makefile
	test -x $(TRITON)/bin/python || $(PYTHON) -m venv $(TRITON)
	$(TRITON)/bin/python -m pip install --quiet click 'numpy<2' onnxruntime pyyaml tabulate
	$(TRITON)/bin/python -m pip install --quiet --no-deps nvidia-pytriton==0.7.0 \
	  opencv-python-headless==$$($(BIN)/python -c \
	  'from importlib.metadata import version; print(version("opencv-python-headless"))')
	echo $(CURDIR) > $$(echo $(TRITON)/lib/python3.*/site-packages)/checkout.pth
	touch $@

# the commands from checkpoint to score, as installed from a wheel, at the other end of what setup.cfg
# promises: `make test-python` runs the same tests with the newest releases
test-lowest: lowest-wheel $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pip install --quiet --no-deps --force-reinstall $(LOWEST_WHEEL)
	$(LOWEST)/bin/python tests/lowest/lower_bounds.py --check
	$(call commands,$(LOWEST))
	$(MAKE) test-pythons

test-pythons: lowest-wheel
	set -e; for version in $(PYTHONS); do \
	  python=; \
	  for one in python$$version $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python; do \
	    if "$$one" -c '' 2>/dev/null; then python=$$one; fi; \
	  done; \
	  if [ -z "$$python" ]; then echo "Python $$version: not run, there is none here"; continue; fi; \
	  folder=$(BUILD)/python$$version; rm -rf $$folder; $$python -m venv $$folder; \
	  $$folder/bin/python -m pip install --quiet pytest "$(LOWEST_WHEEL)[$(DEPLOYED)]"; \
	  $(call commands,$$folder); rm -rf $$folder; \
	done

commands = SSD_SMALL_DIGITS=$(BUILD)/lowest/digits OMP_NUM_THREADS=1 $(1)/bin/python -m pytest tests/lowest
LOWEST_WHEEL = $$(ls $(BUILD)/lowest/*.whl)

# the documented score is of what the newest OpenCV draws
lowest-wheel: install
	rm -rf $(BUILD)/lowest
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(BUILD)/lowest .
	$(BIN)/ssd-small digits $(BUILD)/lowest/digits --train-images 0

$(LOWEST)/.installed: Makefile setup.cfg tests/lowest/lower_bounds.py
	rm -rf $(LOWEST) && $(PYTHON) -m venv $(LOWEST)
	$(PYTHON) tests/lowest/lower_bounds.py > $(BUILD)/lowest/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(BUILD)/lowest/constraints.txt \
	  pytest "$(LOWEST_WHEEL)[$(DEPLOYED),check,tiles,ray,serve,track,train,openvino,tensorrt-rtx]"
	touch $@

# what the README begins with, in an environment that nobody has used: no torch, under 600 MB.
# `make test-first FIRST_RECORD='--record benchmarks/results/first_detection.json'` is what it says
FIRST_RECORD :=
test-first:
	$(PYTHON) tests/packaging/first_detection.py $(FIRST) $(FIRST_RECORD)
	rm -rf $(FIRST)

# the reference of the Python API, from its docstrings
docs: install
	rm -rf $(BUILD)/docs
	$(BIN)/python docs/build_docs.py $(BUILD)/docs

# which lines the quick tests run, by room; half again as long as test-fast
coverage: install
	rm -rf $(BUILD)/coverage && mkdir -p $(BUILD)/coverage
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest -m "not slow" -n auto --dist loadfile
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python benchmarks/coverage_by_room.py $(BUILD)/coverage/rooms.json

# kills commands at random moments, a hundred times, and looks at what they leave; some 20 minutes
kill-table: install
	$(BIN)/python benchmarks/kill_table.py

# all that building, testing and the README's commands leave here; the environments stay
clean:
	rm -rf $(BUILD) dist *.egg-info demo out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path './.venv*' -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
