"""What a runtime really executes: layers by kind and by the precision of their arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: kinds of layers that compute nothing: of them the precision says how values are kept, no more
_MOVING = frozenset(
    {
        *("Cast", "Concat", "Concatenation", "Constant", "Convert", "Expand", "Flatten", "Gather"),
        *("Identity", "Reorder", "ReorderInput", "ReorderOutput", "Reshape", "Shape", "Slice"),
        *("Split", "Squeeze", "Transpose", "Unsqueeze", "StridedSlice", "ShapeOf"),
    }
)
#: precisions of arithmetic on the network's values; integers besides are shapes and places
_ARITHMETIC = ("fp32", "bf16", "fp16", "int8", "uint8")


@dataclass(frozen=True)
class Executed:
    """The layers that are executed.

    Attributes:
        layers: number of layers by kind, as the runtime calls it, and by precision within it.
    """

    layers: Mapping[str, Mapping[str, int]]

    @property
    def precisions(self) -> dict[str, int]:
        """Number of layers that compute something by their precision, most first."""
        counts: Counter[str] = Counter()
        for kind, of_kind in self.layers.items():
            if kind not in _MOVING:
                counts.update({name: of_kind[name] for name in _ARITHMETIC if name in of_kind})
        return dict(counts.most_common())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``precisions`` and ``layers``."""
        return {
            "precisions": self.precisions,
            "layers": {kind: dict(counts) for kind, counts in self.layers.items()},
        }


def executed_from_counts(counts: Counter[tuple[str, str]]) -> Executed:
    """Of the number of layers by (kind, precision); kinds with most layers come first."""
    layers: dict[str, dict[str, int]] = {}
    for (kind, precision), number in counts.most_common():
        layers.setdefault(kind, {})[precision] = number
    return Executed(layers)
