"""The result of a search for the first differing layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

#: error of a layer that gives NaN or infinity, since JSON has no infinity
NOT_FINITE = float(np.finfo(np.float32).max)
#: number of pictures on which INT8 convolutions are ranked; each is run once per convolution
MOST_RANKED_ON = 2


@dataclass(frozen=True)
class LayerError:
    """The error of an engine at the output of a layer.

    Attributes:
        name: the node's name in the ONNX file; for fused nodes, the name of the convolution.
        operator: its ONNX operator.
        error: largest difference of the layer's output from the reference's, relative to that
            output's largest absolute value; ``NOT_FINITE`` if the engine gives NaN or infinity.
        growth: the error as a multiple of the error at the previous layer examined, or of one
            rounding if that was less.
    """

    name: str
    operator: str
    error: float
    growth: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self)

    def text(self) -> str:
        """Error and growth for people."""
        if self.error == NOT_FINITE:
            return "NaN or infinity"
        return f"error {self.error:.2g}, {self.growth:.3g} times the one before"


@dataclass(frozen=True)
class Search:
    """The result of a search for the first differing layer.

    Attributes:
        first: that layer; None if every layer tried is within rounding.
        layers: the layers examined, in network order.
        cuts: how many times the network was cut.
        places: at how many places it could have been cut.
    """

    first: LayerError | None
    layers: tuple[LayerError, ...]
    cuts: int
    places: int

    def lines(self) -> list[str]:
        """Lines for people: the layers examined, in network order."""
        if not self.places:
            return ["layers: the two graphs have no tensor in common, so none can be compared"]
        told = f"layers ({self.cuts} cuts of {self.places} places)"
        if self.first is None:
            return [f"{told}: each within rounding of the reference"]
        names = max(len(one.name) for one in self.layers)
        return [f"{told}: the first that moved is {self.first.name}"] + [
            f"  {one.name:<{names}}  {one.operator:<10} {one.text()}"
            + ("  <-" if one == self.first else "")
            for one in self.layers
        ]
