"""The plugin as a file: what it exports, what it needs, which GPUs it has code for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import plugin_libraries
import pytest
from cuda_compiler import ARCHITECTURES, CudaTargets

ENTRY_POINTS = {"getCreators", "setLoggerFinder", "ssd_small_plugin_cuda_version"}
#: what any Linux brings
SYSTEM = ("libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "ld-linux")


@pytest.fixture(params=["host", "cuda"])
def library(request: pytest.FixtureRequest) -> Path:
    return library_of_kind(request.param)


@pytest.fixture(params=["host", "cuda", "registering"])
def any_library(request: pytest.FixtureRequest) -> Path:
    return library_of_kind(request.param)


def library_of_kind(kind: str) -> Path:
    if kind == "cuda":
        return plugin_libraries.cuda_library_path()
    if kind == "host":
        return plugin_libraries.host_library_path()
    return plugin_libraries.build_directory() / "libssd_small_plugin_dlopen.so"


def lines_of(*command: str | Path) -> list[str]:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def exported_by(library: Path) -> set[str]:
    return {line.split()[-1] for line in lines_of("nm", "-D", "--defined-only", library)}


def test_nothing_but_the_entry_points_is_exported(library: Path) -> None:
    assert exported_by(library) == ENTRY_POINTS
    assert exported_by(library_of_kind("registering")) == set()


def test_no_tensorrt_or_cuda_library_is_needed(any_library: Path) -> None:
    needed = [
        line.rpartition("[")[2].rstrip("]")
        for line in lines_of("readelf", "-d", any_library)
        if "(NEEDED)" in line or "PATH)" in line
    ]
    assert needed
    assert all(name.startswith(SYSTEM) for name in needed), needed


def test_every_symbol_it_wants_is_the_system_s(any_library: Path) -> None:
    """Versioned by the C library, or weak: nothing of TensorRT or CUDA is left to the loader."""
    wanted = [line.split() for line in lines_of("nm", "-D", "-u", any_library)]
    strays = [name for kind, name in wanted if kind == "U" and "@GLIBC" not in name]
    assert strays == []


def test_device_code_from_turing_on_and_ptx_of_both_front_ends() -> None:
    """PTX of the lowest architecture runs on every later GPU, known or not."""
    targets = CudaTargets(ARCHITECTURES)
    assert targets.ptx == (75, 100)
    expected = {("sm", number) for number in ARCHITECTURES}
    expected |= {("ptx", number) for number in targets.ptx}
    found = plugin_libraries.device_code(plugin_libraries.cuda_library_path())
    assert found == expected, "built with SSD_SMALL_CUDA_ARCHITECTURES, or before they changed?"
