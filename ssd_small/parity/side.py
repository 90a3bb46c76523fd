"""One side of a comparison: the engine, or what it is compared with."""

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
        description: as in the file, with the file's own decode + NMS parameters in
            ``description.postprocess``.
        path: the file, or the name of a shipped checkpoint.
        source: what kind of file that is.
        params: decode + NMS parameters as they run here: thresholds, cuts and caps of the engine;
            variances, activation and background of the side's own file.
        tiling: how pictures are cut into tiles; None if they are not.
    """

    detector: Detector
    description: Description
    path: str
    source: Source
    params: PostprocessParams
    tiling: Tiling | None = None

    def params_of_picture(self, size: tuple[int, int]) -> PostprocessParams:
        """The parameters for a picture of (height, width) ``size``; caps grow with its tiles."""
        if self.tiling is None or not self.detector.caps_grow:
            return self.params
        return self.params.of_views(self.tiling.views(*size))

    @property
    def precision(self) -> str:
        """Precision in which the runtime executes, such as ``fp32``."""
        return self.detector.runtime.precision

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; ``recorded`` holds the file's own decode + NMS parameters."""
        return {
            "path": self.path,
            "source": self.source,
            "runtime": self.detector.runtime.name,
            "precision": self.precision,
            "model": self.description.model,
            "weights": self.description.weights,
            "recorded": self.description.postprocess.to_dict(),
        }
