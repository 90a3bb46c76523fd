"""What an ONNX file or an engine says about itself: enough to use it without its source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._version import __version__
from ..errors import BadFile, UsageError
from ..models.priors import priors_from_levels
from ..models.shapes import levels_from_spec
from ..models.spec import Level, ModelSpec
from ..pictures.preprocessing import Preprocessing
from ..postprocess import PostprocessParams
from .labels import default_labels

#: version of the description; raised when a reader of the old one would go wrong
DESCRIPTION_FORMAT = 1


@dataclass(frozen=True)
class Description:
    """A detector network as an artefact carries it.

    Attributes:
        model: name of the network.
        num_classes: classes including background.
        width: channel multiplier.
        labels: a name per class that can be detected, in label order, background left out.
        weights: hash or origin of the weights ("random" if there were none).
        preprocessing: how an image becomes network input.
        postprocess: parameters of decode + NMS, inside the artefact or meant for it.
        levels: prior boxes per feature map, with the maps' (rows, columns).
        clip: which prior coordinates are clamped.
        has_decode_nms: whether decode + NMS are inside (five outputs) or not (loc and conf).
        tool_version: version of this package that wrote it.
    """

    model: str
    num_classes: int
    width: float
    labels: tuple[str, ...]
    weights: str
    preprocessing: Preprocessing
    postprocess: PostprocessParams
    levels: tuple[tuple[Level, tuple[int, int]], ...]
    clip: str
    has_decode_nms: bool
    tool_version: str = __version__

    @property
    def priors(self) -> npt.NDArray[np.float32]:
        """Prior boxes ``[P, 4]`` (cx, cy, w, h), unit square."""
        size = (self.preprocessing.height, self.preprocessing.width)
        return priors_from_levels(self.levels, size, self.clip)

    def label_name(self, label: int) -> str:
        """Name of a class index of the conf tensor."""
        background = self.postprocess.background_label
        return self.labels[label - (0 <= background < label)]

    def _check(self) -> None:
        """Refuse what contradicts itself, with ValueError."""
        detectable = self.num_classes - (self.postprocess.background_label >= 0)
        if len(self.labels) != detectable:
            raise ValueError(f"{len(self.labels)} labels for {self.num_classes} classes")
        if not np.isfinite(self.priors).all():
            raise ValueError("prior boxes are not finite")

    def with_decode_nms(self, inside: bool, params: PostprocessParams | None = None) -> Description:
        """The same network with or without decode + NMS."""
        return replace(self, has_decode_nms=inside, postprocess=params or self.postprocess)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "format": DESCRIPTION_FORMAT,
            "tool_version": self.tool_version,
            "model": self.model,
            "num_classes": self.num_classes,
            "width": self.width,
            "labels": list(self.labels),
            "weights": self.weights,
            "preprocessing": self.preprocessing.to_dict(),
            "postprocess": self.postprocess.to_dict(),
            "levels": [
                {
                    "map": list(feature_map),
                    "step": level.step,
                    "sizes": list(level.sizes),
                    "aspect_ratios": list(level.aspect_ratios),
                }
                for level, feature_map in self.levels
            ],
            "clip": self.clip,
            "has_decode_nms": self.has_decode_nms,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str | Path) -> Description:
        """Rebuild from :meth:`to_dict`.

        Raises:
            BadFile: written in another format, or a field is missing or wrong.
        """
        if not isinstance(values, dict):
            raise BadFile(f"{source} holds a damaged description; export the network again")
        if values.get("format") != DESCRIPTION_FORMAT:
            raise BadFile(
                f"{source} describes itself in format {values.get('format')!r}; this version reads "
                f"format {DESCRIPTION_FORMAT}: export the network again"
            )
        try:
            description = cls(
                model=str(values["model"]),
                num_classes=int(values["num_classes"]),
                width=float(values["width"]),
                labels=tuple(str(name) for name in values["labels"]),
                weights=str(values["weights"]),
                preprocessing=Preprocessing.from_dict(values["preprocessing"]),
                postprocess=PostprocessParams.from_dict(values["postprocess"]),
                levels=tuple(
                    (
                        Level(v["step"], tuple(v["sizes"]), tuple(v["aspect_ratios"])),
                        (int(v["map"][0]), int(v["map"][1])),
                    )
                    for v in values["levels"]
                ),
                clip=str(values["clip"]),
                has_decode_nms=bool(values["has_decode_nms"]),
                tool_version=str(values["tool_version"]),
            )
            description._check()
            return description
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BadFile(
                f"{source} describes itself incompletely ({type(error).__name__}: {error}); "
                "export the network again"
            ) from error

    @classmethod
    def from_json(cls, text: str, source: str | Path) -> Description:
        """As :meth:`from_dict`, from the JSON text in an ONNX file."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise BadFile(f"{source} holds a damaged description; export it again") from error
        return cls.from_dict(values, source)


def description_from_spec(
    spec: ModelSpec,
    num_classes: int,
    width: float,
    *,
    labels: Sequence[str] | None = None,
    weights: str = "random",
    params: PostprocessParams | None = None,
    has_decode_nms: bool = False,
) -> Description:
    """The description of a network built from a spec.

    Raises:
        UsageError: the number of labels does not fit the number of classes.
    """
    background = spec.postprocess.background_label
    detectable = num_classes - (background >= 0)
    names = tuple(labels) if labels is not None else default_labels(detectable)
    if len(names) != detectable:
        raise UsageError(
            f"{len(names)} labels for {num_classes} classes; expected {detectable}, one name per "
            "class without the background"
        )
    return Description(
        model=spec.name,
        num_classes=num_classes,
        width=width,
        labels=names,
        weights=weights,
        preprocessing=spec.preprocessing,
        postprocess=params or spec.postprocess,
        levels=levels_from_spec(spec),
        clip=spec.clip,
        has_decode_nms=has_decode_nms,
    )
