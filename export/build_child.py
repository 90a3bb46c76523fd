"""The child process that uses TensorRT: ``python -m ssd_small.export.build_child JOB``.

TensorRT can end the process it runs in, so it runs in this one. JOB is a JSON file (see
:class:`Job`). Events go to standard output, one per line: a record separator, then JSON. All
other output is the vendor's log.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..errors import BadFile, MissingRequirement, OutputError, SsdSmallError, UsageError
from ..files import read_bytes, write_bytes
from ..json_files import json_text
from ..runtimes.plugin_library import check_fields, load_plugin
from .precision import half_share

#: precedes an event on standard output; TensorRT's log joins layer names with a bare \x1e
RECORD_SEPARATOR = "\x1essd-small\x1e"

#: capabilities that tensorrt-rtx builds for without a requested one or a GPU
PORTABLE_CAPABILITIES = ("8.0", "8.6", "8.9", "12.0", "12.1")


#: an INT8 tensor in the text of a plan, except scratch memory, which has that type in fp32 too
_INT8_TENSOR = re.compile(
    rb'\bname="(?!__scratch_space)[^"\x00]{0,200}"(?:(?!name=)[^\x00]){0,400}?\btype=int8\b'
)


@dataclass(frozen=True)
class Job:
    """What to build.

    Attributes:
        module: ``tensorrt`` or ``tensorrt_rtx``.
        onnx: ONNX file of the model, without function body.
        plan: file to write.
        plugin: plugin library; None for an engine that ends in the heads.
        plugin_version: version of the plugin that the DecodeNms node requires.
        attributes: names of the DecodeNms node's attributes that the plugin reads.
        input_shapes: smallest, optimal and largest shape of the input.
        options: build options by field name.
        gpu: compute capability of this machine's GPU, if it has one.
    """

    module: str
    onnx: str
    plan: str
    plugin: str | None
    plugin_version: str
    attributes: list[str]
    input_shapes: list[list[int]]
    options: dict[str, Any]
    gpu: str | None


def send(event: str, **values: Any) -> None:
    """Send an event to the parent; raises OSError if the parent is gone."""
    sys.stdout.write(f"{RECORD_SEPARATOR}{json_text({'event': event, **values})}\n")
    sys.stdout.flush()


def main(path: str) -> int:
    """Run the job in a file; return 0 if an engine was written, else 1."""
    job = Job(**json.loads(Path(path).read_text()))
    try:
        send("result", **build(job))
    except SsdSmallError as error:
        send("failed", kind=type(error).__name__, message=error.command_line)
        return 1
    return 0


def build(job: Job) -> dict[str, Any]:
    """Parse, build and write the plan; return what the sidecar records about it."""
    trt = importlib.import_module(job.module)
    severity = "VERBOSE" if job.options["verbose"] else "WARNING"
    logger = trt.Logger(getattr(trt.Logger, severity))
    if job.plugin is not None:
        creator = load_plugin(trt, Path(job.plugin), job.plugin_version)
        check_fields(creator, job.attributes)
    started = time.perf_counter()
    builder = _builder(trt, logger)
    network = builder.create_network(network_flags(trt))
    _parse(trt, network, logger, job)
    config = builder.create_builder_config()
    capabilities = _configure(trt, config, job)
    profile = builder.create_optimization_profile()
    profile.set_shape(network.get_input(0).name, *job.input_shapes)
    config.add_optimization_profile(profile)
    monitor = _monitor(trt)
    config.progress_monitor = monitor
    cache = _read_timing_cache(config, job)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise MissingRequirement(f"{job.module} {trt.__version__} could not build this network")
    content = memoryview(plan)
    seconds = time.perf_counter() - started
    _write(Path(job.plan), content)
    if cache is not None:
        write_bytes(Path(job.options["timing_cache_path"]), bytes(cache.serialize()))
    receipt = receipt_of_network(trt, network)
    return {
        "version": trt.__version__,
        "receipt": receipt | receipt_of_plan(content, receipt["weight_elements"]),
        "int8_convolutions": int8_convolutions(trt, network),
        "compute_capabilities": capabilities,
        "seconds": seconds,
    }


def network_flags(trt: Any) -> int:
    """Return create_network's flags for strong typing, by name, as their numbers change."""
    member = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    # versions without this flag have strong typing only
    return 0 if member is None else 1 << int(member)


def _builder(trt: Any, logger: Any) -> Any:
    try:
        return trt.Builder(logger)
    except Exception as error:  # pybind11 raises a TypeError of its own for a null factory
        raise MissingRequirement(
            f"{trt.__name__} {trt.__version__} cannot build on this machine, it needs an NVIDIA "
            "GPU and driver; use --target tensorrt-rtx with --compute-capability, which needs none"
        ) from error


def _parse(trt: Any, network: Any, logger: Any, job: Job) -> None:
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(Path(job.onnx).read_bytes()):
        errors = [str(parser.get_error(i)).strip() for i in range(parser.num_errors)]
        first = errors[0].splitlines()[0] if errors else "no reason given"
        raise BadFile(
            f"{job.module} {trt.__version__} cannot read this network: {first}; export it again "
            "with another --opset, or build with --target onnxruntime"
        )


def _configure(trt: Any, config: Any, job: Job) -> list[str]:
    """Apply the options; return the compute capabilities that the engine will run on."""
    options = job.options
    if not options["tf32"]:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options["version_compatible"]:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        # no allocation while the engine runs, which the runtime's CUDA graphs require
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    # the kind and types of each layer, for 'ssd-small inspect'
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options["optimization_level"] is not None:
        config.builder_optimization_level = options["optimization_level"]
    if options["workspace"] is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options["workspace"] << 20)
    if hasattr(trt, "ComputeCapability"):
        return _set_capabilities(trt, config, options["compute_capabilities"], job.gpu)
    return [job.gpu] if job.gpu else []


def _set_capabilities(trt: Any, config: Any, asked: list[str], gpu: str | None) -> list[str]:
    members = trt.ComputeCapability.__members__
    known = {f"{n[2:-1]}.{n[-1]}": m for n, m in members.items() if n.startswith("SM")}
    wanted = asked or ([gpu] if gpu else [c for c in PORTABLE_CAPABILITIES if c in known])
    for capability in wanted:
        if capability not in known:
            raise UsageError(
                f"compute capability {capability}: {trt.__name__} {trt.__version__} builds for "
                f"{', '.join(known)}; use --target tensorrt on a GPU of that kind"
            )
    if "7.5" in wanted and len(wanted) > 1:
        raise UsageError("compute capability 7.5 cannot share an engine: build one for it alone")
    config.num_compute_capabilities = len(wanted)
    for index, capability in enumerate(wanted):
        if not config.set_compute_capability(known[capability], index):
            raise UsageError(f"compute capability {capability} was refused by {trt.__name__}")
    return wanted


def _read_timing_cache(config: Any, job: Job) -> Any:
    path = job.options["timing_cache_path"]
    if path is None:
        return None
    content = read_bytes(Path(path), "a timing cache") if Path(path).exists() else b""
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        raise BadFile(
            f"timing cache {path} is of another GPU or version of TensorRT; name a new file"
        )
    return cache


def receipt_of_network(trt: Any, network: Any) -> dict[str, Any]:
    """Count a network's tensors by element type, and its weights.

    The network is strongly typed, so its types are those of the engine. Equal weights of two
    layers, as in the two paths of a dual-path network, count once: a plan holds them once.
    """
    tensors: Counter[str] = Counter()
    sizes: dict[bytes, int] = {}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for output in range(layer.num_outputs):
            tensors[layer.get_output(output).dtype.name] += 1
        sizes |= {sha256(array.data).digest(): int(array.size) for array in _weights(trt, layer)}
    return {
        "tensors": dict(sorted(tensors.items())),
        "half_share": half_share(tensors["HALF"], tensors["FLOAT"]),
        "weight_elements": sum(sizes.values()),
    }


def int8_convolutions(trt: Any, network: Any) -> int:
    """Count the convolutions whose input and weight both come from dequantize layers."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    dequantised = {
        layer.get_output(0).name for layer in layers if layer.type == trt.LayerType.DEQUANTIZE
    }
    convolutions = [layer for layer in layers if layer.type == trt.LayerType.CONVOLUTION]
    return sum(
        layer.num_inputs > 1 and {layer.get_input(i).name for i in (0, 1)} <= dequantised
        for layer in convolutions
    )


def receipt_of_plan(plan: bytes | memoryview, weights: int) -> dict[str, Any]:
    """Count the tensors by type that a plan lists (None if it does not), and its bytes per weight.

    There are about four bytes per weight in fp32 and two in fp16.
    A plan cannot be loaded without a GPU, but those of TensorRT-RTX 1.7 describe each tensor of
    the compiled network in text that ends in ``type=float``, ``type=half`` or ``type=int8``. This
    format is not documented: a plan without such text says nothing about its precision.
    """
    found = Counter(match.group(1) for match in re.finditer(rb"\btype=(half|float)\b", plan))
    listed = {name.upper(): found[name.encode()] for name in ("float", "half")}
    if low := sum(1 for _ in _INT8_TENSOR.finditer(plan)):
        listed["INT8"] = low
    return {
        "plan_tensors": listed if found else None,
        "plan_bytes_per_weight": round(len(plan) / weights, 2) if weights else None,
    }


def _weights(trt: Any, layer: Any) -> list[Any]:
    """Return the weights of a convolution or constant layer, as arrays on the network's memory."""
    if layer.type == trt.LayerType.CONVOLUTION:
        layer.__class__ = trt.IConvolutionLayer
        return [layer.kernel, layer.bias]
    if layer.type == trt.LayerType.CONSTANT:
        layer.__class__ = trt.IConstantLayer
        return [layer.weights]
    return []


def _write(path: Path, content: memoryview) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"the engine ({content.nbytes / 1e6:.0f} MB) cannot be written: "
            f"{error.strerror or error}; free space or choose another --output"
        ) from error


def _monitor(trt: Any) -> Any:
    """Make an IProgressMonitor that sends the phase, and how much of the outermost one is done."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()
            self.steps: dict[str, int] = {}
            self.root: str | None = None
            self.share = 0.0

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            with self.lock:
                self.steps[phase] = steps
                if parent is None:
                    self.root, self.share = phase, 0.0
                self._send(phase)

        def step_complete(self, phase: str, step: int) -> bool:
            with self.lock:
                if phase == self.root:
                    self.share = min(1.0, (step + 1) / max(1, self.steps[phase]))
                    return self._send(phase)
            return True

        def phase_finish(self, phase: str) -> None:
            with self.lock:
                self.steps.pop(phase, None)

        def _send(self, phase: str) -> bool:
            try:
                send("progress", phase=phase, share=self.share)
            except OSError:  # the parent is gone: stop the build
                return False
            return True

    return Monitor()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
