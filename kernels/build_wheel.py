"""The build backend: setuptools, plus the native libraries that CMake builds.

They go to ``ssd_small/_native`` of the wheel, or of the source tree for editable installs. CMake
and Ninja come from pip as build requirements; metadata stands in setup.cfg. Where the CPU library
does not build (no C++ compiler), installation goes on with a warning (``pip -v`` shows it), and
the numpy implementation serves; the environment variable ``SSD_SMALL_REQUIRE_NATIVE=1`` makes
that an error.
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
    """

    target: str
    options: tuple[str, ...]
    files: tuple[str, ...]


# a further library (say, one that needs nvcc) is a further entry
LIBRARIES = (Library("ssd_small", (), ("libssd_small.so", "libssd_small.dylib", "ssd_small.dll")),)


class BuildPyWithNative(build_py):
    """``build_py`` that adds the native libraries (in place for editable installs)."""

    def run(self) -> None:
        """Copy the Python files, then build and copy the libraries."""
        super().run()
        base = ROOT if self.editable_mode else Path(self.build_lib)
        build_dir = Path(self.get_finalized_command("build").build_temp) / "cmake"
        for library in LIBRARIES:
            try:
                built = _build(library, build_dir / library.target)
            except (OSError, subprocess.CalledProcessError) as error:
                if os.environ.get("SSD_SMALL_REQUIRE_NATIVE", "0") not in ("", "0"):
                    raise
                self.warn(
                    f"the native library {library.target} was not built ({_reason(error)}); "
                    "ssd-small installs without it and gives the same results more slowly. To "
                    "have it, install a C++17 compiler and reinstall"
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


def _build(library: Library, build_dir: Path) -> Path:
    """Configure and build one library; returns its path."""
    cmake = _find_cmake()
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    build_dir.mkdir(parents=True, exist_ok=True)
    _run(
        [cmake, "-S", ROOT, "-B", build_dir, *generator, "-DCMAKE_BUILD_TYPE=Release"]
        + [f"-D{option}" for option in library.options]
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
