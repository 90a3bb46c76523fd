"""The cost of a large picture in tiles: the network on all its tiles, and one NMS over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..detection.inference import Inference
from ..detection.merging import TileMerger
from ..pictures.tiles import Tiling
from ..postprocess import Detections, PostprocessParams
from ..postprocess.oracle import candidates_of_image
from ..postprocess.params import MAX_PRIORS
from ..runtimes.base import HeadOutputs
from .synthetic import detector_heads, network_input

#: number of tiles with different synthetic heads, which further tiles repeat
_DIFFERENT = 16


@dataclass(frozen=True)
class TiledPicture:
    """A picture whose tiles are timed.

    Attributes:
        tiling: how it is cut.
        size: its height and width in pixels.
        caps_grow: whether the caps of decode + NMS grow with its number of tiles.
    """

    tiling: Tiling
    size: tuple[int, int]
    caps_grow: bool = True

    @property
    def views(self) -> int:
        """Number of tiles, plus one if the whole picture is a view too."""
        return self.tiling.views(*self.size)

    def params(self, params: PostprocessParams) -> PostprocessParams:
        """Return the parameters of decode + NMS for the picture, from those for one view."""
        return params.of_views(self.views) if self.caps_grow else params

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready values that describe the picture and its tiles."""
        columns, rows = self.tiling.grid(*self.size)
        return {
            **self.tiling.to_dict(),
            "picture_width": self.size[1],
            "picture_height": self.size[0],
            "tiles": columns * rows,
        }

    def stages(self, inference: Inference, batch: int) -> list[Callable[[], object]]:
        """Return the stages to time: the network on batches of tiles, and decode + NMS.

        The heads for decode + NMS are synthetic, as for single pictures.
        """
        runtime = inference.runtime
        images = network_input(runtime.description, batch)
        heads, params = self._heads(inference), self.params(inference.params)
        priors = runtime.description.priors
        windows = list(self.tiling.windows(*self.size))

        def network() -> HeadOutputs:
            outputs = None
            for start in range(0, len(windows), batch):
                outputs = runtime.infer(images[: len(windows) - start])
            assert isinstance(outputs, HeadOutputs)
            return outputs

        def decode_nms() -> list[Detections]:
            merger = TileMerger(self.size, self.tiling, priors, params, MAX_PRIORS)
            for place, window in enumerate(windows):
                own = place % len(heads.loc)
                merger.add(heads.loc[own], heads.conf[own], window)
            return [merger.detections(inference.postprocess_rows)]

        return [network, decode_nms]

    def candidates(self, inference: Inference) -> float:
        """Return how many candidates enter the picture's NMS."""
        heads = self._heads(inference)
        pairs = zip(heads.loc, heads.conf, strict=True)
        counts = [candidates_of_image(loc, conf, inference.params) for loc, conf in pairs]
        return float(np.resize(counts, self.views).sum())

    def _heads(self, inference: Inference) -> HeadOutputs:
        description = inference.runtime.description
        number = min(self.views, _DIFFERENT)
        return HeadOutputs(*detector_heads(description.priors, description.num_classes, number))
