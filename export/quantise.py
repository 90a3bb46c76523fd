"""Convolutions in INT8: ONNX Runtime writes Q/DQ around the inputs and weights of Conv nodes.

One network and one set of ranges serve every runtime. What each accepts, and runs fastest, comes in
three variants (:class:`Form`). Weights are symmetric int8 per output channel everywhere.
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
    """How Q/DQ are written for a runtime.

    Attributes:
        signed: activations are symmetric int8 without quantised biases, all that TensorRT reads;
            otherwise uint8 with a zero point, which costs less mAP and is faster on CPUs.
        fused: Q/DQ also follow convolutions, and biases are int32, as ONNX Runtime has no kernel
            for a convolution with only its inputs in INT8. OpenVINO has one, and more Q/DQ make
            it slower.
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
    """Return the form for a target."""
    return FORMS[target]


def name_convs(model: ModelProto) -> None:
    """Name every unnamed Conv node: layers are recorded and kept by their names."""
    taken = {node.name for node in model.graph.node}
    for place, node in enumerate(model.graph.node):
        if node.op_type == "Conv" and not node.name:
            node.name = next(
                name for name in (f"Conv_{place}", f"Conv_{place}_unnamed") if name not in taken
            )


def convs_to_keep(model: ModelProto, names: Sequence[str]) -> dict[str, str]:
    """Return the Conv nodes to keep, with the reason: named ones, or those that named ones follow.

    Args:
        model: the model before batch norms are folded.
        names: names of its nodes.

    Raises:
        UsageError: a named node is in floating point anyway.
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
    """Return the Conv nodes that cannot be quantised, with the reason."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return {
        node.name: "its weight is no constant"
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1] not in constants
    }


def given_in_int8(
    model: ModelProto, source: object, precision: str, *, has_calibration: bool
) -> bool:
    """Whether a network is already quantised and is to be built as it is.

    Raises:
        UsageError: it is quantised and another precision or a calibration is requested; or int8 is
            requested and it is neither quantised nor to be calibrated.
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
    """Record what is INT8 in a network that is already quantised, by this tool or another.

    Raises:
        CheckFailed: none of its Conv nodes is quantised.
    """
    name_convs(model)
    found = quantised_of_model(model, {}, "not quantised in the file")
    check_quantised(found)
    return found


def check_single(model: ModelProto) -> None:
    """Refuse a network in half precision.

    Raises:
        UsageError: it has weights in half precision.
    """
    if any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
        raise UsageError(
            "--precision int8: the network is in half precision already; start from one in float32"
        )


def quantise(model: ModelProto, ranges: Any, form: Form, kept: Collection[str]) -> ModelProto:
    """Quantise the convolutions of a heads model to INT8.

    Args:
        model: model in float32 with batch norms folded; not modified.
        ranges: ONNX Runtime's ``TensorsData`` for the operators of ``form``.
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
        False,  # all 8 bits
        kinds.QInt8,
        kinds.QInt8 if form.signed else kinds.QUInt8,
        ranges,
        [],  # all nodes except the kept ones
        sorted(kept),
        list(form.operators),
        options,
    )
    quantizer.quantize_model()
    found: ModelProto = quantizer.model.model
    # sort again, since the quantizer appends its nodes at the end
    sort_nodes(found)
    return found


def quantised_of_model(
    model: ModelProto,
    kept: Mapping[str, str],
    else_why: str = "not quantised by ONNX Runtime's quantizer",
) -> Quantised:
    """Count the Conv nodes of a model whose input and weight come from DequantizeLinear.

    Args:
        model: a quantised model.
        kept: reasons, by name, for Conv nodes known to be in floating point.
        else_why: reason for any others.
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
    """Return the type that a DequantizeLinear node reads: its zero point's, or uint8 without."""
    if len(node.input) < 3:
        return "UINT8"
    tensors = (t for t in model.graph.initializer if t.name == node.input[2])
    found = next(tensors, None)
    return "UINT8" if found is None else TensorProto.DataType.Name(found.data_type)


def check_quantised(found: Quantised) -> None:
    """Refuse an engine without a single INT8 convolution.

    Raises:
        CheckFailed: no convolution is quantised.
    """
    if not found.quantised:
        raise CheckFailed(
            f"int8 was asked for, but none of the {found.kept} Conv nodes is quantised; nothing "
            "was written"
        )


def check_ranges(ranges: Any) -> None:
    """Refuse ranges from a network with NaN or infinity inside.

    Raises:
        CheckFailed: a range is not finite; the message names the tensor.
    """
    for name, found in ranges.items():
        low, high = (float(np.asarray(value).item()) for value in found.range_value)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise CheckFailed(
                f"tensor {name} reaches {low:g} to {high:g} on the calibration pictures; INT8 "
                "needs finite values: build with --precision fp32"
            )
