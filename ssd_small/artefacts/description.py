"""What an ONNX file or an engine says about itself: enough to use it without its source."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._version import __version__
from ..errors import BadFile, UsageError
from ..models.priors import priors_from_levels
from ..models.shapes import levels_from_spec
from ..models.spec import ModelSpec
from ..pictures.preprocessing import Preprocessing
from ..postprocess import PostprocessParams
from ..postprocess.params import MAX_CLASSES
from .labels import default_labels
from .parts import (
    Levels,
    levels_from_fields,
    levels_to_list,
    postprocess_from_fields,
    preprocessing_from_fields,
)
from .record import Fields, check_format, unknown_fields, with_unknown_fields

#: version of the description; raised when a reader of the old one would go wrong
DESCRIPTION_FORMAT = 1
#: entry of an ONNX file's metadata that holds it
METADATA_KEY = "ssd_small"


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
        unknown: fields of a newer minor format, kept for whoever reads the file next.
    """

    model: str
    num_classes: int
    width: float
    labels: tuple[str, ...]
    weights: str
    preprocessing: Preprocessing
    postprocess: PostprocessParams
    levels: Levels
    clip: str
    has_decode_nms: bool
    tool_version: str = __version__
    unknown: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def priors(self) -> npt.NDArray[np.float32]:
        """Prior boxes ``[P, 4]`` (cx, cy, w, h), unit square."""
        size = (self.preprocessing.height, self.preprocessing.width)
        return priors_from_levels(self.levels, size, self.clip)

    def label_name(self, label: int) -> str:
        """Name of a class index of the conf tensor."""
        background = self.postprocess.background_label
        return self.labels[label - (0 <= background < label)]

    def labels_named(self, name: str) -> list[int]:
        """Class indices of the conf tensor with this name."""
        background = self.postprocess.background_label
        detectable = (label for label in range(self.num_classes) if label != background)
        return [label for label in detectable if self.label_name(label) == name]

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
        """JSON-ready form; unknown fields that were read are written again."""
        own: dict[str, Any] = {
            "format": DESCRIPTION_FORMAT,
            "tool_version": self.tool_version,
            "model": self.model,
            "num_classes": self.num_classes,
            "width": self.width,
            "labels": list(self.labels),
            "weights": self.weights,
            "preprocessing": self.preprocessing.to_dict(),
            "postprocess": self.postprocess.to_dict(),
            "levels": levels_to_list(self.levels),
            "clip": self.clip,
            "has_decode_nms": self.has_decode_nms,
        }
        return with_unknown_fields(own, self.unknown)

    @classmethod
    def from_dict(cls, values: object, source: str | Path) -> Description:
        """Rebuild from :meth:`to_dict`.

        Raises:
            BadFile: written in a newer format, or a field is missing or wrong.
        """
        known = check_format(
            values, "description", DESCRIPTION_FORMAT, source, "export the network again"
        )
        try:
            fields = Fields(known)
            description = cls(
                model=fields.text("model"),
                num_classes=fields.integer("num_classes", 1, MAX_CLASSES),
                width=fields.number("width", 0, 4),
                labels=fields.texts("labels"),
                weights=fields.text("weights"),
                preprocessing=preprocessing_from_fields(fields.fields("preprocessing")),
                postprocess=postprocess_from_fields(fields.fields("postprocess")),
                levels=levels_from_fields(fields.records("levels")),
                clip=fields.text("clip", ("all", "size", "none")),
                has_decode_nms=fields.flag("has_decode_nms"),
                tool_version=fields.text("tool_version"),
            )
            description._check()
        except ValueError as error:
            raise BadFile(
                f"{source} describes itself incompletely ({error}); export the network again"
            ) from error
        return replace(description, unknown=unknown_fields(known, description.to_dict()))

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str | Path) -> Description:
        """As :meth:`from_dict`, from the metadata of an ONNX file.

        Raises:
            BadFile: the file is not of this tool, or as :meth:`from_dict`.
        """
        if METADATA_KEY not in metadata:
            raise BadFile(
                f"{source} is ONNX but was not written by 'ssd-small export' (no {METADATA_KEY!r} "
                "metadata); export the network with this tool"
            )
        try:
            values = json.loads(metadata[METADATA_KEY])
        except (ValueError, RecursionError) as error:
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
    check_labels(names, num_classes, background)
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


def check_labels(names: Sequence[str], num_classes: int, background_label: int) -> None:
    """Refuse a number of class names that does not fit, with UsageError."""
    detectable = num_classes - (background_label >= 0)
    if len(names) != detectable:
        raise UsageError(
            f"{len(names)} labels for {num_classes} classes; expected {detectable}, one name per "
            "class without the background"
        )
