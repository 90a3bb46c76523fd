"""What ``make wheels`` wrote, and programs for the processors that it is for."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROCESSORS = ("x86_64", "aarch64")

WHEELS = os.environ.get("SSD_SMALL_WHEELS")
#: the Python that has ziglang
ZIG_PYTHON = os.environ.get("SSD_SMALL_ZIG_PYTHON", "")
collect_ignore_glob = [] if WHEELS else ["test_*.py"]


def pytest_report_header() -> str | None:
    """Why nothing is collected, where this folder is asked for by name."""
    return None if WHEELS else "tests/wheels needs what make wheels writes: run make test-wheels"


@pytest.fixture(params=PROCESSORS, scope="session")
def processor(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def wheel(processor: str) -> Path:
    """The newest one for this processor."""
    found = sorted(Path(str(WHEELS)).glob(f"*_{processor}.whl"), key=lambda p: p.stat().st_mtime)
    assert found, f"no wheel for {processor} in {WHEELS}"
    return found[-1]


@pytest.fixture(scope="session")
def native(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its libraries."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder / "ssd_small" / "_native"


@pytest.fixture(scope="session")
def replay(processor: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kernels/tests/replay_cases.cpp for this processor."""
    program = tmp_path_factory.mktemp("replay") / f"replay_cases-{processor}"
    cache = ROOT / "build" / "wheels" / "zig"
    subprocess.run(
        [ZIG_PYTHON, "-m", "ziglang", "c++", "-target", f"{processor}-linux-gnu.2.28", "-O2",
         "-std=c++17", "-I", ROOT / "kernels" / "capi",
         ROOT / "kernels" / "tests" / "replay_cases.cpp", "-o", program],
        env=os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(cache)}, check=True,
    )  # fmt: skip
    return program


@pytest.fixture(scope="session")
def emulator() -> Callable[..., list[str]]:
    """The command before a program for a processor; it skips where there is none.

    With options (a model of processor) also this machine's own programs are emulated.
    """

    def of(processor: str, *options: str) -> list[str]:
        native = processor == platform.machine()
        if native and not options:
            return []
        qemu, system = shutil.which(f"qemu-{processor}"), Path(f"/usr/{processor}-linux-gnu")
        if qemu is None or not (native or system.is_dir()):
            pytest.skip(
                f"not executed here: no emulator qemu-{processor} with a C library "
                "(Debian: qemu-user libc6-arm64-cross)"
            )
        return [qemu, *options, *([] if native else ["-L", str(system)])]

    return of
