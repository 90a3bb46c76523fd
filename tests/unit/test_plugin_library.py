"""The plugin as a file: what it exports, what it needs, which GPUs it has code for."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import plugin_libraries
import pytest
from cuda_compiler import ARCHITECTURES

ENTRY_POINTS = {"getCreators", "setLoggerFinder", "ssd_small_plugin_cuda_version"}
#: what any Linux brings
SYSTEM = ("libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "ld-linux")


@pytest.fixture(params=["host", "cuda"])
def library(request: pytest.FixtureRequest) -> Path:
    if request.param == "host":
        return plugin_libraries.host_library_path()
    return plugin_libraries.cuda_library_path()


def lines_of(*command: str | Path) -> list[str]:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_nothing_but_the_entry_points_is_exported(library: Path) -> None:
    symbols = [line.split()[-1] for line in lines_of("nm", "-D", "--defined-only", library)]
    assert set(symbols) == ENTRY_POINTS


def test_no_tensorrt_or_cuda_library_is_needed(library: Path) -> None:
    needed = [
        line.rpartition("[")[2].rstrip("]")
        for line in lines_of("readelf", "-d", library)
        if "(NEEDED)" in line or "PATH)" in line
    ]
    assert needed
    assert all(name.startswith(SYSTEM) for name in needed), needed


def test_every_symbol_it_wants_is_the_system_s(library: Path) -> None:
    """Versioned by the C library, or weak: nothing of TensorRT or CUDA is left to the loader."""
    wanted = [line.split() for line in lines_of("nm", "-D", "-u", library)]
    strays = [name for kind, name in wanted if kind == "U" and "@GLIBC" not in name]
    assert strays == []


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


def test_device_code_from_turing_on_and_ptx_for_gpus_to_come() -> None:
    expected = {("sm", number) for number in ARCHITECTURES} | {("ptx", ARCHITECTURES[-1])}
    found = device_code(plugin_libraries.cuda_library_path())
    assert found == expected, "built with SSD_SMALL_CUDA_ARCHITECTURES, or before they changed?"
