"""kernels/cuda_compiler.py: which nvcc is taken."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import cuda_compiler
import pytest


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
