"""Opens a detector from an engine, an ONNX file, a checkpoint or the name of a shipped one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artefacts.description import Description
from ..artefacts.labels import check_labels
from ..artefacts.network import Labels, labels_from, network_from_checkpoint
from ..artefacts.sidecar import ENGINE_SUFFIXES, find_sidecar
from ..errors import BadFile, MissingRequirement, UsageError
from ..models.registry import get_spec, spec_from_experiment
from ..models.shipped import advice_on_missing, find_shipped, shipped_checkpoints
from ..requirements import is_installed, require
from ..runtimes import Runtime, gpu_index, open_engine, open_onnx
from ..runtimes.several import open_instances
from .detector import USUAL_BATCH, Detector

if TYPE_CHECKING:
    from ..models.network import SsdNetwork
    from ..postprocess import PostprocessParams
    from ..runtimes.torch import TorchRuntime


def load(
    source: str | Path,
    *,
    model: str | None = None,
    config: str | Path | None = None,
    labels: Labels | None = None,
    num_classes: int | None = None,
    width: float | None = None,
    params: PostprocessParams | None = None,
    threads: int = 0,
    device: str | None = None,
    max_batch: int | None = None,
    workers: int | None = None,
    cuda_graph: bool = True,
    max_pixels: int | None = None,
    instances: int = 1,
) -> Detector:
    """Open a detector.

    Args:
        source: an engine (with its sidecar beside it), an ONNX file made by ``ssd-small export``,
            a checkpoint, or the name of a shipped one such as ``"bccd/mobilenet_v1_s1l0"``, which
            runs in PyTorch or, if torch is not installed, as an ONNX file in ONNX Runtime.
        model: for a checkpoint: name of the network (:func:`ssd_small.list_models`).
        config: for a checkpoint: a configuration file (YAML) that describes network, pixels and
            post-processing.
        labels: class names in label order, without the background, or a text file of them; default:
            those in the file.
        num_classes, width: for a checkpoint: number of classes, background included, and width
            multiplier; default: read off the weights.
        params: parameters of decode + NMS; fixed if they are inside the engine. Default: the
            file's own.
        threads: CPU threads for the engine (per instance) and for decode + NMS; 0 for one per
            core, shared by the instances.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; default: the GPU for a TensorRT engine, else
            the CPU.
        max_batch: largest batch, limited by what the engine accepts; default: that limit, or 8 if
            there is none.
        workers: threads that read pictures; default: enough to keep the engine busy.
        cuda_graph: replay captured CUDA graphs (TensorRT).
        max_pixels: largest picture file, in pixels, checked by its header before decoding; default:
            the environment variable ``SSD_SMALL_MAX_PIXELS``, else 2**28.
        instances: instances of an engine or ONNX file in this process, each with its own memory, to
            run several batches at once. Small networks process more pictures per second with one
            thread per instance than with one instance on all threads; results stay in order.

    Raises:
        BadFile: the file is absent, damaged or of an unknown kind.
        UsageError: an argument does not apply to this kind of file.
        MissingRequirement: a package or the hardware is missing.
    """
    runtime = open_instances(
        partial(
            open_runtime,
            source,
            model=model,
            config=config,
            labels=labels,
            num_classes=num_classes,
            width=width,
            device=device,
            cuda_graph=cuda_graph,
            max_batch=max_batch,
        ),
        threads,
        instances,
    )
    try:
        running: dict[str, Any] = {"max_batch": max_batch, "workers": workers}
        return Detector(runtime, params, threads=threads, **running, max_pixels=max_pixels)
    except BaseException:
        runtime.close()
        raise


def open_runtime(
    source: str | Path,
    *,
    model: str | None = None,
    config: str | Path | None = None,
    labels: Labels | None = None,
    num_classes: int | None = None,
    width: float | None = None,
    threads: int = 0,
    device: str | None = None,
    cuda_graph: bool = True,
    max_batch: int | None = None,
) -> Runtime:
    """Open the runtime for :func:`load`, without post-processing; arguments as there."""
    path = Path(source)
    kind = _kind(path)
    gpu_index(device)
    if threads < 0:
        raise UsageError(f"threads {threads}: expected 0 (one per core) or more")
    given = {"model": model, "config": config, "num_classes": num_classes, "width": width}
    if kind == "checkpoint" and (stand_in := onnx_without_torch(source, given)) is not None:
        path = stand_in
    elif kind == "checkpoint":
        net, description = _network(
            path, model, config, num_classes=num_classes, width=width, labels=labels
        )
        return torch_runtime(net, description, threads=threads, device=device, max_batch=max_batch)
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                f"{name} {value} does not go with the {kind} {path}, which knows its own; leave it "
                "out"
            )
    return open_built(
        path,
        labels=labels,
        threads=threads,
        device=device,
        cuda_graph=cuda_graph,
        max_batch=max_batch,
    )


def onnx_without_torch(weights: str | Path | None, given: Mapping[str, Any]) -> Path | None:
    """The ONNX file to open instead of a shipped checkpoint if torch is not installed.

    Args:
        weights: as ``source`` of :func:`load`.
        given: further arguments that describe the network, None if not given; any of them means
            that the checkpoint itself is wanted, and so PyTorch.
    """
    shipped = find_shipped(weights)
    asked = any(value is not None for value in given.values())
    return None if shipped is None or asked or is_installed("torch") else shipped.onnx_path


def _network(
    path: Path, model: str | None, config: str | Path | None, **given: Any
) -> tuple[SsdNetwork, Description]:
    """The network of a checkpoint, built from the checkpoint alone or from a configuration."""
    if config is None:
        return network_from_checkpoint(path, model, **given)
    from ..artefacts.experiment import network_from_experiment
    from ..configs.experiment import read_experiment

    experiment = read_experiment(config)
    spec = spec_from_experiment(experiment)
    if model is not None and spec is not None and get_spec(model) != spec:
        raise UsageError(f"model {model} is another network than {spec.name} of {config}")
    return network_from_experiment(experiment, model, path, **given)


def open_built(
    path: Path,
    *,
    labels: Labels | None = None,
    threads: int = 0,
    device: str | None = None,
    cuda_graph: bool = True,
    max_batch: int | None = None,
) -> Runtime:
    """Open the runtime for an engine or ONNX file; arguments as for :func:`load`."""
    if _is_onnx(path):
        runtime = open_onnx(path, threads, device=device, max_batch=max_batch or USUAL_BATCH)
    else:
        runtime = open_engine(path, threads, cuda_graph=cuda_graph, device=device)
    if labels is not None:
        try:
            runtime.description = _renamed(runtime.description, labels)
        except BaseException:
            runtime.close()
            raise
    return runtime


def torch_runtime(
    net: object,
    description: Description,
    *,
    threads: int = 0,
    device: str | None = None,
    max_batch: int | None = None,
) -> TorchRuntime:
    """Open a PyTorch network on a device.

    Raises:
        MissingRequirement: PyTorch has no such GPU.
    """
    torch = require("torch", description.model)
    from ..runtimes.torch import TorchRuntime

    index = gpu_index(device)
    if index is not None:
        count = torch.cuda.device_count()
        if index >= count:
            raise MissingRequirement(
                f"device {device!r}: PyTorch finds {count} GPUs here; use cpu, or run on a machine "
                "with an NVIDIA GPU, its driver and PyTorch for CUDA"
            )
        # fp32 without TF32, as in engines; process-wide (not executed here: needs a GPU)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        net.to(f"cuda:{index}")  # type: ignore[attr-defined]
    if threads:
        torch.set_num_threads(threads)
    return TorchRuntime(net, description, max_batch or USUAL_BATCH)  # type: ignore[arg-type]


def _renamed(description: Description, labels: Labels) -> Description:
    names = labels_from(labels) or ()
    check_labels(names, description.num_classes, description.postprocess.background_label)
    return replace(description, labels=names)


def _kind(path: Path) -> str:
    """The kind of a file, from its sidecar or its suffix; else a checkpoint."""
    if find_shipped(path) is not None:
        return "checkpoint"
    names = ", ".join(one.name for one in shipped_checkpoints())
    expected = f"an engine, an ONNX file, a checkpoint, or a shipped one ({names})"
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        advice = advice_on_missing(path, expected)
        raise BadFile(f"{path} does not exist; {advice}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadFile(f"cannot read {path}: {reason}; expected {expected}") from error
    if path.is_dir():
        raise BadFile(f"{path} is a folder; expected an engine, an ONNX file or a checkpoint in it")
    if find_sidecar(path) is not None or path.suffix.lower() in ENGINE_SUFFIXES:
        return "engine"
    return "ONNX file" if _is_onnx(path) else "checkpoint"


def _is_onnx(path: Path) -> bool:
    return path.suffix.lower() == ".onnx" and find_sidecar(path) is None
