"""Head outputs of each picture beside its detections, whatever the engine gives."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..artefacts.tensors import HEADS
from ..detection.detector import Detector
from ..requirements import require
from ..runtimes import HeadOutputs, Runtime
from ..runtimes.base import Images
from .side import Side

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..detection.pipeline import Outcome
    from ..postprocess import Detections

FloatArray = npt.NDArray[np.float32]
#: loc ``[P, 4]`` and conf ``[P, C]`` of a picture
Heads = tuple[FloatArray, FloatArray]


class _Recording:
    """A :class:`~ssd_small.runtimes.Runtime` that keeps the heads of what it was given.

    Attributes:
        heads: of each picture not yet asked for; None where they cannot be had.
    """

    def __init__(self, runtime: Runtime, cut: Runtime | None) -> None:
        self._runtime, self._cut = runtime, cut
        self.name, self.precision = runtime.name, runtime.precision
        self.description, self.device = runtime.description, runtime.device
        self.max_batch = runtime.max_batch
        self.heads: deque[Heads | None] = deque()

    def infer(self, images: Images) -> HeadOutputs | list[Detections]:
        """See :class:`~ssd_small.runtimes.Runtime`."""
        outputs = self._runtime.infer(images)
        heads = outputs
        if not isinstance(heads, HeadOutputs) and self._cut is not None:
            heads = self._cut.infer(images)
        if isinstance(heads, HeadOutputs):
            # as single precision, in which the intervals are computed
            loc, conf = (np.asarray(array, np.float32) for array in (heads.loc, heads.conf))
            self.heads += zip(loc, conf, strict=True)
        else:
            self.heads += [None] * len(images)
        return outputs

    def check_picture(self, height: int, width: int) -> None:
        """See :class:`~ssd_small.runtimes.Runtime`."""
        self._runtime.check_picture(height, width)

    def close(self) -> None:
        """The two runtimes are freed by who opened them."""

    def __enter__(self) -> _Recording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def outcomes_with_heads(
    side: Side, pictures: Iterable[Any], cut: Runtime | None
) -> Iterator[tuple[Outcome, Heads | None]]:
    """What a side makes of each picture, with its heads where they can be had.

    Args:
        side: network or engine.
        pictures: as a detector takes them.
        cut: the same network without decode + NMS (:func:`cut_runtime`), where they are inside.
    """
    own = side.detector
    recording = _Recording(own.runtime, cut)
    detector = Detector(
        recording,
        side.params,
        threads=own.inference.threads,
        max_batch=own.max_batch,
        workers=own.workers,
        max_pixels=own.max_pixels,
    )
    with closing(detector.outcomes(pictures)) as outcomes:  # type: ignore[type-var]
        for outcome, _ in outcomes:
            yield outcome, None if outcome.error is not None else recording.heads.popleft()


def cut_runtime(side: Side, threads: int = 0) -> Runtime | None:
    """The network of an engine of ONNX Runtime, or of an ONNX file, without decode + NMS.

    None where the heads are its outputs anyway, where another tool has taken their names, and for
    an engine that ONNX Runtime does not run.

    Raises:
        MissingRequirement: onnx is not installed.
    """
    runtime = side.detector.runtime
    if not runtime.description.has_decode_nms or not runtime.name.startswith("onnxruntime"):
        return None
    onnx = require("onnx", "the heads of an engine with decode + NMS inside")
    from ..artefacts.onnx_file import read_onnx
    from ..runtimes.onnxruntime import OnnxRuntimeRuntime

    path = Path(side.path)
    # an engine is a model that ONNX Runtime has rewritten, with operators of its own
    model = read_onnx(path)[0] if side.source == "ONNX file" else onnx.load(path)
    if not end_in_heads(model):
        return None
    return OnnxRuntimeRuntime.from_model(
        model.SerializeToString(),
        runtime.description.with_decode_nms(False),
        precision=runtime.precision,
        max_batch=runtime.max_batch,
        threads=threads,
        source=f"the network of {side.path} without decode + NMS",
    )


def end_in_heads(model: ModelProto) -> bool:
    """Make loc and conf the outputs of a model; False if no tensors of these names are inside."""
    from onnx import ValueInfoProto

    from ..artefacts.decode_nms import find_decode_nms
    from ..artefacts.onnx_file import drop_function
    from ..export.unused import drop_unused

    node = find_decode_nms(model)
    names = HEADS if node is None else tuple(node.input[:2])
    if not {name for one in model.graph.node for name in one.output}.issuperset(names):
        return False
    if node is not None:
        model.graph.node.remove(node)
    del model.graph.output[:]
    # without types, which ONNX Runtime infers, through operators of its own as well
    model.graph.output.extend(ValueInfoProto(name=name) for name in names)
    drop_unused(model)
    drop_function(model)
    return True
