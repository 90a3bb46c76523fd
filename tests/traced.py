"""Networks traced to ONNX once for all tests, and all processes, of a run: it takes seconds."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from onnx import ModelProto
from ssd_small.export import to_onnx

from ssd_small.models.network import SsdNetwork

#: a context within which no network is traced twice
Traces = Callable[[], AbstractContextManager[None]]


@contextmanager
def traced_once(folder: Path) -> Iterator[None]:
    """Within it, what was traced before is read from ``folder``; all else of an export is done."""
    trace = to_onnx._trace

    def once(net: SsdNetwork, opset: int) -> ModelProto:
        path = folder / f"{_key_of(net, opset)}.onnx"
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                path.write_bytes(trace(net, opset).SerializeToString())
        return ModelProto.FromString(path.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(to_onnx, "_trace", once)
        yield


def _key_of(net: SsdNetwork, opset: int) -> str:
    """The same for the same network with the same weights."""
    digest = hashlib.sha256(f"{net.spec} {opset}".encode())
    for name, value in net.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
