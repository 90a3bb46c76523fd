"""The options that cut pictures into tiles, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import quoted
from .options import Decorated, Number, PictureSize, note

if TYPE_CHECKING:
    from ..detection.detector import Detector
    from ..detection.tiled import SeenView
    from ..detection.tiling import Tiles
    from ..pictures.tiles import Tiling
    from ..postprocess import PostprocessParams

#: what the options say, by these names
Asked = dict[str, Any]
_NAMES = ("tiles", "overlap", "whole", "object_size")
CAPS = ("pre_nms_topk", "keep_topk_per_class", "keep_topk")


class TileSize(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """``300x300``, width first, or ``auto``."""

    name = "WxH|auto"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Tiles:
        """Width and height, or auto, or a usage error."""
        if value == "auto" or isinstance(value, tuple):
            return value  # type: ignore[no-any-return]
        try:
            height, width = PictureSize().convert(value, None, None)
        except click.BadParameter:
            self.fail(f"{quoted(value)}: expected such as 300x300, or auto", param, ctx)
        return width, height


def tiles_options(command: Decorated) -> Decorated:
    """--tiles, --overlap, --whole, --object-size."""
    for option in reversed(
        (
            click.option(
                "--tiles",
                type=TileSize(),
                help="Cut pictures into tiles of this many pixels, each seen at the network's "
                "input size, and merge them with one NMS over the picture. auto: tiles in "
                "which objects are as large at the input as in training.",
            ),
            click.option(
                "--overlap",
                type=Number(0, 1, max_open=True),
                help="Share of a tile that overlaps the next one. Default: 0.2.",
            ),
            click.option(
                "--whole",
                is_flag=True,
                help="Also run the network on the whole picture, in addition to --tiles.",
            ),
            click.option(
                "--object-size",
                type=Number(0, min_open=True),
                metavar="PX",
                help="For --tiles auto: side of an object in these pictures (square root of its "
                "area). Default: that of the training pictures.",
            ),
        )
    ):
        command = option(command)
    return command


def asked_of_tiles(options: dict[str, Any]) -> Asked:
    """What the options of :func:`tiles_options` say, taken out of all that a command was given."""
    return {name: options.pop(name) for name in _NAMES}


def check_tiles_of(asked: Asked, *engines: Path | None) -> None:
    """Refuse --tiles for an engine that keeps its decode + NMS, before any is opened.

    Raises:
        UsageError: says what to build.
    """
    if asked["tiles"] is not None:
        from ..runtimes.without_decode_nms import check_has_heads

        for engine in engines:
            if engine is not None:
                check_has_heads(engine)


def tiling_of_detector(detector: Detector, asked: Asked) -> Tiling | None:
    """How pictures are cut, for a detector that can do it; says what becomes of the caps.

    Raises:
        UsageError: options that do not go together, or an engine with decode + NMS inside for good.
    """
    from ..detection.tiling import tiling_from_options

    tiling = tiling_from_options(**asked, description=detector.description)
    if tiling is not None:
        detector.inference_of_heads()
        if asked["tiles"] == "auto":
            note(f"note: {tiling}")
        if (line := caps_line(detector.params)) is not None:
            note(f"note: {line}")
    return tiling


def caps_line(params: PostprocessParams) -> str | None:
    """What becomes of the caps of a view; None where there are none."""
    caps = [f"{name} {getattr(params, name)}" for name in CAPS if getattr(params, name)]
    if not caps:
        return None
    return (
        f"{', '.join(caps)} of decode + NMS apply per tile: multiplied by the tiles of each picture"
    )


def tile_progress(bar: Any) -> Callable[[SeenView], None]:
    """Moves a bar on by the tiles of one picture."""

    def told(view: SeenView) -> None:
        bar.length = view.views
        bar.update(1)

    return told
