"""Our calls against the bindings of TensorRT 10.3, which JetPack 6 has, by introspection.

The bindings come from PyPI, the libraries under them do not: stubs stand in, and nothing runs. What
10.3 lacks is used only where it is found (hasattr, getattr), or by TensorRT-RTX alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import published
import pytest
from test_tensorrt_api import ATTRIBUTES, MEMBERS, METHODS

pytestmark = [pytest.mark.slow, pytest.mark.trt]

OLDEST = "10.3.0"
ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")
#: later than 10.3, or TensorRT-RTX's own -> the text that keeps it from being used without
_RTX = ("export/build_child.py", 'hasattr(trt, "ComputeCapability")')
_VALIDITY = ("ssd_small/runtimes/tensorrt_module.py", 'hasattr(runtime, "get_engine_validity")')
_LAZY_KERNELS = (
    "ssd_small/runtimes/tensorrt_module.py",
    'hasattr(trt, "DynamicShapesKernelSpecializationStrategy")',
)
GUARDS = {
    "ComputeCapability": _RTX,
    "set_compute_capability": _RTX,
    "num_compute_capabilities": _RTX,
    "EngineValidity": _VALIDITY,
    "EngineInvalidityDiagnostics": _VALIDITY,
    "get_engine_validity": _VALIDITY,
    "DynamicShapesKernelSpecializationStrategy": _LAZY_KERNELS,
    "create_runtime_config": _LAZY_KERNELS,
    "set_execution_context_allocation_strategy": _LAZY_KERNELS,
    "dynamic_shapes_kernel_specialization_strategy": _LAZY_KERNELS,
    "is_stream_capturable": (
        "ssd_small/runtimes/tensorrt_lanes.py",
        'getattr(lane.context, "is_stream_capturable"',
    ),
    "REQUIRE_USER_ALLOCATION": (
        "export/build_child.py",
        'hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION")',
    ),
}
SCRIPT = """
import json, sys
import tensorrt_bindings as trt
wanted = json.load(sys.stdin)
classes = {name: {member: getattr(getattr(trt, name), member).__doc__ or "" for member in members
                  if hasattr(getattr(trt, name, None), member)} for name, members in wanted.items()}
print(json.dumps([trt.__version__, classes]))
"""


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Class -> member -> docstring, of those of ours that 10.3 has."""
    compiler, nm = shutil.which("cc"), shutil.which("nm")
    if compiler is None or nm is None:
        pytest.skip("needs a C compiler and nm")
    bindings = published.unpacked(f"tensorrt-cu12-bindings=={OLDEST}")
    stubs = tmp_path_factory.mktemp("stubs")
    names = [nm, "-D", "--undefined-only", bindings / "tensorrt_bindings" / "tensorrt.so"]
    symbols = subprocess.run(names, capture_output=True, text=True, check=True).stdout
    wanted = re.findall(r" U ((?!_?Py)\w+)$", symbols, re.M)
    for library in LIBRARIES:
        source = "".join(f"void {name}(void) {{}}\n" for name in wanted)
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-x", "c", "-", f"-Wl,-soname,{library}", "-o",
             stubs / library], input=source, text=True, check=True,
        )  # fmt: skip
    members: dict[str, list[str]] = {}
    for name, (owner, _) in METHODS.items():
        members.setdefault(owner, []).append(name)
    for name, owner in ATTRIBUTES.items():
        members.setdefault(owner, []).append(name)
    for owner, names in MEMBERS.items():
        members.setdefault(owner, []).extend(names)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(members), text=True, capture_output=True,
        env=os.environ | {"PYTHONPATH": str(bindings), "LD_LIBRARY_PATH": str(stubs)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    version, classes = json.loads(done.stdout)
    assert version == OLDEST
    return classes


def test_what_it_lacks_is_not_needed(documented: dict[str, dict[str, str]]) -> None:
    owners = [(name, owner) for name, (owner, _) in METHODS.items()]
    owners += list(ATTRIBUTES.items())
    missing = {name for name, owner in owners if name not in documented[owner]}
    for owner, names in MEMBERS.items():
        absent = [name for name in names if name not in documented[owner]]
        missing |= {owner} if len(absent) == len(names) else set(absent)
    assert missing == GUARDS.keys()


@pytest.mark.parametrize("name", GUARDS)
def test_what_it_lacks_is_asked_for_first(name: str) -> None:
    file, guard = GUARDS[name]
    assert guard in (ROOT / file).read_text()


def test_methods_have_the_parameters_we_pass(documented: dict[str, dict[str, str]]) -> None:
    for name, (owner, parameters) in METHODS.items():
        text = documented[owner].get(name)
        # the argument has another type and name there, and is passed by position
        if text is None or name == "create_execution_context":
            continue
        signatures = re.findall(rf"{name}\(self[^\n]*", text)
        assert any(all(re.search(rf"\b{p}: ", s) for p in parameters) for s in signatures), text


def test_contexts_take_the_strategy_of_allocation(documented: dict[str, dict[str, str]]) -> None:
    text = documented["ICudaEngine"]["create_execution_context"]
    assert re.search(r"strategy: [\w.]*ExecutionContextAllocationStrategy", text)
