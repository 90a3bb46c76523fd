"""Half precision as a property of the ONNX file, and the receipt of what became of it."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from typing import Any

from onnx import ModelProto, TensorProto, shape_inference

from ..errors import CheckFailed
from ..requirements import require

#: L2Norm in operators: 512 squares overflow half precision, and its epsilon of 1e-10 is 0 there
NORM_OPERATORS = ("Pow", "ReduceSum", "Sqrt", "Add", "Div", "ReduceL2")


def half_heads(model: ModelProto) -> ModelProto:
    """A heads model in half precision; input and outputs stay float32, L2Norm too.

    The conversion is ONNX Runtime's; the DecodeNms node must not be in the model yet.
    """
    float16 = require("onnxruntime.transformers.float16", "fp16 conversion")
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    source = ModelProto()
    source.CopyFrom(model)
    with warnings.catch_warnings():
        # weights below the smallest half become 0: their effect is in the reported head error
        warnings.simplefilter("ignore", UserWarning)
        converted: ModelProto = float16.convert_float_to_float16(
            source,
            keep_io_types=True,
            op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *NORM_OPERATORS],
        )
    # the converter leaves the types of the source at tensors it did not visit
    del converted.graph.value_info[:]
    return shape_inference.infer_shapes(converted)


def receipt_of_onnx(model: ModelProto) -> dict[str, Any]:
    """How many activations and weights of a model are Half and Float, and the share of Half."""
    inferred = shape_inference.infer_shapes(model)
    activations = Counter(
        TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in inferred.graph.value_info
    )
    weights: Counter[str] = Counter()
    for tensor in model.graph.initializer:
        elements = 1
        for size in tensor.dims:
            elements *= size
        weights[TensorProto.DataType.Name(tensor.data_type)] += elements
    floating = activations["FLOAT16"] + activations["FLOAT"]
    return {
        "tensors": dict(sorted(activations.items())),
        "weight_elements": dict(sorted(weights.items())),
        "half_share": round(activations["FLOAT16"] / floating, 4) if floating else 0.0,
    }


def check_receipt(precision: str, receipt: dict[str, Any]) -> None:
    """Refuse an engine that is not in the precision asked for.

    Raises:
        CheckFailed: fp16 was asked for and nothing is Half, or fp32 and something is.
    """
    half = receipt["half_share"]
    if precision == "fp16" and half == 0:
        raise CheckFailed("fp16 was asked for, but no tensor of the engine is Half; nothing built")
    if precision == "fp32" and half > 0:
        raise CheckFailed(f"fp32 was asked for, but {half:.0%} of the tensors are Half")
