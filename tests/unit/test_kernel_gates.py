"""The compile gates of kernels/check_kernels.py notice what they are there for."""

from __future__ import annotations

import check_kernels as gates
import compiled_code as code
import pytest
from compiled_code import Arithmetic

REPORT = """\
ptxas info    : Compiling entry function '_ZN9ssd_small6device12score_kernelIfEEvNS0_7ProblemE' for 'sm_80'
ptxas info    : Function properties for _ZN9ssd_small6device12score_kernelIfEEvNS0_7ProblemE
    {stack} bytes stack frame, {stores} bytes spill stores, 0 bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, {shared} bytes smem, 536 bytes cmem[0]
"""  # noqa: E501


def test_a_report_becomes_numbers() -> None:
    text = REPORT.format(stack=0, stores=0, registers=32, shared=0)
    (kernel,) = gates.kernels_from_ptxas(text)
    assert (kernel.name, kernel.head_type, kernel.architecture) == ("score_kernel", "float", 80)
    assert (kernel.registers, kernel.shared_bytes) == (32, 0)
    assert kernel.faults() == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stack": 8}, "8 bytes stack"),
        ({"stores": 4}, "4 bytes spilled"),
        ({"registers": 200}, "200 registers, at most"),
        ({"shared": 65536}, "65536 bytes shared"),
    ],
)
def test_a_broken_gate_is_named(changed: dict[str, int], said: str) -> None:
    values = {"stack": 0, "stores": 0, "registers": 32, "shared": 0} | changed
    (kernel,) = gates.kernels_from_ptxas(REPORT.format(**values))
    assert any(said in fault for fault in kernel.faults())


def test_a_kernel_without_a_budget_is_named() -> None:
    text = REPORT.format(stack=0, stores=0, registers=1, shared=0).replace("score_k", "other_k")
    (kernel,) = gates.kernels_from_ptxas(text)
    assert any("no budget" in fault for fault in kernel.faults())


def test_a_report_that_is_not_understood_is_refused() -> None:
    broken = REPORT.format(stack=0, stores=0, registers=32, shared=0).replace("Used", "Uses")
    with pytest.raises(ValueError, match="not understood"):
        gates.kernels_from_ptxas(broken)


def test_only_wide_copies_of_conf_count() -> None:
    entry = ".visible .entry score_kernel_{name}(\n{body}\n"
    wide = "ld.global.v4.u32 {...}\nst.shared.v4.u32 [...]"
    narrow = "ld.global.f32 %f1\nst.shared.f32 [...]\nld.global.v4.f32 {...}"
    ptx = entry.format(name="a", body=wide) + entry.format(name="b", body=narrow)
    assert code.wide_copies_from_ptx(ptx) == {"score_kernel_a": 1, "score_kernel_b": 0}


def test_only_wide_copies_count_in_machine_code_of_each_architecture() -> None:
    wide = "LDG.E.128.SYS R8, [R4] ;\nSTS.128 [R7], R8 ;"
    narrow = "LDG.E.128.SYS R8, [R4] ;\nLDG.E R2, [R4] ;\nSTS [R7], R2 ;"
    shape = "\tcode for sm_{arch}\n\tFunction : score_kernel_a\n{body}\nFunction : merge_b\n" + wide
    sass = shape.format(arch=75, body=wide) + shape.format(arch=120, body=narrow)
    copies = code.wide_copies_from_sass(sass)
    assert copies == {"score_kernel_a sm_75": 1, "score_kernel_a sm_120": 0}
    (fault,) = code.faults_of_copies(copies, 2, "machine code")
    assert fault.startswith("score_kernel_a sm_120: conf is not read by 16-byte loads")
    (fault,) = code.faults_of_copies(copies, 4, "machine code")
    assert "2 instances in the machine code, expected 4" in fault


ENTRY = ".visible .entry score_kernel_a(\n)\n{{\n{body}\n}}\n"
ROUNDED = """\
    sub.rn.f32 %f1, %f2, %f3;
    add.rn.f32 %f1, %f2, %f3;
    mul.rn.f32 %f4, %f1, %f3;
    div.rn.f32 %f4, %f1, %f3;
    mad.lo.s32 %r1, %r2, %r3, %r4;
    add.s32 %r1, %r2, %r3;
"""


def test_one_rounding_per_operation_is_no_fault() -> None:
    assert code.faults_of_ptx(ENTRY.format(body=ROUNDED), "compute_75") == []
    assert code.arithmetic_from_ptx(ENTRY.format(body=ROUNDED)) == {
        "score_kernel_a": Arithmetic(additions=2, multiplications=1)
    }


@pytest.mark.parametrize(
    "loose",
    [
        "fma.rn.f32",
        "mad.rn.f32",
        "fma.rn.f16x2",
        "add.rn.ftz.f32",
        "ex2.approx.ftz.f32",
        "div.approx.f32",
        "add.f32",
        "mul.f32",
    ],
)
def test_what_may_round_otherwise_is_named(loose: str) -> None:
    ptx = ENTRY.format(body=f"{ROUNDED}    {loose} %f1, %f2, %f3, %f4;")
    (fault,) = code.faults_of_ptx(ptx, "compute_100")
    assert fault.startswith(f"score_kernel_a: {loose} in the PTX of compute_100, expected")


@pytest.mark.parametrize(
    ("additions", "multiplications", "contracted"),
    [(2, 1, False), (3, 1, False), (1, 1, True), (2, 0, True), (1, 0, True)],
)
def test_machine_code_that_lost_an_operation_is_named(
    additions: int, multiplications: int, contracted: bool
) -> None:
    body = "FADD R1, R2, R3 ;\n" * additions + "FMUL R1, R2, R3 ;\n" * multiplications
    # what a division is made of counts for nothing
    body += "FADD.FTZ R1, -R1, -RZ ;\nFFMA R1, R2, R3, R4 ;\n"
    found = code.arithmetic_from_sass(f"\tcode for sm_75\n\tFunction : score_kernel_a\n{body}")
    expected = {75: {"score_kernel_a": Arithmetic(additions=2, multiplications=1)}}
    faults = code.faults_of_arithmetic(found, expected)
    assert ["were contracted" in fault for fault in faults] == [True] * contracted


def test_a_kernel_of_no_head_type_is_understood() -> None:
    text = REPORT.format(stack=0, stores=0, registers=8, shared=0)
    text = text.replace("12score_kernelIfEEvNS0", "12clear_kernelENS0")
    (kernel,) = gates.kernels_from_ptxas(text)
    assert (kernel.name, kernel.head_type) == ("clear_kernel", "any")
    assert kernel.faults() == []


WAIT, BEGIN = "griddepcontrol.wait;\n", "griddepcontrol.launch_dependents;\n"
READ, WRITE, ADD = "ld.global.nc.u32 %r1;\n", "st.global.f32 [%r1];\n", "atom.global.add.u32 %r1;\n"
OWN = "ld.param.u64 %r1;\nst.shared.u32 [%r1];\n"


def order_faults(kernel: str, body: str, architecture: int) -> list[str]:
    entry = f".visible .entry _ZN6device12{kernel}(\n)\n{{\n{body}ret;\n}}\n"
    return code.order_faults_of_ptx(entry, architecture)


@pytest.mark.parametrize(
    ("kernel", "body"),
    [
        ("clear_kernel", BEGIN + WRITE),
        ("score_kernel", OWN + READ + WAIT + BEGIN + ADD),
        ("suppress_kernel", OWN + WAIT + BEGIN + READ + WRITE),
        ("merge_kernel", WAIT + READ + WRITE),
        ("rank_kernel", WAIT + READ + WRITE),
    ],
)
def test_a_kernel_waits_where_it_may_overlap_another(kernel: str, body: str) -> None:
    assert order_faults(kernel, body, 90) == []
    assert order_faults(kernel, body, 75)  # the instruction is not known there
    older = body.replace(WAIT, "").replace(BEGIN, "")
    assert order_faults(kernel, older, 75) == []
    assert order_faults(kernel, older, 100)


@pytest.mark.parametrize(
    ("kernel", "body", "said"),
    [
        ("merge_kernel", READ + WRITE, "waits 0 times"),
        ("clear_kernel", WAIT + BEGIN + WRITE, "waits 1 times"),
        ("merge_kernel", WAIT + BEGIN + READ + WRITE, "lets the next kernel begin"),
        ("suppress_kernel", WAIT + READ + WRITE, "does not let the next kernel begin"),
        ("suppress_kernel", BEGIN + WAIT + READ, "lets the next kernel begin before it has waited"),
        ("suppress_kernel", READ + WAIT + BEGIN, "reads before it has waited"),
        ("suppress_kernel", "ld.f32 %f1;\n" + WAIT + BEGIN, "reads before it has waited"),
        ("score_kernel", WRITE + WAIT + BEGIN, "writes before it has waited"),
        ("score_kernel", ADD + WAIT + BEGIN, "writes before it has waited"),
        ("merge_kernel", "@%p1 ret;\n" + WAIT + READ, "ends before it has waited"),
        ("other_kernel", WAIT, "no rule"),
    ],
)
def test_a_kernel_out_of_order_is_named(kernel: str, body: str, said: str) -> None:
    faults = order_faults(kernel, body, 90)
    assert any(said in fault and kernel in fault for fault in faults), faults


def test_machine_code_out_of_order_is_named() -> None:
    rows = "PREEXIT ;\nACQBULK ;\nLDG.E R1 ;\nEXIT ;\n"
    sass = f"\tcode for sm_90\n\tFunction : _Z15suppress_kernelIfE\n{rows}"
    (fault,) = code.order_faults_of_sass(sass)
    assert "lets the next kernel begin before it has waited" in fault
    right = sass.replace("PREEXIT ;\nACQBULK ;\n", "ACQBULK ;\nPREEXIT ;\n")
    assert code.order_faults_of_sass(right) == []
    assert code.order_faults_of_sass(right.replace("sm_90", "sm_89"))
    early = right.replace("ACQBULK", "@P0 EXIT ;\nLDG.E R2 ;\nREDG.E.ADD R2 ;\nACQBULK")
    assert [fault.split(": ")[1] for fault in code.order_faults_of_sass(early)] == [
        f"{what} before it has waited" for what in ("writes", "ends", "reads")
    ]
