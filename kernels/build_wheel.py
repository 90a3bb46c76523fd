"""The build backend: setuptools, plus the native libraries that CMake builds.

They go to ``ssd_small/_native`` of the wheel, or of the source tree for editable installs. CMake
and Ninja come from pip as build requirements; metadata stands in setup.cfg. Where a library does
not build, installation goes on with a warning (``pip -v`` shows it); the environment variable
``SSD_SMALL_REQUIRE_NATIVE=1`` makes that an error. The TensorRT plugin is built where there is an
nvcc, of the machine or of pip, and left out where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import setuptools
from cuda_compiler import find_nvcc
from setuptools.build_meta import *  # noqa: F403  (the hooks of PEP 517 and PEP 660)
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("ssd_small", "_native")


@dataclass(frozen=True)
class Library:
    """A shared library of the wheel.

    Attributes:
        target: CMake target.
        options: CMake options that make the target exist.
        files: what it is called on Linux, macOS and Windows.
        without: what a user does without it, and how to have it.
        needs_nvcc: left out where there is no nvcc.
    """

    target: str
    options: tuple[str, ...]
    files: tuple[str, ...]
    without: str
    needs_nvcc: bool = False


LIBRARIES = (
    Library(
        "ssd_small",
        (),
        ("libssd_small.so", "libssd_small.dylib", "ssd_small.dll"),
        "ssd-small installs without it and gives the same results more slowly. To have it, "
        "install a C++17 compiler and reinstall",
    ),
    Library(
        "ssd_small_plugin",
        ("SSD_SMALL_CUDA=ON",),
        ("libssd_small_plugin.so",),
        "TensorRT engines cannot be built without it. To have it, install the CUDA toolkit (or, "
        "from pip, the extra nvcc, and name its nvidia/cu13/bin/nvcc in CUDACXX) and reinstall",
        needs_nvcc=True,
    ),
    Library(
        "ssd_small_plugin_dlopen",
        (),
        ("libssd_small_plugin_dlopen.so",),
        "tools that only dlopen a plugin (Triton, DeepStream) do not find DecodeNms without it. To "
        "have it, install a C++17 compiler and reinstall",
        needs_nvcc=True,  # by itself, to the plugin that it hands over
    ),
)


class BuildPyWithNative(build_py):
    """``build_py`` that adds the native libraries (in place for editable installs)."""

    def run(self) -> None:
        """Copy the Python files, then build and copy the libraries."""
        super().run()
        base = ROOT if self.editable_mode else Path(self.build_lib)
        build_dir = Path(self.get_finalized_command("build").build_temp) / "cmake"
        nvcc = find_nvcc() if _plugin_is_wanted() else None
        for library in LIBRARIES:
            if library.needs_nvcc and nvcc is None:
                self.announce(f"{library.target} is left out: no nvcc. {library.without}", 2)
                continue
            try:
                built = _build(library, build_dir / library.target, nvcc)
            except (OSError, subprocess.CalledProcessError) as error:
                if os.environ.get("SSD_SMALL_REQUIRE_NATIVE", "0") not in ("", "0"):
                    raise
                self.warn(
                    f"the native library {library.target} was not built ({_reason(error)}); "
                    f"{library.without}"
                )
                continue
            target = base / PACKAGE / built.name
            target.parent.mkdir(parents=True, exist_ok=True)
            # renamed into place: a running process keeps the old file
            partial = target.with_suffix(".partial")
            shutil.copy2(built, partial)
            partial.replace(target)

    def get_source_files(self) -> list[str]:
        """What a source distribution needs besides the packages."""
        sources = [Path("CMakeLists.txt")]
        sources += sorted(
            path.relative_to(ROOT)
            for path in (ROOT / "kernels").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )
        return [*super().get_source_files(), *(str(path) for path in sources)]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """The files that the build left in build_lib."""
        native = Path(self.build_lib) / PACKAGE
        return [*super().get_outputs(include_bytecode), *(str(p) for p in native.glob("*"))]


class PlatformWheel(bdist_wheel):
    """``bdist_wheel`` tagged ``py3-none-<platform>``: the libraries are loaded with ctypes."""

    def finalize_options(self) -> None:
        """Install to platlib."""
        self.distribution.has_ext_modules = lambda: True
        super().finalize_options()

    def get_tag(self) -> tuple[str, str, str]:
        """Any Python 3, this platform."""
        return ("py3", "none", super().get_tag()[2])


def _plugin_is_wanted() -> bool:
    """Not where CMake has no plugin, nor with ``SSD_SMALL_PLUGIN_BUILD=0``."""
    return sys.platform == "linux" and os.environ.get("SSD_SMALL_PLUGIN_BUILD", "1") != "0"


def _build(library: Library, build_dir: Path, nvcc: str | None) -> Path:
    """Configure and build one library; returns its path."""
    cmake = _find_cmake()
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    build_dir.mkdir(parents=True, exist_ok=True)
    _run(
        [
            cmake,
            "-S",
            ROOT,
            "-B",
            build_dir,
            *generator,
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DPython3_EXECUTABLE={sys.executable}",
        ]
        + [f"-D{option}" for option in library.options]
        + ([f"-DSSD_SMALL_NVCC={nvcc}"] if library.needs_nvcc else [])
    )
    _run([cmake, "--build", build_dir, "--config", "Release", "--target", library.target])
    for name in library.files:
        for folder in ("lib", "lib/Release", "bin", "bin/Release"):
            if (build_dir / folder / name).is_file():
                return build_dir / folder / name
    raise FileNotFoundError(f"none of {', '.join(library.files)} in {build_dir}")


def _find_cmake() -> str:
    """CMake of the build environment, or the system's."""
    try:
        from cmake import CMAKE_BIN_DIR
    except ImportError:
        found = shutil.which("cmake")
        if found is None:
            raise FileNotFoundError("no cmake: pip install cmake") from None
        return found
    return str(Path(CMAKE_BIN_DIR) / "cmake")


def _reason(error: Exception) -> str:
    """One short line; what CMake printed stands above it."""
    if isinstance(error, subprocess.CalledProcessError):
        return f"CMake failed with status {error.returncode}"
    return str(error)


def _run(command: list[str | Path]) -> None:
    """Run a tool; its output goes to stderr and is shown by ``pip -v`` or on failure."""
    line = [str(part) for part in command]
    print("+", *line, file=sys.stderr)
    subprocess.run(line, check=True, stdout=sys.stderr)


# without a setup.py the hooks call setuptools.setup() themselves
setuptools.setup = partial(
    setuptools.setup, cmdclass={"build_py": BuildPyWithNative, "bdist_wheel": PlatformWheel}
)
