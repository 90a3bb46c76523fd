"""Execution contexts of an engine, with a captured graph for each input shape seen so far."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..artefacts.tensors import INPUT
from .cuda_device import CudaDevice, GpuError, OutOfGpuMemory
from .device_events import DeviceEvents, DeviceTimes
from .device_memory import DeviceMemory, Tensor
from .tensorrt_module import context_settings

#: input shapes kept ready at once, each with its context and graph
MOST_LANES = 64

Shape = tuple[int, ...]


class Contexts:
    """Creates, binds and launches the execution contexts of one engine.

    They run one after the other, so they share one scratch memory.
    """

    def __init__(self, trt: Any, engine: Any, log: Any, memory: DeviceMemory) -> None:
        self._engine, self._log = engine, log
        self._size = max(256, int(engine.device_memory_size_v2))
        self._scratch = memory.block(self._size)
        self._settings = context_settings(trt, engine)

    def new(self) -> Any:
        """Create a context that uses the shared scratch memory.

        Raises:
            OutOfGpuMemory: there is not enough memory for it.
        """
        context = self._engine.create_execution_context(self._settings)
        if context is None:
            raise OutOfGpuMemory(
                f"no execution context{self._log.last()}; free GPU memory, or build the engine "
                "with a smaller --max-batch"
            )
        context.set_device_memory(self._scratch, self._size)
        return context

    def bind(self, context: Any, shape: Shape, addresses: Mapping[str, int]) -> None:
        """Set the input's shape, and the GPU addresses of input and outputs.

        Raises:
            GpuError: TensorRT refused the shape or an address.
        """
        fine = context.set_input_shape(INPUT, shape)
        for name, address in addresses.items():
            fine = fine and context.set_tensor_address(name, address)
        try:
            fine = fine and not context.infer_shapes()
        except RuntimeError:  # how the bindings report an error other than a missing shape
            fine = False
        if not fine:
            raise GpuError(f"TensorRT refused a batch of {shape[0]}{self._log.last()}")

    def launch(self, context: Any, stream: int) -> None:
        """Enqueue the network.

        Raises:
            GpuError: the network could not be executed.
        """
        if not context.execute_async_v3(stream):
            raise GpuError(
                f"TensorRT could not execute the engine{self._log.last()}; open it again, or "
                "see 'nvidia-smi' for the state of the GPU"
            )

    def forget_errors(self) -> None:
        """Discard the log messages of a failure that has been dealt with."""
        self._log.last()


@dataclass(eq=False)
class _Lane:
    """Executes one input shape; once a graph is captured, its context must not change."""

    context: Any
    graph: int | None = None
    #: capturing failed, so it is executed without a graph from then on
    plain: bool = False


class Lanes:
    """Uploads, executes and downloads batches, with a separate lane for each input shape.

    Args:
        contexts: the engine's contexts.
        device: the GPU, which must be current in every call.
        tensors: memory of the input and of all outputs, by name.
        stream: the stream on which everything is enqueued.
        cuda_graph: replay a captured graph from a shape's second batch on.
    """

    def __init__(
        self,
        contexts: Contexts,
        device: CudaDevice,
        tensors: Mapping[str, Tensor],
        stream: int,
        *,
        cuda_graph: bool,
    ) -> None:
        self._contexts, self._device = contexts, device
        self._tensors, self._stream = tensors, stream
        self._cuda_graph = cuda_graph
        self._lanes: dict[Shape, _Lane] = {}
        self._events: DeviceEvents | None = None
        self._times = DeviceTimes()

    def watch(self, times: DeviceTimes | None) -> None:
        """Add the GPU times of batches to ``times`` from now on; None stops that.

        Graphs are captured again, with or without events in them.

        Raises:
            GpuError: events cannot be created or destroyed.
        """
        for lane in self._lanes.values():
            self._drop(lane)
            lane.graph = None
        events, self._events = self._events, None
        if events is not None:
            events.close()
        if times is not None:
            self._events, self._times = self._device.events(4), times

    def run(self, shape: Shape) -> None:
        """Execute the batch in the input's host memory, and wait for its outputs.

        Raises:
            GpuError: execution failed.
        """
        lane = self._lanes.pop(shape, None)
        if lane is None:
            while len(self._lanes) >= MOST_LANES:
                # the least recently used one is first
                self._drop(self._lanes.pop(next(iter(self._lanes))))
            # also executes this batch: the warm-up that capturing needs
            lane = self._new(shape)
        elif lane.graph is not None:
            self._device.launch(lane.graph, self._stream)
            self._wait()
        else:
            self._execute(lane.context, shape)
            self._wait()
            self._capture(lane, shape)
        self._lanes[shape] = lane

    def close(self) -> None:
        """Free graphs, contexts and events."""
        with suppress(GpuError):
            self.watch(None)
        self._lanes.clear()

    def _new(self, shape: Shape) -> _Lane:
        lane = _Lane(self._contexts.new())
        self._contexts.bind(lane.context, shape, {n: t.device for n, t in self._tensors.items()})
        self._execute(lane.context, shape)
        self._wait()
        self._capture(lane, shape)
        return lane

    def _drop(self, lane: _Lane) -> None:
        """Destroy a lane's graph; its context is freed with the last reference to it."""
        if lane.graph is not None:
            with suppress(GpuError):
                self._device.destroy_graph(lane.graph)

    def _execute(self, context: Any, shape: Shape) -> None:
        """Enqueue upload, network and downloads of one batch."""
        images = self._tensors[INPUT]
        size = images.first(shape).nbytes
        self._mark(0)
        self._device.upload(images.device, images.host, size, self._stream)
        self._mark(1)
        self._contexts.launch(context, self._stream)
        self._mark(2)
        for name, out in self._tensors.items():
            if name != INPUT:
                self._device.download(out.host, out.device, shape[0] * out.row, self._stream)
        self._mark(3)

    def _mark(self, place: int) -> None:
        if self._events is not None:
            self._events.record(place, self._stream)

    def _wait(self) -> None:
        """Wait for the enqueued batch, and add its times if watched."""
        self._device.synchronize(self._stream)
        if self._events is not None:
            self._times.add(*self._events.seconds())

    def _capture(self, lane: _Lane, shape: Shape) -> None:
        """Capture what :meth:`_execute` enqueues; if that fails, the lane runs without a graph.

        Raises:
            GpuError: the GPU does not respond after a failed capture.
        """
        if lane.plain or not self._cuda_graph:
            return
        # TensorRT-RTX may still be compiling for this shape: the next batch tries again
        ready = getattr(lane.context, "is_stream_capturable", None)
        if ready is not None and not ready(self._stream):
            return
        try:
            lane.graph = self._captured(lane.context, shape)
        except GpuError:
            # the work to capture has just been executed, so this batch is done, and the next is
            # executed in the same way; a lost GPU raises its error here
            lane.plain = True
            self._contexts.forget_errors()
            self._device.synchronize(self._stream)

    def _captured(self, context: Any, shape: Shape) -> int:
        self._device.begin_capture(self._stream)
        try:
            self._execute(context, shape)
        except BaseException:
            # a capture left open would swallow everything that follows
            with suppress(GpuError):
                self._device.destroy_graph(self._device.end_capture(self._stream))
            raise
        return self._device.end_capture(self._stream)
