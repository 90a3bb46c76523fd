"""What INT8 is calibrated on, and how a sidecar records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import UsageError
from .build_record import name_from_path
from .record import Fields

Method = Literal["percentile", "minmax"]

#: largest number of pictures in a calibration
MOST_PICTURES = 1_000_000


@dataclass(frozen=True)
class Int8Options:
    """How a network is converted to INT8.

    Attributes:
        calibration: folder of pictures whose activations determine the ranges.
        count: how many of them are used, evenly spaced over the list; all if there are fewer.
        method: ``percentile`` leaves the rarest 0.001 % of a tensor's values out of its range,
            ``minmax`` none.
        max_drop: largest loss of mAP (0 to 1) allowed on ``annotations``; None for no limit.
        annotations: COCO-format ground truth of the pictures in ``calibration``.
    """

    calibration: Path
    count: int = 64
    method: Method = "percentile"
    max_drop: float | None = None
    annotations: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "calibration", Path(self.calibration))
        if self.annotations is not None:
            object.__setattr__(self, "annotations", Path(self.annotations))
        if not 1 <= self.count <= MOST_PICTURES:
            raise UsageError(f"calibration-count {self.count}: expected 1 to {MOST_PICTURES}")
        if self.method not in get_args(Method):
            raise UsageError(
                f"method {self.method!r}: expected one of {', '.join(get_args(Method))}"
            )
        if self.max_drop is not None and not 0 <= self.max_drop <= 1:
            raise UsageError(f"max-drop {self.max_drop}: expected mAP of 0 to 1")
        if (self.max_drop is None) != (self.annotations is None):
            given, missing = "--max-drop", "--annotations GT.json, of the calibration pictures"
            if self.max_drop is None:
                given, missing = "--annotations", "--max-drop, the mAP that may be lost on them"
            raise UsageError(f"{given} needs {missing}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, without options that were not given."""
        values = asdict(self) | {"calibration": name_from_path(self.calibration)}
        if self.max_drop is None or self.annotations is None:
            del values["max_drop"], values["annotations"]
        else:
            values["annotations"] = name_from_path(self.annotations)
        return values

    @classmethod
    def from_fields(cls, fields: Fields) -> Int8Options:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        return cls(
            Path(fields.text("calibration")),
            fields.integer("count", 1, MOST_PICTURES),
            fields.text("method", get_args(Method)),  # type: ignore[arg-type]
            fields.number("max_drop", 0, 1) if "max_drop" in fields else None,
            Path(fields.text("annotations")) if "annotations" in fields else None,
        )


@dataclass(frozen=True)
class Calibration:
    """What the ranges of an INT8 engine were calibrated on.

    Attributes:
        digest: SHA-256 (hexadecimal) of the concatenated picture files.
        count: number of pictures.
        method: see :class:`Int8Options`.
        map: mAP on the calibration annotations per precision, ``fp32`` and ``int8``; empty if it
            was not asked for.
    """

    digest: str
    count: int
    method: str
    map: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self) | {"map": dict(self.map)}

    @classmethod
    def from_fields(cls, fields: Fields) -> Calibration:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        scores = fields.fields("map")
        return cls(
            fields.text("digest"),
            fields.integer("count", 1, MOST_PICTURES),
            fields.text("method", get_args(Method)),
            {name: scores.number(name, 0, 1) for name in scores.names()},
        )
