"""One of the two that are compared: the engine, or what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..detection.detector import Detector
    from ..pictures.tiles import Tiling
    from ..postprocess import PostprocessParams

#: what a side was opened from
Source = Literal["engine", "ONNX file", "checkpoint"]


@dataclass(frozen=True, eq=False)
class Side:
    """A detector that runs under the common protocol, and what its file says.

    Attributes:
        detector: runs with ``params``; closed by whoever opened it.
        description: as the file has it, its own record of decode + NMS in
            ``description.postprocess``.
        path: the file, or the name of a shipped checkpoint.
        source: what kind of file that is.
        params: of decode + NMS as it runs here: thresholds, cuts and caps of the engine, the
            variances, the activation and the background of its own file.
        tiling: how pictures are cut; None for not.
    """

    detector: Detector
    description: Description
    path: str
    source: Source
    params: PostprocessParams
    tiling: Tiling | None = None

    def params_of_picture(self, size: tuple[int, int]) -> PostprocessParams:
        """With the caps of a picture of (height, width) ``size``, which grow with its tiles."""
        if self.tiling is None or not self.detector.caps_grow:
            return self.params
        return self.params.of_views(self.tiling.views(*size))

    @property
    def precision(self) -> str:
        """``fp32`` or ``fp16``."""
        return self.detector.runtime.precision

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; ``recorded`` is what the file itself says of decode + NMS."""
        return {
            "path": self.path,
            "source": self.source,
            "runtime": self.detector.runtime.name,
            "precision": self.precision,
            "model": self.description.model,
            "weights": self.description.weights,
            "recorded": self.description.postprocess.to_dict(),
        }
