"""Prior boxes as data, for networks whose prior boxes follow no rule about feature levels.

A record holds the numbers themselves, bit-exact in single precision, with a digest, since nothing
else would reveal that one of them was changed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..postprocess.params import MAX_PRIORS
from .record import Fields

_NUMBERS = np.dtype("<f4")
#: in unit squares; far beyond any network's boxes
_MOST = 1e6


@dataclass(frozen=True)
class StoredPriors:
    """Prior boxes ``[P, 4]`` (cx, cy, w, h) in the unit square.

    Attributes:
        data: float32, little-endian, box by box.
    """

    data: bytes = field(repr=False)

    @classmethod
    def from_array(cls, priors_cxcywh: npt.ArrayLike) -> StoredPriors:
        """Store ``[P, 4]`` numbers, rounded to float32.

        Raises:
            ValueError: another shape or type, none or too many, not finite, or a negative side.
        """
        array = np.asarray(priors_cxcywh)
        if array.ndim != 2 or array.shape[1] != 4:
            raise ValueError(f"priors: got shape {list(array.shape)}, expected [P, 4]")
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"priors: got {array.dtype}, expected floating-point numbers")
        if not 1 <= len(array) <= MAX_PRIORS:
            raise ValueError(f"priors: got {len(array)}, expected 1 to {MAX_PRIORS}")
        wrong = np.flatnonzero(~(np.abs(array) <= _MOST).all(axis=1))
        if len(wrong):
            given = array[wrong[0]].tolist()
            raise ValueError(
                f"priors: box {wrong[0]} is {given}, expected finite numbers up to {_MOST:g}"
            )
        negative = np.flatnonzero((array[:, 2:] < 0).any(axis=1))
        if len(negative):
            given = array[negative[0]].tolist()
            raise ValueError(
                f"priors: box {negative[0]} is {given} and has a side below 0, expected cx, cy, w, "
                "h"
            )
        return cls(array.astype(_NUMBERS).tobytes())

    @property
    def array(self) -> npt.NDArray[np.float32]:
        """The boxes ``[P, 4]``, as a copy."""
        return np.frombuffer(self.data, _NUMBERS).astype(np.float32).reshape(-1, 4)

    @property
    def count(self) -> int:
        """Number of boxes."""
        return len(self.data) // (4 * _NUMBERS.itemsize)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "count": self.count,
            "float32": base64.b64encode(self.data).decode(),
            "sha256": hashlib.sha256(self.data).hexdigest(),
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> StoredPriors:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        count = fields.integer("count", 1, MAX_PRIORS)
        try:
            data = base64.b64decode(fields.text("float32"), validate=True)
        except binascii.Error as error:
            raise ValueError(f"priors.float32: {error}, expected base64") from error
        if len(data) != count * 4 * _NUMBERS.itemsize:
            raise ValueError(f"priors.float32: got {len(data)} bytes, expected those of {count}")
        if fields.text("sha256") != hashlib.sha256(data).hexdigest():
            raise ValueError("priors.sha256: got another digest than that of the numbers")
        return cls.from_array(np.frombuffer(data, _NUMBERS).reshape(-1, 4))
