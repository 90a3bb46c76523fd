"""What the user says of an adopted file, and what follows from it for the description."""

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

#: what DecodeNms has to do with each kind of scores
_ACTIVATIONS: dict[Scores, Any] = {
    "logits": "softmax",
    "sigmoid-logits": "sigmoid",
    "softmax": "none",
    "sigmoid": "none",
}
#: what the first line of a list of class names says that has the background in it
_BACKGROUND = ("background", "__background__", "bg", "???")


@dataclass(frozen=True)
class Asked:
    """What is known of a file beside what is in it.

    Attributes:
        loc, conf: tensors of box offsets and class scores.
        priors: see :func:`~ssd_small.importing.adopt_priors.stored_priors`.
        labels: class names, background left out.
        layout: order of the box offsets; None to be told from the file.
        scores: what ``conf`` holds; None likewise.
        background: its column in ``conf``, -1 for none; None by the number of labels.
        preprocessing: file of its fields, of which those that are not in it are RGB from -1 to 1;
            None for all of these.
        params: of decode + NMS; activation and background follow from the rest.
        begin: tensor where the network begins, if what makes it is to be left off.
        name: of the network.
        has_decode_nms: whether DecodeNms is put behind the heads.
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
    """Refuse a name that means a network of this package, with UsageError."""
    if name in known_models():
        raise UsageError(
            f"--name {name}: a network of this package has that name; choose another one"
        )


def preprocessing_of(
    asked: Path | None, given: PicturesInput, path: Path, notes: list[str]
) -> Preprocessing:
    """How pictures become input, whose size the graph says where it does.

    Raises:
        BadFile: the file that tells it is damaged.
        UsageError: nothing tells the size, or two things tell it otherwise.
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
    """The order of box offsets where it is not told: TensorFlow's have y first."""
    is_theirs = given.channels_last or "encoding" in name.lower()
    layout: Layout = "yxhw" if is_theirs else "xywh"
    why = "TensorFlow's networks have y before x" if is_theirs else "most have x before y"
    notes.append(f"--layout {layout} is assumed: {why}")
    return layout


def params_of(asked: Asked, scores: Scores, columns: int) -> PostprocessParams:
    """Parameters with the activation and background column that follow from the rest.

    Raises:
        UsageError: another number of labels than ``conf`` has columns for.
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
