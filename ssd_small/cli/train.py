"""``ssd-small train``."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..errors import UsageError
from ..models.shipped import find_shipped
from .options import FILE, FOLDER, WIDTH, Number, json_option, print_json, threads_option

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _recipe_options(command: Decorated) -> Decorated:
    """An option per field of Recipe; what is not given stays as published for the network."""
    positive, share = Number(0, min_open=True), Number(0, 1)
    for option in reversed(
        (
            click.option("--epochs", type=click.IntRange(min=1), help="Passes over the images."),
            click.option("--iterations", type=click.IntRange(min=1), help="Updates, instead."),
            click.option("--minutes", type=positive, help="Wall time, instead; not repeatable."),
            click.option(
                "--batch", type=click.IntRange(min=1), help="Images per update, all processes."
            ),
            click.option("--lr", type=positive, help="Highest learning rate."),
            click.option("--head-lr", type=positive, help="That of the heads. Default: --lr."),
            click.option("--momentum", type=Number(0, 1, max_open=True)),
            click.option("--weight-decay", type=Number(0)),
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
@click.option("--model", metavar="NAME", required=True, help="Network, see 'ssd-small models'.")
@click.option("--annotations", type=FILE, required=True, help="COCO-format JSON to learn from.")
@click.option("--images", type=FOLDER, required=True, help="Folder of its image files.")
@click.option("--val-annotations", type=FILE, help="COCO-format JSON to evaluate on.")
@click.option("--val-images", type=FOLDER, help="Folder of its image files.")
@click.option("--weights", type=FILE,
              help="Checkpoint to start from, a file or the name of a shipped one. Default: random "
              "weights.")  # fmt: skip
@click.option(
    "--init-scope",
    type=click.Choice(["base", "all"]),
    default="base",
    show_default=True,
    help="What is taken from it: the backbone, or everything.",
)
@click.option("--width", type=WIDTH, default=1.0, show_default=True, help="Channel multiplier.")
@_recipe_options
@click.option("--output", "-o", type=FOLDER, required=True, help="Folder of the run's files.")
@click.option("--resume", is_flag=True, help="Go on with the run in --output.")
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
@threads_option
@json_option
def command(
    model: str,
    width: float,
    eval_every: int,
    save_minutes: float,
    log_every: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Train a network on COCO-format data; the published recipe is the default.

    --output gets best.pth and last.pth (state dicts with the published keys), labels.txt,
    history.csv, curves.png, train.log, and resume.pth for --resume. Ctrl-C stops after the present
    update. The recipe expects a trained backbone (--weights); without one, what helps is
    --norm-scale 8 --background 0.9 --clip-norm 10 --ramp 0.03, and for the MobileNets a --lr of
    some 0.04 with a --head-lr of some 0.0015. Several processes: torchrun --nproc-per-node N
    -m ssd_small train ...
    """
    from dataclasses import fields

    from ..models.registry import get_spec
    from ..requirements import require

    get_spec(model)
    if (shipped := find_shipped(given["weights"])) is not None:
        given["weights"] = shipped.path
    if given["init_scope"] == "all" and given["weights"] is None:
        raise UsageError("--init-scope all needs --weights FILE; pass it, or leave both out")
    for module in ("torch", "torchvision", "cv2"):
        require(module, "training")
    if given["val_annotations"] is not None:
        require("pycocotools", "evaluating")
    from ..training.recipe import Recipe, published_recipe
    from ..training.session import TrainingJob, run_training
    from ..training.trainer import LoopOptions

    settings = {field.name: given.pop(field.name) for field in fields(Recipe)}
    recipe = published_recipe(model).with_changes(**settings)
    options = LoopOptions(log_every, eval_every, save_minutes)
    report = run_training(TrainingJob(model, recipe, width=width, options=options, **given))
    if as_json:
        print_json(report)
    if report["stopped"] == signal.SIGINT:
        raise KeyboardInterrupt
    if report["stopped"]:
        raise SystemExit(128 + int(report["stopped"]))
