"""What a runtime actually executes: layers by kind and by the precision of their arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: kinds of layers that compute nothing: their precision only says how values are stored
_MOVING = frozenset(
    {
        *("Cast", "Concat", "Concatenation", "Constant", "Convert", "Expand", "Flatten", "Gather"),
        *("Identity", "Reorder", "ReorderInput", "ReorderOutput", "Reshape", "Shape", "Slice"),
        *("Split", "Squeeze", "Transpose", "Unsqueeze", "StridedSlice", "ShapeOf"),
    }
)
#: precisions of arithmetic on the network's values; other integers are shapes and indices
_ARITHMETIC = ("fp32", "bf16", "fp16", "int8", "uint8")


@dataclass(frozen=True)
class Executed:
    """The layers that are executed.

    Attributes:
        layers: number of layers by kind (the runtime's name for it), then by precision.
    """

    layers: Mapping[str, Mapping[str, int]]

    @property
    def precisions(self) -> dict[str, int]:
        """Number of computing layers by precision, most frequent first."""
        counts: Counter[str] = Counter()
        for kind, of_kind in self.layers.items():
            if kind not in _MOVING:
                counts.update({name: of_kind[name] for name in _ARITHMETIC if name in of_kind})
        return dict(counts.most_common())

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready ``precisions`` and ``layers``."""
        return {
            "precisions": self.precisions,
            "layers": {kind: dict(counts) for kind, counts in self.layers.items()},
        }


def executed_from_counts(counts: Counter[tuple[str, str]]) -> Executed:
    """Make it from the number of layers by (kind, precision); most frequent kinds first."""
    layers: dict[str, dict[str, int]] = {}
    for (kind, precision), number in counts.most_common():
        layers.setdefault(kind, {})[precision] = number
    return Executed(layers)
