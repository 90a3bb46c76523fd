"""What an ONNX file or an engine says about itself: enough to use it without its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._version import __version__
from ..configs.network import NetworkConfig, network_config_to_dict
from ..errors import BadFile
from ..models.priors import priors_from_levels, priors_from_shifts
from ..models.shapes import levels_from_spec
from ..models.spec import ListedLevel, ModelSpec, NetworkLayers
from ..pictures.preprocessing import PictureInput, Preprocessing
from ..pictures.tile_grid import TileGrid
from ..postprocess import PostprocessParams
from ..postprocess.boxes import edges_from_scale
from ..postprocess.params import MAX_CLASSES, WHOLE
from .described_spec import network_of_spec
from .description_checks import check_description
from .labels import check_labels, default_labels
from .object_size import ObjectSize
from .operating_point import OperatingPoint
from .parts import (
    Levels,
    levels_from_fields,
    levels_to_list,
    network_from_fields,
    pictures_from_fields,
    postprocess_from_fields,
    preprocessing_from_fields,
    tiles_from_fields,
)
from .record import Fields, check_record, unknown_fields, with_unknown_fields
from .stored_priors import StoredPriors
from .strict_json import record_from_json
from .written_layers import layers_to_dict

#: newest version of the description; raised when a reader of the old one would go wrong. What one
#: of 1 can read is written as 1: 2 is for prior boxes that are listed, 3 for inputs of pictures, 4
#: for tiles inside, 5 for prior boxes as data, layers written out, pictures that are not stretched
#: in whole levels, and boxes that are clipped, 6 for pictures decoded at a fraction
DESCRIPTION_FORMAT = 6
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
        levels: prior boxes per feature map, with the maps' (rows, columns); none of a network
            whose prior boxes are data.
        clip: which prior coordinates are clamped.
        has_decode_nms: whether decode + NMS are inside (five outputs) or not (loc and conf).
        network: what the network is, if this version has no name for it: a configuration, or its
            layers written out; None for a named one.
        pictures: the input, if it takes pictures as they are and ``preprocessing`` is inside; None
            for an input of preprocessed float32.
        tiles: that the network cuts of what it is given, whose size ``preprocessing`` has then;
            None where it sees that whole.
        operating_point: score thresholds that an evaluation has found; None if none has.
        object_size: of the objects it has learned; None where that was not recorded.
        stored_priors: prior boxes as data, where no levels say them; None where ``levels`` do.
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
    network: NetworkConfig | NetworkLayers | None = None
    pictures: PictureInput | None = None
    tiles: TileGrid | None = None
    operating_point: OperatingPoint | None = None
    object_size: ObjectSize | None = None
    stored_priors: StoredPriors | None = None
    tool_version: str = __version__
    unknown: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def network_size(self) -> tuple[int, int]:
        """Height and width in pixels of what the network itself sees: a tile, or all."""
        if self.tiles is not None:
            return self.tiles.height, self.tiles.width
        return self.preprocessing.height, self.preprocessing.width

    @property
    def decoding(self) -> Preprocessing | None:
        """What picture files are decoded for; None for in full.

        A network that takes pictures of one size alone is given them as they are.
        """
        is_fixed = self.pictures is not None and self.pictures.size is not None
        return None if is_fixed else self.preprocessing

    @property
    def priors(self) -> npt.NDArray[np.float32]:
        """Prior boxes ``[P, 4]`` (cx, cy, w, h), unit square; of tiles inside: unit of a tile."""
        if self.stored_priors is not None:
            own = self.stored_priors.array
        else:
            own = priors_from_levels(self.levels, self.network_size, self.clip)
        return own if self.tiles is None else priors_from_shifts(own, self.tiles.shifts)

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Prior boxes of each feature level, of a tile; of all at once where no levels say them."""
        if self.stored_priors is not None:
            return (self.stored_priors.count,)
        return tuple(rows * columns * level.num_anchors for level, (rows, columns) in self.levels)

    @property
    def edges(self) -> tuple[float, float]:
        """Right and bottom edge of the picture in the unit of :attr:`priors`."""
        return WHOLE if self.tiles is None else edges_from_scale(self.tiles.box_scale)

    def label_name(self, label: int) -> str:
        """Name of a class index of the conf tensor."""
        background = self.postprocess.background_label
        return self.labels[label - (0 <= background < label)]

    def labels_named(self, name: str) -> list[int]:
        """Class indices of the conf tensor with this name."""
        background = self.postprocess.background_label
        detectable = (label for label in range(self.num_classes) if label != background)
        return [label for label in detectable if self.label_name(label) == name]

    def with_decode_nms(self, inside: bool, params: PostprocessParams | None = None) -> Description:
        """The same network with or without decode + NMS."""
        return replace(self, has_decode_nms=inside, postprocess=params or self.postprocess)

    @property
    def _oldest_format(self) -> int:
        """The oldest format whose readers understand this."""
        if self.preprocessing.reduced_decoding:
            return 6
        of_5 = (
            *(self.stored_priors is not None, isinstance(self.network, NetworkLayers)),
            *(not self.preprocessing.is_usual, self.postprocess.clip_boxes),
        )
        if any(of_5):
            return 5
        if self.tiles is not None:
            return 4
        if self.pictures is not None:
            return 3
        return 2 if any(isinstance(level, ListedLevel) for level, _ in self.levels) else 1

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; unknown fields that were read are written again."""
        own: dict[str, Any] = {
            "format": self._oldest_format,
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
        if isinstance(self.network, NetworkLayers):
            own["network_layers"] = layers_to_dict(self.network)
        elif self.network is not None:
            own["network"] = network_config_to_dict(self.network)
        if self.pictures is not None:
            own["input"] = self.pictures.to_dict()
        if self.tiles is not None:
            own["tiles"] = self.tiles.to_dict()
        if self.operating_point is not None:
            own["operating_point"] = self.operating_point.to_dict()
        if self.object_size is not None:
            own["object_size"] = self.object_size.to_dict()
        if self.stored_priors is not None:
            own["priors"] = self.stored_priors.to_dict()
        return with_unknown_fields(own, self.unknown)

    @classmethod
    def from_dict(cls, values: object, source: str | Path) -> Description:
        """Rebuild from :meth:`to_dict`.

        Raises:
            BadFile: written in a newer format, or a field is missing or wrong.
        """
        known = check_record(
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
                levels=levels_from_fields(fields.records("levels"), "priors" not in fields),
                clip=fields.text("clip", ("all", "size", "none")),
                has_decode_nms=fields.flag("has_decode_nms"),
                network=network_from_fields(fields, source),
                pictures=pictures_from_fields(fields.fields("input"))
                if "input" in fields
                else None,
                tiles=tiles_from_fields(fields.fields("tiles")) if "tiles" in fields else None,
                operating_point=OperatingPoint.from_fields(fields.fields("operating_point"))
                if "operating_point" in fields
                else None,
                object_size=ObjectSize.from_fields(fields.fields("object_size"))
                if "object_size" in fields
                else None,
                stored_priors=StoredPriors.from_fields(fields.fields("priors"))
                if "priors" in fields
                else None,
                tool_version=fields.text("tool_version"),
            )
            if known["format"] != description._oldest_format:
                raise ValueError(
                    f"format: got {known['format']}, expected {description._oldest_format}"
                )
            check_description(description)
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
                f"{source} is ONNX but was not written by 'ssd-small export', or another tool has "
                f"dropped its {METADATA_KEY!r} metadata, as graph-surgeon does; export the network "
                "with this tool, or pass build-engine a --description: what 'ssd-small inspect "
                "--json' prints of the original"
            )
        try:
            values = record_from_json(metadata[METADATA_KEY])
        except ValueError as error:
            raise BadFile(
                f"{source} holds a damaged description ({error}); export it again"
            ) from error
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
    object_size: ObjectSize | None = None,
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
        network=network_of_spec(spec),
        object_size=object_size,
    )
