"""The compile gates of kernels/check_kernels.py notice what they are there for."""

from __future__ import annotations

import check_kernels as gates
import pytest

REPORT = """\
ptxas info    : Compiling entry function '_ZN9ssd_small6device12score_kernelIfEEvNS0_7ProblemE' for 'sm_80'
ptxas info    : Function properties for _ZN9ssd_small6device12score_kernelIfEEvNS0_7ProblemE
    {stack} bytes stack frame, {stores} bytes spill stores, 0 bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, {shared} bytes smem, 536 bytes cmem[0]
"""  # noqa: E501


def test_a_report_becomes_numbers() -> None:
    text = REPORT.format(stack=0, stores=0, registers=32, shared=16)
    (kernel,) = gates.kernels_from_ptxas(text)
    assert (kernel.name, kernel.head_type, kernel.architecture) == ("score_kernel", "float", 80)
    assert (kernel.registers, kernel.shared_bytes) == (32, 16)
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
    values = {"stack": 0, "stores": 0, "registers": 32, "shared": 16} | changed
    (kernel,) = gates.kernels_from_ptxas(REPORT.format(**values))
    assert any(said in fault for fault in kernel.faults())


def test_a_report_that_is_not_understood_is_refused() -> None:
    broken = REPORT.format(stack=0, stores=0, registers=32, shared=16).replace("Used", "Uses")
    with pytest.raises(ValueError, match="not understood"):
        gates.kernels_from_ptxas(broken)


def test_only_wide_copies_of_conf_count() -> None:
    entry = ".visible .entry score_kernel_{name}(\n{body}\n"
    wide = "ld.global.v4.u32 {...}\nst.shared.v4.u32 [...]"
    narrow = "ld.global.f32 %f1\nst.shared.f32 [...]\nld.global.v4.f32 {...}"
    ptx = entry.format(name="a", body=wide) + entry.format(name="b", body=narrow)
    assert gates.wide_copies_from_ptx(ptx) == {"score_kernel_a": 1, "score_kernel_b": 0}


def test_only_wide_copies_count_in_machine_code_of_each_architecture() -> None:
    wide = "LDG.E.128.SYS R8, [R4] ;\nSTS.128 [R7], R8 ;"
    narrow = "LDG.E.128.SYS R8, [R4] ;\nLDG.E R2, [R4] ;\nSTS [R7], R2 ;"
    code = "\tcode for sm_{arch}\n\tFunction : score_kernel_a\n{body}\nFunction : merge_b\n" + wide
    sass = code.format(arch=75, body=wide) + code.format(arch=120, body=narrow)
    copies = gates.wide_copies_from_sass(sass)
    assert copies == {"score_kernel_a sm_75": 1, "score_kernel_a sm_120": 0}
    (fault,) = gates.faults_of_copies(copies, 2, "machine code")
    assert fault.startswith("score_kernel_a sm_120: conf is not read by 16-byte loads")
    (fault,) = gates.faults_of_copies(copies, 4, "machine code")
    assert "2 instances in the machine code, expected 4" in fault
