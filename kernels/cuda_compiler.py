#!/usr/bin/env python3
"""Where nvcc is, and what it compiles the kernels for and with.

``python cuda_compiler.py`` prints the path of nvcc; with ``--pip``, of the one that pip installed;
with ``--arguments NVCC``, what to call that nvcc with, joined by semicolons as CMake lists are. One
line on stderr names the architectures that it does not know. Exit: 0 found, 2 it knows none of
them, 3 there is no nvcc (nothing is printed).

Needs nothing but the standard library: the build backend runs before anything is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TARGETS = json.loads(Path(__file__).with_name("cuda_targets.json").read_text())
#: compute capabilities times ten, each with machine code. GPUs between them run the one below of
#: the same generation: 8.8 that of 8.7, 10.3 that of 10.0, 12.1 that of 12.0
ARCHITECTURES: tuple[int, ...] = tuple(_TARGETS["architectures"])
#: where each of nvcc's front ends begins: from there on it makes the same PTX of these kernels, but
#: for the order of those that may overlap, which 90 and above write down
FRONT_ENDS: tuple[int, ...] = tuple(_TARGETS["front_ends"])
#: -fmad=false: one rounding per operation, or the bits differ from the other backends'
NVCC_FLAGS: tuple[str, ...] = tuple(_TARGETS["nvcc_flags"])
#: for the gates; a newer nvcc's new warning must not cost a user the plugin
STRICT_FLAGS: tuple[str, ...] = tuple(_TARGETS["strict_flags"])


def front_end_of(architecture: int) -> int:
    """The first architecture of the front end that compiles for this one."""
    return max(first for first in FRONT_ENDS if first <= architecture)


@dataclass(frozen=True)
class CudaTargets:
    """What one nvcc makes of the architectures wanted: compute capabilities times ten.

    Attributes:
        architectures: those with machine code.
        left_out: those that this nvcc does not know.
    """

    architectures: tuple[int, ...]
    left_out: tuple[int, ...] = ()

    @property
    def ptx(self) -> tuple[int, ...]:
        """The lowest of each front end: what GPUs without machine code compile at load."""
        lowest: dict[int, int] = {}
        for architecture in sorted(self.architectures):
            lowest.setdefault(front_end_of(architecture), architecture)
        return tuple(lowest.values())

    @property
    def gencode(self) -> tuple[str, ...]:
        """Nvcc's options for all of it."""
        return tuple(
            f"-gencode=arch=compute_{number},code={kind}_{number}"
            for kind, numbers in (("sm", self.architectures), ("compute", self.ptx))
            for number in numbers
        )

    def note(self, nvcc: str) -> str:
        """One line on what was left out; empty where nothing was."""
        if not self.left_out:
            return ""
        missing = ", ".join(f"sm_{number}" for number in self.left_out)
        return (
            f"{nvcc} does not know {missing}: left out of the plugin, whose PTX (compute_"
            f"{self.ptx[0]}) such GPUs compile when they load it; a newer CUDA toolkit knows them"
        )


def targets_of(nvcc: str, wanted: Sequence[int] = ARCHITECTURES) -> CudaTargets:
    """What this nvcc can make of ``wanted``; all of it where it cannot be asked.

    Raises:
        ValueError: it knows none of them.
    """
    command = [nvcc, "--list-gpu-arch"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    known = {int(number) for number in re.findall(r"^compute_(\d+)$", answer.stdout, re.M)}
    if answer.returncode != 0 or not known:
        return CudaTargets(tuple(wanted))
    found = CudaTargets(
        tuple(number for number in wanted if number in known),
        tuple(number for number in wanted if number not in known),
    )
    if not found.architectures:
        raise ValueError(
            f"{nvcc} knows none of {', '.join(f'sm_{number}' for number in wanted)}, expected one "
            "at least; install a CUDA toolkit for them"
        )
    return found


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
    """Print where nvcc is, or what to call it with."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pip", action="store_true", help="the one that pip installed")
    parser.add_argument("--arguments", metavar="NVCC", help="what to call this nvcc with")
    parser.add_argument("--architectures", type=int, nargs="+", default=ARCHITECTURES,
                        metavar="N", help="compute capabilities times ten")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="a warning is an error")
    arguments = parser.parse_args()
    if arguments.arguments:
        return _print_arguments(arguments.arguments, arguments.architectures, arguments.strict)
    found = find_pip_tool("nvcc") if arguments.pip else find_nvcc()
    if found is None:
        return 3
    print(found)
    return 0


def _print_arguments(nvcc: str, wanted: Sequence[int], strict: bool) -> int:
    """The arguments on stdout, what is left out on stderr; returns the exit status."""
    try:
        targets = targets_of(nvcc, wanted)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(";".join((*NVCC_FLAGS, *(STRICT_FLAGS if strict else ()), *targets.gencode)))
    if targets.left_out:
        print(targets.note(nvcc), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
