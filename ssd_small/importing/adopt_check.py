"""Compare their graph with ours on one picture, and find out what their heads hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from ..artefacts.tensors import HEADS, INPUT
from ..errors import BadFile, CheckFailed, SsdSmallError, UsageError
from ..evaluation.limits import HEAD_LIMITS
from ..postprocess.boxes import boxes_xyxy_from_loc
from .adopt_file import run_part
from .adopt_heads import SWAPPED, Layout

FloatArray = npt.NDArray[np.float32]
Scores = Literal["logits", "sigmoid-logits", "softmax", "sigmoid"]
#: how far a sum of probabilities may be from 1, in single (False) or half precision (True)
_SUM_ROUNDING = {False: 1e-4, True: 0.02}
#: unit-square tolerance for corners of the same box: theirs may be rounded to 0.01 pixels
_SAME_BOX = 1e-3


@dataclass(frozen=True)
class HeadsCheck:
    """Comparison of their heads with ours, on one picture.

    Attributes:
        bits: whether all numbers are identical.
        loc, conf: largest difference as a fraction of the largest value.
        batch: the same between our graph on two pictures at once and on each of them alone.
    """

    bits: bool
    loc: float
    conf: float
    batch: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self)

    def __str__(self) -> str:
        if self.bits:
            return "the same bits"
        return f"loc to {self.loc:.1g} and conf to {self.conf:.1g} of the largest value"


def compare_heads(
    model: ModelProto, images: FloatArray, theirs: Sequence[FloatArray], path: Path, precision: str
) -> HeadsCheck:
    """Run our graph on the picture that gave ``theirs``, alone and with its mirror image.

    Args:
        model: a network that ends in ``loc`` and ``conf``.
        images: ``[1, 3, H, W]`` float32, preprocessed.
        theirs: loc ``[1, P, 4]`` and conf ``[1, P, C]`` of their graph, in our form.
        path: their file, for messages.
        precision: fp16 or int8 if their graph computes in it.

    Raises:
        BadFile: it cannot process two pictures at once.
        CheckFailed: its output differs from theirs.
    """
    own = run_part(model, {INPUT: images}, path)
    differences = [_difference(*pair) for pair in zip(own, theirs, strict=True)]
    limit = HEAD_LIMITS[precision]
    if not np.max(differences) <= limit:
        worst = int(np.argmax(np.nan_to_num(differences, nan=np.inf)))
        raise CheckFailed(
            f"{path}: {HEADS[worst]} of the adopted graph differs from theirs by "
            f"{differences[worst]:.2g} of its largest value, and at most {limit:g} is expected; "
            "nothing is written"
        )
    mirrored = np.ascontiguousarray(images[..., ::-1])
    alone = run_part(model, {INPUT: mirrored}, path)
    try:
        both = run_part(model, {INPUT: np.concatenate([images, mirrored])}, path)
        apart = [np.concatenate(pair) for pair in zip(own, alone, strict=True)]
        batch = float(np.max([_difference(*pair) for pair in zip(both, apart, strict=True)]))
    except (BadFile, ValueError) as error:
        raise BadFile(
            f"{path} takes one number of pictures only ({_reason(error)}); export it with a batch "
            "of any size"
        ) from error
    if not batch <= limit:
        raise BadFile(
            f"{path} finds something else in a picture beside another one; export it with a batch "
            "of any size"
        )
    bits = all(np.array_equal(*pair) for pair in zip(own, theirs, strict=True))
    return HeadsCheck(bits, differences[0], differences[1], batch)


def _reason(error: Exception) -> str:
    text = error.message if isinstance(error, SsdSmallError) else str(error)
    return text.split(": ", 1)[-1]


def _difference(own: FloatArray, theirs: FloatArray) -> float:
    """Largest difference as a fraction of the largest value; ValueError if the shapes differ."""
    if own.shape != theirs.shape:
        raise ValueError(f"shape {list(own.shape)} where {list(theirs.shape)} was expected")
    scale = float(np.abs(theirs).max()) or 1.0
    return float(np.abs(own.astype(np.float64) - theirs).max()) / scale


def check_scores(conf: FloatArray, scores: Scores, name: str, *, is_half: bool) -> None:
    """Refuse numbers that cannot be the kind of scores they are said to be.

    Args:
        conf: ``[1, P, C]``, for one picture.
        scores: what they are said to be.
        name: of the tensor.
        is_half: whether they were computed in half precision.

    Raises:
        UsageError: says what they look like.
    """
    if not np.isfinite(conf).all():
        raise UsageError(f"--conf {name} holds numbers that are not finite; expected scores")
    sums, least, most = conf.sum(axis=2), float(conf.min()), float(conf.max())
    share = scores in ("softmax", "sigmoid")
    if share and not (least >= 0 and most <= 1):
        raise UsageError(
            f"--scores {scores}: {name} holds numbers from {least:.3g} to {most:.3g}, which are no "
            "probabilities; expected logits or sigmoid-logits"
        )
    sums_to_one = float(np.abs(sums - 1).max()) <= _SUM_ROUNDING[is_half]
    if scores == "softmax" and not sums_to_one:
        raise UsageError(
            f"--scores softmax: the classes of a prior box in {name} sum to {sums.min():.3g} to "
            f"{sums.max():.3g}, not to 1; expected sigmoid"
        )
    if not share and least >= 0 and sums_to_one:
        raise UsageError(
            f"--scores {scores}: the classes of a prior box in {name} sum to 1 and none is below "
            "0; expected softmax"
        )


def scores_from_graph(
    model: ModelProto, name: str, conf: FloatArray, layout: Layout
) -> tuple[Scores, str]:
    """What a tensor holds, judged by its numbers and by what their graph does with it; and why.

    Args:
        model: the whole graph.
        name: of the tensor.
        conf: ``[1, P, C]``, its values.
        layout: of the box offsets, which suggests TensorFlow if nothing else decides.
    """
    if conf.min() >= 0 and conf.max() <= 1:
        if float(np.abs(conf.sum(axis=2) - 1).max()) <= _SUM_ROUNDING[False]:
            return "softmax", "the classes of each prior box sum to 1"
        return "sigmoid", "its numbers lie from 0 to 1"
    waiting, seen = [name], {name}
    while waiting:
        current = waiting.pop(0)
        for node in model.graph.node:
            if current not in node.input:
                continue
            if node.op_type in ("Softmax", "Sigmoid"):
                kind: Scores = "logits" if node.op_type == "Softmax" else "sigmoid-logits"
                return kind, f"{node.op_type} follows it"
            if node.op_type in _ORDERING and not seen.issuperset(node.output):
                waiting += node.output
                seen.update(node.output)
    if layout == "yxhw":
        return "sigmoid-logits", "TensorFlow's detectors score by a sigmoid"
    return "logits", "nothing in the file tells"


_ORDERING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Cast", "Slice")


def boxes_found(
    outputs: Sequence[npt.NDArray[Any]],
    loc: FloatArray,
    priors: FloatArray,
    variances: tuple[float, float],
    size: tuple[int, int],
) -> dict[Layout, tuple[int, int]]:
    """How many of the boxes that their graph outputs are among those decoded from its heads.

    Args:
        outputs: of their whole graph, for one picture.
        loc: ``[1, P, 4]`` as their network computes it.
        priors: ``[P, 4]``.
        variances: of centres and sizes.
        size: height and width of the input in pixels, which may be the unit of their boxes.

    Returns:
        Number found and total number for each order of the numbers in ``loc``; empty if there are
        no boxes.
    """
    theirs = [one.reshape(-1, 4) for one in outputs if _are_boxes(one)]
    found: dict[Layout, tuple[int, int]] = {}
    if not theirs:
        return found
    # x1, y1, x2, y2 of all priors are compared with the corners of theirs, with x or y first
    given = np.concatenate(theirs).astype(np.float64)
    given = given[(given[:, 2:] > given[:, :2]).all(axis=1)][:_MOST_BOXES]
    if not len(given):
        return found
    height, width = size
    in_pixels = given.max() > 2
    orders: dict[Layout, list[int]] = {"xywh": [0, 1, 2, 3], "yxhw": list(SWAPPED)}
    for layout, order in orders.items():
        decoded = boxes_xyxy_from_loc(loc[0][:, order], priors, variances)
        decoded = np.concatenate([decoded, decoded.clip(0, 1)])
        counts = []
        for corners in ((0, 1, 2, 3), SWAPPED):
            boxes = given[:, list(corners)]
            boxes = boxes / np.array([width, height] * 2) if in_pixels else boxes
            near = [bool((np.abs(decoded - box).max(axis=1) < _SAME_BOX).any()) for box in boxes]
            counts.append(sum(near))
        found[layout] = (max(counts), len(given))
    return found


#: largest number of their boxes that are searched for
_MOST_BOXES = 100


def _are_boxes(output: npt.NDArray[Any]) -> bool:
    return output.dtype.kind == "f" and output.ndim in (2, 3) and output.shape[-1] == 4
