"""NVIDIA's compute-sanitizer over the kernels; needs a GPU. Not executed where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_library import ROOT, load

BODY = """
import sys
sys.path.insert(0, sys.argv[1])
from kernel_library import load
from kernel_cases import check, random_heads
from ssd_small.postprocess import PostprocessParams
library = load("device")
loc, conf, priors = random_heads(2, 3000, 21)
for params in (PostprocessParams(), PostprocessParams.coco(), PostprocessParams(-1.0)):
    check(library, loc, conf, priors, params, (0,))
"""


@pytest.mark.gpu
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck", "synccheck"])
def test_compute_sanitizer_finds_nothing(tool: str) -> None:
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None or load("device") is None:
        pytest.skip("not executed here: no compute-sanitizer, or no GPU and library for it")
    done = subprocess.run(
        [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", BODY,
         Path(__file__).parent],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
