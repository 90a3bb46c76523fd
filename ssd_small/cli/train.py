"""``ssd-small train``."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ..errors import Ended, UsageError
from .config_file import config_option, experiment_from_option, train_options
from .options import (
    FILE,
    FOLDER,
    WIDTH,
    Listed,
    Number,
    input_size_option,
    json_option,
    max_pixels_option,
    print_json,
    sets_option,
    threads_option,
)
from .tiles_options import TileSize

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _recipe_options(command: Decorated) -> Decorated:
    """An option per field of Recipe; what is not given stays as published for the network."""
    positive, share = Number(0, min_open=True), Number(0, 1)
    decay = Number(0, 1, max_open=True)
    for option in reversed(
        (
            click.option("--epochs", type=click.IntRange(min=1), help="Passes over the images."),
            click.option(
                "--iterations", type=click.IntRange(min=1), help="Updates, instead of --epochs."
            ),
            click.option(
                "--minutes",
                type=positive,
                help="Wall time in minutes, instead of --epochs; not reproducible.",
            ),
            click.option(
                "--batch", type=click.IntRange(min=1), help="Images per update, over all processes."
            ),
            click.option("--lr", type=positive, help="Highest learning rate."),
            click.option(
                "--head-lr", type=positive, help="Learning rate of the heads. Default: --lr."
            ),
            click.option("--optimizer", type=click.Choice(["sgd", "rmsprop", "adam"])),
            click.option("--momentum", type=decay, help="Adam: decay of the mean gradient."),
            click.option(
                "--momentum-2",
                type=decay,
                help="RMSprop, Adam: decay of the mean squared gradient.",
            ),
            click.option(
                "--eps", type=positive, help="RMSprop, Adam: added to the root of that mean."
            ),
            click.option("--weight-decay", type=Number(0)),
            click.option(
                "--schedule",
                type=click.Choice(["cosine", "sgdr", "step", "multi_step", "exponential"]),
                help="How the rate changes after the warm-up; sgdr is the published cosine.",
            ),
            click.option(
                "--schedule-steps",
                type=Listed(int),
                help="Epochs at which step and multi_step lower the rate.",
            ),
            click.option(
                "--gamma",
                type=Number(0, 1, min_open=True),
                help="Factor for step, multi_step and exponential.",
            ),
            click.option(
                "--trainable-scope",
                type=Listed(str),
                help="Parts to train, such as extras,loc,conf. Default: all.",
            ),
            click.option("--warm-up", type=share, help="Part of the budget at constant rate."),
            click.option("--ramp", type=share, help="Part in which the rate climbs to --lr."),
            click.option("--clip-norm", type=positive, help="Largest norm of the gradient."),
            click.option("--ema-decay", type=Number(), help="Average the weights with this decay."),
            click.option("--negative-ratio", type=positive, help="Hard negatives per positive."),
            click.option("--match-iou", type=share, help="Least overlap of a positive prior."),
            click.option("--expand", type=share, help="Probability of a larger canvas."),
            click.option("--norm-scale", type=positive, help="Start value of L2Norm."),
            click.option("--background", type=share, help="Background probability at the start."),
            click.option(
                "--repeat-threshold",
                type=share,
                help="Show classes in fewer of the images than this more often (LVIS).",
            ),
            click.option("--precision", type=click.Choice(["fp32", "amp"])),
            click.option("--channels-last/--no-channels-last", default=None),
            click.option("--seed", type=click.IntRange(0, 2**63 - 1)),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.option("--model", metavar="NAME",
              help="Network, see 'ssd-small models'. Default: the one recorded in "
                   "--weights.")  # fmt: skip
@click.option("--annotations", type=FILE, help="COCO-format JSON to learn from, or a folder.")
@click.option("--images", type=FOLDER, help="Folder of its image files.")
@sets_option("--sets", "--annotations")
@click.option("--val-annotations", type=FILE, help="The same for evaluation.")
@click.option("--val-images", type=FOLDER, help="Folder of its image files.")
@sets_option("--val-sets", "--val-annotations")
@click.option("--tiles", type=TileSize(),
              help="Cut pictures into tiles of this many pixels, for training and evaluation. "
                   "auto: objects as large at the input as those --weights was trained on, else "
                   "tiles of the input's size.")  # fmt: skip
@click.option("--overlap", type=Number(0, 1, max_open=True),
              help="Share of a tile that overlaps the next one. Default: 0.2.")  # fmt: skip
@click.option("--weights", type=FILE,
              help="Checkpoint to start from, a file or the name of a shipped one. Default: random "
              "weights.")  # fmt: skip
@click.option(
    "--init-scope",
    metavar="base|all|KEYS",
    help="What to take from it: only the backbone, strictly everything, or the tensors whose keys "
    "contain one of these words (base,norm,extras). Default: every tensor that fits, "
    "whatever its classes.",
)
@click.option("--width", type=WIDTH, help="Channel multiplier. Default: that of --weights, else 1.")
@input_size_option
@_recipe_options
@click.option("--output", "-o", type=FOLDER, help="Folder of the run's files.")
@config_option
@click.option("--print-config", is_flag=True,
              help="Print the result of these options and --config as YAML, and "
                   "stop.")  # fmt: skip
@click.option("--resume", is_flag=True,
              help="Continue the run in --output, with its options.")  # fmt: skip
@click.option("--eval-every", type=click.IntRange(min=0), default=1, show_default=True,
              help="Epochs between evaluations; 0: at the end only.")  # fmt: skip
@click.option("--save-minutes", type=Number(0), default=5.0, show_default=True,
              help="Longest time between two resume files.")  # fmt: skip
@click.option("--log-every", type=click.IntRange(min=1), default=50, show_default=True,
              help="Updates between lines of the log.")  # fmt: skip
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto",
              show_default=True)  # fmt: skip
@click.option("--workers", type=click.IntRange(min=0), default=2, show_default=True,
              help="Processes that read and augment images.")  # fmt: skip
@click.option("--skip-unreadable", type=click.IntRange(min=0), default=0, show_default=True,
              metavar="N", help="Tolerate up to N images that cannot be read.")  # fmt: skip
@max_pixels_option
@threads_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    output: Path | None,
    config: Path | None,
    resume: bool,
    print_config: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network on COCO-format data or sets; the published recipe is the default.

    --annotations is required with --images or --sets, and --model unless --weights record theirs.
    --output gets best.pth and last.pth, which record network, class names and recipe, so that
    export, eval, detect and train --weights need no other option; also labels.txt, history.csv,
    curves.png, train.log, run.json (what the run is), config.yml (which --config takes to repeat
    it) and resume.pth. Objects that VOC marks difficult are learned, as published, and ignored in
    evaluation.

    Ctrl-C stops after the current update, and 'train --resume --output DIR' continues. What decides
    the result cannot be changed then; --workers, --threads, --device, --images and the like can,
    and are remembered.

    The recipe expects a trained backbone (--weights). Without one, --norm-scale 8 --background 0.9
    --clip-norm 10 --ramp 0.03 help, and for the MobileNets a --lr of about 0.04 with a --head-lr of
    about 0.0015. Several processes: torchrun --nproc-per-node N -m ssd_small train ...
    """
    from ..models.registry import get_spec
    from ..requirements import require

    source = context.get_parameter_source
    given = {k: v for k, v in options.items() if source(k) is not ParameterSource.DEFAULT}
    if "model" in given:
        get_spec(given["model"])
    for module in ("torch", "torchvision", "cv2"):
        require(module, "training")
    from ..artefacts.outputs import check_outputs
    from ..training.options import job_from_options
    from ..training.session import run_training
    from ..training.state import RunFolder

    experiment = experiment_from_option(config)
    if experiment is not None:
        given, folder = train_options(experiment, given)
        output = output or folder
    if print_config:
        from ..configs.yaml_file import yaml_from_mapping
        from ..training.configuration import configuration_from_options

        known = given if output is None else {**given, "output": output}
        click.echo(yaml_from_mapping(configuration_from_options(known)), nl=False)
        return
    if output is None:
        raise UsageError("nowhere to write: pass --output FOLDER (or output: in --config)")
    job = job_from_options(output, given, resume=resume)
    if job.val_annotations is not None:
        require("hotcoco", "evaluating")
    if not resume:
        check_outputs(RunFolder(output).files, [config])
    report = run_training(job)
    if as_json:
        print_json(report)
    if report["stopped"] == signal.SIGINT:
        raise KeyboardInterrupt
    if report["stopped"]:
        raise Ended(int(report["stopped"]))
