"""Split one side of a comparison into stages that can be swapped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..artefacts.description import Description
from ..detection.detector import Detector
from ..postprocess import Detections, PostprocessParams
from ..runtimes import HeadOutputs
from ..runtimes.graph_files import model_from_file
from .engine_graph import EngineGraph, graph_from_model
from .head_stages import HeadStages, head_stages
from .picture_stages import PictureStages, Reader, picture_stages
from .side import Side

FloatArray = npt.NDArray[np.float32]
Heads = Callable[[FloatArray], tuple[FloatArray, FloatArray]]

#: parameters that belong to the NMS stage
_NMS = (
    *("score_threshold", "iou_threshold", "pixel_offset"),
    *("pre_nms_topk", "keep_topk_per_class", "keep_topk", "clip_boxes"),
)
#: number of priors used to tell columns of conf apart
_PRIORS = 512


@dataclass(frozen=True, eq=False)
class SideStages:
    """Everything that a side does, in pieces.

    Attributes:
        description: its description of itself.
        params: the decode + NMS parameters it claims to have.
        detector: runs it.
        graph: parts of an ONNX engine; None for others.
        heads: input ``[N, 3, height, width]`` to ``loc [N, P, 4]`` and ``conf [N, P, C]``; None
            if decode + NMS are inside and cannot be cut off.
    """

    description: Description
    params: PostprocessParams
    detector: Detector
    graph: EngineGraph | None
    heads: Heads | None

    def pictures(self, read: Reader | None) -> PictureStages:
        """The stages before the network."""
        return picture_stages(self.description.preprocessing, self.graph, read)

    def ends(self, conf: FloatArray, columns: npt.NDArray[np.intp] | None) -> HeadStages:
        """The stages after the network.

        Args:
            conf: ``[P, C]`` of a picture.
            columns: see :class:`~ssd_small.parity.head_stages.HeadStages`.
        """
        found = head_stages(self.description, self.params, self.graph, conf)
        return replace(found, columns=columns)

    def detect(self, inputs: FloatArray) -> list[Detections]:
        """Detections for network input, by a side without heads."""
        outputs = self.detector.runtime.infer(inputs)
        assert not isinstance(outputs, HeadOutputs)
        return outputs


def side_stages(side: Side, params: PostprocessParams, threads: int = 0) -> SideStages:
    """Split a side into its stages.

    Args:
        side: a detector and its file.
        params: decode + NMS parameters.
        threads: threads of ONNX Runtime for an ONNX engine; 0 for one per core.
    """
    description = side.description
    path = Path(side.path)
    model = None if side.source == "checkpoint" else model_from_file(path)
    graph = None if model is None else graph_from_model(model, description, threads)
    return SideStages(description, params, side.detector, graph, heads_of(side.detector, graph))


def heads_of(detector: Detector, graph: EngineGraph | None) -> Heads | None:
    """A function from network input to loc and conf; None if they are not available."""
    if graph is not None:
        part = graph.heads
        # a runtime that can execute parts itself does so; else ONNX Runtime does
        opener = getattr(detector.runtime, "open_part", None)
        run = None if opener is None else opener(part.model)

        def from_graph(inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
            loc, conf = part(inputs) if run is None else run({part.inputs[0]: inputs})
            return loc.astype(np.float32), conf.astype(np.float32)

        return from_graph
    if detector.description.has_decode_nms:
        return None

    def from_runtime(inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
        outputs = detector.runtime.infer(inputs)
        assert isinstance(outputs, HeadOutputs)
        heads = outputs.as_float32()
        return heads.loc, heads.conf

    return from_runtime


def permutation(conf: FloatArray, reference: FloatArray) -> npt.NDArray[np.intp] | None:
    """The reference's column that each column of conf equals; None if no other order is evident.

    Args:
        conf: ``[N, P, C]``.
        reference: ``[N, P, C]`` for the same input.
    """
    rows = reference.reshape(-1, reference.shape[2])
    other = conf.reshape(rows.shape)
    if not (np.isfinite(rows).all() and np.isfinite(other).all()):
        return None
    # priors where one class stands out distinguish the columns best
    picked = np.argsort(-np.ptp(rows, axis=1), kind="stable")[:_PRIORS]
    rows, other = rows[picked], other[picked]
    distances = np.stack(
        [np.abs(other - column[:, None]).mean(axis=0) for column in rows.T], axis=1
    )
    columns: npt.NDArray[np.intp] = np.argmin(distances, axis=1)
    own = np.arange(len(columns))
    if np.array_equal(columns, own) or len(set(columns.tolist())) != len(columns):
        return None
    # a merely faulty network is nowhere near any other order of its classes
    if distances[own, columns].sum() > distances[own, own].sum() / 10:
        return None
    return columns


def head_reasons(base: HeadStages, other: HeadStages) -> dict[str, str]:
    """How the other side differs after the network, by stage."""
    a, b = base.params, other.params
    reasons: dict[str, str] = {}
    if other.activation is not None:
        reasons["activation"] = "an activation of its own"
    elif a.activation != b.activation:
        reasons["activation"] = f"{b.activation}, not {a.activation}"
    if other.boxes is not None:
        reasons["decode_boxes"] = "boxes are computed in another way"
    elif a.variances != b.variances:
        told, found = (f"({one[0]:g}, {one[1]:g})" for one in (a.variances, b.variances))
        reasons["decode_boxes"] = f"variances {found}, not {told}"
    moved = np.flatnonzero(np.abs(base.priors - other.priors).max(axis=1) > 1e-5)
    if len(moved):
        reasons["priors"] = f"{len(moved)} of {len(base.priors)} priors are elsewhere"
    if other.columns is not None or (other.rules is not None and other.rules.labels is not None):
        reasons["labels"] = "classes stand in another order"
    elif a.background_label != b.background_label:
        reasons["labels"] = f"background {b.background_label}, not {a.background_label}"
    rules = [
        f"{name} {getattr(b, name):g}, not {getattr(a, name):g}"
        for name in _NMS
        if getattr(a, name) != getattr(b, name)
    ]
    rules += [] if other.rules is None else other.rules.faults
    if rules:
        reasons["nms"] = "; ".join(rules)
    return reasons
