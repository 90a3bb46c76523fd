"""``ssd-small export``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ..artefacts.build_options import Precision
from ..errors import UsageError
from ..export.opset import DEFAULT_OPSET, NEWEST_OPSET, OLDEST_OPSET
from .config_file import config_option, experiment_from_option
from .ending_options import ending_from_options, ending_options, with_ending
from .opening import load_network
from .options import (
    FILE,
    GridSize,
    Number,
    PictureSize,
    input_size_option,
    json_option,
    model_options,
    note,
    postprocess_options,
    postprocess_params,
    print_json,
    say,
)

if TYPE_CHECKING:
    from ..artefacts.description import Description


@click.command()
@model_options
@input_size_option
@config_option
@click.option("--output", "-o", type=FILE, required=True, help="ONNX file to write.")
@ending_options
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    default="fp32",
    show_default=True,
    help="fp16 needs --plugin-only; otherwise choose the precision in build-engine.",
)
@click.option(
    "--input",
    "input_type",
    type=click.Choice(["float32", "uint8"]),
    default="float32",
    show_default=True,
    help="uint8: pictures [N, H, W, 3], BGR; resizing, mean and deviation are in the network.",
)
@click.option(
    "--preprocessing",
    type=FILE,
    help="JSON with fields of preprocessing (mean, std, resize, fit, ...) instead of the network's "
    "own.",
)
@click.option(
    "--picture-size",
    type=PictureSize(),
    help="Fixed picture size for --input uint8; default: any size.",
)
@click.option(
    "--tiles",
    "grid",
    type=GridSize(),
    help="Take one large picture and cut it into this many tiles of the network's size; one NMS.",
)
@click.option(
    "--overlap",
    type=Number(0, 1, max_open=True),
    help="Share of a tile that overlaps its neighbour. Default: 0.2.",
)
@click.option("--random-weights", is_flag=True, help="Export without a checkpoint (for timing).")
@click.option(
    "--opset",
    type=click.IntRange(OLDEST_OPSET, NEWEST_OPSET),
    default=DEFAULT_OPSET,
    show_default=True,
)
@postprocess_options
@json_option
def command(
    model: str | None,
    weights: Path | None,
    num_classes: int | None,
    width: float | None,
    labels: Path | None,
    input_size: tuple[int, int] | None,
    config: Path | None,
    output: Path,
    heads: bool,
    inline: bool,
    plugin_only: bool,
    precision: Precision,
    input_type: str,
    preprocessing: Path | None,
    picture_size: tuple[int, int] | None,
    grid: tuple[int, int] | None,
    overlap: float | None,
    random_weights: bool,
    opset: int,
    as_json: bool,
    preset: str | None,
    **given: Any,
) -> None:
    """Write a network as ONNX with a dynamic batch dimension.

    The last node is ssd_small.DecodeNms; its body of standard operators lets ONNX Runtime execute
    it, with --inline other runtimes too; TensorRT replaces it by the plugin. Labels, preprocessing
    and post-processing parameters are stored in the file's metadata. With --input uint8 the network
    takes raw pictures of any size, and resizes and normalises them itself. With --tiles 4x3 it
    takes one picture of 4 by 3 overlapping tiles, each of the network's input size, and finds what
    lies in all of them.
    """
    from ..artefacts.outputs import check_outputs
    from ..requirements import require

    ending = ending_from_options(heads=heads, inline=inline, plugin_only=plugin_only)
    if precision == "fp16" and not plugin_only:
        raise UsageError(
            "--precision fp16 goes with --plugin-only; for an engine, pass it to build-engine"
        )
    if picture_size is not None and input_type != "uint8":
        raise UsageError(
            "--picture-size goes with --input uint8; a network of float32 takes its own size only"
        )
    if overlap is not None and grid is None:
        raise UsageError("--overlap goes with --tiles COLUMNSxROWS; without tiles nothing overlaps")
    check_outputs([output], [weights, labels, config, preprocessing])
    for module in ("torch", "onnx", "onnxscript"):
        require(module, "exporting")
    net, description = load_network(
        *(model, weights, num_classes, width, labels),
        random_weights=random_weights,
        experiment=experiment_from_option(config),
        input_size=input_size,
    )
    params = postprocess_params(description.postprocess, preset, **given)
    description = description.with_decode_nms(not heads, params)
    if preprocessing is not None:
        from ..artefacts.preprocessing_file import read_preprocessing

        told = read_preprocessing(preprocessing, description.preprocessing)
        description = replace(description, preprocessing=told)
    if grid is not None:
        description = _with_tiles(description, grid, overlap, given)
    if input_type == "uint8":
        from ..pictures.preprocessing import PictureInput

        size = description.preprocessing
        if picture_size is None and description.tiles is not None:
            picture_size = (size.height, size.width)
        description = replace(description, pictures=PictureInput(*picture_size or ()))
    from ..export.onnx_file import write_onnx
    from ..export.to_onnx import onnx_from_network

    onnx_model = onnx_from_network(net, description, opset)
    onnx_model = with_ending(onnx_model, description, ending, precision)
    write_onnx(onnx_model, output)
    result = {
        "file": str(output),
        "bytes": output.stat().st_size,
        "opset": opset,
        "inputs": [i.name for i in onnx_model.graph.input],
        "outputs": [o.name for o in onnx_model.graph.output],
        "description": description.to_dict(),
    }
    if as_json:
        print_json(result)
        return
    say(
        f"{output}: {description.model}, {description.num_classes} classes, width "
        f"{description.width:g}, opset {opset}, {output.stat().st_size / 1e6:.1f} MB, outputs "
        + ", ".join(result["outputs"])  # type: ignore[arg-type]
    )
    if random_weights:
        note("note: random weights, good for timing only")
    elif input_size is not None:
        _tell_of_size(description)
    if description.tiles is not None:
        _tell_of_tiles(description)


def _tell_of_size(description: Description) -> None:
    """Whose figures are not this network's."""
    from ..configs.network import NetworkConfig
    from ..models.input_size import name_at_published_size
    from ..models.registry import get_spec

    config = description.network
    name = name_at_published_size(config) if isinstance(config, NetworkConfig) else None
    if name is not None:
        published, own = get_spec(name).preprocessing, description.preprocessing
        note(
            f"note: {name} at {own.width}x{own.height}, {len(description.priors)} prior boxes; "
            f"weights cannot tell at which size they were trained, and published figures are of "
            f"{published.width}x{published.height}"
        )


def _with_tiles(
    description: Description, grid: tuple[int, int], overlap: float | None, given: dict[str, Any]
) -> Description:
    """The description of a grid of tiles; cuts that were asked for stay as they are."""
    from ..artefacts.tiled import tiled_description
    from ..pictures.tiles import USUAL_OVERLAP
    from ..postprocess.params import CUTS

    kept = [name for name in CUTS if given.get(name) is not None]
    return tiled_description(
        description, *grid, USUAL_OVERLAP if overlap is None else overlap, kept
    )


def _tell_of_tiles(description: Description) -> None:
    from ..postprocess.params import CUTS

    tiles, params = description.tiles, description.postprocess
    assert tiles is not None
    height, width = tiles.size
    cuts = ", ".join(f"{name} {getattr(params, name) or 'all'}" for name in CUTS)
    note(
        f"note: takes pictures of {width}x{height}, cut into {tiles.columns}x{tiles.rows} tiles of "
        f"{tiles.width}x{tiles.height}; cuts are of the whole picture: {cuts}"
    )
