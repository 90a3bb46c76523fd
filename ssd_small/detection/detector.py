"""A runtime together with the post-processing its outputs still need."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..postprocess import PostprocessParams, decode_nms
from ..postprocess.detections import Detections
from ..runtimes.base import HeadOutputs, Runtime


@dataclass
class Stopwatch:
    """Seconds spent per stage."""

    network: float = 0.0
    decode_nms: float = 0.0


@dataclass(frozen=True, eq=False)
class Detector:
    """Images in, detections out, whichever runtime does it.

    Attributes:
        runtime: network or engine.
        params: post-processing of head outputs; must be the engine's own where decode + NMS are
            inside it.
        threads: CPU threads of decode + NMS outside of the engine; 0 for one per core.
        spent: time per stage so far; what happens inside an engine counts as network.
    """

    runtime: Runtime
    params: PostprocessParams
    threads: int = 0
    spent: Stopwatch = field(default_factory=Stopwatch)
    _priors: npt.NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        description = self.runtime.description
        if description.has_decode_nms and self.params != description.postprocess:
            raise UsageError(
                "this engine has decode + NMS inside with other post-processing parameters "
                f"({description.postprocess}); export with the ones wanted, or build a heads "
                "engine (build-engine --heads), whose parameters are free"
            )
        object.__setattr__(self, "_priors", description.priors)

    def __call__(self, images: npt.NDArray[np.float32]) -> list[Detections]:
        """Detect on preprocessed ``images [N, 3, H, W]``; one Detections per image."""
        started = time.perf_counter()
        outputs = self.runtime.infer(images)
        ended = time.perf_counter()
        self.spent.network += ended - started
        if not isinstance(outputs, HeadOutputs):
            return outputs
        detections = decode_nms(
            outputs.loc, outputs.conf, self._priors, self.params, num_threads=self.threads
        )
        self.spent.decode_nms += time.perf_counter() - ended
        return detections
