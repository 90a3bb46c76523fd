"""What the options of a command name: a network with its description, or a detector."""

from __future__ import annotations

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
    cached: bool | None = None,
) -> Detector:
    """The detector that --engine, or --model with --weights, or --config names.

    ``cached`` runs weights in ONNX Runtime, by an engine that is kept or, if False, is not; None
    runs them in PyTorch.

    ``preset`` chooses the post-processing; without it, whatever the file holds is kept: what an
    engine was exported with, and for a checkpoint what export would write.
    """
    from ..detection.detector import Detector
    from ..detection.load import open_built, torch_runtime

    runtime: Runtime
    if cached is not None:
        runtime = _built_runtime(engine, network, experiment, threads, cached)
    elif engine is not None:
        unused = [key for key, value in network.items() if value is not None and key != "labels"]
        if unused:
            raise UsageError(f"--{unused[0].replace('_', '-')} does not go with --engine")
        runtime = open_built(
            engine,
            labels=network["labels"],
            threads=threads,
            cuda_graph=cuda_graph,
            max_batch=batch,
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


def _built_runtime(
    engine: Path | None,
    network: dict[str, Any],
    experiment: Experiment | None,
    threads: int,
    cached: bool,
) -> Runtime:
    """An engine of ONNX Runtime for --weights."""
    if engine is not None or experiment is not None:
        option = "--engine" if engine is not None else "--config"
        raise UsageError(f"--runtime onnxruntime does not go with {option}; it is for --weights")
    if network["weights"] is None:
        raise UsageError("--runtime onnxruntime is for --weights FILE; pass it")
    from ..export.cached_engine import runtime_of_checkpoint

    return runtime_of_checkpoint(
        **network, threads=threads, cache=cached, progress=lambda told: note(f"note: {told}")
    )
