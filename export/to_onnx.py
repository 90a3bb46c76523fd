"""From a torch network to an ONNX file."""

from __future__ import annotations

import logging
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING

import onnx
import onnx.inliner
import torch
from onnx import ModelProto

from ..artefacts.description import Description
from ..artefacts.tensors import HEADS, INPUT
from ..errors import MissingRequirement, UsageError
from ..system.temporary import check_temporary_folder
from .decode_nms_node import append_decode_nms, ending_of
from .onnx_file import set_description
from .opset import DEFAULT_OPSET, check_opset
from .picture_input import prepend_preprocessing
from .plain_shapes import plain_shapes
from .tile_input import check_tiles_memory, prepend_tiles

if TYPE_CHECKING:
    from ..models.network import SsdNetwork


def onnx_from_network(
    net: SsdNetwork, description: Description, opset: int = DEFAULT_OPSET
) -> ModelProto:
    """Trace a network to ONNX with a dynamic batch dimension.

    The input is ``images [batch, 3, H, W]`` float32 or, with ``description.pictures``, the
    pictures themselves (see :mod:`.picture_input`). With ``description.tiles``, H and W are those
    of the picture to be cut (see :mod:`.tile_input`), and P counts the prior boxes of all tiles.
    The outputs are ``loc [batch, P, 4]`` and ``conf [batch, P, C]`` (logits) or, with
    ``description.has_decode_nms``, the five outputs of the DecodeNms operator.

    Raises:
        UsageError: the operator set is not supported (:mod:`.opset`), pictures inside the network
            are not resized linearly, or the tiles would take too much memory at once.
        MissingRequirement: the installed torch and onnxscript cannot write the network.
    """
    check_opset(opset)
    check_temporary_folder()
    try:
        model = _trace(net, opset)
        _remove_traces(model)
        plain_shapes(model)
        if description.tiles is not None:
            prepend_tiles(model, description)
        if description.has_decode_nms:
            append_decode_nms(model, *ending_of(description))
        if description.pictures is not None:
            prepend_preprocessing(model, description)
        set_description(model, description)
        onnx.checker.check_model(model, full_check=True)
        if description.tiles is not None:
            check_tiles_memory(model, description.tiles)
    except (MemoryError, UsageError):
        raise
    except Exception as error:  # torch's and onnxscript's exception types vary by version
        raise _cannot_export(error, opset) from error
    return model


def _trace(net: SsdNetwork, opset: int) -> ModelProto:
    # the batch must not be 1, which the trace would fix
    example = torch.zeros(2, 3, *net.spec.input_size)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        # notices by torch and onnxscript about their own future changes
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        from onnxscript import optimizer

        program = torch.onnx.export(
            net.eval(),
            (example,),
            dynamo=True,
            verbose=False,
            # its rewriter treats constants under 1e-8 as 0 and would drop L2Norm's epsilon, so an
            # all-zero pixel would become 0/0
            optimize=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=list(HEADS),
            dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
        )
    assert program is not None
    model: ModelProto = program.model_proto
    if model.functions:  # older releases write some operators as functions of their library
        model = onnx.inliner.inline_local_functions(model)
    optimizer.fold_constants(model, onnx_shape_inference=True)
    optimizer.remove_unused_nodes(model)
    return model


def _cannot_export(error: Exception, opset: int) -> MissingRequirement:
    """Make the error for a network that these versions of the packages cannot write."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxscript", "onnx"))
    return MissingRequirement(
        f"{versions} cannot write this network in opset {opset} ({type(error).__name__}); run: "
        "pip install --upgrade '.[onnx]'"
    )


def _remove_traces(model: ModelProto) -> None:
    """Drop the exporter's notes about source files, which differ between machines."""
    for entry in (*model.graph.node, *model.graph.value_info, *model.graph.input):
        del entry.metadata_props[:]
    for entry in (*model.graph.output, *model.graph.initializer):
        del entry.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
