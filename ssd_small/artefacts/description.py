"""What an ONNX file or engine says about itself, which is enough to use it without its source."""

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

#: newest version of the description, raised when older readers would misread it. Each file is
#: written in the oldest version that fits: 2 for prior boxes that are listed, 3 for inputs of
#: pictures, 4 for tiles inside, 5 for prior boxes as data, layers written out, resizing other than
#: stretching in whole levels, and clipped boxes, 6 for pictures decoded at a fraction
DESCRIPTION_FORMAT = 6
#: metadata key of an ONNX file under which the description is stored
METADATA_KEY = "ssd_small"


@dataclass(frozen=True)
class Description:
    """Description of a detector network, as artefacts carry it.

    Attributes:
        model: name of the network.
        num_classes: classes including background.
        width: channel multiplier.
        labels: one name per detectable class, in label order, without background.
        weights: hash or origin of the weights ("random" if there were none).
        preprocessing: how an image becomes network input.
        postprocess: parameters of decode + NMS, inside the artefact or meant for it.
        levels: prior boxes per feature map, with the maps' (rows, columns); empty if
            ``stored_priors`` holds the prior boxes.
        clip: which prior coordinates are clamped.
        has_decode_nms: whether decode + NMS are inside (five outputs) or not (loc and conf).
        network: configuration or layers of a network for which this version has no name; None for
            a named one.
        pictures: the input, if it takes pictures as they are, with ``preprocessing`` inside; None
            for an input of preprocessed float32.
        tiles: grid of tiles into which the network cuts its input, whose size is then that of
            ``preprocessing``; None if it sees the whole input.
        operating_point: score thresholds from an evaluation; None if there was none.
        object_size: size of the objects in its training data; None if it was not recorded.
        stored_priors: prior boxes as data, if no levels describe them; None if ``levels`` do.
        tool_version: version of this package that wrote it.
        unknown: fields of a newer minor format, kept for later readers of the file.
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
        """Height and width in pixels of what the network itself sees: a tile or the whole input."""
        if self.tiles is not None:
            return self.tiles.height, self.tiles.width
        return self.preprocessing.height, self.preprocessing.width

    @property
    def decoding(self) -> Preprocessing | None:
        """The preprocessing that picture files are decoded for; None to decode them in full.

        A network that takes pictures of one fixed size is given them as they are.
        """
        is_fixed = self.pictures is not None and self.pictures.size is not None
        return None if is_fixed else self.preprocessing

    @property
    def priors(self) -> npt.NDArray[np.float32]:
        """Prior boxes ``[P, 4]`` (cx, cy, w, h) in the unit square, or in units of a tile."""
        if self.stored_priors is not None:
            own = self.stored_priors.array
        else:
            own = priors_from_levels(self.levels, self.network_size, self.clip)
        return own if self.tiles is None else priors_from_shifts(own, self.tiles.shifts)

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Prior boxes per feature level, in one tile; one total if there are no levels."""
        if self.stored_priors is not None:
            return (self.stored_priors.count,)
        return tuple(rows * columns * level.num_anchors for level, (rows, columns) in self.levels)

    @property
    def edges(self) -> tuple[float, float]:
        """Right and bottom edges of the picture in the unit of :attr:`priors`."""
        return WHOLE if self.tiles is None else edges_from_scale(self.tiles.box_scale)

    def label_name(self, label: int) -> str:
        """Name of a class index of the conf tensor."""
        background = self.postprocess.background_label
        return self.labels[label - (0 <= background < label)]

    def labels_named(self, name: str) -> list[int]:
        """Class indices of the conf tensor that have this name."""
        background = self.postprocess.background_label
        detectable = (label for label in range(self.num_classes) if label != background)
        return [label for label in detectable if self.label_name(label) == name]

    def with_decode_nms(self, inside: bool, params: PostprocessParams | None = None) -> Description:
        """The same network with or without decode + NMS."""
        return replace(self, has_decode_nms=inside, postprocess=params or self.postprocess)

    @property
    def _oldest_format(self) -> int:
        """The oldest format whose readers understand this description."""
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
        """JSON-ready form, including unknown fields that were read."""
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
        """Like :meth:`from_dict`, but from the metadata of an ONNX file.

        Raises:
            BadFile: the file was not written by this tool, or as for :meth:`from_dict`.
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
