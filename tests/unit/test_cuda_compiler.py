"""kernels/cuda_compiler.py: which nvcc is taken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import cuda_compiler
import plugin_libraries
import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))


@pytest.fixture
def nvcc_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make an nvcc in a folder below tmp_path; the machine's own are out of sight."""
    for name in ("CUDACXX", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "purelib"))
    monkeypatch.setattr(sys, "path", [])

    def make(folder: str) -> str:
        file = tmp_path / folder / "nvcc"
        file.parent.mkdir(parents=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
        return str(file)

    return make


def test_cudacxx_then_path_then_the_toolkit_then_pip(
    nvcc_in, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_pip = nvcc_in("purelib/nvidia/cu13/bin")
    assert cuda_compiler.find_pip_tool("nvcc") == from_pip
    toolkit = nvcc_in("toolkit/bin")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "toolkit"))
    assert cuda_compiler.find_nvcc() == toolkit
    on_path = nvcc_in("path")
    assert cuda_compiler.find_nvcc() == on_path
    named = nvcc_in("named")
    monkeypatch.setenv("CUDACXX", named)
    assert cuda_compiler.find_nvcc() == named
    assert cuda_compiler.find_pip_tool("nvcc") == from_pip


@pytest.mark.parametrize("named", ["", "/nowhere/nvcc"])
def test_a_cudacxx_that_names_nothing_is_passed_over(
    named: str, nvcc_in, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = nvcc_in("path")
    monkeypatch.setenv("CUDACXX", named)
    assert cuda_compiler.find_nvcc() == on_path


def test_pip_s_is_found_in_every_folder_that_python_imports_from(
    nvcc_in, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cuda_compiler.find_pip_tool("nvcc") is None
    found = nvcc_in("user/nvidia/cu13/bin")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "user")])
    assert cuda_compiler.find_pip_tool("nvcc") == found


def test_the_script_prints_what_cmake_and_make_read(tmp_path: Path) -> None:
    named = tmp_path / "nvcc"
    named.write_text("#!/bin/sh\n")
    named.chmod(0o755)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, cuda_compiler.__file__, *options]
        environment = {"CUDACXX": str(named), "PATH": ""}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert (run().returncode, run().stdout) == (0, f"{named}\n")
    pip = run("--pip")
    found = cuda_compiler.find_pip_tool("nvcc")
    assert (pip.returncode, pip.stdout) == ((0, f"{found}\n") if found else (3, ""))


def older_nvcc(folder: Path, lists: tuple[int, ...], compiles_with: str = "/bin/false") -> str:
    """An nvcc that knows ``lists`` only, and compiles as another one does."""
    file = folder / "nvcc"
    names = "".join(f"compute_{number}\\n" for number in lists)
    file.write_text(
        f'#!/bin/sh\nif [ "$1" = --list-gpu-arch ]; then printf "{names}"; exit 0; fi\n'
        f'for one in "$@"; do case "$one" in *compute_1[0-9][0-9]*)\n'
        f'  echo "nvcc fatal: Unsupported gpu architecture" >&2; exit 1;; esac; done\n'
        f'exec "{compiles_with}" "$@"\n'
    )
    file.chmod(0o755)
    return str(file)


OF_CUDA_12_6 = (50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90)


def test_what_the_toolkit_does_not_know_is_left_out_and_named(tmp_path: Path) -> None:
    nvcc = older_nvcc(tmp_path, OF_CUDA_12_6)
    targets = cuda_compiler.targets_of(nvcc)
    assert targets.architectures == (75, 80, 86, 87, 89, 90)
    assert targets.left_out == (100, 110, 120)
    assert targets.ptx == (75,)
    assert "-gencode=arch=compute_75,code=compute_75" in targets.gencode
    command = [sys.executable, cuda_compiler.__file__, "--arguments", nvcc]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip().split(";") == [*cuda_compiler.NVCC_FLAGS, *targets.gencode]
    assert done.stderr == f"{targets.note(nvcc)}\n"
    assert "does not know sm_100, sm_110, sm_120: left out of the plugin" in done.stderr


def test_nothing_is_said_where_nothing_is_left_out(tmp_path: Path) -> None:
    nvcc = older_nvcc(tmp_path, (*OF_CUDA_12_6, 100, 103, 110, 120, 121))
    assert cuda_compiler.targets_of(nvcc).note(nvcc) == ""
    assert cuda_compiler.targets_of(nvcc).ptx == (75, 100)


def test_an_nvcc_that_cannot_list_is_taken_to_know_all(tmp_path: Path) -> None:
    file = tmp_path / "nvcc"
    file.write_text("#!/bin/sh\nexit 1\n")
    file.chmod(0o755)
    assert cuda_compiler.targets_of(str(file)).architectures == cuda_compiler.ARCHITECTURES


def test_a_toolkit_that_knows_none_is_an_error_of_one_line(tmp_path: Path) -> None:
    nvcc = older_nvcc(tmp_path, (30, 35))
    command = [sys.executable, cuda_compiler.__file__, "--arguments", nvcc]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{nvcc} knows none of sm_75, ")
    assert done.stderr.count("\n") == 1


def test_a_warning_is_an_error_only_where_asked(tmp_path: Path) -> None:
    nvcc = older_nvcc(tmp_path, (75,))
    for strict in ([], ["--strict"]):
        command = [sys.executable, cuda_compiler.__file__, "--arguments", nvcc, *strict]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ("-Werror" in done.stdout.split(";")) == bool(strict)


@pytest.mark.slow
def test_an_older_toolkit_makes_the_plugin_of_what_it_knows(tmp_path: Path) -> None:
    real, cmake = cuda_compiler.find_nvcc(), shutil.which("cmake", path=TOOLS)
    if real is None or cmake is None:
        pytest.skip("needs nvcc and cmake")
    nvcc = older_nvcc(tmp_path, (75, 87), real)
    build, ninja = tmp_path / "build", shutil.which("ninja", path=TOOLS)
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
    configured = subprocess.run(
        [cmake, "-S", ROOT, "-B", build, *generator, "-DSSD_SMALL_CUDA=ON",
         f"-DSSD_SMALL_NVCC={nvcc}", f"-DPython3_EXECUTABLE={sys.executable}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = configured.stdout + configured.stderr
    missing = ", ".join(f"sm_{number}" for number in (80, 86, 89, 90, 100, 110, 120))
    assert f"{nvcc} does not know {missing}: left out" in said
    command = [cmake, "--build", build, "--target", "ssd_small_plugin"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = plugin_libraries.device_code(build / "lib" / "libssd_small_plugin.so")
    assert made == {("sm", 75), ("sm", 87), ("ptx", 75)}
