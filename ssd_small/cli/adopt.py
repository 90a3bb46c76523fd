"""``ssd-small adopt``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import BadFile, UsageError
from .ending_options import Ending, ending_from_options, ending_options, with_ending
from .options import (
    FILE,
    Number,
    json_option,
    note,
    postprocess_options,
    postprocess_params,
    print_json,
    say,
)

if TYPE_CHECKING:
    from ..importing.adopt import Adopted
    from ..postprocess import PostprocessParams

#: of a checkpoint of ours these travel in its record; nothing of the kind is in other files
_VARIANCES = (0.1, 0.2)


@click.command()
@click.argument("file", type=FILE)
@click.option("--loc", metavar="NAME", help="Tensor of the box offsets, before they are decoded.")
@click.option("--conf", metavar="NAME", help="Tensor of the class scores of each prior box.")
@click.option(
    "--input",
    "begin",
    metavar="NAME",
    help="Tensor of pictures where the network begins, after preprocessing of its own that is to "
    "be dropped.",
)
@click.option(
    "--priors",
    metavar="FILE.npy|initializer:NAME|from-spec",
    help="Prior boxes [P, 4]: from a file (cx, cy, w, h in the unit square), from a tensor in the "
    "graph, or from the network of this package with the same number (from-spec:MODEL names "
    "one).",
)
@click.option(
    "--layout",
    type=click.Choice(["xywh", "yxhw"]),
    help="Order of the four offsets; TensorFlow has y first. Default: inferred from the file.",
)
@click.option(
    "--scores",
    type=click.Choice(["logits", "sigmoid-logits", "softmax", "sigmoid"]),
    help="What --conf holds: logits for a softmax or a sigmoid, or the output of one. Default: "
    "inferred from the file.",
)
@click.option(
    "--background",
    metavar="COLUMN|none",
    help="Column of --conf that is the background. Default: 0 where there is one label fewer than "
    "columns, else none.",
)
@click.option(
    "--variances",
    type=Number(0, min_open=True),
    nargs=2,
    default=_VARIANCES,
    show_default=True,
    help="Scale of centre and size offsets: the inverse of the scale factors 10 and 5.",
)
@click.option(
    "--preprocessing",
    type=FILE,
    help="JSON with some of the fields that a sidecar has under that name. Default: RGB from -1 "
    "to 1.",
)
@click.option(
    "--picture", type=FILE, help="Picture to run both graphs on. Default: a generated one."
)
@click.option("--labels", type=FILE, help="Text file with a class name per line, no background.")
@click.option("--name", default="adopted", show_default=True, help="What to call the network.")
@click.option("--output", "-o", type=FILE, help="ONNX file to write.")
@ending_options
@postprocess_options
@json_option
def command(
    file: Path,
    loc: str | None,
    conf: str | None,
    begin: str | None,
    priors: str | None,
    layout: Any,
    scores: Any,
    background: str | None,
    variances: tuple[float, float],
    preprocessing: Path | None,
    picture: Path | None,
    labels: Path | None,
    name: str,
    output: Path | None,
    heads: bool,
    inline: bool,
    plugin_only: bool,
    as_json: bool,
    preset: str | None,
    **given: Any,
) -> None:
    """Turn any SSD's ONNX FILE into an ONNX file of this package.

    The graph is cut at its heads, and whatever decodes them is replaced by DecodeNms, in the form
    that --inline and --plugin-only ask for; prior boxes, class names, preprocessing and parameters
    are stored in the file. Without --loc, --conf and --priors it lists the tensors that they may
    be. Both graphs are run on a picture, and nothing is written unless their heads are the same.
    """
    from ..requirements import require

    ending = ending_from_options(heads=heads, inline=inline, plugin_only=plugin_only)
    for module in ("onnx", "onnxruntime"):
        require(module, "adopting an ONNX file")
    from ..importing.adopt import check_named

    check_named(file, loc, conf, priors)
    assert loc is not None
    assert conf is not None
    assert priors is not None
    missing = {"--labels FILE": labels, "--output FILE": output}
    if absent := [option for option, value in missing.items() if value is None]:
        raise UsageError(f"pass {' and '.join(absent)}")
    assert labels is not None
    assert output is not None
    require("cv2", "running both graphs on a picture")
    params = postprocess_params(_own_params(variances), preset, **given)
    column = _background(background)
    inputs = [file, labels, preprocessing, picture, _priors_file(priors)]
    adopted = _adopted(
        *(file, output, inputs, ending),
        loc=loc,
        conf=conf,
        begin=begin,
        priors=priors,
        layout=layout,
        scores=scores,
        background=column,
        preprocessing=preprocessing,
        picture=picture,
        labels=labels,
        params=params,
        name=name,
    )
    _tell(adopted, file, output, as_json)


def _own_params(variances: tuple[float, float]) -> PostprocessParams:
    from ..postprocess import PostprocessParams

    return replace(PostprocessParams(), variances=variances)


def _priors_file(priors: str) -> Path | None:
    from ..importing.adopt_priors import FROM_SPEC, INITIALIZER

    return None if priors.startswith((INITIALIZER, FROM_SPEC)) else Path(priors)


def _background(text: str | None) -> int | None:
    """A column, -1 for none, None for what the labels say."""
    if text is None:
        return None
    if text == "none":
        return -1
    if not text.isascii() or not text.isdecimal() or len(text) > 4:
        raise UsageError(f"--background {text!r}: expected a column such as 0, or none")
    return int(text)


def _adopted(
    file: Path,
    output: Path,
    inputs: list[Path | None],
    ending: Ending,
    *,
    labels: Path,
    preprocessing: Path | None,
    picture: Path | None,
    **asked: Any,
) -> Adopted:
    """Read what is beside the file, adopt it, and write it once it reads back."""
    from ..artefacts.labels import read_labels
    from ..artefacts.onnx_file import read_onnx
    from ..artefacts.outputs import check_outputs, engine_inputs
    from ..export.onnx_file import write_onnx
    from ..importing.adopt import adopt
    from ..importing.adopt_asked import Asked
    from ..pictures.reading import read_image
    from ..system.temporary import temporary_folder

    check_outputs([output], [*inputs, *engine_inputs(file)])
    values = Asked(
        labels=read_labels(labels),
        preprocessing=preprocessing,
        has_decode_nms=ending != "heads",
        **asked,
    )
    adopted = adopt(file, values, None if picture is None else read_image(picture))
    model = with_ending(adopted.model, adopted.description, ending)
    adopted = replace(adopted, model=model)
    with temporary_folder() as folder:
        write_onnx(model, folder / "adopted.onnx")
        try:
            read_onnx(folder / "adopted.onnx")
        except BadFile as error:
            reason = error.message.replace(str(folder / "adopted.onnx"), str(file))
            raise BadFile(f"{reason}; as it is, it cannot be adopted") from error
    write_onnx(model, output)
    return adopted


def _tell(adopted: Adopted, file: Path, output: Path, as_json: bool) -> None:
    model, description = adopted.model, adopted.description
    opset = next(one.version for one in model.opset_import if one.domain == "")
    result: dict[str, Any] = {
        "file": str(output),
        "bytes": output.stat().st_size,
        "opset": opset,
        "inputs": [one.name for one in model.graph.input],
        "outputs": [one.name for one in model.graph.output],
        "description": description.to_dict(),
        "adopted": {"from": str(file), **adopted.to_dict()},
    }
    for line in adopted.notes:
        note(f"note: {line}")
    if as_json:
        print_json(result)
        return
    size = description.preprocessing
    say(
        f"{output}: {description.model}, {description.num_classes} columns, "
        f"{len(description.priors)} prior boxes, {size.width}x{size.height} pixels, opset {opset}, "
        f"{output.stat().st_size / 1e6:.1f} MB, outputs {', '.join(result['outputs'])}"
    )
    say(f"heads: {adopted.check}; batch of any size, to {adopted.check.batch:.1g}")
    say(f"changed: {'; '.join(adopted.changes) or 'nothing before the heads'}")
