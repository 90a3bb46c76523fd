"""Where the plugin's libraries are; builds those of the tests."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import ssd_small

ROOT = Path(__file__).resolve().parents[1]


def build_directory() -> Path:
    """Where the three libraries are: ``SSD_SMALL_PLUGIN_TESTS``, else built here and now.

    A build folder of ``make test-cpp`` is brought up to date; without one ``build/plugin-tests``
    is made.
    """
    named = os.environ.get("SSD_SMALL_PLUGIN_TESTS")
    if named:
        return Path(named)
    tools = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    cmake, ninja = (shutil.which(tool, path=tools) for tool in ("cmake", "ninja"))
    if cmake is None or shutil.which(os.environ.get("CXX", "c++")) is None:
        pytest.skip("the host build of the plugin needs cmake and a C++ compiler")
    folder, fault = _build(cmake, ninja)
    assert not fault, fault
    return folder / "lib"


@cache
def _build(cmake: str, ninja: str | None) -> tuple[Path, str]:
    """The build folder, and what went wrong: tried once, not once for each test."""
    folder = ROOT / "build" / "tests"
    commands: list[list[str | Path]] = []
    if not (folder / "CMakeCache.txt").exists():
        folder = ROOT / "build" / "plugin-tests"
        generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
        commands.append([cmake, "-S", ROOT, "-B", folder, *generator, "-DSSD_SMALL_BUILD_TESTS=ON"])
    targets = ["ssd_small_plugin_host", "ssd_small_plugin_driver", "ssd_small_plugin_dlopen"]
    commands.append([cmake, "--build", folder, "--parallel", "2", "--target", *targets])
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / "plugin-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # processes of pytest-xdist build in turn
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return folder, done.stdout + done.stderr
    return folder, ""


def host_library_path() -> Path:
    return build_directory() / "libssd_small_plugin_host.so"


def copy_pair(folder: Path) -> tuple[Path, Path]:
    """Plugin and registering library side by side under their names, the plugin's host build."""
    pair = folder / "libssd_small_plugin.so", folder / "libssd_small_plugin_dlopen.so"
    shutil.copy2(host_library_path(), pair[0])
    shutil.copy2(build_directory() / pair[1].name, pair[1])
    return pair


def cuda_library_path() -> Path:
    """The plugin made by nvcc: named, installed, or in a build folder of this tree."""
    named = os.environ.get("SSD_SMALL_PLUGIN_LIBRARY")
    if named:
        return Path(named)
    installed = Path(ssd_small.__file__).parent / "_native" / "libssd_small_plugin.so"
    built = sorted(ROOT.glob("build/**/libssd_small_plugin.so"))
    for path in (installed, *built):
        if path.is_file():
            return path
    pytest.skip("the CUDA plugin is not built (needs nvcc; or set SSD_SMALL_PLUGIN_LIBRARY)")


def device_code(library: Path) -> set[tuple[str, int]]:
    """Kind and compute capability of each entry of the fat binary that holds our kernels.

    A fat binary starts with 0xBA55ED50 and its size; an entry with its kind (1 PTX, 2 machine
    code), 0x0101, the sizes of its header and of its payload, and, from byte 28, the capability.
    """
    data = library.read_bytes()
    found = set()
    start = data.find(b"\x50\xed\x55\xba")
    while start >= 0:
        _, header, size = struct.unpack_from("<HHQ", data, start + 4)
        at, end = start + header, start + header + size
        while at < end <= len(data):
            kind, _, header, payload = struct.unpack_from("<HHIQ", data, at)
            (capability,) = struct.unpack_from("<I", data, at + 28)
            found.add(({1: "ptx", 2: "sm"}.get(kind, str(kind)), capability))
            at += header + payload
        start = data.find(b"\x50\xed\x55\xba", start + 4)
    return found
