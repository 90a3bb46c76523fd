"""A strict stand-in for the module ``tensorrt_rtx`` whose engines are ONNX Runtime sessions.

Its "plans" are ONNX files. A DecodeNms node without a function body, which is the plugin's to
serve, is served by ``decode_nms``: that the plugin gives the same bits is the subject of
test_plugin_enqueue.py. The module holds what the runner uses and no more: another name is an
AttributeError. That the real module has the same classes, methods and parameters is the subject
of test_tensorrt_api.py.
Rules that TensorRT states and that are easy to break are enforced with :class:`Misuse`: shapes
before addresses are read, a context left alone once a graph holds it, scratch memory given.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np
import onnx
import onnxruntime
from cuda_double import OK, Cuda
from plugin_double import serve, take_plugin

#: what a batch takes on the clock of the GPU
SECONDS = 0.25
#: metadata of a "plan": smallest, optimal and largest batch
BATCHES = "batches"


class Misuse(AssertionError):
    """A rule of TensorRT was broken."""


class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class DataType(IntEnum):
    FLOAT = 0
    HALF = 1
    INT32 = 3
    UINT8 = 5


class EngineValidity(IntEnum):
    VALID = 0
    SUBOPTIMAL = 1
    INVALID = 2


class EngineInvalidityDiagnostics(IntEnum):
    VERSION_MISMATCH = 1
    UNSUPPORTED_CC = 2


class ExecutionContextAllocationStrategy(IntEnum):
    STATIC = 0
    USER_MANAGED = 2


class DynamicShapesKernelSpecializationStrategy(IntEnum):
    LAZY = 0
    EAGER = 1


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = range(3)

    def log(self, severity: int, msg: str) -> None:
        raise NotImplementedError


class Context:
    """IExecutionContext."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._cuda = engine, engine.module.cuda
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._scratch = 0
        self._flushed = False
        self._captured = False

    def set_device_memory(self, memory: int, size: int) -> None:
        self._unchanging()
        if size < self._engine.device_memory_size_v2:
            raise Misuse("too little device memory")
        if not self._cuda.holds(memory, size, self._cuda.device):
            raise Misuse("the device memory is not device memory")
        self._scratch = memory

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._unchanging()
        low, _, high = self._engine.get_tensor_profile_shape(name, 0)
        bounds = zip(low, shape, high, strict=True)
        if not all(least <= side <= most for least, side, most in bounds):
            self._engine.logger.log(ILogger.ERROR, f"shape {shape} is outside the profile")
            return False
        self._shapes[name], self._flushed = tuple(shape), False
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._unchanging()
        if name not in self._engine.names:
            return False
        self._addresses[name] = memory
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine.inputs if name not in self._shapes]

    def is_stream_capturable(self, stream: int) -> bool:
        return self._engine.module.capturable

    def execute_async_v3(self, stream_handle: int) -> bool:
        self._engine.module.executions += 1
        if self._engine.module.fail_execution:
            self._engine.logger.log(ILogger.ERROR, "enqueue failed\nsecond line")
            return False
        if self.infer_shapes() or set(self._addresses) != set(self._engine.names):
            raise Misuse("executed before shapes and addresses were set")
        if not self._scratch:
            raise Misuse("executed without device memory")
        capturing = stream_handle in self._cuda.captures
        if capturing and not self._flushed:
            raise Misuse("captured before a warm-up in this shape")
        self._captured = self._captured or capturing
        self._flushed = True
        shapes, addresses = dict(self._shapes), dict(self._addresses)
        status = self._cuda.enqueue(stream_handle, lambda: self._run(shapes, addresses))
        return bool(status == OK)

    def _run(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> None:
        nptype, kind = self._engine.module.nptype, self._engine.get_tensor_dtype
        feeds = {
            name: self._array(addresses[name], shape, nptype(kind(name))).copy()
            for name, shape in shapes.items()
        }
        self._cuda.clock += SECONDS
        # the network may write to its scratch memory
        ctypes.memset(self._scratch, 0xCD, self._engine.device_memory_size_v2)
        outputs = self._engine.names[len(self._engine.inputs) :]
        for name, value in zip(outputs, self._engine._infer(feeds), strict=True):
            self._array(addresses[name], value.shape, value.dtype)[...] = value

    def _array(self, pointer: int, shape: tuple[int, ...], dtype: Any) -> Any:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if not self._cuda.holds(pointer, size, self._cuda.device):
            raise Misuse(f"{size} bytes at {pointer:#x} are not device memory")
        block = (ctypes.c_uint8 * size).from_address(pointer)
        return np.frombuffer(block, dtype).reshape(shape)

    def _unchanging(self) -> None:
        if self._captured:
            raise Misuse("a context was changed that a graph was captured from")


class RuntimeConfig:
    """IRuntimeConfig."""

    def __init__(self) -> None:
        self.dynamic_shapes_kernel_specialization_strategy = 0
        self.strategy = ExecutionContextAllocationStrategy.STATIC

    def set_execution_context_allocation_strategy(
        self, strategy: ExecutionContextAllocationStrategy
    ) -> None:
        self.strategy = strategy


class EngineInspector:
    """EngineInspector."""

    def __init__(self, nodes: list[str]) -> None:
        self._nodes = nodes

    def get_engine_information(self, format: Any) -> str:
        assert format.name == "JSON"
        return json.dumps({"Layers": self._nodes})


class Engine:
    """ICudaEngine over an ONNX model."""

    device_memory_size_v2 = 4096

    def __init__(self, module: TensorRt, logger: ILogger, content: bytes) -> None:
        self.module, self.logger = module, logger
        model = onnx.load_model_from_string(content)
        self._values = [*model.graph.input, *model.graph.output]
        self._nodes = [node.name for node in model.graph.node]
        self.names = [module.rename.get(v.name, v.name) for v in self._values]
        self.inputs = self.names[: len(model.graph.input)]
        self.num_io_tensors = len(self.names)
        stored = {entry.key: entry.value for entry in model.metadata_props}
        self._batches = tuple(json.loads(stored.get(BATCHES, "null")) or module.batches)
        self._plugin = take_plugin(model)
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level, settings.intra_op_num_threads = 4, 1
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), settings, ["CPUExecutionProvider"]
        )

    def _infer(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        own = [value.name for value in self._values]
        given = {own[self.names.index(name)]: value for name, value in feeds.items()}
        outputs = self.session.run(None, given)
        if self.module.distort is not None:
            outputs[:2] = self.module.distort(*outputs[:2])
        if self._plugin is None:
            return outputs
        return serve(*outputs, *self._plugin)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        kind = self._values[self.names.index(name)].type.tensor_type.elem_type
        types = onnx.TensorProto
        return {
            types.FLOAT: DataType.FLOAT,
            types.FLOAT16: DataType.HALF,
            types.INT32: DataType.INT32,
            types.UINT8: DataType.UINT8,
        }[kind]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        dims = self._values[self.names.index(name)].type.tensor_type.shape.dim
        return (-1, *(dim.dim_value or -1 for dim in dims[1:]))

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert profile_index == 0
        rest = self.get_tensor_shape(name)[1:]
        sides = (1, self.module.largest_side, self.module.largest_side)
        return [
            (n, *(side if one == -1 else one for one in rest))
            for n, side in zip(self._batches, sides, strict=True)
        ]

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self._nodes)

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig()

    def create_execution_context(self, runtime_config: RuntimeConfig) -> Context | None:
        if runtime_config.strategy != ExecutionContextAllocationStrategy.USER_MANAGED:
            raise Misuse("scratch memory was meant to be shared")
        if len(self.module.contexts) >= self.module.max_contexts:
            self.logger.log(ILogger.ERROR, "out of memory")
            return None
        self.module.contexts.append(Context(self))
        return self.module.contexts[-1]


class TensorRt:
    """The module: ``TensorRt(cuda)`` stands in for ``tensorrt_rtx``."""

    __name__ = "tensorrt_double"
    __version__ = "1.7.1.116"
    TensorIOMode = TensorIOMode
    DataType = DataType
    EngineValidity = EngineValidity
    EngineInvalidityDiagnostics = EngineInvalidityDiagnostics
    ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy
    DynamicShapesKernelSpecializationStrategy = DynamicShapesKernelSpecializationStrategy
    ILogger = ILogger

    def __init__(self, cuda: Cuda, batches: tuple[int, int, int] = (1, 4, 4)) -> None:
        self.cuda, self.batches = cuda, batches
        self.rename: dict[str, str] = {}
        self.capturable = True
        #: of pictures, where an engine takes any size
        self.largest_side = 400
        self.host_code = False
        self.fail_execution = False
        self.max_contexts = 100
        self.contexts: list[Context] = []
        self.executions = 0
        self.diagnostics = 0
        #: changes loc and conf, or what stands in their places, before anybody sees them
        self.distort: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None
        self.distort = None
        module = self

        class Runtime:
            engine_host_code_allowed = False

            def __init__(self, logger: ILogger) -> None:
                self._logger = logger

            def get_engine_validity(self, buffer: bytes) -> tuple[EngineValidity, int]:
                invalid = module.diagnostics
                return (EngineValidity.INVALID if invalid else EngineValidity.VALID), invalid

            def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
                if serialized_engine[:4] == b"junk":
                    self._logger.log(ILogger.ERROR, "magic tag does not match")
                    return None
                if module.host_code and not self.engine_host_code_allowed:
                    self._logger.log(ILogger.ERROR, "host code is not allowed")
                    return None
                return Engine(module, self._logger, serialized_engine)

        self.Runtime = Runtime

    def nptype(self, trt_type: DataType) -> Any:
        kinds = {
            DataType.FLOAT: np.float32,
            DataType.HALF: np.float16,
            DataType.INT32: np.int32,
            DataType.UINT8: np.uint8,
        }
        return kinds[trt_type]
