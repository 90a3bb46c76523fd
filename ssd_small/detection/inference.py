"""A runtime together with the post-processing that its outputs still need."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..postprocess import Detections, PostprocessParams, decode_nms
from ..runtimes import HeadOutputs, Runtime
from ..runtimes.base import Images

if TYPE_CHECKING:
    from ..postprocess.dispatch import Backend

#: outputs of a runtime: those of the heads, or of decode + NMS inside it
Outputs = HeadOutputs | list[Detections]


@dataclass
class Stopwatch:
    """Seconds spent per stage.

    Attributes:
        read: decoding files and converting arrays, summed over the threads that do it.
        preprocess: resizing and normalising, summed likewise.
        network: the engine, including decode + NMS if they are inside it.
        decode_nms: decode + NMS outside the engine.
    """

    read: float = 0.0
    preprocess: float = 0.0
    network: float = 0.0
    decode_nms: float = 0.0


@dataclass(frozen=True, eq=False)
class Inference:
    """Network input in, detections out, with any runtime.

    Attributes:
        runtime: network or engine.
        params: post-processing of head outputs; must be the engine's own if decode + NMS are
            inside it.
        threads: CPU threads for decode + NMS outside the engine; 0 for one per core.
        backend: for decode + NMS outside the engine, see :func:`ssd_small.decode_nms`.
        lock: held while the runtime works, if it serves one thread at a time.
    """

    runtime: Runtime
    params: PostprocessParams
    threads: int = 0
    backend: Backend = "auto"
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _priors: npt.NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        description = self.runtime.description
        if self.is_bound and self.params != description.postprocess:
            own, asked = description.postprocess.to_dict(), self.params.to_dict()
            differences = (
                f"{name} {_short(own.get(name, False))}, not {_short(asked.get(name, False))}"
                for name in {**own, **asked}
                if own.get(name, False) != asked.get(name, False)
            )
            raise UsageError(
                "this engine has decode + NMS inside with other post-processing parameters "
                f"({'; '.join(differences)}); take the engine's own, export with the ones wanted, "
                "or build a heads engine (build-engine --heads), whose parameters are free"
            )
        object.__setattr__(self, "_priors", description.priors)

    @property
    def is_bound(self) -> bool:
        """Whether decode + NMS, and so their parameters, are inside the engine."""
        return self.runtime.description.has_decode_nms

    def with_score_threshold(self, score_threshold: float) -> Inference:
        """A copy with another threshold; only possible if decode + NMS are outside the engine."""
        return replace(self, params=replace(self.params, score_threshold=score_threshold))

    def __call__(self, images: Images, spent: Stopwatch | None = None) -> list[Detections]:
        """Detect objects in network input, see :meth:`Runtime.infer`; one Detections per image.

        The seconds of the two stages are added to ``spent``.
        """
        spent = spent or Stopwatch()
        outputs, seconds = self.run(images)
        spent.network += seconds
        return self.detections_from_outputs(outputs, spent)

    def run(self, images: Images) -> tuple[Outputs, float]:
        """Run the first stage alone; its outputs and the seconds it took."""
        with self.lock if self.runtime.instances == 1 else nullcontext():
            started = time.perf_counter()
            outputs = self.runtime.infer(images)
            return outputs, time.perf_counter() - started

    def detections_from_outputs(self, outputs: Outputs, spent: Stopwatch) -> list[Detections]:
        """Run the second stage if the outputs need it; its seconds are added to ``spent``."""
        if not isinstance(outputs, HeadOutputs):
            return outputs
        started = time.perf_counter()
        detections = self.postprocess(outputs)
        spent.decode_nms += time.perf_counter() - started
        return detections

    def postprocess(self, heads: HeadOutputs) -> list[Detections]:
        """Run decode + NMS on head outputs; one Detections per image."""
        found = decode_nms(
            heads.loc,
            heads.conf,
            self._priors,
            self.params,
            edges=self.runtime.description.edges,
            backend=self.backend,
            num_threads=self.threads,
        )
        tiles = self.runtime.description.tiles
        if tiles is None:
            return found
        return [replace(one, boxes=one.boxes * tiles.box_scale) for one in found]

    def postprocess_rows(
        self,
        loc: npt.NDArray[Any],
        conf: npt.NDArray[Any],
        priors: npt.NDArray[np.float32],
        params: PostprocessParams,
        edges: tuple[float, float],
    ) -> Detections:
        """Run decode + NMS on rows ``loc [R, 4]`` and ``conf [R, C]`` with the given priors.

        ``edges`` are the right and bottom edge of the picture in the unit of the priors.
        """
        found = decode_nms(
            *(loc[None], conf[None], priors, params),
            edges=edges,
            backend=self.backend,
            num_threads=self.threads,
        )
        return found[0]


def _short(value: object) -> str:
    """A parameter as shown in a message."""
    return f"{value:g}" if isinstance(value, float) else str(value)
