"""Loading a TensorRT engine and checking that it is the one its sidecar describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..artefacts.sidecar import Sidecar
from ..artefacts.tensors import INPUT, output_names
from ..errors import BadFile, MissingRequirement
from ..files import read_bytes
from .plugin_library import load_plugin, plugin_version
from .tensorrt_module import create_runtime, invalidity


def load_engine(
    trt: Any, log: Any, path: Path, sidecar: Sidecar, content: bytes | None = None
) -> tuple[Any, Any]:
    """Load the vendor's runtime and engine objects; the engine must be freed before the runtime.

    Args:
        trt: the module ``tensorrt`` or ``tensorrt_rtx``.
        log: its logger, see :func:`~ssd_small.runtimes.tensorrt_module.logger`.
        path, sidecar: the engine.
        content: content of the engine, if it was read together with its sidecar.

    Raises:
        MissingRequirement: there is no plugin, or the engine is not for this GPU or version.
        BadFile: the engine cannot be read, or is not what its sidecar describes.
    """
    if sidecar.description.has_decode_nms:
        load_plugin(trt, version=plugin_version(sidecar.description.postprocess))
    runtime = create_runtime(trt, log)
    if content is None:
        content = read_bytes(path, "an engine written by 'ssd-small build-engine'")
    fault = invalidity(trt, runtime, content)
    if fault:
        raise MissingRequirement(f"engine {path} cannot run here: {fault}")
    if sidecar.options.version_compatible:
        # such a plan contains a runtime of its version; the sidecar's hash has verified it
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise MissingRequirement(
            f"{sidecar.target} {trt.__version__} cannot load engine {path}, built with "
            f"{sidecar.target_version} for "
            f"{', '.join(sidecar.compute_capabilities) or 'another GPU'}{log.last()}; build it "
            "again on this machine, or see 'ssd-small doctor'"
        )
    _check_tensors(trt, engine, path, sidecar)
    return runtime, engine


def _check_tensors(trt: Any, engine: Any, path: Path, sidecar: Sidecar) -> None:
    """Check that the engine's tensor names, directions and batch range are its sidecar's."""
    mode = trt.TensorIOMode
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    found = {name: engine.get_tensor_mode(name) for name in names}
    outputs = output_names(sidecar.description)
    expected = {INPUT: mode.INPUT} | dict.fromkeys(outputs, mode.OUTPUT)
    if found != expected:
        raise BadFile(
            f"engine {path} has tensors {', '.join(names)}; expected {', '.join(expected)}: build "
            "it again"
        )
    low, _, high = engine.get_tensor_profile_shape(INPUT, 0)
    smallest, largest = sidecar.batch.min, sidecar.batch.max
    if (low[0], high[0]) != (smallest, largest):
        raise BadFile(
            f"engine {path} takes batches of {low[0]} to {high[0]}, but its sidecar says "
            f"{smallest} to {largest}; build it again"
        )
