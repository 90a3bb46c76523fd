"""Engines of TensorRT and TensorRT-RTX on a GPU, with one code path for both modules."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..artefacts.sidecar import Sidecar
from ..artefacts.tensors import INPUT, output_names
from ..errors import UsageError
from ..postprocess.detections import Detections, detections_from_padded
from ..requirements import require
from .base import BatchingRuntime, HeadOutputs, Images
from .cuda_device import CudaDevice, GpuError, open_device
from .device_events import DeviceTimes
from .device_memory import DeviceMemory, Tensor
from .tensorrt_engine import load_engine
from .tensorrt_lanes import Contexts, Lanes, Shape
from .tensorrt_module import MODULES, logger

#: required alignment of a tensor's address in bytes (``IExecutionContext::setTensorAddress``)
ALIGNMENT = 256


class TensorRtRuntime(BatchingRuntime):
    """Runs an engine written by ``build-engine --target tensorrt`` or ``tensorrt-rtx``.

    A runtime serves one thread at a time; for several threads, open one each.

    Args:
        path, sidecar: the engine.
        cuda_graph: after the first batch of each shape, replay a captured CUDA graph (with
            cuda-python; pycuda has none). A shape whose capture fails runs without a graph.
        device: the GPU; None for the first.
        content: content of the engine, if it was read together with its sidecar.

    Raises:
        MissingRequirement: driver, GPU, TensorRT or plugin is missing or does not fit the engine.
        BadFile: the engine cannot be read, or is not what its sidecar describes.
    """

    def __init__(
        self,
        path: Path,
        sidecar: Sidecar,
        *,
        cuda_graph: bool = True,
        device: CudaDevice | None = None,
        content: bytes | None = None,
    ) -> None:
        self._closed = True
        trt = require(MODULES[sidecar.target], "running this engine")
        self._device = device or open_device()
        self.device = "cuda"
        self.sidecar = sidecar
        self.description = sidecar.description
        self.precision = sidecar.precision
        self.min_batch, self.max_batch = sidecar.batch.min, sidecar.batch.max
        self.name = f"{sidecar.target} {trt.__version__}"
        self.cuda_graph = cuda_graph and self._device.can_capture
        self._trt = trt
        self._log = logger(trt)
        self._lock = threading.Lock()
        self._memory = DeviceMemory(self._device)
        self._outputs = output_names(self.description)
        self._lanes: Lanes | None = None
        self._contexts: Contexts | None = None
        self._tensors: dict[str, Tensor] = {}
        self._external: Any = None
        self._stream: int | None = None
        self._closed = False
        try:
            with self._device.active():
                self._open(path, content)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, content: bytes | None) -> None:
        self._runtime, self._engine = load_engine(self._trt, self._log, path, self.sidecar, content)
        self._stream = self._device.create_stream()
        self._contexts = Contexts(self._trt, self._engine, self._log, self._memory)
        # for pictures of any size, memory is allocated for the largest
        largest = tuple(self._engine.get_tensor_profile_shape(INPUT, 0)[2])
        for name in (INPUT, *self._outputs):
            shape = (largest if name == INPUT else tuple(self._engine.get_tensor_shape(name)))[1:]
            dtype = self._trt.nptype(self._engine.get_tensor_dtype(name))
            self._tensors[name] = self._memory.tensor(self.max_batch, shape, dtype)
        self._lanes = Lanes(
            self._contexts, self._device, self._tensors, self._stream, cuda_graph=self.cuda_graph
        )

    @property
    def engine(self) -> Any:
        """The vendor's engine object, while this runtime is open."""
        return self._engine

    def infer_batch(self, images: Images) -> HeadOutputs | list[Detections]:
        """See :class:`~ssd_small.runtimes.base.BatchingRuntime`.

        Raises:
            GpuError: execution failed; the runtime can no longer be used.
        """
        number, shape = len(images), images.shape
        with self._lock, self._device.active():
            self._check_open()
            assert self._lanes is not None
            np.copyto(self._tensors[INPUT].first(shape), images)
            self._lanes.run(shape)
            arrays = [self._tensors[name].array[:number] for name in self._outputs]
            if self.description.has_decode_nms:
                return detections_from_padded(*arrays)
            return HeadOutputs(*(np.array(array, np.float32) for array in arrays))

    @contextmanager
    def watched(self) -> Iterator[DeviceTimes]:
        """See :class:`~ssd_small.runtimes.base.Runtime`; measures with CUDA events.

        The first batch of each shape runs without a graph, as after opening.

        Raises:
            GpuError: events cannot be created.
        """
        times = DeviceTimes()
        self._watch(times)
        try:
            yield times
        finally:
            # a lost GPU is reported by the calls inside the block
            with suppress(GpuError, UsageError):
                self._watch(None)

    def _watch(self, times: DeviceTimes | None) -> None:
        with self._lock, self._device.active():
            self._check_open()
            assert self._lanes is not None
            self._lanes.watch(times)

    def check_picture(self, height: int, width: int) -> None:
        """See :class:`~ssd_small.runtimes.base.Runtime`; an engine has a largest picture size."""
        super().check_picture(height, width)
        if self.description.pictures is None:
            return
        _, most_height, most_width, _ = self._tensors[INPUT].array.shape
        if height > most_height or width > most_width:
            raise UsageError(
                f"a picture of {width}x{height} pixels; this engine takes at most "
                f"{most_width}x{most_height}: build it with --max-picture {width}x{height}"
            )

    def enqueue(
        self,
        batch: int,
        addresses: Mapping[str, int],
        stream: int,
        *,
        picture: tuple[int, int] | None = None,
    ) -> None:
        """Enqueue one batch on the caller's memory and stream, without any copy.

        Nothing is synchronised. The call uses the runtime's scratch memory, so :meth:`infer` or
        another stream must not use the same runtime at the same time.

        Args:
            batch: number of images, within the engine's range.
            addresses: device pointer by tensor name (``images`` and all outputs), such as
                ``tensor.data_ptr()`` of contiguous torch tensors of the engine's types. Each must
                be a multiple of 256 bytes, as ``IExecutionContext::setTensorAddress`` requires; a
                picture inside a batch seldom is.
            stream: stream handle, such as ``torch.cuda.current_stream().cuda_stream``.
            picture: height and width, for a network that takes pictures of any size.

        Raises:
            UsageError: a tensor is missing, unknown or not aligned, the batch is out of range, or
                ``picture`` is too large, missing or not expected.
            GpuError: TensorRT refused the batch or failed to execute it.
        """
        expected = {INPUT, *self._outputs}
        if set(addresses) != expected or not self.min_batch <= batch <= self.max_batch:
            raise UsageError(
                f"enqueue: batch {batch} with tensors {', '.join(sorted(addresses))}; expected "
                f"{self.min_batch} to {self.max_batch} with {', '.join(sorted(expected))}"
            )
        self._check_open()
        shape = self._enqueued_shape(batch, picture)
        for name, address in addresses.items():
            if address % ALIGNMENT:
                raise UsageError(
                    f"enqueue: {name} lies at {address:#x}; expected a multiple of {ALIGNMENT} "
                    "bytes, as TensorRT reads it: copy it to memory of its own (tensor.clone())"
                )
        with self._lock, self._device.active():
            self._check_open()
            assert self._contexts is not None
            if self._external is None:
                self._external = self._contexts.new()
            self._contexts.bind(self._external, shape, addresses)
            self._contexts.launch(self._external, stream)

    def _enqueued_shape(self, batch: int, picture: tuple[int, int] | None) -> Shape:
        pictures = self.description.pictures
        if (picture is not None) != (pictures is not None and pictures.size is None):
            raise UsageError(
                f"enqueue: picture {picture}; expected height and width for a network of pictures "
                "of any size, and None for any other"
            )
        if picture is None:
            return (batch, *self._tensors[INPUT].array.shape[1:])
        shape = (batch, *picture, 3)
        self.check_picture(*picture)
        return shape

    def close(self) -> None:
        """Free the engine; a second call has no effect, and a lost GPU raises no error."""
        if self._closed:
            return
        self._closed = True
        with ExitStack() as stack:
            # if this fails, what follows only frees the objects of this process
            with suppress(GpuError):
                stack.enter_context(self._device.active())
            self._give_back()

    def _give_back(self) -> None:
        """Free contexts before the engine, and the engine before its memory."""
        if self._stream is not None:
            with suppress(GpuError):
                self._device.synchronize(self._stream)
        if self._lanes is not None:
            self._lanes.close()
        self._external = self._lanes = self._contexts = None
        self._engine = self._runtime = None
        self._tensors.clear()
        self._memory.free()
        if self._stream is not None:
            with suppress(GpuError):
                self._device.destroy_stream(self._stream)
