"""What the options of a command name: a network with its description, or a detector."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .config_file import network_from_experiment
from .options import note, postprocess_params

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..configs.experiment import Experiment
    from ..detection.detector import Detector
    from ..models.network import SsdNetwork
    from ..runtimes import Runtime


def load_network(
    model: str | None,
    weights: Path | None,
    num_classes: int | None,
    width: float | None,
    labels: Path | None,
    *,
    random_weights: bool = False,
    experiment: Experiment | None = None,
    input_size: tuple[int, int] | None = None,
) -> tuple[SsdNetwork, Description]:
    """The network that the model options and --config name, and its description.

    Raises:
        UsageError: no model, neither weights nor ``random_weights``, or an ``input_size`` (height,
            width) that the network cannot have or the weights were not trained at.
    """
    if weights is not None and random_weights:
        raise UsageError("--weights and --random-weights exclude each other; pass one of them")
    if experiment is not None:
        if input_size is not None:
            raise UsageError(
                "--input-size does not go with --config, whose IMAGE_SIZE says it; pass one"
            )
        given = (model, weights, num_classes, width, labels)
        return network_from_experiment(experiment, *given, random_weights=random_weights)
    if model is None and weights is None:
        raise UsageError("no network: pass --model NAME (see 'ssd-small models')")
    from ..artefacts.network import network_from_checkpoint, random_network
    from ..models.registry import get_spec

    options: dict[str, Any] = {"num_classes": num_classes, "width": width, "labels": labels}
    if weights is not None:
        return network_from_checkpoint(weights, model, input_size=input_size, **options)
    assert model is not None
    spec = get_spec(model)
    if not random_weights:
        raise UsageError(
            f"{model} needs weights: pass --weights FILE, or --random-weights to go without"
        )
    if input_size is not None:
        from ..models.input_size import spec_for_input

        spec = spec_for_input(spec, input_size)
    return random_network(spec, **options)


def open_detector(
    engine: Path | None,
    network: dict[str, Any],
    preset: str | None,
    threads: int,
    *,
    batch: int | None = None,
    workers: int | None = None,
    cuda_graph: bool = True,
    experiment: Experiment | None = None,
    instances: int = 1,
    cached: bool | None = None,
) -> Detector:
    """The detector that --engine, or --model with --weights, or --config names.

    ``cached`` runs weights in ONNX Runtime, by an engine that is kept or, if False, is not; None
    runs them in PyTorch.

    ``preset`` chooses the post-processing; without it, whatever the file holds is kept: what an
    engine was exported with, and for a checkpoint what export would write.
    """
    from ..detection.detector import Detector
    from ..detection.load import onnx_without_torch, open_built, torch_runtime
    from ..runtimes.several import open_instances

    if cached is not None:
        _check_built(engine, network, experiment, instances)
    if engine is None and experiment is None:
        said = {key: network.get(key) for key in ("model", "num_classes", "width", "input_size")}
        engine = onnx_without_torch(network["weights"], said)
        network = network if engine is None else network | {"weights": None}
    runtime: Runtime
    if engine is not None:
        unused = [key for key, value in network.items() if value is not None and key != "labels"]
        if unused:
            raise UsageError(f"--{unused[0].replace('_', '-')} does not go with --engine")
        built = partial(
            open_built,
            engine,
            labels=network["labels"],
            cuda_graph=cuda_graph,
            max_batch=batch,
        )
        runtime = open_instances(built, threads, instances)
    elif cached is not None:
        from ..export.cached_engine import runtime_of_checkpoint

        runtime = runtime_of_checkpoint(
            **network, threads=threads, cache=cached, progress=lambda told: note(f"note: {told}")
        )
    elif instances > 1:
        raise UsageError(
            f"--instances {instances} goes with --engine: a network in PyTorch has one; build an "
            "engine of it"
        )
    else:
        runtime = torch_runtime(
            *load_network(**network, experiment=experiment), threads=threads, max_batch=batch
        )
    try:
        params = postprocess_params(runtime.description.postprocess, preset)
        running: dict[str, Any] = {"threads": threads, "max_batch": batch, "workers": workers}
        # no option sets a cap: those of a preset are made for one view as the file's own are
        return Detector(runtime, params, **running, caps_grow=True)
    except BaseException:
        runtime.close()
        raise


def _check_built(
    engine: Path | None, network: dict[str, Any], experiment: Experiment | None, instances: int
) -> None:
    """Refuse what does not go with an engine of ONNX Runtime for --weights."""
    if engine is not None or experiment is not None:
        option = "--engine" if engine is not None else "--config"
        raise UsageError(f"--runtime onnxruntime does not go with {option}; it is for --weights")
    if network["weights"] is None:
        raise UsageError("--runtime onnxruntime is for --weights FILE; pass it")
    if instances > 1:
        raise UsageError(
            f"--instances {instances} does not go with --runtime onnxruntime; build an engine, and "
            "pass it with --engine"
        )
