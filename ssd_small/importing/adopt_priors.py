"""The prior boxes of an adopted network: from a file, from its own graph, or of a network here."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..artefacts.stored_priors import StoredPriors
from ..errors import BadFile, UsageError, quoted
from ..files import read_bytes
from ..models.priors import priors_from_spec
from ..models.registry import get_spec, known_models
from ..postprocess.params import MAX_PRIORS
from .adopt_heads import SWAPPED, Layout

FloatArray = npt.NDArray[np.floating[Any]]
INITIALIZER, FROM_SPEC = "initializer:", "from-spec"
_EXPECTED = "an array [P, 4] of floating-point numbers (cx, cy, w, h) in NumPy's .npy format"
_MOST_BYTES = 1 << 20 | 4 * 8 * MAX_PRIORS


def stored_priors(
    asked: str,
    count: int,
    size: tuple[int, int],
    layout: Layout,
    tensor: Callable[[str], FloatArray],
) -> tuple[StoredPriors, str]:
    """The prior boxes that --priors names, and what is said of them.

    Args:
        asked: a file, ``initializer:NAME``, ``from-spec`` or ``from-spec:MODEL``.
        count: how many there must be.
        size: height and width of the network's input in pixels.
        layout: order of their box offsets, which the boxes in their graph have too.
        tensor: gives the value of a tensor of their graph.

    Raises:
        BadFile: a file that holds no prior boxes, or others than are needed.
        UsageError: nothing of that name, or others than are needed.
    """
    if asked.startswith(INITIALIZER):
        boxes, said = _from_tensor(tensor(asked[len(INITIALIZER) :]), layout)
        kind: type[BadFile] | type[UsageError] = UsageError
    elif asked == FROM_SPEC or asked.startswith(f"{FROM_SPEC}:"):
        boxes, said = _from_spec(asked[len(FROM_SPEC) + 1 :], count, size)
        kind = UsageError
    else:
        boxes, said, kind = _from_file(Path(asked)), f"of {asked}", BadFile
    try:
        stored = StoredPriors.from_array(boxes)
    except ValueError as error:
        reason = str(error).removeprefix("priors: ")
        raise kind(f"--priors {asked}: {reason}") from error
    if stored.count != count:
        raise kind(f"--priors {asked}: {stored.count} boxes, and --loc is of {count}")
    return stored, said


def _from_file(path: Path) -> FloatArray:
    """``[P, 4]`` of a .npy file, of whose header no more is believed than its bytes show."""
    content = read_bytes(path, _EXPECTED, _MOST_BYTES)
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        shape, by_column, kind = read[version[0]](stream)
    except (ValueError, KeyError) as error:
        raise BadFile(f"{path} is no .npy file ({error}); expected {_EXPECTED}") from error
    if kind.kind != "f" or len(shape) != 2 or shape[1] != 4:
        raise BadFile(f"{path} holds {kind} of shape {list(shape)}; expected {_EXPECTED}")
    data = content[stream.tell() :]
    if len(data) != shape[0] * 4 * kind.itemsize:
        raise BadFile(
            f"{path} holds {len(data)} bytes for {shape[0]} boxes of {4 * kind.itemsize}; take a "
            "whole copy"
        )
    order: Any = "F" if by_column else "C"
    return np.frombuffer(data, kind).reshape(shape, order=order)


def _from_tensor(boxes: FloatArray, layout: Layout) -> tuple[FloatArray, str]:
    """``[P, 4]`` (cx, cy, w, h) of a constant in their graph, whose form is told by its numbers."""
    shape = [side for side in boxes.shape if side != 1]
    if boxes.size % 4 or not boxes.size or (boxes.shape[-1] != 4 and 4 not in shape[:1]):
        raise UsageError(
            f"--priors: the tensor has shape {list(boxes.shape)}, expected [P, 4]: one box a row"
        )
    rows = boxes.reshape(-1, 4) if boxes.shape[-1] == 4 else boxes.reshape(4, -1).T
    if layout == "yxhw":
        rows = rows[:, list(SWAPPED)]
    first, second = rows[:, :2], rows[:, 2:]
    # a small box at the right or lower edge has a side less than its centre; corners never have
    if not (second > first).all():
        return rows, "of the graph, centres and sides"
    wide = rows.astype(np.float64)
    first, second = wide[:, :2], wide[:, 2:]
    return np.hstack([(first + second) / 2, second - first]), "of the graph, where they are corners"


def _from_spec(name: str, count: int, size: tuple[int, int]) -> tuple[FloatArray, str]:
    """``[P, 4]`` of a network of this package, which is named or the only one that fits."""
    if name:
        return priors_from_spec(get_spec(name)), f"of {name}"
    fitting: dict[str, FloatArray] = {}
    for one in known_models():
        spec = get_spec(one)
        if spec.input_size == size and len(priors := priors_from_spec(spec)) == count:
            fitting[one] = priors
    names = list(fitting)
    if not names:
        raise UsageError(
            f"--priors {FROM_SPEC}: no network here has {count} prior boxes at "
            f"{size[1]}x{size[0]} pixels; pass {INITIALIZER}NAME or FILE.npy"
        )
    if any(not np.array_equal(fitting[names[0]], fitting[other]) for other in names[1:]):
        raise UsageError(
            f"--priors {FROM_SPEC}: {', '.join(names)} have {count} prior boxes each, and not the "
            f"same; pass {quoted(f'{FROM_SPEC}:{names[0]}')} or another of them"
        )
    return fitting[names[0]], f"of {names[0]}"
