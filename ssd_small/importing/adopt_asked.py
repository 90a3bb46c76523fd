"""What the user says about an adopted file, and what follows from it for the description."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..artefacts.preprocessing_file import read_preprocessing
from ..errors import UsageError, quoted
from ..models.registry import known_models
from ..pictures.preprocessing import Preprocessing
from ..postprocess import PostprocessParams
from .adopt_check import Scores
from .adopt_file import PicturesInput
from .adopt_heads import Layout

#: activation that DecodeNms must apply to each kind of scores
_ACTIVATIONS: dict[Scores, Any] = {
    "logits": "softmax",
    "sigmoid-logits": "sigmoid",
    "softmax": "none",
    "sigmoid": "none",
}
#: first lines by which a list of class names shows that it includes the background
_BACKGROUND = ("background", "__background__", "bg", "???")


@dataclass(frozen=True)
class Asked:
    """What is known about a file beyond its contents.

    Attributes:
        loc, conf: tensors of box offsets and class scores.
        priors: see :func:`~ssd_small.importing.adopt_priors.stored_priors`.
        labels: class names, without background.
        layout: order of the box offsets; None to derive it from the file.
        scores: what ``conf`` holds; None to derive it from the file.
        background: its column in ``conf``, -1 for none; None to derive it from the label count.
        preprocessing: file of preprocessing fields; those it lacks, or all if None, have the
            defaults: RGB from -1 to 1.
        params: of decode + NMS; activation and background follow from the rest.
        begin: tensor where the network begins, if the nodes before it are to be cut off.
        name: of the network.
        has_decode_nms: whether DecodeNms is appended to the heads.
    """

    loc: str
    conf: str
    priors: str
    labels: tuple[str, ...]
    layout: Layout | None = None
    scores: Scores | None = None
    background: int | None = None
    preprocessing: Path | None = None
    params: PostprocessParams = field(default_factory=PostprocessParams)
    begin: str | None = None
    name: str = "adopted"
    has_decode_nms: bool = True


def check_name(name: str) -> None:
    """Refuse the name of a network of this package, with UsageError."""
    if name in known_models():
        raise UsageError(
            f"--name {name}: a network of this package has that name; choose another one"
        )


def preprocessing_of(
    asked: Path | None, given: PicturesInput, path: Path, notes: list[str]
) -> Preprocessing:
    """How pictures become input, with the input size from the graph where that defines it.

    Raises:
        BadFile: the preprocessing file is damaged.
        UsageError: nothing defines the size, or two sources contradict each other.
    """
    sized = given.height is not None and given.width is not None
    middle, said = 127.5, "minus 127.5, divided by 127.5"
    if given.kind == np.uint8:
        middle, said = 0.0, "from 0 to 255, as the input is of uint8"
    own = Preprocessing(
        *((given.height or 1, given.width or 1) if sized else (1, 1)),
        color_order="RGB",
        mean=(middle, middle, middle),
        std=(middle or 1.0, middle or 1.0, middle or 1.0),
    )
    if asked is not None:
        return read_preprocessing(asked, own, sized=sized)
    if not sized:
        raise UsageError(
            f"{path} takes pictures of any size; pass --preprocessing FILE with height and width"
        )
    notes.append(f"--preprocessing is assumed: RGB, {said}")
    return own


def assumed_layout(given: PicturesInput, name: str, notes: list[str]) -> Layout:
    """The order of box offsets if it is not known: TensorFlow's networks have y first."""
    is_theirs = given.channels_last or "encoding" in name.lower()
    layout: Layout = "yxhw" if is_theirs else "xywh"
    why = "TensorFlow's networks have y before x" if is_theirs else "most have x before y"
    notes.append(f"--layout {layout} is assumed: {why}")
    return layout


def params_of(asked: Asked, scores: Scores, columns: int) -> PostprocessParams:
    """Parameters with the activation and background column that follow from the rest.

    Raises:
        UsageError: the number of labels does not fit the columns of ``conf``.
    """
    background = asked.background
    if background is None:
        background = 0 if len(asked.labels) == columns - 1 else -1
    if background == -1 and asked.background is None and len(asked.labels) == columns:
        first = asked.labels[0]
        if first.lower() in _BACKGROUND:
            raise UsageError(
                f"--labels begins with {quoted(first)}: leave the background's name out, or pass "
                "--background none if it is a class"
            )
    if len(asked.labels) not in (columns - 1, columns):
        raise UsageError(
            f"{len(asked.labels)} labels, and --conf has {columns} classes; expected {columns - 1} "
            f"names without the background, or {columns} where there is none"
        )
    activation = _ACTIVATIONS[scores]
    return replace(asked.params, activation=activation, background_label=background)
