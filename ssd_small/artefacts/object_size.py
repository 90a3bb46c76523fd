"""How large the objects were that a network has learned: what a useful size of tiles follows from.

It travels in the description: from a checkpoint to ONNX to an engine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .record import Fields

#: pixels; more than the side of any picture that is read
_LARGEST = 2.0**31
#: pixels; objects of less are none
_LEAST = 1e-6


@dataclass(frozen=True)
class ObjectSize:
    """Median side of the objects of the training pictures; a side is the square root of an area.

    Attributes:
        picture: in pixels of the training pictures (of their tiles, where it was tiles).
        network: in pixels of the network's input, to which these were resized.
    """

    picture: float
    network: float

    def to_dict(self) -> dict[str, float]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Fields) -> ObjectSize:
        """Read strictly; ValueError."""
        return cls(
            picture=fields.number("picture", _LEAST, _LARGEST),
            network=fields.number("network", _LEAST, _LARGEST),
        )
