#!/usr/bin/env python3
"""Where nvcc is, and what it compiles the kernels for and with.

``python cuda_compiler.py`` prints the path of nvcc; with ``--pip``, of the one that pip installed.
Exit: 0 found, 3 there is none (nothing is printed).

Needs nothing but the standard library: the build backend runs before anything is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import sysconfig
from pathlib import Path

_TARGETS = json.loads(Path(__file__).with_name("cuda_targets.json").read_text())
#: compute capabilities times ten; for the last one there is PTX as well, for GPUs to come
ARCHITECTURES: tuple[int, ...] = tuple(_TARGETS["architectures"])
#: -fmad=false: one rounding per operation, or the bits differ from the other backends'
NVCC_FLAGS: tuple[str, ...] = tuple(_TARGETS["nvcc_flags"])


def find_nvcc() -> str | None:
    """Nvcc of $CUDACXX, or else as :func:`find_tool` finds it; None where there is none."""
    named = os.environ.get("CUDACXX")
    return (shutil.which(named) if named else None) or find_tool("nvcc")


def find_tool(name: str) -> str | None:
    """A tool of the CUDA toolkit: of PATH, of a toolkit in its usual place, or of pip."""
    homes = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")
    folders = os.pathsep.join(str(Path(home, "bin")) for home in homes if home)
    return shutil.which(name) or shutil.which(name, path=folders) or find_pip_tool(name)


def find_pip_tool(name: str) -> str | None:
    """The tool in ``nvidia/cu13/bin`` of this Python's packages.

    Where pip builds in isolation the packages are not on ``sys.path``, but the interpreter is the
    environment's, and so is its ``purelib``.
    """
    roots = (sysconfig.get_path("purelib"), *filter(None, sys.path))
    folders = os.pathsep.join(str(Path(root, "nvidia", "cu13", "bin")) for root in roots)
    return shutil.which(name, path=folders)


def main() -> int:
    """Print where nvcc is."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pip", action="store_true", help="the one that pip installed")
    found = find_pip_tool("nvcc") if parser.parse_args().pip else find_nvcc()
    if found is None:
        return 3
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
