"""Every TensorRT call of ours against the bindings of the full TensorRT 10 and 11, nothing called.

The bindings need three libraries that no package registry has; here these are stubs, in which a
factory gives nothing, as TensorRT's do where there is no driver.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.trt]

ROOT = Path(__file__).resolve().parents[2]
FILE = "tests/trt/test_tensorrt_api.py"
LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")
FACTORIES = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL"),
    *("getBuilderPluginRegistry", "getPluginRegistry", "initLibNvInferPlugins"),
    "getNvOnnxParserVersion",
)


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("stubs")
    source = folder / "stub.c"
    source.write_text("".join(f"void* {name}(void) {{ return 0; }}\n" for name in FACTORIES))
    for library in LIBRARIES:
        for major in (10, 11):
            name = f"{library}.so.{major}"
            flags = ["-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name]
            subprocess.run([compiler, *flags, source], check=True)
    return folder


def test_calls(folder: Path, stubs: Path) -> None:
    """Every call of ours is in the bindings of the full TensorRT, with what we pass."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "not cuda_python", FILE],
        cwd=ROOT,
        env={
            **os.environ,
            "SSD_SMALL_TENSORRT_MODULE": "tensorrt_bindings",
            "PYTHONPATH": str(folder),
            "LD_LIBRARY_PATH": str(stubs),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 70
    assert "skipped" not in done.stdout
