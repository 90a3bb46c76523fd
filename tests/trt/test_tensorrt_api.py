"""Every TensorRT and CUDA call of ours against the real modules, by introspection: no GPU.

The module is ``tensorrt_rtx``, or the one that ``SSD_SMALL_TENSORRT_MODULE`` names: tests/lean runs
this file with the bindings of TensorRT 10 and 11, over libraries in which nothing can be called.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ssd_small.export.build_child as build_child

import ssd_small.doctor.engine as doctor_engine
import ssd_small.doctor.environment as doctor
import ssd_small.doctor.inspection as inspection
import ssd_small.runtimes.plugin_library as plugin_library
import ssd_small.runtimes.tensorrt as runner
import ssd_small.runtimes.tensorrt_engine as tensorrt_engine
import ssd_small.runtimes.tensorrt_lanes as tensorrt_lanes
import ssd_small.runtimes.tensorrt_module as tensorrt_module

#: method or attribute -> (class that has it, names of the parameters we pass)
METHODS: dict[str, tuple[str, list[str]]] = {
    # building
    "create_network": ("Builder", ["flags"]),
    "create_builder_config": ("Builder", []),
    "create_optimization_profile": ("Builder", []),
    "build_serialized_network": ("Builder", ["network", "config"]),
    "parse": ("OnnxParser", ["model"]),
    "get_error": ("OnnxParser", ["index"]),
    "clear_flag": ("IBuilderConfig", ["flag"]),
    "set_flag": ("IBuilderConfig", ["flag"]),
    "set_memory_pool_limit": ("IBuilderConfig", ["pool", "pool_size"]),
    "set_compute_capability": ("IBuilderConfig", ["compute_capability", "index"]),
    "create_timing_cache": ("IBuilderConfig", ["serialized_timing_cache"]),
    "set_timing_cache": ("IBuilderConfig", ["cache", "ignore_mismatch"]),
    "add_optimization_profile": ("IBuilderConfig", ["profile"]),
    "set_shape": ("IOptimizationProfile", ["input", "min", "opt", "max"]),
    "serialize": ("ITimingCache", []),
    "get_input": ("INetworkDefinition", ["index"]),
    "get_layer": ("INetworkDefinition", ["index"]),
    "get_output": ("ILayer", ["index"]),
    # plugin
    "load_library": ("IPluginRegistry", ["plugin_path"]),
    # running
    "get_engine_validity": ("Runtime", ["buffer"]),
    "deserialize_cuda_engine": ("Runtime", ["serialized_engine"]),
    "get_tensor_name": ("ICudaEngine", ["index"]),
    "get_tensor_mode": ("ICudaEngine", ["name"]),
    "get_tensor_dtype": ("ICudaEngine", ["name"]),
    "get_tensor_shape": ("ICudaEngine", ["name"]),
    "get_tensor_profile_shape": ("ICudaEngine", ["name", "profile_index"]),
    "create_runtime_config": ("ICudaEngine", []),
    "create_execution_context": ("ICudaEngine", ["runtime_config"]),
    "set_execution_context_allocation_strategy": ("IRuntimeConfig", ["strategy"]),
    "set_device_memory": ("IExecutionContext", ["memory", "size"]),
    "set_input_shape": ("IExecutionContext", ["name", "shape"]),
    "set_tensor_address": ("IExecutionContext", ["name", "memory"]),
    "infer_shapes": ("IExecutionContext", []),
    "is_stream_capturable": ("IExecutionContext", ["stream"]),
    "execute_async_v3": ("IExecutionContext", ["stream_handle"]),
    "create_engine_inspector": ("ICudaEngine", []),
    "get_engine_information": ("EngineInspector", ["format"]),
    # callbacks of ours
    "phase_start": ("IProgressMonitor", ["phase_name", "parent_phase", "num_steps"]),
    "step_complete": ("IProgressMonitor", ["phase_name", "step"]),
    "phase_finish": ("IProgressMonitor", ["phase_name"]),
    "log": ("ILogger", ["severity", "msg"]),
}
ATTRIBUTES = {
    "num_compute_capabilities": "IBuilderConfig",
    "builder_optimization_level": "IBuilderConfig",
    "profiling_verbosity": "IBuilderConfig",
    "progress_monitor": "IBuilderConfig",
    "num_errors": "OnnxParser",
    "num_layers": "INetworkDefinition",
    "num_inputs": "ILayer",
    "num_outputs": "ILayer",
    "kernel": "IConvolutionLayer",
    "bias": "IConvolutionLayer",
    "weights": "IConstantLayer",
    "all_creators": "IPluginRegistry",
    "plugin_version": "IPluginCreatorV3One",
    "field_names": "IPluginCreatorV3One",
    "engine_host_code_allowed": "Runtime",
    "num_io_tensors": "ICudaEngine",
    "device_memory_size_v2": "ICudaEngine",
    "dynamic_shapes_kernel_specialization_strategy": "IRuntimeConfig",
    "dtype": "ITensor",
}
#: members of enumerations, in the order of use
MEMBERS = {
    "BuilderFlag": ["TF32", "VERSION_COMPATIBLE", "REQUIRE_USER_ALLOCATION"],
    "ProfilingVerbosity": ["DETAILED"],
    "NetworkDefinitionCreationFlag": ["STRONGLY_TYPED"],
    "MemoryPoolType": ["WORKSPACE"],
    "LayerType": ["CONVOLUTION", "CONSTANT"],
    "TensorIOMode": ["INPUT", "OUTPUT"],
    "EngineValidity": ["INVALID"],
    "EngineInvalidityDiagnostics": ["VERSION_MISMATCH", "UNSUPPORTED_CC", "CUDA_ERROR"],
    "ExecutionContextAllocationStrategy": ["USER_MANAGED"],
    "DynamicShapesKernelSpecializationStrategy": ["EAGER"],
    "ComputeCapability": ["SM75", "SM80", "SM86", "SM89", "SM120"],
    "LayerInformationFormat": ["JSON"],
}


MODULE = os.environ.get("SSD_SMALL_TENSORRT_MODULE", "tensorrt_rtx")
#: what TensorRT for RTX alone has; where it is used the module is asked first whether it has it
OF_RTX_ALONE = {
    *("set_compute_capability", "num_compute_capabilities", "get_engine_validity"),
    *("is_stream_capturable", "dynamic_shapes_kernel_specialization_strategy"),
    *("EngineValidity", "EngineInvalidityDiagnostics", "ComputeCapability"),
    "DynamicShapesKernelSpecializationStrategy",
}
MEMBERS_OF_RTX_ALONE = {"REQUIRE_USER_ALLOCATION"}

#: what speaks to TensorRT
SOURCES = (
    build_child,
    doctor,
    doctor_engine,
    inspection,
    plugin_library,
    runner,
    tensorrt_engine,
    tensorrt_lanes,
    tensorrt_module,
)


@pytest.fixture(scope="module")
def trt() -> Any:
    return pytest.importorskip(MODULE)


def is_absent(owner: Any, name: str) -> bool:
    """A name of TensorRT for RTX, looked for in another module: it is not there, as we say."""
    if MODULE == "tensorrt_rtx" or name not in OF_RTX_ALONE:
        return False
    assert not hasattr(owner, name), f"{name} is no longer of TensorRT for RTX alone"
    return True


@pytest.mark.trt
@pytest.mark.parametrize("method", METHODS)
def test_method_exists_with_the_parameters_we_pass(trt: Any, method: str) -> None:
    owner, parameters = METHODS[method]
    if is_absent(getattr(trt, owner), method):
        return
    text = getattr(getattr(trt, owner), method).__doc__
    signatures = re.findall(rf"(?:\d\. )?{method}\(self[^)]*\)|{method}\((?:self: )[^\n]*", text)
    assert signatures, text
    fitting = [s for s in signatures if all(re.search(rf"\b{p}: ", s) for p in parameters)]
    assert fitting, f"{parameters} not in {signatures}"
    # what we do not pass has a default
    required = min(s.count(": ") - 1 - s.count(" = ") for s in fitting)
    assert required <= len(parameters)


@pytest.mark.trt
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_attribute_exists(trt: Any, attribute: str) -> None:
    if is_absent(getattr(trt, ATTRIBUTES[attribute]), attribute):
        return
    assert hasattr(getattr(trt, ATTRIBUTES[attribute]), attribute)


@pytest.mark.trt
@pytest.mark.parametrize("enumeration", MEMBERS)
def test_enumeration_has_the_members_we_name(trt: Any, enumeration: str) -> None:
    if is_absent(trt, enumeration):
        return
    absent = set(MEMBERS[enumeration]) - set(getattr(trt, enumeration).__members__)
    assert absent == (set() if MODULE == "tensorrt_rtx" else absent & MEMBERS_OF_RTX_ALONE)


def test_the_lists_above_cover_our_sources() -> None:
    """A call on one of the vendor's objects that is not listed above fails here."""
    subjects = {"builder", "network", "config", "parser", "profile", "cache", "layer", "registry"}
    subjects |= {"engine", "context", "runtime", "_engine", "_runtime", "inspector", "creator"}
    nodes = [n for n in our_syntax() if isinstance(n, ast.Attribute)]
    used = {
        node.attr
        for node in nodes
        if getattr(node.value, "id", getattr(node.value, "attr", None)) in subjects
    }
    # attributes of every object of theirs; and of our runner, which is called runtime too
    own = {"name", "type", "__class__", "engine", "infer", "description", "executed"}
    assert used - {*METHODS, *ATTRIBUTES} - own == set()
    assert {"execute_async_v3", "build_serialized_network", "load_library"} <= used


def our_syntax() -> Iterator[ast.AST]:
    """Every node of the sources that speak to TensorRT."""
    for module in SOURCES:
        assert module.__file__ is not None
        yield from ast.walk(ast.parse(Path(module.__file__).read_text()))


def test_calls_pass_no_more_than_the_lists_above_know() -> None:
    ours = {"log", "parse"}  # names that other objects have as well
    calls = [
        node
        for node in our_syntax()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in METHODS.keys() - ours
        and not any(isinstance(argument, ast.Starred) for argument in node.args)
    ]
    assert len(calls) > 25
    for node in calls:
        parameters = METHODS[node.func.attr][1]  # type: ignore[attr-defined]
        assert len(node.args) <= len(parameters), ast.unparse(node)
        assert not node.keywords, ast.unparse(node)


@pytest.mark.trt
def test_every_name_we_take_from_the_module_is_there(trt: Any) -> None:
    """``trt.BuilderFlag.TF32`` and the like, as written in our sources."""
    names = set()
    for node in our_syntax():
        if isinstance(node, ast.Attribute):
            root, _, rest = ast.unparse(node).replace("self._trt", "trt").partition(".")
            if root == "trt" and re.fullmatch(r"[\w.]+", rest):
                names.add(rest)
    assert {"BuilderFlag.TF32", "TensorIOMode", "LayerInformationFormat.JSON"} <= names
    for name in names:
        first, _, last = name.partition(".")
        if last in MEMBERS_OF_RTX_ALONE and MODULE != "tensorrt_rtx":
            continue
        if not is_absent(trt, first):
            functools.reduce(getattr, name.split("."), trt)


@pytest.mark.trt
def test_the_module_has_the_classes_we_make(trt: Any) -> None:
    for name in ("Logger", "ILogger", "IProgressMonitor", "Builder", "OnnxParser", "Runtime"):
        assert isinstance(getattr(trt, name), type)
    assert int(trt.nptype(trt.DataType.HALF)(1).itemsize) == 2
    assert build_child.network_flags(trt) == 1 << int(
        trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    )


@pytest.mark.trt
def test_our_logger_is_accepted_and_keeps_errors(trt: Any) -> None:
    logger = tensorrt_module.logger(trt)
    assert tensorrt_module.logger(trt) is logger
    if MODULE != "tensorrt_rtx":
        return  # neither is an object to be had here, nor can its engines be asked about
    runtime = trt.Runtime(logger)
    fault = tensorrt_module.invalidity(trt, runtime, b"not a plan" * 20)
    assert "build it again" in fault


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("allocate", (1024,)),
        ("free", (4096,)),
        ("allocate_pinned", (1024,)),
        ("free_pinned", (4096,)),
        ("create_stream", ()),
        ("destroy_stream", (4096,)),
        ("synchronize", (4096,)),
        ("upload", (4096, 8192, 16, 4096)),
        ("download", (4096, 8192, 16, 4096)),
        ("begin_capture", (4096,)),
        ("end_capture", (4096,)),
        ("launch", (4096, 4096)),
        ("destroy_graph", (4096,)),
        ("events", (4,)),
    ],
)
def test_cuda_python_takes_our_arguments(call: str, arguments: tuple[int, ...]) -> None:
    """Without a driver each call reaches CUDA and comes back with its error, no TypeError."""
    runtime = pytest.importorskip("cuda.bindings.runtime")
    from ssd_small.runtimes.cuda_device import GpuError, _PythonCuda
    from ssd_small.system.gpu import gpus

    if gpus().devices:
        pytest.skip("not executed here: there is a GPU, to which made-up handles would do harm")
    device = object.__new__(_PythonCuda)
    device._cuda, device._index = runtime, 0
    with pytest.raises(GpuError, match=r"failed: .* \(CUDA error 35\)"):
        getattr(device, call)(*arguments)


def test_cuda_python_takes_the_arguments_of_events() -> None:
    """Likewise; and an event is recorded anew by each replay of a graph."""
    runtime = pytest.importorskip("cuda.bindings.runtime")
    from ssd_small.runtimes.cuda_device import GpuError, _PythonCuda
    from ssd_small.runtimes.device_events import CudaPythonEvents
    from ssd_small.system.gpu import gpus

    if gpus().devices:
        pytest.skip("not executed here: there is a GPU, to which made-up handles would do harm")
    assert runtime.cudaEventRecordExternal == 1
    device = object.__new__(_PythonCuda)
    device._cuda = runtime
    events = CudaPythonEvents(device._call, 1, 0)
    for call in (lambda: events.record(0, 4096), events.seconds, events.close):
        events._events = [4096, 8192]
        with pytest.raises(GpuError, match=r"cudaEvent\w+ failed: .* \(CUDA error 35\)"):
            call()


@pytest.mark.trt
def test_the_double_has_nothing_that_the_module_lacks(trt: Any) -> None:
    doubles = importlib.import_module("tensorrt_double")
    real = {
        doubles.Context: "IExecutionContext",
        doubles.Engine: "ICudaEngine",
        doubles.EngineInspector: "EngineInspector",
        doubles.RuntimeConfig: "IRuntimeConfig",
    }
    cuda = importlib.import_module("cuda_double").Cuda()
    real[type(doubles.TensorRt(cuda).Runtime(None))] = "Runtime"
    for double, name in real.items():
        public = {n: v for n, v in vars(double).items() if not n.startswith("_")}
        theirs = getattr(trt, name)
        public = {n: v for n, v in public.items() if not is_absent(theirs, n)}
        assert public.keys() <= set(dir(theirs))
        for method, function in public.items():
            if inspect.isfunction(function):
                text = getattr(theirs, method).__doc__
                for parameter in [*inspect.signature(function).parameters][1:]:
                    assert re.search(rf"\b{parameter}: ", text), (method, parameter, text)
    for enumeration in ("TensorIOMode", "DataType", "EngineValidity"):
        if is_absent(trt, enumeration):
            continue
        members = getattr(trt, enumeration).__members__
        for member in getattr(doubles, enumeration):
            assert int(members[member.name]) == int(member)
