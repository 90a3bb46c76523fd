"""The decode+NMS kernels through ctypes: on the CPU executor, or on a GPU where there is one.

Both libraries have the interface of ``kernels/tests/executor/device_run.h`` and are built by
CMake (``-DSSD_SMALL_BUILD_TESTS=ON``; the GPU one with ``-DSSD_SMALL_CUDA=ON``).
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from same_detections import checked_detections

from ssd_small.postprocess import PostprocessParams, native
from ssd_small.postprocess.detections import Detections
from ssd_small.postprocess.params import WHOLE

ROOT = Path(__file__).resolve().parents[2]


class Run(ctypes.Structure):
    """``struct ssd_small_device_run``."""

    _fields_ = (
        ("heads", ctypes.POINTER(native.Heads)),
        ("params", ctypes.POINTER(native.Params)),
        ("max_detections", ctypes.c_int32),
        ("shift", ctypes.c_int32),
        ("graph", ctypes.c_int32),
        ("plain", ctypes.c_int32),
        ("list_bytes", ctypes.c_uint64),
        ("num_detections", ctypes.c_void_p),
        ("boxes", ctypes.c_void_p),
        ("scores", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("prior_indices", ctypes.c_void_p),
    )


class Traffic(ctypes.Structure):
    """``ssd_executor_traffic_t`` of one buffer."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("bytes_read", "bytes_written", "sectors_read", "sectors_written", "atomics")
    )


@dataclass(frozen=True)
class Padded:
    """The five outputs of the operator, as the kernels left them."""

    num_detections: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    prior_indices: npt.NDArray[np.int32]

    def detections(self) -> list[Detections]:
        """One :class:`Detections` per image; the padding must be zero."""
        return checked_detections(*vars(self).values())


def library_path(kind: str) -> Path:
    """Where the library is: ``SSD_SMALL_EXECUTOR`` or ``SSD_SMALL_DEVICE_TESTS``, else build/."""
    variable, name = {
        "executor": ("SSD_SMALL_EXECUTOR", "libssd_small_executor.so"),
        "device": ("SSD_SMALL_DEVICE_TESTS", "libssd_small_device_tests.so"),
    }[kind]
    named = os.environ.get(variable)
    if named:
        return Path(named)
    # `make test-cpp` builds in build/tests, a plain cmake call wherever it was told to
    found = [*ROOT.glob(f"build/tests/lib/{name}"), *sorted(ROOT.glob(f"build*/lib/{name}"))]
    return found[0] if found else ROOT / "build" / "lib" / name


class KernelLibrary:
    """Runs the kernels of one library on host arrays."""

    def __init__(self, path: Path, kind: str) -> None:
        self.kind = kind
        self._library = ctypes.CDLL(str(path))
        self._library.ssd_small_device_workspace_bytes.restype = ctypes.c_size_t
        if kind == "executor":
            self._library.ssd_executor_seed.argtypes = [ctypes.c_uint64]
            self._library.ssd_executor_fault.restype = ctypes.c_char_p
            self._library.ssd_executor_launch.restype = ctypes.c_char_p

    @property
    def traces(self) -> bool:
        """Whether accesses are counted and checked: on the executor, not under AddressSanitizer."""
        return self.kind == "executor" and bool(self._library.ssd_executor_traces())

    def device_count(self) -> int:
        """Devices that can run the kernels."""
        return int(self._library.ssd_small_device_count())

    def __call__(
        self,
        loc: npt.NDArray[Any],
        conf: npt.NDArray[Any],
        priors: npt.NDArray[np.float32],
        params: PostprocessParams,
        *,
        seed: int = 0,
        shift: int = 0,
        graph: bool = False,
        plain: bool = False,
        extra_rows: int = 0,
        list_bytes: int = 0,
        edges: tuple[float, float] = WHOLE,
    ) -> Padded:
        """Run once; on the executor any fault fails.

        ``plain``: no kernel overlaps another. ``list_bytes``: 0 takes the default.
        """
        run, outputs, _keep = self._prepare(loc, conf, priors, params, extra_rows, edges)
        run.shift, run.graph, run.plain, run.list_bytes = shift, int(graph), int(plain), list_bytes
        if self.kind == "executor":
            self._library.ssd_executor_reset()
            self._library.ssd_executor_seed(seed)
        message = ctypes.create_string_buffer(256)
        error = self._library.ssd_small_device_decode_nms(ctypes.byref(run), message, 256)
        faults = self.faults()
        assert not faults, "\n".join(faults[:8])
        assert error == 0, f"error {error}: {message.value.decode()}"
        return outputs

    def _prepare(
        self,
        loc: npt.NDArray[Any],
        conf: npt.NDArray[Any],
        priors: npt.NDArray[np.float32],
        params: PostprocessParams,
        extra_rows: int = 0,
        edges: tuple[float, float] = WHOLE,
    ) -> tuple[Run, Padded, list[npt.NDArray[Any]]]:
        batch, num_priors, num_classes = conf.shape
        rows = params.max_detections(num_priors, num_classes) + extra_rows
        outputs = Padded(
            np.full(batch, 77, np.int32),
            np.full((batch, rows, 4), 77, np.float32),
            np.full((batch, rows), 77, np.float32),
            np.full((batch, rows), 77, np.int32),
            np.full((batch, rows), 77, np.int32),
        )
        keep = [np.ascontiguousarray(a) for a in (loc, conf, np.asarray(priors, np.float32))]
        run = Run(
            heads=ctypes.pointer(native.heads_from(*keep)),
            params=ctypes.pointer(native.params_from(params, edges)),
            max_detections=rows,
            num_detections=outputs.num_detections.ctypes.data,
            boxes=outputs.boxes.ctypes.data,
            scores=outputs.scores.ctypes.data,
            labels=outputs.labels.ctypes.data,
            prior_indices=outputs.prior_indices.ctypes.data,
        )
        return run, outputs, keep

    def workspace_bytes(
        self,
        loc: npt.NDArray[Any],
        conf: npt.NDArray[Any],
        priors: npt.NDArray[np.float32],
        params: PostprocessParams,
        list_bytes: int = 0,
    ) -> int:
        """Workspace that these heads need."""
        run, _outputs, _keep = self._prepare(loc[:0], conf[:0], priors, params)
        run.heads.contents.batch = len(conf)
        run.list_bytes = list_bytes
        return int(self._library.ssd_small_device_workspace_bytes(ctypes.byref(run)))

    def time_us(
        self,
        loc: npt.NDArray[Any],
        conf: npt.NDArray[Any],
        priors: npt.NDArray[np.float32],
        params: PostprocessParams,
        repeats: int = 200,
    ) -> float:
        """Mean microseconds of one launch on a GPU (CUDA events, back to back)."""
        run, _outputs, _keep = self._prepare(loc, conf, priors, params)
        microseconds = ctypes.c_float()
        error = self._library.ssd_small_device_time(
            ctypes.byref(run), repeats, ctypes.byref(microseconds)
        )
        assert error == 0, f"error {error}"
        return microseconds.value

    def faults(self) -> list[str]:
        """Faults of the last run (executor)."""
        if self.kind != "executor":
            return []
        count = min(64, self._library.ssd_executor_fault_count())
        return [self._library.ssd_executor_fault(i).decode() for i in range(count)]

    def traffic(self, buffer: str) -> Traffic:
        """Traffic of the last run (executor): conf, loc, priors, workspace, boxes, ..."""
        traffic = Traffic()
        assert self._library.ssd_executor_traffic(buffer.encode(), ctypes.byref(traffic)) == 0
        return traffic

    def launches(self) -> list[str]:
        """``"name blocks threads shared-bytes"`` of each launch of the last run (executor)."""
        count = self._library.ssd_executor_launch_count()
        return [self._library.ssd_executor_launch(i).decode() for i in range(count)]


@lru_cache(None)
def load(kind: str) -> KernelLibrary | None:
    """The library of that kind, or None where it is not built or has no device."""
    path = library_path(kind)
    if not path.exists():
        return None
    library = KernelLibrary(path, kind)
    return library if library.device_count() > 0 else None
