"""Which declarations the plugin is compiled with, beside stand-ins for NVIDIA's headers.

NVIDIA's own headers come in no package and are not compiled here. A stand-in of 10 or 11 holds
what tensorrt_abi.h declares itself; those of other versions hold nothing that compiles.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "kernels" / "plugin"
SOURCES = sorted(PLUGIN.glob("*.cpp"))
#: every declaration is used in it
LAYOUT = [PLUGIN / "tensorrt_layout.cpp"]
HEADERS = (PLUGIN / "tensorrt_abi.h").read_text()
OWN = HEADERS.partition("\n#else\n\n#include <cstddef>")[2].rpartition("#endif")[0]
#: how versions up to 10.10, and those from 10.11 on, say which they are
PLAIN = "#define NV_TENSORRT_MAJOR {}\n"
ENTERPRISE = "#define TRT_MAJOR_ENTERPRISE {}\n#define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE\n"
RTX = "#define TRT_MAJOR_RTX {}\n#define NV_TENSORRT_MAJOR TRT_MAJOR_RTX\n"

Compile = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def compile_with(tmp_path: Path) -> Compile:
    """Function: (text of NvInferVersion.h or None, text of NvInferRuntime.h, flags) -> result."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("there is no C++ compiler")

    def run(
        version: str | None, runtime: str, *flags: str, sources: list[Path] = LAYOUT
    ) -> subprocess.CompletedProcess[str]:
        if version is not None:
            (tmp_path / "NvInferVersion.h").write_text(version)
        (tmp_path / "NvInferRuntime.h").write_text("#pragma once\n" + runtime)
        includes = [f"-I{tmp_path}", f"-I{PLUGIN}", f"-I{ROOT / 'kernels' / 'include'}"]
        includes += [f"-I{ROOT / 'kernels/tests/executor/include'}"]  # for cuda_runtime_api.h
        command = [compiler, "-std=c++17", "-fsyntax-only", *flags, *includes, *map(str, sources)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


REFUSED = '#error "included"\n'
TAKEN = "#include <cstddef>" + OWN + "#define STAND_IN 1\n"


def test_the_stand_in_holds_all_that_is_declared() -> None:
    assert OWN.count("class ") > 10
    assert "#" not in OWN.replace("#include", "")


@pytest.mark.parametrize(
    "version",
    [PLAIN.format(8), PLAIN.format(9), RTX.format(1), ENTERPRISE.format(8), "", None],
    ids=["8.6", "9", "RTX 1", "8 by the newer way", "no version", "no version file"],
)
def test_headers_without_the_interfaces_are_left_alone(
    compile_with: Compile, version: str | None
) -> None:
    done = compile_with(version, REFUSED)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("version", "runtime"), [(PLAIN.format(8), REFUSED), (ENTERPRISE.format(10), TAKEN)]
)
def test_all_of_the_plugin_compiles_beside_them(
    compile_with: Compile, version: str, runtime: str
) -> None:
    done = compile_with(version, runtime, sources=SOURCES)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "version", [PLAIN.format(10), ENTERPRISE.format(10), ENTERPRISE.format(11)]
)
def test_headers_of_ten_and_newer_are_taken(compile_with: Compile, version: str) -> None:
    done = compile_with(version, TAKEN)
    assert done.returncode == 0, done.stderr
    done = compile_with(version, REFUSED)
    assert "included" in done.stderr


def test_they_are_not_taken_where_the_build_says_so(compile_with: Compile) -> None:
    done = compile_with(PLAIN.format(10), REFUSED, "-DSSD_SMALL_TENSORRT_HEADERS=0")
    assert done.returncode == 0, done.stderr


def test_headers_that_are_asked_for_and_too_old_are_refused(compile_with: Compile) -> None:
    flag = "-DSSD_SMALL_TENSORRT_HEADERS=1"
    done = compile_with(PLAIN.format(8), "", flag)
    assert done.returncode != 0
    assert "not of TensorRT 10 or newer: use -DSSD_SMALL_TENSORRT_HEADERS=OFF" in done.stderr


@pytest.mark.parametrize(
    ("declared", "other"),
    [
        ("std::int64_t d[8];", "std::int32_t d[8];"),  # Dims of TensorRT 8
        ("  DataType type;\n  TensorFormat format;", "  TensorFormat format;\n  DataType type;"),
        ("  kINT64 = 10", "  kINT64 = 9"),
        ("std::int32_t length;\n};", "std::int64_t length;\n};"),
        ("enum class TensorRTPhase : std::int32_t", "enum class TensorRTPhase : std::int8_t"),
    ],
)
def test_another_layout_does_not_compile(compile_with: Compile, declared: str, other: str) -> None:
    assert TAKEN.count(declared) == 1
    done = compile_with(PLAIN.format(10), TAKEN.replace(declared, other))
    assert "static assertion failed" in done.stderr or "static_assert" in done.stderr
