"""Converting box offsets and class scores of other projects' networks to our form.

Only order and shape differ, never arithmetic: boxes with y before x, a dimension of one, channels
first, everything in a row. ``HeadForm`` holds what has to be done, both as nodes of a graph and in
numpy, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper, numpy_helper

from ..errors import UsageError

Layout = Literal["xywh", "yxhw"]
#: positions of cx, cy, w, h in offsets of the order (ty, tx, th, tw)
SWAPPED = (1, 0, 3, 2)


@dataclass(frozen=True)
class HeadForm:
    """How one head is converted to ``[N, P, K]``.

    Attributes:
        columns: K, how many numbers each prior box has.
        channels_first: whether the head is ``[N, K, P]``.
        is_flat: whether dimensions must be joined or split.
        order: positions of the K numbers, if they are in another order.
    """

    columns: int
    channels_first: bool = False
    is_flat: bool = False
    order: tuple[int, ...] | None = None

    def array(self, head: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Convert their network's head to ``[N, P, K]`` float32."""
        if self.channels_first:
            head = head.transpose(0, 2, 1)
        if self.is_flat:
            head = head.reshape(len(head), -1, self.columns)
        return (head if self.order is None else head[..., list(self.order)]).astype(np.float32)

    def append(self, model: ModelProto, given: str, name: str, *, is_half: bool = False) -> None:
        """Append the same as nodes after the tensor ``given``, ending in ``name`` in float32."""
        graph = model.graph
        steps: list[tuple[str, list[str], dict[str, Any]]] = []
        if self.channels_first:
            steps.append(("Transpose", [], {"perm": [0, 2, 1]}))
        if self.is_flat:
            shape = np.array([0, -1, self.columns], np.int64)
            graph.initializer.append(numpy_helper.from_array(shape, f"{name}/shape"))
            steps.append(("Reshape", [f"{name}/shape"], {}))
        if self.order is not None:
            order = np.array(self.order, np.int64)
            graph.initializer.append(numpy_helper.from_array(order, f"{name}/order"))
            steps.append(("Gather", [f"{name}/order"], {"axis": 2}))
        if is_half:
            steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
        if not steps:
            rename(model, {given: name})
        for number, (kind, more, attributes) in enumerate(steps):
            output = name if number == len(steps) - 1 else f"{name}/{kind.lower()}"
            node = helper.make_node(
                kind, [given, *more], [output], name=f"{name}/{kind}", **attributes
            )
            graph.node.append(node)
            given = output

    @property
    def done(self) -> tuple[str, ...]:
        """What is converted, in words."""
        said = {
            "channels first": self.channels_first,
            "another shape": self.is_flat,
            "y before x": self.order is not None,
        }
        return tuple(what for what, is_so in said.items() if is_so)


def rename(model: ModelProto, names: Mapping[str, str]) -> None:
    """Rename tensors: inputs, outputs, initializers and those between the nodes."""
    graph = model.graph
    for node in graph.node:
        for tensors in (node.input, node.output):
            for place, name in enumerate(tensors):
                tensors[place] = names.get(name, name)
    for one in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        one.name = names.get(one.name, one.name)


def loc_form(shape: Sequence[int], layout: Layout, name: str) -> tuple[HeadForm, int]:
    """How box offsets of a shape are converted to ``[N, P, 4]``, and P.

    Raises:
        UsageError: the shape does not hold four numbers per box.
    """
    order = SWAPPED if layout == "yxhw" else None
    rest = list(shape[1:])
    plain = [side for side in rest if side != 1]
    if len(rest) == 2 and rest[1] == 4:
        return HeadForm(4, order=order), rest[0]
    if len(rest) == 2 and rest[0] == 4:
        return HeadForm(4, channels_first=True, order=order), rest[1]
    # [N, P, 1, 4], [N, 1, P, 4] and [N, P * 4]; for a single prior box [N, 1, 1, 4]
    joined = (len(plain) == 2 and plain[1] == 4 and rest[-1] == 4) or plain == [4]
    in_a_row = len(plain) == 1 and plain[0] % 4 == 0
    if joined or in_a_row:
        return HeadForm(4, is_flat=True, order=order), int(np.prod(rest)) // 4
    raise UsageError(
        f"--loc {name} has shape {_shown(shape)}; expected [N, P, 4], [N, P, 1, 4], [N, 4, P] or "
        "[N, P * 4]: four offsets of each of P prior boxes"
    )


def conf_form(shape: Sequence[int], priors: int, name: str) -> HeadForm:
    """How class scores of a shape are converted to ``[N, P, C]``.

    Args:
        shape: of the tensor.
        priors: P, as in the box offsets.
        name: of the tensor.

    Raises:
        UsageError: the shape does not hold scores of that many prior boxes.
    """
    rest = list(shape[1:])
    if len(rest) == 2 and rest[0] == priors:
        return HeadForm(rest[1])
    if len(rest) == 2 and rest[1] == priors:
        return HeadForm(rest[0], channels_first=True)
    total = int(np.prod(rest)) if rest else 0
    plain = [side for side in rest if side != 1]
    one_row = len(plain) <= 1 or (len(plain) == 2 and plain[0] == priors)
    if total and one_row and total % priors == 0:
        return HeadForm(total // priors, is_flat=True)
    raise UsageError(
        f"--conf {name} has shape {_shown(shape)}, and --loc has {priors} prior boxes; expected "
        f"[N, {priors}, C]: scores of C classes of each of them"
    )


def _shown(shape: Sequence[int]) -> str:
    return "[" + ", ".join(["N", *map(str, shape[1:])]) + "]"
