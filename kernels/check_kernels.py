#!/usr/bin/env python3
"""Compile gates of the CUDA kernels: no GPU needed, only nvcc.

Every .cu compiles without a warning for each architecture that the plugin is built for; no kernel
spills or uses a local-memory stack; registers and static shared memory stay within their budgets;
the kernel that reads conf does so with 16-byte loads, no operation is contracted into another, and
kernels that may overlap wait for each other (sm_90 and newer; older ones hold no such instruction),
in the PTX of each of nvcc's front ends and, where there is a cuobjdump, in each architecture's
machine code. pip has all of it: the extra ``nvcc`` of this package.

Exit: 0 all gates hold, 1 one does not, 3 there is no nvcc (nothing was checked).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import compiled_code as code
from cuda_compiler import (
    ARCHITECTURES,
    NVCC_FLAGS,
    STRICT_FLAGS,
    CudaTargets,
    find_nvcc,
    find_tool,
    front_end_of,
    targets_of,
)

KERNELS = Path(__file__).resolve().parent
FLAGS = (*NVCC_FLAGS, *STRICT_FLAGS, "-I", "include")
#: registers per thread: 64 let an SM hold 1024 threads, all that sm_75 has
REGISTER_BUDGET = {
    "clear_kernel": 16,
    "score_kernel": 64,
    "suppress_kernel": 64,
    "merge_kernel": 64,
    "rank_kernel": 48,
}
#: static bytes per block: 48 KiB without opting in, on every architecture; half of an SM's 64 KiB
#: (sm_75) where two blocks are to share it; the score kernel's tile is dynamic
SHARED_BUDGET = {
    "clear_kernel": 0,
    "score_kernel": 0,
    "suppress_kernel": 32 << 10,
    "merge_kernel": 48 << 10,
    "rank_kernel": 1 << 10,
}
INSTANCES = 2 * len(REGISTER_BUDGET) - 1  # for float and for half; clear_kernel knows neither


@dataclass(frozen=True)
class Kernel:
    """What ptxas says about one kernel on one architecture."""

    name: str
    head_type: str
    architecture: int
    registers: int
    shared_bytes: int
    stack_bytes: int
    spill_bytes: int

    def faults(self) -> list[str]:
        """Gates that do not hold."""
        where = f"{self.name}<{self.head_type}> sm_{self.architecture}"
        if self.name not in REGISTER_BUDGET or self.name not in SHARED_BUDGET:
            return [f"{where}: no budget; add it to REGISTER_BUDGET and SHARED_BUDGET"]
        registers, shared = REGISTER_BUDGET[self.name], SHARED_BUDGET[self.name]
        faults = []
        if self.registers > registers:
            faults.append(f"{where}: {self.registers} registers, at most {registers} expected")
        if self.shared_bytes > shared:
            faults.append(f"{where}: {self.shared_bytes} bytes shared, at most {shared} expected")
        if self.stack_bytes or self.spill_bytes:
            faults.append(
                f"{where}: {self.stack_bytes} bytes stack, {self.spill_bytes} bytes spilled; "
                "none expected"
            )
        return faults


def kernels_from_ptxas(report: str) -> list[Kernel]:
    """Parse the output of ``-Xptxas -v``; raises ValueError where it cannot be understood."""
    pattern = re.compile(
        r"Compiling entry function '(?P<symbol>\w+)' for 'sm_(?P<arch>\d+)a?'.*?"
        r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
        r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
        re.DOTALL,
    )
    kernels = []
    for match in pattern.finditer(report):
        symbol = match["symbol"]
        name = re.search(r"\d((?:[a-z]+_)+kernel)(?:I(f|6__half)|E)", symbol)
        if name is None:
            raise ValueError(f"a kernel without a name: {symbol}")
        shared = re.search(r"(\d+) bytes smem", match["rest"])
        kernels.append(
            Kernel(
                name=name[1],
                head_type={"f": "float", "6__half": "half", None: "any"}[name[2]],
                architecture=int(match["arch"]),
                registers=int(match["registers"]),
                shared_bytes=int(shared[1]) if shared else 0,
                stack_bytes=int(match["stack"]),
                spill_bytes=int(match["stores"]) + int(match["loads"]),
            )
        )
    if report.count("Compiling entry function") != len(kernels) or not kernels:
        raise ValueError("ptxas' report has entries that were not understood")
    return kernels


def compile_report(nvcc: str, sources: list[Path], targets: CudaTargets, folder: Path) -> str:
    """Ptxas' report for all sources and architectures; objects go to ``folder``.

    Raises:
        RuntimeError: one does not compile, or only with a warning of nvcc, of the host compiler
            or of ptxas.
    """
    report = ""
    for source in sources:
        command = [nvcc, *FLAGS, "-Xptxas", "-v", "-Xptxas", "-warn-spills",
                   "-Xcompiler", "-Wall,-Wextra", *targets.gencode, "-c", str(source), "-o",
                   str(folder / f"{source.stem}.o")]  # fmt: skip
        done = subprocess.run(command, cwd=KERNELS, capture_output=True, text=True)
        text = done.stdout + done.stderr
        if done.returncode != 0 or re.search(r"\bwarning\b", text, re.IGNORECASE):
            raise RuntimeError(f"{source.name} does not compile cleanly:\n{text}")
        report += text
    return report


def ptx_of(nvcc: str, source: Path, architecture: int) -> str:
    """PTX of a source for one architecture."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "kernels.ptx"
        command = [nvcc, *FLAGS, f"-arch=compute_{architecture}", "-ptx", str(source),
                   "-o", str(target)]  # fmt: skip
        subprocess.run(command, cwd=KERNELS, check=True, capture_output=True)
        return target.read_text()


def code_of(cuobjdump: str, target: Path, what: str) -> str:
    """``-sass`` or ``--list-ptx`` of an object file; cuobjdump wants its nvdisasm on PATH."""
    path = os.pathsep.join((os.environ.get("PATH", ""), str(Path(cuobjdump).parent)))
    done = subprocess.run([cuobjdump, what, str(target)], env=os.environ | {"PATH": path},
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{cuobjdump}: {done.stderr.strip()}")
    return done.stdout


def ptx_faults(nvcc: str, source: Path, targets: CudaTargets) -> list[str]:
    """Gates on the PTX of one source, of each front end, that do not hold."""
    faults = []
    for architecture in targets.ptx:
        ptx, where = ptx_of(nvcc, source, architecture), f"compute_{architecture}"
        faults += code.faults_of_copies(code.wide_copies_from_ptx(ptx), 2, f"PTX of {where}")
        faults += code.faults_of_ptx(ptx, where)
        faults += code.order_faults_of_ptx(ptx, architecture)
    return faults


def object_faults(nvcc: str, source: Path, target: Path, targets: CudaTargets,
                  cuobjdump: str) -> list[str]:  # fmt: skip
    """Gates on the object file of one source that do not hold."""
    count = len(targets.architectures)
    sass = code_of(cuobjdump, target, "-sass")
    faults = code.faults_of_copies(code.wide_copies_from_sass(sass), 2 * count, "machine code")
    written = {
        front_end_of(lowest): code.arithmetic_from_ptx(ptx_of(nvcc, source, lowest))
        for lowest in targets.ptx
    }
    faults += code.order_faults_of_sass(sass)
    found = code.arithmetic_from_sass(sass)
    if len(found) != INSTANCES * count:
        faults.append(f"{len(found)} kernels in the machine code, expected {INSTANCES * count}")
    expected = {number: written[front_end_of(number)] for number in targets.architectures}
    faults += code.faults_of_arithmetic(found, expected)
    listed = re.findall(r"\bsm_(\d+)\.ptx", code_of(cuobjdump, target, "--list-ptx"))
    if sorted(map(int, listed)) != sorted(targets.ptx):
        faults.append(f"PTX for {listed} in {target.name}, expected {list(targets.ptx)}")
    return faults


def table(kernels: list[Kernel]) -> str:
    """Registers per kernel (rows) and architecture (columns), then shared memory and budget."""
    names = sorted({(k.name, k.head_type) for k in kernels})
    architectures = sorted({k.architecture for k in kernels})
    lines = [f"{'registers':24}" + "".join(f"{f'sm_{a}':>8}" for a in architectures)
             + f"{'budget':>8}{'shared':>8}"]  # fmt: skip
    for name, head_type in names:
        row = {k.architecture: k for k in kernels if (k.name, k.head_type) == (name, head_type)}
        cells = "".join(f"{row[a].registers:8}" for a in architectures)
        shared = max(k.shared_bytes for k in row.values())
        lines.append(
            f"{f'{name}<{head_type}>':24}{cells}{REGISTER_BUDGET.get(name, 0):8}{shared:8}"
        )
    return "\n".join(lines)


def main() -> int:
    """Run all gates and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="the table as JSON on stdout")
    arguments = parser.parse_args()
    nvcc = find_nvcc()
    if nvcc is None:
        print("no nvcc: nothing was checked (put one on PATH, or pip install '.[nvcc]')",
              file=sys.stderr)  # fmt: skip
        return 3
    cuobjdump = find_tool("cuobjdump")
    faults: list[str] = []
    try:
        targets = targets_of(nvcc, ARCHITECTURES)
        with tempfile.TemporaryDirectory() as folder:
            sources = sorted((KERNELS / "src").glob("*.cu"))
            report = compile_report(nvcc, sources, targets, Path(folder))
            kernels = kernels_from_ptxas(report)
            for source in sources:
                faults += ptx_faults(nvcc, source, targets)
                if cuobjdump is not None:
                    target = Path(folder) / f"{source.stem}.o"
                    faults += object_faults(nvcc, source, target, targets, cuobjdump)
    except (RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    faults += [fault for kernel in kernels for fault in kernel.faults()]
    if arguments.json:
        print(json.dumps([asdict(kernel) for kernel in kernels]))
    else:
        print(table(kernels))
        ptx = ", ".join(f"compute_{number}" for number in targets.ptx)
        print(
            "checked: 16-byte copies of conf, no contraction and the order of kernels in the PTX "
            f"of {ptx}"
        )
        print("checked: all three, and the PTX shipped, in the machine code of each architecture"
              if cuobjdump else "machine code: not checked, no cuobjdump "
              "(pip install '.[nvcc]')")  # fmt: skip
    if targets.left_out:
        print(targets.note(nvcc), file=sys.stderr)
    for fault in faults:
        print(f"gate: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
