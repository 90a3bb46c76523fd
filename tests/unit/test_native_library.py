"""The native CPU library in a process: it stays where it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ssd_small._version import __version__
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


@pytest.mark.parametrize(("version", "taken"), [(__version__, True), ("0.0.9", False)])
def test_an_unbuilt_checkout_takes_the_library_of_an_installed_ssd_small_of_its_version(
    version: str, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pip install .`, then Python in the checkout, whose package comes before that."""
    name = native.library_path().name
    checkout, installed = tmp_path / "checkout" / "ssd_small", tmp_path / "site-packages"
    (installed / "ssd_small" / "_native").mkdir(parents=True)
    (installed / "ssd_small" / "_native" / name).touch()
    info = installed / f"ssd_small-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ssd-small\nVersion: {version}\n")
    monkeypatch.setattr(native, "__file__", str(checkout / "postprocess" / "native.py"))
    monkeypatch.delenv("SSD_SMALL_LIBRARY", raising=False)
    monkeypatch.setattr(sys, "path", [str(installed)])
    # both are kept for the process, whose own come back at the end
    monkeypatch.setattr(native, "_packaged_library", native._packaged_library.__wrapped__)
    monkeypatch.setattr(native, "_installed_library", native._installed_library.__wrapped__)
    own, theirs = checkout / "_native" / name, installed / "ssd_small" / "_native" / name
    assert native.library_path() == (theirs if taken else own)
    own.parent.mkdir(parents=True)
    own.touch()
    assert native.library_path() == own
