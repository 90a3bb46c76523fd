"""Names, types and shapes of a network's inputs and outputs, defined once for all formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .description import Description

INPUT = "images"
HEADS = ("loc", "conf")
#: constants inside a network that takes pictures, and what messages call them
PREPROCESSING = {
    "pictures/mean": "means",
    "pictures/std": "deviations",
    "pictures/order": "order of channels",
    "pictures/rows/half": "height",
    "pictures/columns/half": "width",
}
#: in a network that takes pictures, the tensor between preprocessing and the network proper
BOUNDARY = "network_input"
#: in a network that cuts tiles, the tensor that holds them one by one, and its constants
TILES = "network_tiles"
TILE_ROWS, TILE_COLUMNS, BOX_SCALE = "tiles/rows", "tiles/columns", "tiles/box_scale"
#: outputs of the DecodeNms operator
DETECTIONS = ("num_detections", "boxes", "scores", "labels", "prior_indices")


@dataclass(frozen=True)
class Tensor:
    """One input or output of an ONNX file or engine.

    Attributes:
        name: as in the file.
        mode: ``input`` or ``output``.
        type: ``FLOAT``, ``FLOAT16``, ``INT32`` or ``UINT8``, as ONNX names them.
        shape: dimensions; ``"batch"``, ``"height"`` and ``"width"`` where they may vary.
    """

    name: str
    mode: str
    type: str
    shape: tuple[int | str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self) | {"shape": list(self.shape)}


def output_names(description: Description) -> tuple[str, ...]:
    """Output names of a network, in the operator's order."""
    return DETECTIONS if description.has_decode_nms else HEADS


def input_of(description: Description, batch: int | str = "batch") -> Tensor:
    """The input of a network as this package writes it."""
    size, pictures = description.preprocessing, description.pictures
    if pictures is None:
        return Tensor(INPUT, "input", "FLOAT", (batch, 3, size.height, size.width))
    sides = pictures.size or ("height", "width")
    return Tensor(INPUT, "input", "UINT8", (batch, *sides, 3))


def tensors_of(description: Description, batch: int | str = "batch") -> Sequence[Tensor]:
    """Input and outputs of a network as this package writes them."""
    priors, classes = len(description.priors), description.num_classes
    rows = description.postprocess.max_detections(priors, classes)
    outputs: dict[str, tuple[str, tuple[int, ...]]] = {
        "loc": ("FLOAT", (priors, 4)),
        "conf": ("FLOAT", (priors, classes)),
        "num_detections": ("INT32", ()),
        "boxes": ("FLOAT", (rows, 4)),
        "scores": ("FLOAT", (rows,)),
        "labels": ("INT32", (rows,)),
        "prior_indices": ("INT32", (rows,)),
    }
    return [input_of(description, batch)] + [
        Tensor(name, "output", kind, (batch, *shape))
        for name, (kind, shape) in ((n, outputs[n]) for n in output_names(description))
    ]
