"""Which layers of a network compute in INT8, as recorded in a receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .record import Fields

#: operators that show that a network is in INT8 already, by this tool or another
QUANTISED_OPERATORS = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
        *("QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger"),
    }
)


@dataclass(frozen=True)
class Quantised:
    """Which Conv nodes of a network compute in INT8: input and weight come from DequantizeLinear.

    Attributes:
        quantised: how many of them do.
        types: how many inputs and weights of all Conv nodes have each element type.
        kept_layers: reason for each node that stays in floating point, by its name.
    """

    quantised: int
    types: Mapping[str, int]
    kept_layers: Mapping[str, str]

    @property
    def kept(self) -> int:
        """How many Conv nodes stay in floating point."""
        return len(self.kept_layers)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, as a receipt holds them."""
        return {
            "quantised": self.quantised,
            "kept": self.kept,
            "types": dict(self.types),
            "kept_layers": dict(self.kept_layers),
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Quantised:
        """Read the fields strictly; ValueError if one is missing or wrong."""
        most = 1 << 62
        types, kept = fields.fields("types"), fields.fields("kept_layers")
        found = cls(
            fields.integer("quantised", 0, most),
            {name: types.integer(name, 0, most) for name in types.names()},
            {name: kept.text(name) for name in kept.names()},
        )
        if found.kept != fields.integer("kept", 0, most):
            raise ValueError(f"kept: got {fields.integer('kept', 0, most)} of {found.kept} layers")
        return found
