"""``ssd-small bench``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    FOLDER,
    WIDTH,
    Listed,
    Number,
    PictureSize,
    cuda_graph_option,
    input_size_option,
    json_option,
    note,
    postprocess_options,
    print_json,
    report_option,
    threads_option,
    workers_option,
)
from .tiles_options import CAPS, asked_of_tiles, check_tiles_of, tiles_options

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..bench.against import Change
    from ..bench.run import Measurement, Pictures, Plan
    from ..bench.tiled import TiledPicture
    from ..configs.experiment import Experiment
    from ..models.spec import ModelSpec
    from ..postprocess import PostprocessParams

#: height and width of the picture that is cut into tiles, unless asked otherwise
_PICTURE = (1080, 1920)
#: images per call of the network, which are all in memory at once
MOST_BATCH = 64


@click.command()
@click.option("--model", "models", metavar="NAME", multiple=True, help="Network; repeatable.")
@click.option(
    "--engine", "engines", type=FILE, multiple=True, help="Engine or ONNX file; repeatable."
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="Precision of the engines made for --model; PyTorch runs fp32.",
)
@click.option(
    "--batch",
    "batches",
    type=Listed(int),
    default="1",
    show_default=True,
    help="Images per call, 1 to 64; several with commas (1,2,4,8) for throughput against latency.",
)
@click.option(
    "--seconds",
    type=Number(0),
    default=10.0,
    show_default=True,
    help="Seconds to measure each network and batch; at least three runs are made.",
)
@click.option(
    "--images",
    type=FOLDER,
    help="Also measure where the time goes for these pictures, stage by stage; the first 64 are "
    "used.",
)
@tiles_options
@click.option(
    "--picture-size",
    type=PictureSize(),
    help="Size of the picture that --tiles cuts. Default: 1920x1080.",
)
@workers_option
@click.option(
    "--against",
    type=FILE,
    help="Report of 'bench --json' to compare with: exit 1 if this run is slower, 2 if the two "
    "cannot be compared.",
)
@click.option("--num-classes", type=click.IntRange(2, 1024), help="Default: --config's, else 81.")
@click.option("--width", type=WIDTH, help="Default: --config's, else 1.")
@input_size_option
@config_option
@postprocess_options
@report_option
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
    batches: tuple[int, ...],
    images: Path | None,
    workers: int | None,
    against: Path | None,
    page: Path | None,
    picture_size: tuple[int, int] | None,
    **settings: Any,
) -> None:
    """Measure inference time per network, PyTorch against the engine.

    Without --model or --engine all six networks run, with random weights and the embedded default
    as engine. Decode + NMS is timed on synthetic heads of a busy scene. Times are milliseconds per
    image; reading and resizing pictures is not included, except with --images, in a table of its
    own. Outputs of timed runs are compared with those of an untimed one: exit 1 if they differ.
    With --tiles an image is a picture of --picture-size in tiles: the network on all of them,
    --batch at a time, and one NMS over the picture.
    """
    from ..bench.against import (
        changes_of_reports,
        check_alike,
        check_comparable,
        check_not_slower,
    )
    from ..bench.disturbance import Watch
    from ..bench.fastest import fastest_of_rows
    from ..bench.gpu_clocks import gpu_clocks, held_back_line
    from ..bench.run import Plan
    from ..machine import describe_machine
    from ..models.registry import get_spec, list_models
    from ..requirements import require
    from .bench_text import print_report
    from .options import postprocess_params

    asked = asked_of_tiles(settings)
    check_tiles_of(asked, *engines)
    for batch in batches:
        if not 1 <= batch <= MOST_BATCH:
            raise UsageError(f"--batch {batch}: expected 1 to {MOST_BATCH}")
    if workers is not None and images is None:
        raise UsageError("--workers goes with --images, whose files they read")
    if images is not None and not engines:
        raise UsageError("--images goes with --engine: random weights find nothing in pictures")
    if engines and not models and config is None:
        _check_for_models({"preset": preset, **settings})
    if page:
        from ..artefacts.outputs import engine_inputs
        from ..report.page import check_report

        read = [one for engine in engines for one in engine_inputs(engine)]
        check_report(page, [*read, config, images, against])
    tiles = _tiles(asked, picture_size, settings)
    old = _old_report(against)
    pictures = _pictures(images, workers)
    experiment = experiment_from_option(config)
    if experiment is not None:
        if settings["input_size"] is not None:
            raise UsageError(
                "--input-size does not go with --config, whose IMAGE_SIZE says it; pass one"
            )
        chosen, own = _of_experiment(experiment, models, engines, settings)
    else:
        names = models or (() if engines else tuple(list_models()))
        chosen = tuple(_at_size(get_spec(name), settings["input_size"]) for name in names)
        own = get_spec(list_models()[0]).postprocess
    settings["num_classes"] = settings["num_classes"] or 81
    settings["width"] = settings["width"] or 1.0
    if chosen:
        for module in ("torch", "onnx", "onnxscript", "onnxruntime"):
            require(module, "benchmarking networks")
    params = postprocess_params(own, preset, **settings)
    machine = describe_machine()
    # spelled out: PyTorch, ONNX Runtime and the native library each count cores their own way
    threads = threads or machine["cores"]
    if old is not None:
        check_alike(old, machine, threads)
    plan = Plan(tuple(dict.fromkeys(batches)), settings["seconds"], threads, pictures, tiles)
    kept = {k: settings[k] for k in ("num_classes", "width", "precision")}
    measured: list[Measurement] = []
    changes: list[Change] = []
    watch = Watch()
    try:
        for one in _measure(chosen, engines, params, plan, cuda_graph, kept):
            measured.append(one)
    finally:  # what was measured before a later network failed took its time too
        if measured:
            seen, clocks = watch.seen(), gpu_clocks()
            report: dict[str, Any] = {
                "machine": machine,
                "threads": threads,
                "disturbance": seen.to_dict(),
                "clocks": clocks,
                "unit": "milliseconds per image",
                "results": [one.to_dict() for one in measured],
            }
            report["fastest"] = fastest_of_rows(report["results"])
            if old is not None:
                changes = changes_of_reports(old, report)
                report["against"] = {
                    "file": str(against),
                    "changes": [one.to_dict() for one in changes],
                }
            if as_json:
                print_json(report)
            else:
                print_report(report)
            spread = max(one.spread for one in measured)
            told = (seen.line(spread, threads), held_back_line(clocks))
            lines = [line for line in told if line is not None]
            for line in lines:
                note(f"note: {line}")
            if page:
                from ..report.from_bench import page_from_bench
                from ..report.page import write_page

                write_page(page_from_bench(report, lines), page)
    if old is not None:
        check_comparable(old, report)
    check_not_slower(changes, str(against))


def _at_size(spec: ModelSpec, size: tuple[int, int] | None) -> ModelSpec:
    from ..models.input_size import spec_for_input

    return spec if size is None else spec_for_input(spec, size)


def _tiles(
    asked: dict[str, Any], size: tuple[int, int] | None, settings: dict[str, Any]
) -> Callable[[Description], TiledPicture] | None:
    """What cuts the measured picture for a network; None for none."""
    if asked["tiles"] is None:
        if size is not None:
            raise UsageError("--picture-size goes with --tiles, which cuts a picture of that size")
        from ..detection.tiling import check_not_cut

        check_not_cut(asked["overlap"], asked["whole"], asked["object_size"])
        return None
    caps_grow = all(settings[name] is None for name in CAPS)

    def tiled(description: Description) -> TiledPicture:
        from ..bench.tiled import TiledPicture
        from ..detection.tiling import tiling_from_options

        tiling = tiling_from_options(**asked, description=description)
        assert tiling is not None
        return TiledPicture(tiling, size or _PICTURE, caps_grow)

    return tiled


def _check_for_models(settings: dict[str, Any]) -> None:
    """Refuse, beside engines alone, what is said of networks made here: it would do nothing."""
    given = [k for k, v in settings.items() if v is not None and k not in ("seconds", "precision")]
    if given:
        option = "--" + given[0].replace("_", "-")
        raise UsageError(
            f"{option} goes with --model: an engine has its own, and is measured with it; leave "
            "it out, or build the engine otherwise"
        )


def _old_report(path: Path | None) -> dict[str, Any] | None:
    """The run to compare with, read before anything is measured."""
    if path is None:
        return None
    from ..bench.against import read_report
    from ..requirements import require

    require("scipy.stats", "comparing two runs (bench --against)")
    return read_report(path)


def _pictures(folder: Path | None, workers: int | None) -> Pictures | None:
    if folder is None:
        return None
    from ..bench.ledger import MOST_PICTURES
    from ..bench.run import Pictures
    from ..files import check_is_file
    from ..pictures.listing import list_images
    from ..requirements import require

    require("cv2", "reading pictures")
    files = list_images(folder).files
    for path in files[:MOST_PICTURES]:  # before anything is measured
        check_is_file(path, "an image file")
    return Pictures(files, workers)


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
    plan: Plan,
    cuda_graph: bool,
    settings: dict[str, Any],
) -> Iterator[Measurement]:
    from ..bench.run import bench_engine, bench_model
    from ..system.temporary import temporary_folder

    for path in engines:
        note(f"measuring {path}")
        yield from bench_engine(path, plan, cuda_graph=cuda_graph)
    with temporary_folder() as folder:
        for spec in models:
            note(f"measuring {spec.name}")
            yield from bench_model(spec, params, folder, plan, **settings)
