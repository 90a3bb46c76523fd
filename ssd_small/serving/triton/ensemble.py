"""The optional ensemble: encoded pictures in, detections in pixels out.

It chains three models: this package decodes and preprocesses pictures in Triton's Python backend,
the network runs, and the boxes are converted to pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..._version import __version__
from ...artefacts.description import Description
from ...artefacts.tensors import INPUT, tensors_of
from ...errors import UsageError
from .configuration import (
    WARMUP_FILE,
    ServingOptions,
    batching,
    dims,
    parameters,
    warmups,
)
from .protobuf_text import Field, Message, Name, Value, message, text_from_fields
from .source import ServedNetwork

#: inputs and outputs that the network lacks: an encoded picture; its height and width
PICTURE, SIZE = "picture", "size"
#: boxes of the network before they are converted to pixels
UNIT_BOXES = "unit_boxes"
ENSEMBLE, PREPROCESS, PIXELS = "ensemble", "preprocess", "pixels"
#: parameters of the Python steps
MAX_PIXELS, ENVIRONMENT = "max_pixels", "EXECUTION_ENV_PATH"
#: most pixels of a picture from a client: 64 million take 200 MB when decoded
USUAL_MAX_PIXELS = 1 << 26


@dataclass(frozen=True)
class EnsembleOptions:
    """How the Python steps run.

    Attributes:
        environment: a virtual environment on the server that contains this package; empty for the
            server's own Python.
        max_pixels: most pixels of a picture; larger ones are not decoded.
    """

    environment: str = ""
    max_pixels: int = USUAL_MAX_PIXELS


def check_network(network: ServedNetwork) -> None:
    """Refuse a network that needs no ensemble, or that returns no boxes to convert to pixels.

    Raises:
        UsageError: the network takes unprocessed pictures, or ends in its heads.
    """
    if network.description.pictures is not None:
        raise UsageError(
            "--ensemble is for networks of preprocessed float32; this one takes pictures as they "
            "are, which clients send"
        )
    if not network.description.has_decode_nms:
        raise UsageError(
            "--ensemble needs decode + NMS in the network, and this one ends in its heads; export "
            "it without --heads"
        )


def models_of_ensemble(
    name: str, network: ServedNetwork, options: ServingOptions, own: EnsembleOptions
) -> dict[str, str]:
    """``config.pbtxt`` of the three models besides the network's, by model name."""
    steps = {
        PREPROCESS: _preprocess(f"{name}_{PREPROCESS}", network, options, own),
        PIXELS: _pixels(f"{name}_{PIXELS}", network, options, own),
        ENSEMBLE: _ensemble(f"{name}_{ENSEMBLE}", name, network),
    }
    return {f"{name}_{step}": text_from_fields(fields) for step, fields in steps.items()}


def code_of_step(step: str) -> str:
    """``model.py`` of a Python step, which imports the code from this package."""
    kind = {PREPROCESS: "Preprocess", PIXELS: "Pixels"}[step]
    return (
        f'"""Written by ssd-small {__version__} triton; needs ssd_small[images] in its Python."""\n'
        f"from ssd_small.serving.triton.steps import {kind} as TritonPythonModel  # noqa: F401\n"
    )


def _tensor(name: str, kind: str, shape: list[int]) -> Message:
    return message(name=name, data_type=Name(kind), dims=shape)


def _picture() -> Field:
    comment = "The bytes of an image file: JPEG, PNG, whatever ssd-small detect reads."
    return Field("input", _tensor(PICTURE, "TYPE_STRING", [1]), comment)


def _size() -> Message:
    return _tensor(SIZE, "TYPE_INT32", [2])


def _outputs(description: Description, boxes: str) -> dict[str, Message]:
    """The network's outputs in the form of an ensemble, where a number per picture is ``[1]``."""
    kinds = {"FLOAT": "TYPE_FP32", "INT32": "TYPE_INT32"}
    return {
        one.name: _tensor(
            boxes if one.name == "boxes" else one.name, kinds[one.type], dims(one) or [1]
        )
        for one in tensors_of(description)[1:]
    }


def _python(
    name: str, network: ServedNetwork, options: ServingOptions, own: EnsembleOptions
) -> tuple[list[Field], list[Field]]:
    """The first and the last fields of the configuration of a Python step."""
    head = [
        Field("name", name, f"Written by ssd-small {__version__} triton."),
        Field("backend", "python"),
        Field("max_batch_size", network.max_batch),
    ]
    tail = [
        *batching(None, network.max_batch, options.queue_delay),
        Field("instance_group", message(kind=Name("KIND_CPU"), count=options.instances)),
        *parameters(network.description, {MAX_PIXELS: str(own.max_pixels)}),
    ]
    if own.environment:
        value: Value = message(string_value=own.environment)
        comment = "A virtual environment with ssd_small[images], of the Python of Triton's stub."
        tail.append(Field("parameters", message(key=ENVIRONMENT, value=value), comment))
    return head, tail


def _preprocess(
    name: str, network: ServedNetwork, options: ServingOptions, own: EnsembleOptions
) -> list[Field]:
    head, tail = _python(name, network, options, own)
    images = tensors_of(network.description)[0]
    value = message(data_type=Name("TYPE_STRING"), dims=[1], input_data_file=WARMUP_FILE)
    return [
        *head,
        _picture(),
        Field("output", _tensor(INPUT, "TYPE_FP32", dims(images))),
        Field("output", _size(), "Height and width of the picture."),
        *warmups(message(key=PICTURE, value=value), 1),
        *tail,
    ]


def _pixels(
    name: str, network: ServedNetwork, options: ServingOptions, own: EnsembleOptions
) -> list[Field]:
    head, tail = _python(name, network, options, own)
    boxes = _outputs(network.description, UNIT_BOXES)["boxes"]
    shape = dims(next(one for one in tensors_of(network.description) if one.name == "boxes"))
    return [
        *head,
        Field("input", boxes),
        Field("input", _size()),
        Field("output", _tensor("boxes", "TYPE_FP32", shape)),
        *tail,
    ]


def _ensemble(name: str, network_name: str, network: ServedNetwork) -> list[Field]:
    outputs = _outputs(network.description, "boxes")
    own = {one: UNIT_BOXES if one == "boxes" else one for one in outputs}
    steps = (
        _step(f"{network_name}_{PREPROCESS}", {PICTURE: PICTURE}, {INPUT: INPUT, SIZE: SIZE}),
        _step(network_name, {INPUT: INPUT}, own),
        _step(f"{network_name}_{PIXELS}", {UNIT_BOXES: UNIT_BOXES, SIZE: SIZE}, {"boxes": "boxes"}),
    )
    return [
        Field("name", name, f"Written by ssd-small {__version__} triton."),
        Field("platform", "ensemble"),
        Field("max_batch_size", network.max_batch),
        _picture(),
        *(
            Field(
                "output",
                value,
                "x1, y1, x2, y2 in pixels of the picture, clipped to it." if one == "boxes" else "",
            )
            for one, value in outputs.items()
        ),
        Field("output", _size(), "Height and width of the picture."),
        Field("ensemble_scheduling", Message(steps)),
        *parameters(network.description, {"network": network_name}),
    ]


def _step(model: str, inputs: dict[str, str], outputs: dict[str, str]) -> Field:
    """One model of the chain; maps are from its own names to those of the ensemble."""
    maps = [
        Field(kind, message(key=key, value=value))
        for kind, pairs in (("input_map", inputs), ("output_map", outputs))
        for key, value in pairs.items()
    ]
    fields = (Field("model_name", model), Field("model_version", -1), *maps)
    return Field("step", Message(fields))
