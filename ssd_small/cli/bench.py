"""``ssd-small bench``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import BadFile, UsageError
from .config_file import (
    config_option,
    experiment_from_option,
    spec_from_experiment,
)
from .options import (
    FILE,
    WIDTH,
    Number,
    cuda_graph_option,
    json_option,
    note,
    postprocess_options,
    print_json,
    print_table,
    say,
    threads_option,
)

if TYPE_CHECKING:
    from ..bench.run import Measurement
    from ..configs.experiment import Experiment
    from ..models.spec import ModelSpec
    from ..postprocess import PostprocessParams


@click.command()
@click.option("--model", "models", metavar="NAME", multiple=True, help="Network; repeatable.")
@click.option(
    "--engine", "engines", type=FILE, multiple=True, help="Engine, ONNX file; repeatable."
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="Of the engines made for --model; PyTorch runs fp32.",
)
@click.option("--batch", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option(
    "--seconds",
    type=Number(0),
    default=10.0,
    show_default=True,
    help="Measuring time per network; three runs are made at least.",
)
@click.option("--num-classes", type=click.IntRange(2, 1024), help="Default: --config's, else 81.")
@click.option("--width", type=WIDTH, help="Default: --config's, else 1.")
@config_option
@postprocess_options
@cuda_graph_option
@threads_option
@json_option
def command(
    models: tuple[str, ...],
    engines: tuple[Path, ...],
    config: Path | None,
    as_json: bool,
    preset: str | None,
    threads: int,
    cuda_graph: bool,
    **settings: Any,
) -> None:
    """Measure inference time per network, PyTorch beside the engine.

    Without --model or --engine all six networks run, with random weights and the embedded
    default as engine. Decode + NMS is timed on synthetic heads of a busy scene. Times are
    milliseconds per image; reading and resizing pictures is not included.
    """
    from ..machine import describe_machine
    from ..models.registry import get_spec, list_models
    from ..requirements import require
    from .options import postprocess_params

    experiment = experiment_from_option(config)
    if experiment is not None:
        chosen, own = _of_experiment(experiment, models, engines, settings)
    else:
        names = models or (() if engines else tuple(list_models()))
        chosen = tuple(get_spec(name) for name in names)
        own = get_spec(list_models()[0]).postprocess
    settings["num_classes"] = settings["num_classes"] or 81
    settings["width"] = settings["width"] or 1.0
    if chosen:
        for module in ("torch", "onnx", "onnxscript", "onnxruntime"):
            require(module, "benchmarking networks")
    params = postprocess_params(own, preset, **settings)
    kept = {k: settings[k] for k in ("batch", "seconds", "num_classes", "width", "precision")}
    machine = describe_machine()
    # spelled out: PyTorch, ONNX Runtime and the native library each count cores their own way
    threads = threads or machine["cores"]
    rows: list[dict[str, Any]] = []
    try:
        for measured in _measure(chosen, engines, params, threads, cuda_graph, kept):
            rows.append(measured.to_dict())
    finally:  # what was measured before a later network failed took its time too
        report = {
            "machine": machine,
            "threads": threads,
            "unit": "milliseconds per image",
            "results": rows,
        }
        if as_json and rows:
            print_json(report)
        elif rows:
            _print(report)


def _of_experiment(
    experiment: Experiment,
    models: tuple[str, ...],
    engines: tuple[Path, ...],
    settings: dict[str, Any],
) -> tuple[tuple[ModelSpec, ...], PostprocessParams]:
    """The network of a configuration and its post-processing; sizes go into ``settings``."""
    from ..artefacts.experiment import postprocess_from_experiment

    if engines:
        raise UsageError("--config does not go with --engine, which knows its own; pass one")
    if len(models) > 1:
        raise UsageError("several --model beside --config, which is one network; leave one out")
    spec = spec_from_experiment(experiment, models[0] if models else None)
    if spec is None:
        raise BadFile(
            f"{experiment.path} describes no network; expected NETS or SSDS in MODEL, or model"
        )
    settings["num_classes"] = settings["num_classes"] or experiment.described_classes
    settings["width"] = settings["width"] or experiment.options.get("width")
    return (spec,), postprocess_from_experiment(experiment, spec.postprocess)


def _measure(
    models: tuple[ModelSpec, ...],
    engines: tuple[Path, ...],
    params: PostprocessParams,
    threads: int,
    cuda_graph: bool,
    settings: dict[str, Any],
) -> Iterator[Measurement]:
    from ..bench.run import bench_engine, bench_model
    from ..system.temporary import temporary_folder

    for path in engines:
        note(f"measuring {path}")
        yield from bench_engine(
            path, settings["batch"], settings["seconds"], threads, cuda_graph=cuda_graph
        )
    with temporary_folder() as folder:
        for spec in models:
            note(f"measuring {spec.name}")
            yield from bench_model(spec, params, folder, threads=threads, **settings)


def _print(report: dict[str, Any]) -> None:
    machine, rows = report["machine"], report["results"]
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items())
    say(f"{machine['cpu']}, {report['threads']} threads, Python {machine['python']}, {packages}")
    say("milliseconds per image")
    # engines come with parameters of their own
    for thresholds in dict.fromkeys(_thresholds(row["postprocess"]) for row in rows):
        models = dict.fromkeys(
            row["model"] for row in rows if _thresholds(row["postprocess"]) == thresholds
        )
        say(f"{', '.join(models)}: {thresholds}")
    click.echo()
    headers = "model|runtime|prec.|batch|network|p90|p99|decode+NMS|p90|p99|total|p90|p99|runs"
    print_table([_texts(row) for row in rows], [*headers.split("|"), "published"])
    click.echo(
        "\npublished: fp32, batch 16, on a GPU that is not named; compare networks with each "
        "other, not with it"
    )


def _thresholds(params: dict[str, Any]) -> str:
    """The parameters on which the cost of decode + NMS depends."""
    from ..postprocess import PostprocessParams
    from ..postprocess.protocol import text_from_params

    return text_from_params(PostprocessParams.from_dict(params))


def _texts(row: dict[str, Any]) -> list[str]:
    def three(timing: dict[str, Any] | None) -> list[str]:
        if timing is None:
            return ["inside", "", ""]
        return [f"{timing[k]:.2f}" for k in ("median", "p90", "p99")]

    return [
        row["model"],
        row["runtime"],
        row["precision"],
        str(row["batch"]),
        *three(row["network_ms"]),
        *three(row["decode_nms_ms"]),
        *three(row["total_ms"]),
        str(row["total_ms"]["runs"]),
        "-" if row["published_ms"] is None else f"{row['published_ms']:.1f}",
    ]
