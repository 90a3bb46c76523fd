"""``ssd-small explain``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..requirements import require
from .config_file import config_option, experiment_from_option
from .opening import open_detector
from .options import (
    FILE,
    cuda_graph_option,
    json_option,
    max_pixels_option,
    model_options,
    print_json,
    say,
    score_threshold_option,
    threads_option,
)

if TYPE_CHECKING:
    from ..evaluation.explanation import Explanation


class _Box(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """``x,y,w,h``."""

    name = "box"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Four finite numbers, or a usage error."""
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
            self.fail(f"{value!r}: expected x,y,width,height in pixels, such as 10,20,32,24")
        return numbers


@click.command()
@click.argument("image", type=FILE)
@click.option("--engine", type=FILE, help="Engine of 'ssd-small build-engine', or its ONNX file.")
@model_options
@config_option
@click.option(
    "--box",
    type=_Box(),
    required=True,
    metavar="X,Y,W,H",
    help="Box of the object, in pixels of the picture, as in COCO annotations.",
)
@click.option("--label", metavar="NAME", help="Its class. Default: the one that scores best.")
@score_threshold_option("Show scores above", "what 'detect' takes.")
@max_pixels_option
@cuda_graph_option
@threads_option
@json_option
def command(
    image: Path,
    engine: Path | None,
    config: Path | None,
    box: tuple[float, ...],
    label: str | None,
    thresholds: tuple[tuple[str | None, float], ...],
    cuda_graph: bool,
    threads: int,
    as_json: bool,
    **network: Any,
) -> None:
    """Say why the object in a box of IMAGE was found or missed.

    Prints the prior box that came closest, its feature map, its overlap with the object, its score,
    and the rule that removed it: the score threshold, a limit on the number of detections, or the
    box that suppressed it.
    """
    from ..parity.missed_object import explain_in_picture
    from ..parity.opening import side_from_detector

    experiment = experiment_from_option(config)
    weights = network["weights"]
    if engine is not None and weights is not None:
        raise UsageError("pass one of --engine and --weights")
    if engine is None and weights is None and experiment is None:
        raise UsageError("nothing to look into: pass --engine FILE or --weights FILE")
    require("cv2", "reading pictures")
    running: dict[str, Any] = {"batch": 1, "cuda_graph": cuda_graph, "experiment": experiment}
    with open_detector(engine, network, None, threads, **running) as detector:
        path = engine or weights or config
        assert path is not None
        told = explain_in_picture(
            side_from_detector(detector, path),
            image,
            box,
            name=label,
            threshold=dict(thresholds) or None,
            threads=threads,
        )
    if as_json:
        print_json(told.to_dict())
    else:
        _print(told)


def _print(told: Explanation) -> None:
    say(f"{told.verdict}: {_reason(told)}")
    wide, high = told.object_px
    cells, level = "", ""
    if told.object_cells is not None:
        columns, rows = told.object_cells
        cells = f", {columns:.2f}x{rows:.2f} cells on level {told.level}"
        level = f" of level {told.level}"
    click.echo(f"the object measures {wide:.1f}x{high:.1f} pixels at the network's input{cells}")
    click.echo(
        f"prior {told.prior_index}{level}: IoU with the object {told.prior_iou:.3f}; "
        f"IoU of its decoded box {told.iou:.3f}"
    )
    say(f"score {told.score:.4f} as {told.name}")


def _reason(told: Explanation) -> str:
    """The rule, in words."""
    by = told.by
    if told.verdict == "found":
        return f"as {told.name} with score {told.score:.3f}"
    if told.verdict == "no prior":
        return f"no prior's box reaches IoU {by['least']:g} with the object"
    if told.verdict == "below threshold":
        return f"score {told.score:.4f}, threshold {by['threshold']:g}"
    if told.verdict == "suppressed":
        corners = ", ".join(f"{value:g}" for value in by["box"])
        return (
            f"by prior {by['prior_index']} with score {by['score']:.3f} and box ({corners}), which "
            f"overlaps it by IoU {by['iou']:.3f}, where {by['threshold']:g} is allowed, "
            f"and the object by {by['iou_with_object']:.3f}"
        )
    rank = f"it is number {by['rank']}; " if "rank" in by else ""
    return f"{rank}{by['rule']} lets {by['limit']} pass"
