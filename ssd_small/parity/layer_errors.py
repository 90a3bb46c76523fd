"""What a search for the first layer that moved has found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

#: JSON knows no infinity: the error of a layer that gives NaN or infinity
NOT_FINITE = float(np.finfo(np.float32).max)
#: pictures that INT8 convolutions are tried on, each as many times as there are convolutions
MOST_RANKED_ON = 2


@dataclass(frozen=True)
class LayerError:
    """How far an engine is off behind a layer.

    Attributes:
        name: of the node in the ONNX file; of nodes that an engine runs as one, of the convolution.
        operator: its operator in ONNX.
        error: largest difference of the layer's output from the reference's, as a share of that
            output's largest absolute value; ``NOT_FINITE`` where the engine gives NaN or infinity.
        growth: the error as a multiple of that of the layer that was looked at before this one, or
            of one rounding if that was less.
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
    """What a search for the first layer found.

    Attributes:
        first: the layer; None if each that was tried is within rounding.
        layers: those that were looked at, in the order of the network.
        cuts: how many times the network was cut.
        places: at how many places it could have been.
    """

    first: LayerError | None
    layers: tuple[LayerError, ...]
    cuts: int
    places: int

    def lines(self) -> list[str]:
        """For people: the layers in the order in which the error appears."""
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
