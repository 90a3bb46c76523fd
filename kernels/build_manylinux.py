#!/usr/bin/env python3
"""Wheels for Linux systems with glibc 2.28 or newer, on x86-64 and aarch64.

PyPI's ziglang compiles and links them, whatever C library this machine has; nvcc makes the plugin's
kernels. ``make wheels`` calls this with an environment of its own. The gate: auditwheel finds each
wheel consistent with the tag in its name.

The plugin for aarch64 needs a g++ for that processor besides nvcc (Debian: g++-aarch64-linux-gnu)
and CUDA's runtime for it, which pip downloads; where either is missing that wheel has no plugin,
and a line says so.

Exit: 0 all written, 1 one is not what its name says, 3 a tool is missing or fails.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from cuda_compiler import find_nvcc

ROOT = Path(__file__).resolve().parent.parent
GLIBC = (2, 28)
PROCESSORS = ("x86_64", "aarch64")
#: what the build backend reads
SOURCES = ("CMakeLists.txt", "LICENSE", "README.md", "export", "kernels", "pyproject.toml",
           "setup.cfg", "ssd_small")  # fmt: skip
PLUGIN = "ssd_small/_native/libssd_small_plugin.so"


def platform_tag(processor: str) -> str:
    """Such as ``manylinux_2_28_aarch64``."""
    return f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{processor}"


def copy_sources(tree: Path) -> None:
    """The sources alone, as a checkout holds libraries of this machine; times stay, for CMake."""
    for path in (tree / name for name in SOURCES):
        if path.is_dir():
            shutil.rmtree(path)
    tree.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("_native", "__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, tree / name)


def cross_cuda(nvcc: str, processor: str, folder: Path) -> dict[str, str]:
    """The environment that kernels/cmake/zig.cmake reads for a plugin of another processor.

    Raises:
        RuntimeError: what is missing.
    """
    compiler = f"{processor}-linux-gnu-g++"
    if shutil.which(compiler) is None:
        raise RuntimeError(f"no {compiler} (Debian: g++-{processor}-linux-gnu)")
    version = re.search(r"release (\d+)\.(\d+)", _output([nvcc, "--version"]))
    top = re.search(r"TOP=(.+)", _output([nvcc, "--dryrun", "-x", "cu", os.devnull]))
    if version is None or top is None or int(version[1]) < 13:
        raise RuntimeError(f"{nvcc} is not of CUDA 13 or newer, whose runtime pip has")
    runtime = folder / f"cuda-{version[1]}.{version[2]}-{processor}"
    if not runtime.exists():
        _download_cuda_runtime(f"{version[1]}.{version[2]}.*", processor, runtime)
    (library,) = runtime.glob("nvidia/*/lib/libcudart_static.a")
    include = Path(top[1].strip(), "include")
    return {
        "SSD_SMALL_NVCC_FLAGS": f"-ccbin;{compiler};-I{include}",
        "SSD_SMALL_CUDART": str(library),
    }


def _download_cuda_runtime(version: str, processor: str, folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
         "--platform", f"manylinux2014_{processor}", "--dest", partial,
         f"nvidia-cuda-runtime=={version}"], check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"pip has no nvidia-cuda-runtime {version} for {processor}")
    (wheel,) = partial.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(partial)
    wheel.unlink()
    partial.rename(folder)


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def build(processor: str, work: Path, wheels: Path) -> Path:
    """Write one wheel and return it.

    Raises:
        RuntimeError: it does not build, or has no plugin though everything for one was there.
    """
    tree = work / processor
    copy_sources(tree)
    environment = os.environ | {
        "CMAKE_TOOLCHAIN_FILE": str(tree / "kernels" / "cmake" / "zig.cmake"),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
        "SSD_SMALL_ZIG_PYTHON": sys.executable,
        "SSD_SMALL_ZIG_TARGET": f"{processor}-linux-gnu.{GLIBC[0]}.{GLIBC[1]}",
        "ZIG_GLOBAL_CACHE_DIR": os.environ.get("ZIG_GLOBAL_CACHE_DIR", str(work / "zig")),
    }
    nvcc, plugin = find_nvcc(), True
    try:
        if nvcc is None:
            raise RuntimeError("no nvcc")
        if processor != platform.machine():
            environment |= cross_cuda(nvcc, processor, work)
    except RuntimeError as reason:
        print(f"{platform_tag(processor)}: without the plugin: {reason}", file=sys.stderr)
        environment["SSD_SMALL_PLUGIN_BUILD"] = "0"
        plugin = False
    environment["SSD_SMALL_REQUIRE_NATIVE"] = "1"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
         "--no-build-isolation", "--wheel-dir", str(wheels),
         f"--config-settings=--build-option=--plat-name={platform_tag(processor)}", "."],
        cwd=tree, env=environment, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the wheel {platform_tag(processor)} was not built; see above")
    wheel = max(wheels.glob(f"*-{platform_tag(processor)}.whl"), key=lambda p: p.stat().st_mtime)
    names = zipfile.ZipFile(wheel).namelist()
    if plugin and PLUGIN not in names:
        raise RuntimeError(f"{wheel.name} has no {PLUGIN}, expected one; see above")
    return wheel


def tag_fault(wheel: Path, processor: str) -> str:
    """What auditwheel finds wrong with the tag in the wheel's name; empty if nothing."""
    said = _output([sys.executable, "-m", "auditwheel", "show", str(wheel)])
    found = re.search(r'platform\s+tag:\s+"manylinux_(\d+)_(\d+)_(\w+)"', said)
    if found is None:
        return f"{wheel.name}: auditwheel names no manylinux tag, expected one:\n{said}"
    if found[3] != processor or (int(found[1]), int(found[2])) > GLIBC:
        return f"{wheel.name}: auditwheel finds {found[0]}, expected {platform_tag(processor)}"
    return ""


def main() -> int:
    """Build and check the wheels."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--processor", choices=PROCESSORS, action="append", help="default: both")
    parser.add_argument("--wheel-dir", type=Path, default=ROOT / "dist")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "build" / "wheels",
                        help="zig's cache and CUDA's runtime stay here")  # fmt: skip
    arguments = parser.parse_args()
    faults = []
    for processor in arguments.processor or PROCESSORS:
        try:
            wheel = build(processor, arguments.work_dir.resolve(), arguments.wheel_dir.resolve())
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 3
        print(wheel)
        faults.append(tag_fault(wheel, processor))
    for fault in filter(None, faults):
        print(f"gate: {fault}", file=sys.stderr)
    return 1 if any(faults) else 0


if __name__ == "__main__":
    sys.exit(main())
