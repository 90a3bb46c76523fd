"""``config.pbtxt`` of a network: its description for Triton and for clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..._version import __version__
from ...artefacts.description import METADATA_KEY, Description
from ...artefacts.tensors import INPUT, Tensor, tensors_of
from ...errors import UsageError
from ...json_files import json_text
from .protobuf_text import Field, Message, Name, Value, message, text_from_fields
from .source import PLATFORMS, ServedNetwork

LABELS_FILE = "labels.txt"
#: folder where Triton looks for warm-up inputs, and name of ours
WARMUP_FOLDER, WARMUP_FILE = "warmup", "picture"
_TYPES = {"FLOAT": "TYPE_FP32", "INT32": "TYPE_INT32", "UINT8": "TYPE_UINT8"}
_GRAPH_BATCHES = 8


@dataclass(frozen=True)
class ServingOptions:
    """How a model is served.

    Attributes:
        instances: number of instances that run at once.
        device: ``cpu`` or ``gpu``; None for every GPU with a TensorRT plan, else for the CPU.
        queue_delay: microseconds that a request waits for others to share its batch.
        threads: threads of ONNX Runtime per instance; 0 for one per core.
    """

    instances: int = 1
    device: Literal["cpu", "gpu"] | None = None
    queue_delay: int = 1000
    threads: int = 0


def labels_text(description: Description) -> str:
    """Lines of ``labels.txt``: a name per class index, including background if it is a class."""
    background = description.postprocess.background_label
    names = (
        "background" if label == background else description.label_name(label)
        for label in range(description.num_classes)
    )
    return "".join(f"{name}\n" for name in names)


def config_of_network(
    name: str,
    network: ServedNetwork,
    options: ServingOptions,
    warmup_shape: Sequence[int],
) -> str:
    """The text of ``config.pbtxt``.

    Args:
        name: name of the model.
        network: the network to serve.
        options: how it is served.
        warmup_shape: shape of the input in the warm-up folder, without the batch dimension.

    Raises:
        UsageError: a TensorRT plan is to run on the CPU.
    """
    is_plan = network.backend == "tensorrt"
    kind = options.device or ("auto" if is_plan else "cpu")
    if is_plan and kind == "cpu":
        raise UsageError("--device cpu: a TensorRT plan runs on a GPU only; expected gpu")
    images, *outputs = tensors_of(network.description)
    fields = [
        Field("name", name, f"Written by ssd-small {__version__} triton."),
        Field("platform", PLATFORMS[network.backend]),
        Field("backend", network.backend),
        Field("max_batch_size", network.max_batch, "Dimensions below are those of one picture."),
        Field("version_policy", message(latest=message(num_versions=1))),
        Field("input", _tensor(images), _about_input(network.description)),
        *(_output(one, network.description) for one in outputs),
        *batching(network.opt_batch, network.max_batch, options.queue_delay),
        Field(
            "instance_group",
            message(kind=Name(f"KIND_{kind.upper()}"), count=options.instances),
            "So many for each GPU of the server."
            if is_plan
            else "KIND_GPU is ONNX Runtime with CUDA, whose rounding is another.",
        ),
        *_warmups(network, images, warmup_shape),
    ]
    if is_plan:
        fields.append(_cuda_graphs(network, images))
    fields += parameters(network.description, network.facts)
    if not is_plan and options.threads:
        fields.append(_parameter("intra_op_thread_count", str(options.threads)))
    return text_from_fields(fields)


def batching(opt_batch: int | None, max_batch: int, queue_delay: int) -> list[Field]:
    """Fields that let simultaneous requests share a call."""
    if max_batch == 1:
        return []
    values: dict[str, Value] = {}
    if opt_batch is not None and opt_batch > 1:
        values["preferred_batch_size"] = [opt_batch]
    values["max_queue_delay_microseconds"] = queue_delay
    comment = "A request waits this long at most for others to share its batch."
    return [Field("dynamic_batching", message(**values), comment)]


def parameters(description: Description, facts: dict[str, str]) -> list[Field]:
    """Parameters: the description, which clients read, and facts for people."""
    told = {
        "model": description.model,
        "weights": description.weights,
        "tool_version": description.tool_version,
        **facts,
    }
    own = _parameter(METADATA_KEY, json_text(description.to_dict()))
    comment = "What the network says of itself: clients read preprocessing and names from it."
    return [Field(own.name, own.value, comment), *(_parameter(*pair) for pair in told.items())]


def _parameter(name: str, value: str) -> Field:
    return Field("parameters", message(key=name, value=message(string_value=value)))


def dims(tensor: Tensor) -> list[int]:
    """Dimensions without the batch; -1 for variable ones."""
    return [side if isinstance(side, int) else -1 for side in tensor.shape[1:]]


def _tensor(tensor: Tensor) -> Message:
    """An input or output for Triton, which requires a dimension besides the batch."""
    values: dict[str, Value] = {"name": tensor.name, "data_type": Name(_TYPES[tensor.type])}
    own = dims(tensor)
    if not own:
        # a number per picture: [N, 1] for clients, [N] for the network
        return message(**values, dims=[1], reshape=message(shape=[]))
    return message(**values, dims=own)


def _output(tensor: Tensor, description: Description) -> Field:
    value = _tensor(tensor)
    if tensor.name in ("labels", "conf"):
        value = Message((*value.fields, Field("label_filename", LABELS_FILE)))
    comments = {
        "boxes": "x1, y1, x2, y2 in the unit square; rows past num_detections are zero.",
        "labels": "Class indices; labels.txt has a line for each.",
        "conf": "Logits: decode + NMS are the client's to do.",
    }
    return Field("output", value, comments.get(tensor.name, ""))


def _about_input(description: Description) -> str:
    size = description.preprocessing
    if description.pictures is not None:
        return "Pictures as they are, BGR; resizing, mean and deviation are in the network."
    mean, std = (", ".join(f"{v:g}" for v in values) for values in (size.mean, size.std))
    ways = ", ".join([size.interpolation, *(f"{k} {v}" for k, v in size.resizing.items())])
    ways += ", large JPEG decoded at a fraction" if size.reduced_decoding else ""
    return (
        f"A picture resized to {size.width}x{size.height} ({ways}), {size.color_order}, less "
        f"{mean}, divided by {std}."
    )


def _warmups(network: ServedNetwork, images: Tensor, shape: Sequence[int]) -> list[Field]:
    """Warm-up for a single picture and for the largest batch, each of which sets up memory."""
    own = message(
        key=INPUT,
        value=message(
            data_type=Name(_TYPES[images.type]), dims=list(shape), input_data_file=WARMUP_FILE
        ),
    )
    return warmups(own, network.max_batch)


def warmups(inputs: Message, max_batch: int) -> list[Field]:
    """Requests that are run before the model is reported as ready."""
    comment = "The first call sets up memory, which is done on a picture before clients come."
    return [
        Field(
            "model_warmup",
            message(name=f"picture_batch_{batch}", batch_size=batch, inputs=inputs),
            comment if batch == 1 else "",
        )
        for batch in sorted({1, max_batch})
    ]


def _cuda_graphs(network: ServedNetwork, images: Tensor) -> Field:
    """Captured graphs for the usual batch sizes; none if pictures may have any size."""
    shape = dims(images)
    if -1 in shape:
        return Field("optimization", message(cuda=message(graphs=False)))
    doubling = [2**power for power in range(_GRAPH_BATCHES) if 2**power < network.max_batch]
    batches = sorted({*doubling, network.opt_batch or 1, network.max_batch})
    specs = tuple(
        Field(
            "graph_spec",
            message(batch_size=batch, input=message(key=INPUT, value=message(dim=shape))),
        )
        for batch in batches
    )
    cuda = Message((Field("graphs", True), *specs))
    comment = "Other batches run without a graph (not executed here: needs a GPU)."
    return Field("optimization", message(cuda=cuda), comment)
