#!/usr/bin/env python3
"""Compile gates of the CUDA kernels: no GPU needed, only nvcc.

Every .cu compiles without a warning for each architecture; no kernel spills or uses a local-memory
stack; registers and static shared memory stay within their budgets; the kernel that reads conf
does so with 16-byte loads, in the PTX and, where there is a cuobjdump, in each architecture's
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

from cuda_compiler import ARCHITECTURES, NVCC_FLAGS, find_nvcc, find_tool

KERNELS = Path(__file__).resolve().parent
FLAGS = (*NVCC_FLAGS, "-I", "include")
#: registers per thread: 64 let an SM hold 1024 threads, all that sm_75 has
REGISTER_BUDGET = {"score_kernel": 64, "suppress_kernel": 64, "merge_kernel": 64, "rank_kernel": 48}
SHARED_BUDGET = 48 << 10  # bytes without opting in, on every architecture
CONF_KERNEL = "score_kernel"


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
        budget = REGISTER_BUDGET.get(self.name)
        faults = []
        if budget is None:
            faults.append(f"{where}: no register budget; add one to REGISTER_BUDGET")
        elif self.registers > budget:
            faults.append(f"{where}: {self.registers} registers, at most {budget} expected")
        if self.shared_bytes > SHARED_BUDGET:
            faults.append(f"{where}: {self.shared_bytes} bytes shared, at most {SHARED_BUDGET}")
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
        name = re.search(r"\d((?:[a-z]+_)+kernel)I(f|6__half)", symbol)
        if name is None:
            raise ValueError(f"a kernel without a name: {symbol}")
        shared = re.search(r"(\d+) bytes smem", match["rest"])
        kernels.append(
            Kernel(
                name=name[1],
                head_type="float" if name[2] == "f" else "half",
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


def wide_copies_from_ptx(ptx: str) -> dict[str, int]:
    """16-byte copies from global to shared memory in each instance of the kernel that reads conf.

    Boxes and priors are loaded as four floats and never go to shared memory; conf is the only
    array that is copied there, as four unsigned integers.
    """
    copies = {}
    for entry in re.split(r"\.visible \.entry ", ptx)[1:]:
        symbol = entry.split("(", 1)[0]
        if CONF_KERNEL in symbol:
            loads = re.findall(r"ld\.global(?:\.nc)?\.v4\.[bu]32", entry)
            stores = re.findall(r"st\.shared\.v4\.[bu]32", entry)
            copies[symbol] = min(len(loads), len(stores))
    return copies


def wide_copies_from_sass(sass: str) -> dict[str, int]:
    """The same in machine code, as cuobjdump prints it: per architecture and instance."""
    copies = {}
    for code in re.split(r"\bcode for (?=sm_)", sass)[1:]:
        architecture = code.split(maxsplit=1)[0]
        for function in re.split(r"\bFunction : ", code)[1:]:
            symbol = function.split(maxsplit=1)[0]
            if CONF_KERNEL in symbol:
                loads = re.findall(r"\bLDG\.E\.128\b", function)
                stores = re.findall(r"\bSTS\.128\b", function)
                copies[f"{symbol} {architecture}"] = min(len(loads), len(stores))
    return copies


def compile_report(nvcc: str, sources: list[Path], folder: Path) -> str:
    """Ptxas' report for all sources and architectures; objects go to ``folder``.

    Raises:
        RuntimeError: one does not compile, or only with a warning of nvcc, of the host compiler
            or of ptxas.
    """
    targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    report = ""
    for source in sources:
        command = [nvcc, *FLAGS, "-Xptxas", "-v", "-Xptxas", "-warn-spills",
                   "-Xcompiler", "-Wall,-Wextra", *targets, "-c", str(source), "-o",
                   str(folder / f"{source.stem}.o")]  # fmt: skip
        done = subprocess.run(command, cwd=KERNELS, capture_output=True, text=True)
        text = done.stdout + done.stderr
        if done.returncode != 0 or re.search(r"\bwarning\b", text, re.IGNORECASE):
            raise RuntimeError(f"{source.name} does not compile cleanly:\n{text}")
        report += text
    return report


def ptx_of(nvcc: str, source: Path) -> str:
    """PTX of a source, for an architecture in the middle."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "kernels.ptx"
        command = [nvcc, *FLAGS, "-arch=compute_80", "-ptx", str(source), "-o", str(target)]
        subprocess.run(command, cwd=KERNELS, check=True, capture_output=True)
        return target.read_text()


def sass_of(cuobjdump: str, target: Path) -> str:
    """Machine code of an object file; cuobjdump wants its nvdisasm on PATH."""
    path = os.pathsep.join((os.environ.get("PATH", ""), str(Path(cuobjdump).parent)))
    done = subprocess.run([cuobjdump, "-sass", str(target)], env=os.environ | {"PATH": path},
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{cuobjdump}: {done.stderr.strip()}")
    return done.stdout


def faults_of_copies(copies: dict[str, int], expected: int, where: str) -> list[str]:
    """Gates on the 16-byte copies of conf that do not hold."""
    if len(copies) != expected:
        return [f"{CONF_KERNEL}: {len(copies)} instances in the {where}, expected {expected}"]
    return [
        f"{instance}: conf is not read by 16-byte loads ({where})"
        for instance, count in copies.items()
        if not count
    ]


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
        print("no nvcc: nothing was checked (put one on PATH, or pip install 'ssd-small[nvcc]')",
              file=sys.stderr)  # fmt: skip
        return 3
    cuobjdump = find_tool("cuobjdump")
    sources = sorted((KERNELS / "src").glob("*.cu"))
    in_ptx: dict[str, int] = {}
    in_sass: dict[str, int] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            kernels = kernels_from_ptxas(compile_report(nvcc, sources, Path(folder)))
            for source in sources:
                in_ptx |= wide_copies_from_ptx(ptx_of(nvcc, source))
                if cuobjdump is not None:
                    sass = sass_of(cuobjdump, Path(folder) / f"{source.stem}.o")
                    in_sass |= wide_copies_from_sass(sass)
    except (RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    faults = [fault for kernel in kernels for fault in kernel.faults()]
    faults += faults_of_copies(in_ptx, 2, "PTX")
    if cuobjdump is not None:
        faults += faults_of_copies(in_sass, 2 * len(ARCHITECTURES), "machine code")
    if arguments.json:
        print(json.dumps([asdict(kernel) for kernel in kernels]))
    else:
        print(table(kernels))
        print(f"16-byte copies of conf: {sum(in_ptx.values())} in {len(in_ptx)} instances (PTX)")
        print(f"16-byte copies of conf: {sum(in_sass.values())} in {len(in_sass)} instances "
              "(machine code)" if cuobjdump else "machine code: not checked, no cuobjdump "
              "(pip install 'ssd-small[nvcc]')")  # fmt: skip
    for fault in faults:
        print(f"gate: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
