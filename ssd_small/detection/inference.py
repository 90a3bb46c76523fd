"""A runtime together with the post-processing its outputs still need."""

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

#: of a runtime: those of the heads, or of decode + NMS inside of it
Outputs = HeadOutputs | list[Detections]


@dataclass
class Stopwatch:
    """Seconds spent per stage.

    Attributes:
        read: decoding files and converting arrays, summed over the threads that do it.
        preprocess: resizing and normalising, summed likewise.
        network: the engine; decode + NMS too, where they are inside it.
        decode_nms: decode + NMS outside of the engine.
    """

    read: float = 0.0
    preprocess: float = 0.0
    network: float = 0.0
    decode_nms: float = 0.0


@dataclass(frozen=True, eq=False)
class Inference:
    """Network input in, detections out, whichever runtime does it.

    Attributes:
        runtime: network or engine.
        params: post-processing of head outputs; must be the engine's own where decode + NMS are
            inside it.
        threads: CPU threads of decode + NMS outside of the engine; 0 for one per core.
        backend: of decode + NMS outside of the engine, see :func:`ssd_small.decode_nms`.
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
        """The same with a lower or higher threshold; only where decode + NMS are outside."""
        return replace(self, params=replace(self.params, score_threshold=score_threshold))

    def __call__(self, images: Images, spent: Stopwatch | None = None) -> list[Detections]:
        """Detect on network input, see :meth:`Runtime.infer`; one Detections per image.

        ``spent`` takes the seconds of the two stages.
        """
        spent = spent or Stopwatch()
        outputs, seconds = self.run(images)
        spent.network += seconds
        return self.detections_from_outputs(outputs, spent)

    def run(self, images: Images) -> tuple[Outputs, float]:
        """The first stage alone, and the seconds that it took."""
        with self.lock if self.runtime.instances == 1 else nullcontext():
            started = time.perf_counter()
            outputs = self.runtime.infer(images)
            return outputs, time.perf_counter() - started

    def detections_from_outputs(self, outputs: Outputs, spent: Stopwatch) -> list[Detections]:
        """The second stage, where the outputs need it; ``spent`` takes its seconds."""
        if not isinstance(outputs, HeadOutputs):
            return outputs
        started = time.perf_counter()
        detections = self.postprocess(outputs)
        spent.decode_nms += time.perf_counter() - started
        return detections

    def postprocess(self, heads: HeadOutputs) -> list[Detections]:
        """Decode + NMS of head outputs, one Detections per image."""
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
        """Decode + NMS of rows ``loc [R, 4]`` and ``conf [R, C]`` with priors of their own.

        ``edges`` are the picture's right and bottom one in the unit of the priors.
        """
        found = decode_nms(
            *(loc[None], conf[None], priors, params),
            edges=edges,
            backend=self.backend,
            num_threads=self.threads,
        )
        return found[0]


def _short(value: object) -> str:
    """A parameter in a message."""
    return f"{value:g}" if isinstance(value, float) else str(value)
