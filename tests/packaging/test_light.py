"""Importing and asking for help are instant and need no heavy package."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "cv2", "hotcoco", "PIL")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_import_needs_no_heavy_package() -> None:
    code = (
        "import sys, ssd_small; ssd_small.list_models(); ssd_small.PostprocessParams.coco(); "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert run(code).strip() == "[]"


def test_help_is_instant_and_imports_no_heavy_package() -> None:
    command = [sys.executable, "-m", "ssd_small", "--help"]
    shown = subprocess.run(
        [command[0], "-X", "importtime", *command[1:]],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "build-engine" in shown.stdout
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert not imported & {*HEAVY, "numpy"}
    # processor time, since other work on the machine stretches the wall time
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize("name", ["export", "build-engine"])
def test_help_of_a_command_imports_no_heavy_package(name: str) -> None:
    """Its defaults and limits come from modules of ssd_small.export that are light themselves."""
    code = (
        "import sys, contextlib, ssd_small.cli\n"
        f"with contextlib.suppress(SystemExit): ssd_small.cli.main([{name!r}, '--help'])\n"
        f"print([m for m in {(*HEAVY, 'numpy')!r} if m in sys.modules])"
    )
    *shown, imported = run(code).splitlines()
    assert any("--precision [fp32|fp16" in line for line in shown)
    assert imported == "[]"


@pytest.mark.slow
def test_public_names_are_listed() -> None:
    code = "import ssd_small; print(all(hasattr(ssd_small, n) for n in ssd_small.__all__))"
    assert run(code).strip() == "True"
