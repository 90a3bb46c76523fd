"""Convolutions in INT8: Q/DQ around the inputs and weights of Conv nodes, written by ONNX Runtime.

One network and one set of ranges serve every runtime; what each of them takes, and runs fastest,
differs in three ways (:class:`Form`). Weights are symmetric int8 by output channel everywhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from ..artefacts.build_options import Target
from ..artefacts.quantised import QUANTISED_OPERATORS, Quantised
from ..errors import CheckFailed, UsageError
from ..requirements import require
from .kept_nodes import FUSED
from .precision import sort_nodes

#: operators that ONNX Runtime runs in INT8 together with, or between, convolutions
_BETWEEN = ("Relu", "Clip", "MaxPool")
_DEQUANTISED = "DequantizeLinear"


@dataclass(frozen=True)
class Form:
    """What Q/DQ look like for a runtime.

    Attributes:
        signed: activations in symmetric int8, and no int8 bias, which is all that TensorRT reads;
            else in uint8 with a zero point, which costs less mAP and CPUs run faster.
        fused: Q/DQ behind convolutions too, and biases in int32: ONNX Runtime has no kernel for a
            convolution that only begins in INT8. OpenVINO has, and is slower with more Q/DQ.
    """

    signed: bool
    fused: bool

    @property
    def operators(self) -> tuple[str, ...]:
        """Operators whose inputs and outputs need a range."""
        return ("Conv", *_BETWEEN) if self.fused else ("Conv",)


FORMS: Mapping[str, Form] = {
    "onnxruntime": Form(signed=False, fused=True),
    "openvino": Form(signed=False, fused=False),
    "tensorrt": Form(signed=True, fused=False),
    "tensorrt-rtx": Form(signed=True, fused=False),
}


def form_of_target(target: Target) -> Form:
    """What a target is given."""
    return FORMS[target]


def name_convs(model: ModelProto) -> None:
    """Give every Conv node without a name one: layers are counted and kept by it."""
    taken = {node.name for node in model.graph.node}
    for place, node in enumerate(model.graph.node):
        if node.op_type == "Conv" and not node.name:
            node.name = next(
                name for name in (f"Conv_{place}", f"Conv_{place}_unnamed") if name not in taken
            )


def convs_to_keep(model: ModelProto, names: Sequence[str]) -> dict[str, str]:
    """The Conv nodes that named ones mean, with why: themselves, or those fused before them.

    Args:
        model: before batch norms are folded.
        names: of nodes that it has.

    Raises:
        UsageError: a node that is in floating point anyway.
    """
    made_by = {name: node for node in model.graph.node for name in node.output}
    by_name = {node.name: node for node in model.graph.node}
    kept = {}
    for name in names:
        node = by_name[name]
        while node.op_type in FUSED and node.input[0] in made_by:
            node = made_by[node.input[0]]
        if node.op_type != "Conv":
            raise UsageError(
                f"--keep-fp {name!r}: --precision int8 quantises Conv nodes, and this one is "
                f"{by_name[name].op_type}, in floating point anyway; leave it out"
            )
        kept[node.name] = "asked for by --keep-fp"
    return kept


def unfit_convs(model: ModelProto) -> dict[str, str]:
    """Conv nodes that cannot be quantised, with why."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return {
        node.name: "its weight is no constant"
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1] not in constants
    }


def given_in_int8(
    model: ModelProto, source: object, precision: str, *, has_calibration: bool
) -> bool:
    """Whether a network is quantised, which it then stays whatever precision is asked for.

    Raises:
        UsageError: it is, and something else is asked for; or it is not, and there is nothing to
            calibrate it on.
    """
    is_quantised = any(node.op_type in QUANTISED_OPERATORS for node in model.graph.node)
    if is_quantised and (has_calibration or precision != "int8"):
        raise UsageError(
            f"{source} is in INT8 already; build it with --precision int8 and without "
            "--calibration, or start from a network in float32"
        )
    if precision == "int8" and not is_quantised and not has_calibration:
        raise UsageError(
            "--precision int8 needs --calibration FOLDER, of pictures such as the network is to see"
        )
    return is_quantised


def quantised_elsewhere(model: ModelProto) -> Quantised:
    """What is INT8 in a network that comes as it is, by this tool or another.

    Raises:
        CheckFailed: none of its Conv nodes is.
    """
    name_convs(model)
    found = quantised_of_model(model, {}, "not quantised in the file")
    check_quantised(found)
    return found


def check_single(model: ModelProto) -> None:
    """Refuse a network in half precision.

    Raises:
        UsageError: it holds Half.
    """
    if any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
        raise UsageError(
            "--precision int8: the network is in half precision already; start from one in float32"
        )


def quantise(model: ModelProto, ranges: Any, form: Form, kept: Collection[str]) -> ModelProto:
    """A heads model with INT8 convolutions.

    Args:
        model: in float32 with batch norms folded; left as it is.
        ranges: ONNX Runtime's ``TensorsData`` of the operators of ``form``.
        form: how Q/DQ are written.
        kept: names of Conv nodes that stay in floating point.
    """
    package = require("onnxruntime.quantization", "quantising")
    source = ModelProto()
    source.CopyFrom(model)
    options = {
        "ActivationSymmetric": form.signed,
        "WeightSymmetric": True,
        "QuantizeBias": form.fused,
        "OpTypesToExcludeOutputQuantization": [] if form.fused else ["Conv"],
    }
    kinds = package.QuantType
    quantizer = package.QDQQuantizer(
        source,
        True,  # per channel
        False,  # all of the 8 bits
        kinds.QInt8,
        kinds.QInt8 if form.signed else kinds.QUInt8,
        ranges,
        [],  # all nodes but those that are kept
        sorted(kept),
        list(form.operators),
        options,
    )
    quantizer.quantize_model()
    found: ModelProto = quantizer.model.model
    # the quantizer appends its nodes at the end
    sort_nodes(found)
    return found


def quantised_of_model(
    model: ModelProto,
    kept: Mapping[str, str],
    else_why: str = "not quantised by ONNX Runtime's quantizer",
) -> Quantised:
    """Count the Conv nodes of a model whose input and weight come from DequantizeLinear.

    Args:
        model: after :func:`quantise`.
        kept: why those that are known to be in floating point are.
        else_why: why others are.
    """
    kinds = {
        node.output[0]: _type_of_quantised(model, node)
        for node in model.graph.node
        if node.op_type == _DEQUANTISED
    }
    types: Counter[str] = Counter()
    count = 0
    left: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        of_node = [kinds.get(name, "FLOAT") for name in node.input[:2]]
        types.update(of_node)
        if "FLOAT" in of_node:
            left[node.name] = kept.get(node.name, else_why)
        else:
            count += 1
    return Quantised(count, dict(sorted(types.items())), left)


def _type_of_quantised(model: ModelProto, node: NodeProto) -> str:
    """Element type that a DequantizeLinear node reads: its zero point's, uint8 without one."""
    if len(node.input) < 3:
        return "UINT8"
    tensors = (t for t in model.graph.initializer if t.name == node.input[2])
    found = next(tensors, None)
    return "UINT8" if found is None else TensorProto.DataType.Name(found.data_type)


def check_quantised(found: Quantised) -> None:
    """Refuse an engine without a single INT8 convolution.

    Raises:
        CheckFailed: none is.
    """
    if not found.quantised:
        raise CheckFailed(
            f"int8 was asked for, but none of the {found.kept} Conv nodes is quantised; nothing "
            "was written"
        )


def check_ranges(ranges: Any) -> None:
    """Refuse ranges that a network with NaN or infinity inside gives.

    Raises:
        CheckFailed: names the tensor.
    """
    for name, found in ranges.items():
        low, high = (float(np.asarray(value).item()) for value in found.range_value)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise CheckFailed(
                f"tensor {name} reaches {low:g} to {high:g} on the calibration pictures; INT8 "
                "needs finite values: build with --precision fp32"
            )
