"""The prior boxes of an adopted network: from a file, its own graph, or a known network."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..artefacts.stored_priors import StoredPriors
from ..errors import BadFile, UsageError, quoted
from ..files import read_bytes
from ..models.priors import priors_from_spec
from ..models.registry import get_spec, known_models
from ..models.spec import ModelSpec
from ..postprocess.params import MAX_PRIORS
from .adopt_heads import SWAPPED, Layout
from .family import Asked
from .recognition import FAMILIES

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
    """The prior boxes that --priors names, and a description of their origin.

    Args:
        asked: a file, ``initializer:NAME``, ``from-spec`` or ``from-spec:MODEL``.
        count: required number of boxes.
        size: height and width of the network's input in pixels.
        layout: order of their box offsets, which also applies to the boxes in their graph.
        tensor: returns the value of a tensor of their graph.

    Raises:
        BadFile: the file holds no prior boxes, or not as many as required.
        UsageError: there is nothing of that name, or not as many boxes as required.
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
    """``[P, 4]`` from a .npy file; what its header claims is checked against its size."""
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
    """``[P, 4]`` (cx, cy, w, h) from a constant in their graph; its values reveal its form."""
    shape = [side for side in boxes.shape if side != 1]
    if boxes.size % 4 or not boxes.size or (boxes.shape[-1] != 4 and 4 not in shape[:1]):
        raise UsageError(
            f"--priors: the tensor has shape {list(boxes.shape)}, expected [P, 4]: one box a row"
        )
    rows = boxes.reshape(-1, 4) if boxes.shape[-1] == 4 else boxes.reshape(4, -1).T
    if layout == "yxhw":
        rows = rows[:, list(SWAPPED)]
    first, second = rows[:, :2], rows[:, 2:]
    # a small box at the right or lower edge has a side less than its centre; corners never do
    if not (second > first).all():
        return rows, "of the graph, centres and sides"
    wide = rows.astype(np.float64)
    first, second = wide[:, :2], wide[:, 2:]
    return np.hstack([(first + second) / 2, second - first]), "of the graph, where they are corners"


def _from_spec(name: str, count: int, size: tuple[int, int]) -> tuple[FloatArray, str]:
    """``[P, 4]`` of the named network, or of those with that many boxes at this size."""
    specs = dict(_specs())
    if name:
        if name not in specs:
            raise UsageError(
                f"--priors {FROM_SPEC}:{name}: no such network; expected one of {', '.join(specs)}"
            )
        return priors_from_spec(specs[name]), f"of {name}"
    fitting: dict[str, FloatArray] = {}
    for one, spec in specs.items():
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


def _specs() -> Iterator[tuple[str, ModelSpec]]:
    """The networks of this package, and those that ``import`` knows, by name."""
    for name in known_models():
        yield name, get_spec(name)
    for family in FAMILIES:
        if family.class_major:  # its graphs order prior boxes differently
            continue
        # if the table is named, the number of classes does not affect the prior boxes
        for table in ("voc", "coco") if family.prior_tables else (None,):
            name = family.name if table is None else f"{family.name}-{table}"
            yield name, family.spec(Asked({}, _CLASSES, priors=table))


_CLASSES = 21
