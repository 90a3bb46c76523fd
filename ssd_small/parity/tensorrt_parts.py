"""Run parts of a network in TensorRT: built by the vendor's code, executed on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, helper, shape_inference

from ..artefacts.build_options import BuildOptions
from ..errors import MissingRequirement
from ..export.target_tensorrt import run_child, write_job
from ..files import read_bytes
from ..requirements import require
from ..runtimes.cuda_device import CudaDevice, GpuError, open_device
from ..runtimes.device_memory import DeviceMemory, Tensor
from ..runtimes.tensorrt_module import MODULES, context_settings, create_runtime, logger
from ..system.temporary import temporary_folder
from .first_layer import Run

Array = npt.NDArray[Any]


def with_shapes(model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> ModelProto:
    """A copy whose inputs have constant shapes, and whose outputs have the resulting shapes.

    TensorRT does not read a graph whose inputs have an unknown number of dimensions.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for value in graph.input:
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shapes[value.name]))
    names = [value.name for value in graph.output]
    known = shape_inference.infer_shapes(copy).graph
    found = {value.name: value for value in (*known.value_info, *known.output)}
    del graph.output[:]
    graph.output.extend(found[name] for name in names)
    return copy


def plan_from_part(
    model: ModelProto, shapes: Mapping[str, tuple[int, ...]], folder: Path, options: BuildOptions
) -> Path:
    """Build a part of a network for one shape of its inputs, and return the plan's file.

    Args:
        model: the part, see :func:`~ssd_small.runtimes.cuts.cut_model`; standard operators only.
        shapes: shapes of its inputs, with a first dimension of 1.
        folder: folder for the files of the build.
        options: target and other options that the whole engine was built with.

    Raises:
        MissingRequirement: the target cannot build here.
        BadFile: the target cannot read the part.
    """
    typed = with_shapes(model, shapes)
    plan = folder / "part.plan"
    # the only profile is for the first input; the shapes of the others are constant too
    first = list(shapes[typed.graph.input[0].name])
    job = write_job(folder, typed.SerializeToString(), plan, [first] * 3, options)
    run_child(job, folder, MODULES[options.target], lambda phase, share: None)
    return plan


class TensorRtParts:
    """Makes parts of a network executable on a GPU: an opener for :mod:`.first_layer`.

    So far tested only with test doubles of the vendor's libraries, not on a GPU.

    Args:
        options: build options of the engine that is searched; the batch becomes 1.
        device: the GPU; None for the first.
    """

    def __init__(self, options: BuildOptions, device: CudaDevice | None = None) -> None:
        self._options = BuildOptions(
            options.target,
            options.precision,
            max_batch=1,
            heads=True,
            compute_capabilities=options.compute_capabilities,
            optimization_level=options.optimization_level,
            tf32=options.tf32,
        )
        self._trt = require(MODULES[options.target], "comparing layers of this engine")
        self._device = device or open_device()
        self._log = logger(self._trt)

    def __call__(self, model: ModelProto) -> Run:
        """A function that runs a part: the first call builds it, each one frees GPU memory."""
        contents: list[bytes] = []

        def run(feeds: Mapping[str, Array]) -> list[Array]:
            given = {value.name: feeds[value.name] for value in model.graph.input}
            if not contents:
                with temporary_folder() as folder:
                    shapes = {name: array.shape for name, array in given.items()}
                    plan = plan_from_part(model, shapes, folder, self._options)
                    contents.append(read_bytes(plan, "a plan"))
            return self._execute(contents[0], given, [o.name for o in model.graph.output])

        return run

    def _execute(self, plan: bytes, feeds: Mapping[str, Array], outputs: list[str]) -> list[Array]:
        with ExitStack() as stack:
            stack.enter_context(self._device.active())
            runtime = create_runtime(self._trt, self._log)
            engine = runtime.deserialize_cuda_engine(plan)
            if engine is None:
                raise MissingRequirement(f"a part of the network cannot run{self._log.last()}")
            memory = DeviceMemory(self._device)
            stack.callback(memory.free)
            stream = self._device.create_stream()
            stack.callback(self._device.destroy_stream, stream)
            tensors = {name: self._tensor(memory, engine, name) for name in (*feeds, *outputs)}
            context = engine.create_execution_context(context_settings(self._trt, engine))
            if context is None:
                raise GpuError(f"no execution context{self._log.last()}; free GPU memory")
            size = max(256, int(engine.device_memory_size_v2))
            context.set_device_memory(memory.block(size), size)
            for name, array in feeds.items():
                np.copyto(tensors[name].array, array)
                context.set_input_shape(name, array.shape)
                self._device.upload(
                    tensors[name].device, tensors[name].host, tensors[name].row, stream
                )
            for name, tensor in tensors.items():
                context.set_tensor_address(name, tensor.device)
            if not context.execute_async_v3(stream):
                raise GpuError(f"TensorRT could not execute a part{self._log.last()}")
            for name in outputs:
                self._device.download(
                    tensors[name].host, tensors[name].device, tensors[name].row, stream
                )
            self._device.synchronize(stream)
            found = [tensors[name].array.copy() for name in outputs]
            # delete the context before the engine, and the engine before its memory
            del context, engine, runtime
            return found

    def _tensor(self, memory: DeviceMemory, engine: Any, name: str) -> Tensor:
        _, *rest = engine.get_tensor_shape(name)
        kind = self._trt.nptype(engine.get_tensor_dtype(name))
        return memory.tensor(1, tuple(rest), kind)
