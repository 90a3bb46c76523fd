"""What nvcc made of the kernels, read from PTX and from machine code as cuobjdump prints it.

The gates of check_kernels.py on instructions: 16-byte copies of conf, one rounding per operation,
and the order of kernels that may overlap. The PTX decides rounding for every GPU, whatever compiles
it: ptxas and the driver contract a multiplication and an addition only where neither names its
rounding, so each has to say .rn. Machine code shows that they keep to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

CONF_KERNEL = "score_kernel"
#: kernels may overlap from this architecture on; older machine code has no such instructions
OVERLAP_SINCE = 90
#: of 32-bit floats: contracted, flushed to zero, of less than full precision, or free to become so
_LOOSE = re.compile(
    r"\b(?:(?:fma|mad)[\w.]*\.f(?:16|32|64)(?:x2)?|[\w.]+\.ftz[\w.]*|[\w.]+\.approx[\w.]*"
    r"|(?:add|sub|mul|div|rcp|sqrt)\.f32)\b"
)


@dataclass(frozen=True)
class OrderRule:
    """Where a kernel waits for the one before and lets the next one begin: decode_nms_order.cuh."""

    waits: bool = True
    lets_begin: bool = True
    reads_before: bool = False


ORDER_RULES = {
    "clear_kernel": OrderRule(waits=False),
    "score_kernel": OrderRule(reads_before=True),  # conf, which none of the kernels writes
    "suppress_kernel": OrderRule(),
    "merge_kernel": OrderRule(lets_begin=False),
    "rank_kernel": OrderRule(lets_begin=False),
}


@dataclass(frozen=True)
class Dialect:
    """Instructions, as patterns: of PTX or of machine code."""

    wait: str
    let_begin: str
    read: str
    write: str
    leave: str


#: of global memory, or of what may be global memory
PTX = Dialect(
    wait=r"\bgriddepcontrol\.wait\b",
    let_begin=r"\bgriddepcontrol\.launch_dependents\b",
    read=r"\bld\.(?!param|shared|local|const)",
    write=r"\b(?:st\.(?!shared|local)|(?:atom|red)\.(?!shared))",
    leave=r"\b(?:ret|exit);",
)
SASS = Dialect(
    wait=r"\bACQBULK\b",
    let_begin=r"\bPREEXIT\b",
    read=r"\bLDG?\.E\b",
    write=r"\b(?:STG?\.E|ATOM(?:G\b|\.E)|RED(?:G\b|\.E))",
    leave=r"\bEXIT\b",
)


@dataclass(frozen=True)
class Arithmetic:
    """Operations on 32-bit floats in one kernel."""

    additions: int
    multiplications: int


def entries_of_ptx(ptx: str) -> Iterator[tuple[str, str]]:
    """Symbol and text of each kernel."""
    for entry in re.split(r"\.visible \.entry ", ptx)[1:]:
        yield entry.split("(", 1)[0], entry


def functions_of_sass(sass: str) -> Iterator[tuple[int, str, str]]:
    """Architecture, symbol and text of each kernel in each architecture's code."""
    for code in re.split(r"\bcode for sm_(?=\d)", sass)[1:]:
        digits = re.match(r"\d+", code)
        assert digits is not None
        for function in re.split(r"\bFunction : ", code)[1:]:
            yield int(digits[0]), function.split(maxsplit=1)[0], function


def wide_copies_from_ptx(ptx: str) -> dict[str, int]:
    """16-byte copies from global to shared memory in each instance of the kernel that reads conf.

    Boxes and priors are loaded as four floats and never go to shared memory; conf is the only
    array that is copied there, as four unsigned integers.
    """
    copies = {}
    for symbol, entry in entries_of_ptx(ptx):
        if CONF_KERNEL in symbol:
            loads = re.findall(r"ld\.global(?:\.nc)?\.v4\.[bu]32", entry)
            stores = re.findall(r"st\.shared\.v4\.[bu]32", entry)
            copies[symbol] = min(len(loads), len(stores))
    return copies


def wide_copies_from_sass(sass: str) -> dict[str, int]:
    """The same in machine code: per architecture and instance."""
    copies = {}
    for architecture, symbol, function in functions_of_sass(sass):
        if CONF_KERNEL in symbol:
            loads = re.findall(r"\bLDG\.E\.128\b", function)
            stores = re.findall(r"\bSTS\.128\b", function)
            copies[f"{symbol} sm_{architecture}"] = min(len(loads), len(stores))
    return copies


def faults_of_copies(copies: dict[str, int], expected: int, where: str) -> list[str]:
    """Gates on the 16-byte copies of conf that do not hold."""
    if len(copies) != expected:
        return [f"{CONF_KERNEL}: {len(copies)} instances in the {where}, expected {expected}"]
    return [
        f"{instance}: conf is not read by 16-byte loads ({where})"
        for instance, count in copies.items()
        if not count
    ]


def arithmetic_from_ptx(ptx: str) -> dict[str, Arithmetic]:
    """Additions (subtractions are such) and multiplications of each kernel."""
    return {
        symbol: Arithmetic(
            len(re.findall(r"\b(?:add|sub)(?:\.\w+)*\.f32\b", entry)),
            len(re.findall(r"\bmul(?:\.\w+)*\.f32\b", entry)),
        )
        for symbol, entry in entries_of_ptx(ptx)
    }


def arithmetic_from_sass(sass: str) -> dict[tuple[int, str], Arithmetic]:
    """The same per architecture and kernel. FADD.FTZ and FFMA belong to divisions."""
    return {
        (architecture, symbol): Arithmetic(
            len(re.findall(r"\bFADD\s", function)), len(re.findall(r"\bFMUL\s", function))
        )
        for architecture, symbol, function in functions_of_sass(sass)
    }


def faults_of_ptx(ptx: str, where: str) -> list[str]:
    """Instructions that may round otherwise than once per operation."""
    return [
        f"{symbol}: {', '.join(sorted(loose))} in the PTX of {where}, expected .rn and neither "
        "fma nor .ftz (-fmad=false)"
        for symbol, entry in entries_of_ptx(ptx)
        if (loose := set(_LOOSE.findall(entry)))
    ]


def faults_of_arithmetic(
    found: Mapping[tuple[int, str], Arithmetic], expected: Mapping[int, Mapping[str, Arithmetic]]
) -> list[str]:
    """Kernels whose machine code has lost operations to contraction.

    Args:
        found: in machine code, by architecture and symbol.
        expected: in PTX, by architecture, then by symbol.

    Contraction makes one operation of two. ptxas writes some additions twice, where it doubles the
    block that they stand in (from sm_80 on, in the score kernel), so more of them is no fault.
    """
    faults = []
    for (architecture, symbol), code in found.items():
        ptx = expected[architecture][symbol]
        if code.multiplications != ptx.multiplications or code.additions < ptx.additions:
            faults.append(
                f"{symbol} sm_{architecture}: {code.additions} FADD and {code.multiplications} "
                f"FMUL, expected {ptx.additions} and {ptx.multiplications} as in its PTX: some "
                "were contracted"
            )
    return faults


def faults_of_order(symbol: str, text: str, dialect: Dialect, architecture: int) -> list[str]:
    """Where one kernel waits otherwise than ``ORDER_RULES`` say.

    Args:
        text: its instructions; they are held to their order in it, which is that of execution as
            far as the wait, with nothing but the loop that copies conf in between.
        architecture: what it was compiled for.
    """
    name = re.search(r"(?<=\d)(?:[a-z]+_)+kernel", symbol)
    where = f"{symbol} {architecture}"
    if name is None or name[0] not in ORDER_RULES:
        return [f"{where}: no rule; add it to ORDER_RULES"]
    rule, begin = ORDER_RULES[name[0]], re.search(dialect.let_begin, text)
    waits = list(re.finditer(dialect.wait, text))
    may_overlap = architecture >= OVERLAP_SINCE
    faults = []
    if len(waits) != (rule.waits and may_overlap):
        faults.append(f"{where}: waits {len(waits)} times for the kernel before")
    if (begin is not None) != (rule.lets_begin and may_overlap):
        faults.append(f"{where}: {'lets' if begin else 'does not let'} the next kernel begin")
    if not waits:
        return faults
    before = text[: waits[0].start()]
    if begin is not None and begin.start() < waits[0].start():
        faults.append(f"{where}: lets the next kernel begin before it has waited")
    forbidden = {"writes": dialect.write, "ends": dialect.leave}
    if not rule.reads_before:
        forbidden["reads"] = dialect.read
    faults += [f"{where}: {what} before it has waited" for what, pattern in forbidden.items()
               if re.search(pattern, before)]  # fmt: skip
    return faults


def order_faults_of_ptx(ptx: str, architecture: int) -> list[str]:
    """Faults of the order of kernels in PTX."""
    return [
        fault
        for symbol, entry in entries_of_ptx(ptx)
        for fault in faults_of_order(symbol, entry, PTX, architecture)
    ]


def order_faults_of_sass(sass: str) -> list[str]:
    """The same in machine code, each architecture's."""
    return [
        fault
        for architecture, symbol, function in functions_of_sass(sass)
        for fault in faults_of_order(symbol, function, SASS, architecture)
    ]
