"""Options and output that several subcommands share."""

from __future__ import annotations

import io
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import quoted
from ..json_files import json_text
from ..terminal import drawing_stream, one_line

if TYPE_CHECKING:
    from ..postprocess import PostprocessParams

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A finite number in a range; click's own lets NaN pass every bound."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number, or a usage error."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number

    def _describe_range(self) -> str:
        """What --help shows; click would write "x<=None" of a number without bounds."""
        return "" if self.min is None and self.max is None else super()._describe_range()


class _Threshold(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """``0.3``, or ``NAME=0.2`` for one class."""

    name = "threshold"
    _number = Number(0, 1)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str | None, float]:
        """Class name (None for all classes) and number."""
        name, equals, number = str(value).rpartition("=")
        return (name if equals else None), self._number.convert(number, param, ctx)


class Listed(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """``10,20``: values of one kind with commas between."""

    def __init__(self, kind: type[int] | type[str]) -> None:
        self._kind = kind
        self.name = f"{'whole numbers' if kind is int else 'names'}, with commas"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | str, ...]:
        """The values, or a usage error."""
        try:
            return tuple(self._kind(part.strip()) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r}: expected {self.name}, such as 10,20", param, ctx)


class _SetList(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """``2007:trainval,2012:trainval``."""

    name = "sets"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[tuple[str, str], ...]:
        """Pairs of year and split."""
        from ..datasets.sets import sets_from_text

        return value if isinstance(value, tuple) else sets_from_text(str(value))


class _AnyPath(click.Path):
    """A name of at least a letter: ``-o "$UNSET"`` would mean the present folder otherwise."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, or a usage error."""
        if value == "":
            self.fail("the name is empty; expected a path", param, ctx)
        return super().convert(value, param, ctx)


# whether a path is a file or a folder is checked where it is read or written: exit 4, not 2
FILE = FOLDER = _AnyPath(readable=False, path_type=Path)
#: a path or an address (s3://...), whose two slashes a path would make one
ADDRESS = _AnyPath(readable=False, path_type=str)
WIDTH = Number(0, 4, min_open=True)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
cuda_graph_option = click.option(
    "--cuda-graph/--no-cuda-graph",
    default=True,
    show_default=True,
    help="Replay captured graphs (TensorRT engines).",
)
threads_option = click.option(
    "--threads", type=click.IntRange(0, 1024), default=0, help="CPU threads; 0: one per core."
)
batch_option = click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="Pictures per call, at most the engine's maximum. Default: that maximum; 8 for a network.",
)
report_option = click.option(
    "--report",
    "page",
    type=FOLDER,
    metavar="DIR",
    help="Also write DIR/report.html, a self-contained page.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 16),
    help="Threads that read pictures. Default: enough to keep the engine busy.",
)


instances_option = click.option(
    "--instances",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Instances of the engine, each with a batch of its own; they share the cores. A small "
    "network is faster as several single-threaded instances.",
)


def _set_max_pixels(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
    """Let the limit hold for all that the command reads, in processes that it starts as well."""
    if value is None or ctx.resilient_parsing:
        return
    from ..pictures.limits import ENVIRONMENT

    before = os.environ.get(ENVIRONMENT)

    def restore() -> None:
        os.environ.pop(ENVIRONMENT)
        if before is not None:
            os.environ[ENVIRONMENT] = before

    os.environ[ENVIRONMENT] = str(value)
    ctx.call_on_close(restore)


def _set_served_pixels(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
    """As :func:`_set_max_pixels`, with a limit of its own where nobody says one."""
    from ..pictures.limits import ENVIRONMENT, SERVED_MOST

    is_said = value is not None or bool(os.environ.get(ENVIRONMENT))
    _set_max_pixels(ctx, param, value if is_said else SERVED_MOST)


def _max_pixels_option(
    usual: int, callback: Callable[[click.Context, click.Parameter, int | None], None]
) -> Callable[[Decorated], Decorated]:
    return click.option(
        "--max-pixels",
        type=click.IntRange(1, 2**30),
        callback=callback,
        expose_value=False,
        help="Largest number of pixels decoded at once. Default: SSD_SMALL_MAX_PIXELS, else "
        f"{usual}.",
    )


max_pixels_option = _max_pixels_option(268435456, _set_max_pixels)
served_pixels_option = _max_pixels_option(67108864, _set_served_pixels)


def sets_option(name: str, annotations: str) -> Callable[[Decorated], Decorated]:
    """--sets and its like; ``annotations`` is the option whose folder holds them."""
    return click.option(
        name,
        type=_SetList(),
        metavar="YEAR:SPLIT,...",
        help=f"Of the folder {annotations}, in the layout of Pascal VOC (VOC2007/...) or COCO "
        "(annotations/instances_SPLITYEAR.json): these sets, joined; it holds the images too.",
    )


def score_threshold_option(of: str, default: str) -> Callable[[Decorated], Decorated]:
    """--score-threshold; ``of`` and ``default`` say in the help text what it does."""
    return click.option(
        "--score-threshold",
        "thresholds",
        type=_Threshold(),
        multiple=True,
        metavar="N|NAME=N",
        help=f"{of}; NAME=N for one class; repeatable. Default: {default}",
    )


def model_options(command: Decorated) -> Decorated:
    """--model, --weights, --num-classes, --width, --labels."""
    for option in reversed(
        (
            click.option("--model", metavar="NAME", help="Network, see 'ssd-small models'."),
            click.option(
                "--weights",
                type=FILE,
                help="Checkpoint (state dict), or the name of a shipped one (see "
                "'ssd-small models').",
            ),
            click.option(
                "--num-classes",
                type=click.IntRange(2, 1024),
                help="Classes including background; default: read from the weights, else 81.",
            ),
            click.option(
                "--width", type=WIDTH, help="Channel multiplier; default: read from the weights."
            ),
            click.option("--labels", type=FILE, help="Text file with a class name per line."),
        )
    ):
        command = option(command)
    return command


class PictureSize(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """``1920x1080``, width first as cameras name it; (height, width) in pixels."""

    name = "WIDTHxHEIGHT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """The two numbers, or a usage error."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", value)
        if found is None:
            self.fail(f"{quoted(value)} is no size; expected one such as 1920x1080", param, ctx)
        return int(found[2]), int(found[1])


class InputSize(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """``512``, or ``640x480``, width first; (height, width) in pixels."""

    name = "N|WIDTHxHEIGHT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """The two numbers, or a usage error."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,3})(?:x([1-9][0-9]{0,3}))?", value)
        if found is None:
            self.fail(
                f"{quoted(value)} is no size of an input; expected one such as 512 or 640x480",
                param,
                ctx,
            )
        return int(found[2] or found[1]), int(found[1])


input_size_option = click.option(
    "--input-size",
    type=InputSize(),
    help="Input size of the network in pixels; prior boxes keep their share of it. Default: the "
    "weights', else the published 300.",
)


class GridSize(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """``4x3``: how many tiles across and down."""

    name = "COLUMNSxROWS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """The two numbers, or a usage error."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", value)
        if found is None:
            self.fail(
                f"{quoted(value)} is no grid of tiles; expected columns x rows, such as 4x3",
                param,
                ctx,
            )
        return int(found[1]), int(found[2])


def postprocess_options(command: Decorated) -> Decorated:
    """--preset and an option per field of PostprocessParams."""
    whole = click.IntRange(min=0)
    for option in reversed(
        (
            click.option(
                "--preset",
                type=click.Choice(["deploy", "coco"]),
                help="Post-processing: bounded output (deploy), or the published protocol (coco). "
                "Default: the checkpoint's, which is deploy unless it says otherwise.",
            ),
            click.option("--score-threshold", type=Number(), help="Keep scores above."),
            click.option("--iou-threshold", type=Number(0, 1), help="Suppress overlaps above."),
            click.option("--pre-nms-topk", type=whole, help="Candidates per class; 0: all."),
            click.option("--keep-topk-per-class", type=whole, help="Kept per class; 0: all."),
            click.option("--keep-topk", type=whole, help="Kept per image; 0: all."),
            click.option("--pixel-offset", type=Number(0), help="Added to box sides in the IoU."),
            click.option(
                "--clip-boxes/--no-clip-boxes",
                default=None,
                help="Clip boxes to the picture before NMS. Default: as in the checkpoint.",
            ),
        )
    ):
        command = option(command)
    return command


def postprocess_params(
    own: PostprocessParams, preset: str | None, **given: Any
) -> PostprocessParams:
    """Parameters of a network under a preset (None: its ``own``), with what was given on top."""
    from ..postprocess.protocol import params_from_preset

    base = own if preset is None else params_from_preset(preset, own)
    known = {field.name for field in fields(base)}
    return replace(base, **{k: v for k, v in given.items() if k in known and v is not None})


def print_json(value: Any) -> None:
    """JSON on standard output."""
    click.echo(json_text(value, indent=2))


def say(line: str) -> None:
    """A line on standard output; names in it stay on it, whatever they are made of."""
    click.echo(one_line(line))


def print_table(
    rows: Sequence[Sequence[Any]], headers: Sequence[str], align: Sequence[str] | None = None
) -> None:
    """An aligned table on standard output.

    ``align`` is left or right for each column; without it numbers stand to the right.
    """
    from tabulate import tabulate

    rows = [[one_line(v) if isinstance(v, str) else v for v in row] for row in rows]
    align = align or [_side(cells) for cells in zip(*rows, strict=True)]
    click.echo(tabulate(rows, headers=headers, floatfmt="", disable_numparse=True, colalign=align))


#: 0.25, -3, 1 234, 17.5%, 1.4e-06, 12x, and what stands for a number that there is none of
_FIGURE = re.compile(r"[+-]?(\d{1,3}( \d{3})+|\d+)(\.\d+)?(e[+-]?\d+)?[%x]?|-|inside|")


def _side(cells: Sequence[Any]) -> str:
    """Where a column stands: numbers to the right, words to the left."""
    figures = all(_FIGURE.fullmatch(str(cell)) for cell in cells)
    return "right" if figures and any(cell not in ("-", "inside", "") for cell in cells) else "left"


def counted(numbers: Mapping[str, int]) -> str:
    """``FLOAT 438, INT64 63``."""
    return ", ".join(f"{name} {count}" for name, count in numbers.items())


def progress_bar(label: str, count: int) -> Any:
    """A bar on standard error where that is a terminal, to be entered; else one nobody sees."""
    # click 8.1 knows no hidden bars
    file = drawing_stream() if sys.stderr.isatty() else io.StringIO()
    return click.progressbar(length=count, label=label, file=file)


def note(message: str) -> None:
    """A line on standard error."""
    click.echo(one_line(message), err=True)
