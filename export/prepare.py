"""Preparing the ONNX model for a target: its precision, and with or without decode + NMS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import ModelProto, checker, shape_inference

from ..artefacts.build_record import PrecisionCheck
from ..artefacts.decode_nms_body import check_inlined
from ..artefacts.description import Description
from ..artefacts.int8_options import Calibration
from ..artefacts.onnx_file import drop_function, graph_faults, is_inline, read_onnx
from ..artefacts.quantised import Quantised
from ..errors import BadFile, UsageError
from ..terminal import one_line
from .decode_nms_node import append_decode_nms, ending_of, restore_decode_nms, strip_decode_nms
from .fold import fold_batch_norm
from .int8 import Int8Build, int8_heads
from .kept_nodes import check_named_nodes, nodes_to_keep
from .onnx_file import set_description
from .picture_input import prepend_preprocessing, strip_preprocessing
from .precision import NORM_OPERATORS, half_heads
from .precision_check import check_verdict, compare_precisions, given_inputs, nodes_beyond_half
from .quantise import given_in_int8, quantised_elsewhere

if TYPE_CHECKING:
    from ..artefacts.build_options import Precision


#: precisions that apply to the network only, not to preprocessing or decode + NMS
_NETWORK_ALONE = ("fp16", "int8")


@dataclass(frozen=True)
class Prepared:
    """A model ready for a target.

    Attributes:
        model: model with input ``images`` and the outputs of DecodeNms, or ``loc`` and ``conf``.
        description: description of the model, as in the engine's sidecar.
        precision_check: the measured effect of half precision; None for other precisions.
        calibration, quantised: records of int8; None for other precisions. ``calibration`` is also
            None for a network that was already quantised.
    """

    model: ModelProto
    description: Description
    precision_check: PrecisionCheck | None = None
    calibration: Calibration | None = None
    quantised: Quantised | None = None


def prepare(
    onnx_path: Path,
    precision: Precision,
    *,
    heads: bool,
    for_plugin: bool,
    description: Description | None = None,
    keep_fp: Sequence[str] = (),
    check_images: Path | None = None,
    int8: Int8Build | None = None,
) -> Prepared:
    """Read an ONNX file and prepare the model that a target builds from.

    Args:
        onnx_path: file written by ``ssd-small export``.
        precision: fp16 converts everything except L2Norm and what would overflow, int8 the
            convolutions.
        heads: leave out decode + NMS; implied if the file has none.
        for_plugin: leave the DecodeNms node to a plugin, without a function body.
        description: see :func:`~ssd_small.artefacts.onnx_file.read_onnx`.
        keep_fp: names of nodes that stay in float32.
        check_images: folder of pictures on which to check half precision.
        int8: how to make the INT8 network; None for other precisions, and for a network that is
            already quantised.

    Raises:
        BadFile: the file was not written by this tool, or has no DecodeNms for the plugin; or a
            picture cannot be read.
        CheckFailed: the network cannot have the precision, or is wrong in it on the pictures.
        UsageError: the file is in INT8 and another precision is requested, int8 lacks a
            calibration, or the file lacks a node that is to be kept.
    """
    model, description = read_onnx(onnx_path, description)
    if given_in_int8(model, onnx_path, precision, has_calibration=int8 is not None) and keep_fp:
        raise UsageError(f"{onnx_path} is in INT8 already; leave --keep-fp out")
    check_named_nodes(model, keep_fp, onnx_path)
    try:
        shape_inference.infer_shapes(model)
    except shape_inference.InferenceError as error:
        reason = one_line(" ".join(str(error).split()))
        raise BadFile(f"{onnx_path} contradicts itself: {reason}; export it again") from error
    with graph_faults(onnx_path):
        if is_inline(model, description):
            check_inlined(model, description, onnx_path)
        if is_inline(model, description) and (heads or for_plugin or precision in _NETWORK_ALONE):
            restore_decode_nms(model, description, onnx_path)
        inside = description.has_decode_nms
        if for_plugin and not inside:
            raise BadFile(
                f"{onnx_path} has no DecodeNms node (it was exported with --heads); export it "
                "without --heads, or pass --heads to build an engine that ends in loc and conf"
            )
        heads = heads or not inside
        return _prepared(
            model,
            description,
            precision,
            heads=heads,
            for_plugin=for_plugin,
            keep_fp=keep_fp,
            check_images=check_images,
            int8=int8,
        )


def plugin_onnx(
    model: ModelProto, description: Description, precision: Precision = "fp32"
) -> ModelProto:
    """Make the ONNX that trtexec, Triton or any other builder uses with the plugin library.

    The DecodeNms node has no function body, so the plugin executes it; with fp16, the heads it
    reads are half.

    Args:
        model: an export with DecodeNms inside; may be modified.
        description: the model's description of itself.
        precision: precision of the network before the node.

    Raises:
        CheckFailed: the network cannot be converted to half precision.
    """
    return _prepared(model, description, precision, heads=False, for_plugin=True).model


def _prepared(
    model: ModelProto,
    description: Description,
    precision: Precision,
    *,
    heads: bool,
    for_plugin: bool,
    keep_fp: Sequence[str] = (),
    check_images: Path | None = None,
    int8: Int8Build | None = None,
) -> Prepared:
    check: PrecisionCheck | None = None
    quantised: Quantised | None = None
    calibration: Calibration | None = None
    if heads or precision in _NETWORK_ALONE:
        strip_decode_nms(model)
    if precision in _NETWORK_ALONE:
        if description.pictures is not None:
            strip_preprocessing(model, description, "the network")
        if precision == "fp16":
            model, check = _halved(
                model, description, keep_fp, check_images, half_outputs=not heads
            )
        elif int8 is None:
            quantised = quantised_elsewhere(model)
        else:
            made = int8_heads(model, description, keep_fp, int8)
            model, calibration, quantised = made.model, made.calibration, made.quantised
        if not heads:
            append_decode_nms(model, *ending_of(description))
        if description.pictures is not None:
            prepend_preprocessing(model, description)
    description = description.with_decode_nms(not heads)
    set_description(model, description)
    if for_plugin:
        drop_function(model)
    checker.check_model(model)
    return Prepared(model, description, check, calibration, quantised)


def _halved(
    model: ModelProto,
    description: Description,
    keep_fp: Sequence[str],
    check_images: Path | None,
    *,
    half_outputs: bool,
) -> tuple[ModelProto, PrecisionCheck]:
    given = given_inputs(check_images, description.preprocessing) if check_images else []
    asked = set(nodes_to_keep(model, keep_fp))
    folded = ModelProto()
    folded.CopyFrom(model)
    fold_batch_norm(folded)
    norm = {node.name for node in folded.graph.node if node.op_type in NORM_OPERATORS}
    asked &= {node.name for node in folded.graph.node}
    kept = sorted((asked | set(nodes_beyond_half(folded, description, given))) - norm)
    half = half_heads(folded, kept, half_outputs=half_outputs)
    comparison = compare_precisions(model, half, description, given)
    if check_images:
        check_verdict(comparison, check_images)
    return half, replace(comparison, kept_fp32=tuple(kept))
