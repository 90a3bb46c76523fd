"""What a large picture in tiles costs: the network on all of its tiles, and one NMS over them."""

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

#: tiles whose synthetic heads differ; those of further tiles are the same again
_DIFFERENT = 16


@dataclass(frozen=True)
class TiledPicture:
    """A picture whose tiles are timed.

    Attributes:
        tiling: how it is cut.
        size: its height and width in pixels.
        caps_grow: the caps of decode + NMS grow with its tiles.
    """

    tiling: Tiling
    size: tuple[int, int]
    caps_grow: bool = True

    @property
    def views(self) -> int:
        """Its tiles, and the whole if it is one more view."""
        return self.tiling.views(*self.size)

    def params(self, params: PostprocessParams) -> PostprocessParams:
        """Of decode + NMS of the picture, from those of a view."""
        return params.of_views(self.views) if self.caps_grow else params

    def to_dict(self) -> dict[str, object]:
        """JSON-ready: what a row of times is of."""
        columns, rows = self.tiling.grid(*self.size)
        return {
            **self.tiling.to_dict(),
            "picture_width": self.size[1],
            "picture_height": self.size[0],
            "tiles": columns * rows,
        }

    def stages(self, inference: Inference, batch: int) -> list[Callable[[], object]]:
        """What is timed: the network on batches of tiles, and decode + NMS of the picture.

        Heads of decode + NMS are synthetic, as those of single pictures are.
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
        """How many enter its NMS."""
        heads = self._heads(inference)
        pairs = zip(heads.loc, heads.conf, strict=True)
        counts = [candidates_of_image(loc, conf, inference.params) for loc, conf in pairs]
        return float(np.resize(counts, self.views).sum())

    def _heads(self, inference: Inference) -> HeadOutputs:
        description = inference.runtime.description
        number = min(self.views, _DIFFERENT)
        return HeadOutputs(*detector_heads(description.priors, description.num_classes, number))
