"""Execution contexts of an engine, and a captured graph for each shape of input that was seen."""

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

#: shapes of input that are kept ready at once; each has a context and a graph
MOST_LANES = 64

Shape = tuple[int, ...]


class Contexts:
    """Makes the execution contexts of one engine, binds and launches them.

    They run one after the other, so they share their scratch memory.
    """

    def __init__(self, trt: Any, engine: Any, log: Any, memory: DeviceMemory) -> None:
        self._engine, self._log = engine, log
        self._size = max(256, int(engine.device_memory_size_v2))
        self._scratch = memory.block(self._size)
        self._settings = context_settings(trt, engine)

    def new(self) -> Any:
        """A context over the shared scratch memory.

        Raises:
            OutOfGpuMemory: TensorRT has no memory for it.
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
        """Set the shape of the input, and where input and outputs lie on the GPU.

        Raises:
            GpuError: TensorRT refused.
        """
        fine = context.set_input_shape(INPUT, shape)
        for name, address in addresses.items():
            fine = fine and context.set_tensor_address(name, address)
        try:
            fine = fine and not context.infer_shapes()
        except RuntimeError:  # the bindings' word for an error, not for a missing shape
            fine = False
        if not fine:
            raise GpuError(f"TensorRT refused a batch of {shape[0]}{self._log.last()}")

    def launch(self, context: Any, stream: int) -> None:
        """Enqueue the network.

        Raises:
            GpuError: it could not be executed.
        """
        if not context.execute_async_v3(stream):
            raise GpuError(
                f"TensorRT could not execute the engine{self._log.last()}; open it again, or "
                "see 'nvidia-smi' for the state of the GPU"
            )

    def forget_errors(self) -> None:
        """Drop what was logged of a failure that has been dealt with."""
        self._log.last()


@dataclass(eq=False)
class _Lane:
    """What executes one shape of input; a captured graph forbids any change to its context."""

    context: Any
    graph: int | None = None
    #: a capture of it failed: executed without a graph from then on
    plain: bool = False


class Lanes:
    """Uploads, executes and downloads batches, each shape of input in a lane of its own.

    Args:
        contexts: of the engine.
        device: the GPU, which is current in every call.
        tensors: memory of the input and of all outputs, by name.
        stream: what everything is enqueued on.
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
        """Add what batches take on the GPU to ``times`` from here on; None: no more.

        Graphs are captured anew, with events in them or without.

        Raises:
            GpuError: there are no events to be had, or they cannot be given back.
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
        """Execute the batch that lies in the input's host memory, and wait for its outputs.

        Raises:
            GpuError: execution failed.
        """
        lane = self._lanes.pop(shape, None)
        if lane is None:
            while len(self._lanes) >= MOST_LANES:
                # the one used longest ago stands first
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
        """Give back graphs, contexts and events."""
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
        """Give the graph of a lane back; its context goes with the last name it has."""
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
        """For the batch that was enqueued, and count what it took."""
        self._device.synchronize(self._stream)
        if self._events is not None:
            self._times.add(*self._events.seconds())

    def _capture(self, lane: _Lane, shape: Shape) -> None:
        """Capture what :meth:`_execute` enqueues; without a graph if that cannot be done.

        Raises:
            GpuError: the GPU does not answer after a capture that failed.
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
            # what is to be captured has just been executed: the batch is done, and the next goes
            # the same way. A device that is lost says so here.
            lane.plain = True
            self._contexts.forget_errors()
            self._device.synchronize(self._stream)

    def _captured(self, context: Any, shape: Shape) -> int:
        self._device.begin_capture(self._stream)
        try:
            self._execute(context, shape)
        except BaseException:
            # a capture that is left open would swallow everything that follows
            with suppress(GpuError):
                self._device.destroy_graph(self._device.end_capture(self._stream))
            raise
        return self._device.end_capture(self._stream)
