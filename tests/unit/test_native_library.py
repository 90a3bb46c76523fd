"""The native CPU library in a process: it stays where it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ssd_small.postprocess import native

#: enough values of conf for two threads, which then sleep in the library's code
UNLOADING = """
import _ctypes
import numpy as np
from ssd_small.postprocess import PostprocessParams, decode_nms, native

def call():
    heads = np.zeros((2, 4096, 4), np.float32), np.zeros((2, 4096, 64), np.float32)
    decode_nms(*heads, np.ones((4096, 4), np.float32), backend="native", num_threads=2)

call()
library = native._load(str(native.library_path()))
for attempt in range(3):
    try:
        _ctypes.dlclose(library._handle)
    except OSError:
        pass
path = str(native.library_path().resolve())
assert path in open("/proc/self/maps").read(), "unloaded under its threads"
call()
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc/self/maps")
def test_unloading_leaves_it_under_its_threads() -> None:
    if not native.is_available():
        pytest.skip("the native library is not built")
    done = subprocess.run(
        [sys.executable, "-c", UNLOADING], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
