"""Converting somebody else's graph to our form: input ``images``, heads ``loc`` and ``conf``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper, version_converter

from ..artefacts.decode_nms import INPUTS
from ..artefacts.onnx_file import constant_of, graph_faults
from ..artefacts.tensors import DETECTIONS, HEADS, INPUT
from ..errors import BadFile, reason_from_exception
from ..export.opset import DEFAULT_OPSET, OLDEST_OPSET
from ..export.plain_shapes import plain_shapes
from .adopt_file import PicturesInput, value_infos
from .adopt_heads import HeadForm, rename

#: the IR version of an export: functions need 8, the operator set at least 9
_IR = 10
_OURS = frozenset((INPUT, *HEADS, *INPUTS, *DETECTIONS))
_NCHW_FROM_NHWC, _NHWC_FROM_NCHW = [0, 3, 1, 2], [0, 2, 3, 1]


def heads_graph(
    part: ModelProto,
    given: PicturesInput,
    size: tuple[int, int],
    forms: tuple[HeadForm, HeadForm],
    priors: int,
    path: Path,
) -> ModelProto:
    """A network that takes ``images [batch, 3, H, W]`` float32 and gives ``loc`` and ``conf``.

    Args:
        part: a graph that ends in box offsets and class scores, in any form; not modified.
        given: its input.
        size: height and width of the input in pixels.
        forms: how the two heads are converted to ``[N, P, K]``.
        priors: P.
        path: the file, for messages.

    Raises:
        BadFile: its operators cannot be converted to an operator set that DecodeNms supports.
    """
    model = ModelProto()
    model.CopyFrom(part)
    with graph_faults(path):
        model = _newer(model, path)
        del model.graph.value_info[:]
        plain_shapes(model)
        if given.batch is not None:
            _free_batch(model, given, size)
        _name_nodes(model)
        _step_aside(model)
        kinds = [one.type.tensor_type.elem_type for one in part.graph.output]
        ends = [one.name for one in model.graph.output]
        _take_images(model, size, given)
        for name, end, form, kind in zip(HEADS, ends, forms, kinds, strict=True):
            form.append(model, end, name, is_half=kind == TensorProto.FLOAT16)
        _set_outputs(model, priors, [form.columns for form in forms])
        model.ir_version = max(model.ir_version, _IR)
        model.domain, model.model_version = "", 0
        inferred: ModelProto = onnx.shape_inference.infer_shapes(model)
    return inferred


def _newer(model: ModelProto, path: Path) -> ModelProto:
    """The same model in a current operator set, if its own is too old for DecodeNms."""
    opset = next(one.version for one in model.opset_import if one.domain == "")
    if opset >= OLDEST_OPSET:
        return model
    try:
        newer: ModelProto = version_converter.convert_version(model, DEFAULT_OPSET)
    except Exception as error:  # the converter's own exception types vary by version
        raise BadFile(
            f"{path} is in opset {opset}, and onnx {onnx.__version__} cannot raise it to "
            f"{DEFAULT_OPSET} ({reason_from_exception(error)}); export it in a newer one"
        ) from error
    # up to IR 3 initializers were inputs too, and the converter restores that
    known = {tensor.name for tensor in newer.graph.initializer}
    for value in [value for value in newer.graph.input if value.name in known]:
        newer.graph.input.remove(value)
    return newer


def _free_batch(model: ModelProto, given: PicturesInput, size: tuple[int, int]) -> None:
    """Make each Reshape to a fixed number of pictures keep the number that it is given."""
    infos = value_infos(model)
    varying = {given.name}
    for node in model.graph.node:
        if varying.isdisjoint(node.input):
            continue
        varying.update(node.output)
        shape = constant_of(model, node.input[1]) if node.op_type == "Reshape" else None
        if shape is None or not shape.size or shape[0] != given.batch:
            continue
        dims = infos[node.input[0]].type.tensor_type.shape.dim if node.input[0] in infos else []
        if dims and dims[0].dim_value not in (0, given.batch):
            continue
        name = f"{node.output[0]}/shape"
        kept = np.concatenate([np.zeros(1, np.int64), shape[1:]])
        model.graph.initializer.append(numpy_helper.from_array(kept, name))
        node.input[1] = name
        for attribute in [one for one in node.attribute if one.name == "allowzero"]:
            node.attribute.remove(attribute)


def _name_nodes(model: ModelProto) -> None:
    """Give each node a unique name, by which it can be kept in float32 or mentioned."""
    counts = Counter(node.name for node in model.graph.node)
    for number, node in enumerate(model.graph.node):
        if not node.name or counts[node.name] > 1:
            node.name = f"{node.name or node.op_type}_{number}"


def _step_aside(model: ModelProto) -> None:
    """Rename tensors whose names clash with ours."""
    names = {name for node in model.graph.node for name in (*node.input, *node.output)}
    clashing = {name for name in names if name in _OURS or name.split("/")[0] in _OURS}
    rename(model, {name: f"network/{name}" for name in clashing if name})


def _take_images(model: ModelProto, size: tuple[int, int], given: PicturesInput) -> None:
    """Make the network take ``images [batch, 3, H, W]`` float32, whatever its own input is."""
    graph = model.graph
    own = graph.input[0].name
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, *size]))
    kind = TensorProto.FLOAT
    if given.kind != np.float32:
        kind = helper.np_dtype_to_tensor_dtype(given.kind)
    if given.channels_last and kind == TensorProto.FLOAT:
        for node in [one for one in graph.node if _undoes(one, own)]:
            graph.node.remove(node)
            rename(model, {node.output[0]: INPUT})
    if not any(own in node.input for node in graph.node):
        return
    steps: list[tuple[str, dict[str, Any]]] = []
    if kind != TensorProto.FLOAT:
        steps.append(("Cast", {"to": kind}))
    if given.channels_last:
        steps.append(("Transpose", {"perm": _NHWC_FROM_NCHW}))
    if not steps:
        rename(model, {own: INPUT})
        return
    source = INPUT
    for number, (operator, attributes) in enumerate(steps):
        output = own if number == len(steps) - 1 else f"{INPUT}/{operator.lower()}"
        name = f"{INPUT}/{operator}"
        node = helper.make_node(operator, [source], [output], name=name, **attributes)
        graph.node.insert(number, node)
        source = output


def _undoes(node: onnx.NodeProto, own: str) -> bool:
    """Whether a node converts the network's own input to ``[N, 3, H, W]``."""
    if node.op_type != "Transpose" or node.input[0] != own:
        return False
    return any(list(one.ints) == _NCHW_FROM_NHWC for one in node.attribute)


def _set_outputs(model: ModelProto, priors: int, columns: list[int]) -> None:
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", priors, count])
        for name, count in zip(HEADS, columns, strict=True)
    )
