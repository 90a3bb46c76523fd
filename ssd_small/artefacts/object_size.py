"""Size of the objects in a network's training data, from which a useful tile size follows.

It is part of the description, and so passes from a checkpoint to ONNX to an engine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .record import Fields

#: pixels; longer than the side of any picture that is read
_LARGEST = 2.0**31
#: pixels; anything smaller is not an object
_LEAST = 1e-6


@dataclass(frozen=True)
class ObjectSize:
    """Median side of the objects in the training pictures; a side is the square root of an area.

    Attributes:
        picture: in pixels of the training pictures, or of the tiles if it was trained on tiles.
        network: in pixels of the network's input, to which these were resized.
    """

    picture: float
    network: float

    def to_dict(self) -> dict[str, float]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Fields) -> ObjectSize:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        return cls(
            picture=fields.number("picture", _LEAST, _LARGEST),
            network=fields.number("network", _LEAST, _LARGEST),
        )
