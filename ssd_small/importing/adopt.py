"""Any SSD's ONNX file as one of ours: cut at its heads, with DecodeNms behind them.

In the order of the work: ``adopt_file`` reads and cuts, ``adopt_heads`` and ``adopt_graph`` bring
heads and graph to the form of ours, ``adopt_priors`` finds the prior boxes, ``adopt_check`` runs
both graphs, ``adopt_candidates`` says which tensors could have been meant.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto

from ..artefacts.description import Description
from ..artefacts.labels import check_labels
from ..artefacts.stored_priors import StoredPriors
from ..errors import BadFile, MissingRequirement, UsageError, quoted, reason_from_exception
from ..export.decode_nms_node import append_decode_nms, ending_of
from ..export.onnx_file import set_description
from ..files import sha256_of
from ..models.registry import known_models
from ..pictures.preprocessing import Preprocessing, input_from_image
from ..postprocess import PostprocessParams
from .adopt_candidates import candidates, lines, prior_candidates
from .adopt_check import (
    HeadsCheck,
    Scores,
    boxes_found,
    check_scores,
    compare_heads,
    scores_from_graph,
)
from .adopt_file import (
    PicturesInput,
    feed_from_images,
    input_of_part,
    part_of,
    read_foreign,
    run_part,
    tensor_name,
)
from .adopt_graph import heads_graph
from .adopt_heads import Layout, conf_form, loc_form
from .adopt_priors import stored_priors

ACTIVATIONS = {"logits": "softmax", "sigmoid-logits": "sigmoid", "softmax": "none"} | {
    "sigmoid": "none"
}
#: what the first line of a list of class names says that has the background in it
_BACKGROUND = ("background", "__background__", "bg", "???")


@dataclass(frozen=True)
class Asked:
    """What is known of a file beside what is in it.

    Attributes:
        loc, conf: tensors of box offsets and class scores.
        priors: see :func:`~ssd_small.importing.adopt_priors.stored_priors`.
        labels: class names, background left out.
        layout: order of the box offsets; None to be told from the file.
        scores: what ``conf`` holds; None likewise.
        background: its column in ``conf``, -1 for none; None by the number of labels.
        preprocessing: of pictures; None for RGB from -1 to 1.
        params: of decode + NMS; activation and background follow from the rest.
        name: of the network.
    """

    loc: str
    conf: str
    priors: str
    labels: tuple[str, ...]
    layout: Layout | None = None
    scores: Scores | None = None
    background: int | None = None
    preprocessing: Preprocessing | None = None
    params: PostprocessParams = field(default_factory=PostprocessParams)
    name: str = "adopted"


@dataclass(frozen=True)
class Adopted:
    """What has become of a file.

    Attributes:
        model: the ONNX model, as ``export`` writes them.
        description: what it says of itself.
        check: their heads beside ours.
        layout, scores: as asked for, or told from the file.
        changes: what was done to the graph.
        notes: what was assumed, a line each.
    """

    model: ModelProto
    description: Description
    check: HeadsCheck
    layout: Layout
    scores: Scores
    changes: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """What was done and found, JSON-ready."""
        return {
            "layout": self.layout,
            "scores": self.scores,
            "changes": list(self.changes),
            "notes": list(self.notes),
            "heads": self.check.to_dict(),
        }


def check_named(path: Path, loc: str | None, conf: str | None, priors: str | None) -> None:
    """Refuse a call that does not say where the heads are, with what they may be.

    Raises:
        BadFile: no ONNX file.
        UsageError: an option is missing.
    """
    if loc is not None and conf is not None and priors is not None:
        return
    model = read_foreign(path)
    asked = {"--loc": loc, "--conf": conf, "--priors": priors}
    missing = " and ".join(option for option, given in asked.items() if given is None)
    found = candidates(model)
    if loc is not None and conf is not None:
        found = found._replace(loc=(), conf=(), priors=found.priors or prior_candidates(model, 0))
    told = list(lines(found)) or ["no tensor of the file has the shape of one"]
    raise UsageError(f"pass {missing}: which tensors of {path} they are; by their shapes:", *told)


def adopt(path: Path, asked: Asked, picture: npt.NDArray[np.uint8] | None = None) -> Adopted:
    """Make a file of ours of somebody else's network.

    Args:
        path: of the ONNX file.
        asked: what it does not say.
        picture: ``[H, W, 3]`` BGR, on which both graphs are run; None for a made one.

    Raises:
        BadFile: it cannot be read, run, or brought to the form of ours.
        CheckFailed: our graph gives other heads than theirs.
        UsageError: what was asked for is not in it, or contradicts it.
        MissingRequirement: ONNX Runtime is not installed.
    """
    _check_name(asked.name)
    model = read_foreign(path)
    names = [
        tensor_name(model, name, option, path, computed=True)
        for option, name in (("--loc", asked.loc), ("--conf", asked.conf))
    ]
    if names[0] == names[1]:
        raise UsageError(f"--loc and --conf are one tensor, {quoted(names[0])}; expected two")
    part = part_of(model, names, path)
    given = input_of_part(part, path)
    notes: list[str] = []
    preprocessing = _preprocessing(asked.preprocessing, given, path, notes)
    size = (preprocessing.height, preprocessing.width)
    shown = made_picture(size) if picture is None else picture
    images = input_from_image(shown, preprocessing)[None]
    feed = feed_from_images(images, given)
    heads = run_part(part, feed, path)
    _check_batch(heads, feed, names)
    layout = asked.layout or _layout(given, names[0], notes)
    form, count = loc_form(heads[0].shape, layout, names[0])
    forms = (form, conf_form(heads[1].shape, count, names[1]))
    loc, conf = (one.array(head[:1]) for one, head in zip(forms, heads, strict=True))

    def tensor(name: str) -> npt.NDArray[np.floating[Any]]:
        inner = tensor_name(model, name, "--priors", path)
        return _value(model, inner, feed, path)

    priors, said = stored_priors(asked.priors, count, size, layout, tensor)
    notes.append(f"prior boxes {said}")
    is_half = heads[1].dtype == np.float16
    scores = asked.scores
    if scores is None:
        scores, why = scores_from_graph(model, names[1], conf)
        notes.append(f"--scores {scores} is assumed: {why}")
    check_scores(conf, scores, names[1], is_half=is_half)
    params = _params(asked, scores, conf.shape[2])
    check_labels(asked.labels, conf.shape[2], params.background_label)
    _compare_boxes(
        *(model, feed, (form.order, loc), priors, params, size, layout, names, notes),
        is_assumed=asked.layout is None,
    )
    ours = heads_graph(part, given, size, forms, count, path)
    weights = {tensor.data_type for tensor in ours.graph.initializer}
    half = is_half or TensorProto.FLOAT16 in weights
    check = compare_heads(ours, images, (loc, conf), path, "fp16" if half else "fp32")
    description = Description(
        model=asked.name,
        num_classes=conf.shape[2],
        width=1.0,
        labels=asked.labels,
        weights=f"sha256:{sha256_of(path)}",
        preprocessing=preprocessing,
        postprocess=params,
        levels=(),
        clip="none",
        has_decode_nms=True,
        stored_priors=priors,
    )
    append_decode_nms(ours, *ending_of(description))
    set_description(ours, description)
    try:
        onnx.checker.check_model(ours, full_check=True)
    except Exception as error:  # the checker's own exception types vary by version
        reason = reason_from_exception(error)
        raise BadFile(f"{path} cannot be adopted ({reason}); export it again") from error
    changes = [f"{name}: {what}" for name, one in zip(("loc", "conf"), forms, strict=True)
               for what in one.done]  # fmt: skip
    changes += ["input: channels last"] * given.channels_last
    changes += [f"batch: {given.batch}"] * (given.batch is not None)
    return Adopted(ours, description, check, layout, scores, tuple(changes), tuple(notes))


def _check_name(name: str) -> None:
    if name in known_models():
        raise UsageError(
            f"--name {name}: a network of this package has that name; choose another one"
        )


def _preprocessing(
    asked: Preprocessing | None, given: PicturesInput, path: Path, notes: list[str]
) -> Preprocessing:
    """How pictures become input, whose size the graph says where it does."""
    if asked is None:
        if given.height is None or given.width is None:
            raise UsageError(
                f"{path} takes pictures of any size; pass --preprocessing FILE with height and "
                "width"
            )
        size = (given.height, given.width)
        if given.kind == np.uint8:
            notes.append("--preprocessing is assumed: RGB from 0 to 255, as the input is of uint8")
            return Preprocessing(*size, "RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        notes.append("--preprocessing is assumed: RGB, minus 127.5, divided by 127.5")
        return Preprocessing(*size, "RGB", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
    size = (given.height or asked.height, given.width or asked.width)
    if size != (asked.height, asked.width):
        raise UsageError(
            f"--preprocessing makes pictures of {asked.width}x{asked.height}, and {path} takes "
            f"{size[1]}x{size[0]}"
        )
    return asked


def made_picture(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Coloured squares of 16 pixels with noise on them, ``[H, W, 3]``, always the same ones."""
    height, width = size
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, ((height + 15) // 16, (width + 15) // 16, 3))
    squares = cells.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    noise = rng.integers(-20, 21, squares.shape)
    return (squares + noise).clip(0, 255).astype(np.uint8)


def _check_batch(
    heads: list[npt.NDArray[Any]], feed: dict[str, npt.NDArray[Any]], names: list[str]
) -> None:
    """Each head must have a row for each picture."""
    batch = len(next(iter(feed.values())))
    for option, head, name in zip(("--loc", "--conf"), heads, names, strict=True):
        if head.dtype.kind != "f" or head.ndim < 2 or len(head) != batch:
            raise UsageError(
                f"{option} {name} is {head.dtype} {list(head.shape)} for {batch} pictures; "
                "expected floating-point numbers of which the first side is that of the pictures"
            )


def _layout(given: PicturesInput, name: str, notes: list[str]) -> Layout:
    """The order of box offsets where it is not told: TensorFlow's have y first."""
    is_theirs = given.channels_last or "encoding" in name.lower()
    layout: Layout = "yxhw" if is_theirs else "xywh"
    why = "TensorFlow's networks have y before x" if is_theirs else "most have x before y"
    notes.append(f"--layout {layout} is assumed: {why}")
    return layout


def _value(
    model: ModelProto, name: str, feed: dict[str, npt.NDArray[Any]], path: Path
) -> npt.NDArray[np.floating[Any]]:
    """The value of any tensor of their graph."""
    constants = {tensor.name for tensor in model.graph.initializer}
    holder = ModelProto()
    holder.CopyFrom(model)
    if name in constants:
        # ONNX Runtime gives no initializer as it is
        holder.graph.node.append(onnx.helper.make_node("Identity", [name], [f"{name}/value"]))
        name = f"{name}/value"
    (value,) = run_part(part_of(holder, [name], path), feed, path)
    return value


def _params(asked: Asked, scores: Scores, columns: int) -> PostprocessParams:
    """Parameters with the activation and background column that follow from the rest."""
    background = asked.background
    if background is None:
        background = 0 if len(asked.labels) == columns - 1 else -1
    if background == -1 and asked.background is None and len(asked.labels) == columns:
        first = asked.labels[0]
        if first.lower() in _BACKGROUND:
            raise UsageError(
                f"--labels begins with {quoted(first)}: leave the background's name out, or pass "
                "--background none if it is a class"
            )
    if len(asked.labels) not in (columns - 1, columns):
        raise UsageError(
            f"{len(asked.labels)} labels, and --conf has {columns} classes; expected {columns - 1} "
            f"names without the background, or {columns} where there is none"
        )
    activation: Any = ACTIVATIONS[scores]
    return replace(asked.params, activation=activation, background_label=background)


def _compare_boxes(
    model: ModelProto,
    feed: dict[str, npt.NDArray[Any]],
    loc: tuple[tuple[int, ...] | None, npt.NDArray[np.float32]],
    priors: StoredPriors,
    params: PostprocessParams,
    size: tuple[int, int],
    layout: Layout,
    names: list[str],
    notes: list[str],
    *,
    is_assumed: bool,
) -> None:
    """Say whether the boxes that their whole graph gives are among those decoded here."""
    try:
        named = [one.name for one in model.graph.output]
        every = zip(named, run_part(model, feed, Path()), strict=True)
        outputs = [value for name, value in every if name not in names]
    except (BadFile, MissingRequirement):
        return  # with operators of other tools in it, and then nothing is known
    order, ours = loc
    theirs = ours if order is None else ours[..., list(order)]
    found = boxes_found(outputs, theirs, priors.array, params.variances, size)
    if not found:
        return
    own, count = found[layout]
    (other,) = (one for one in get_args(Layout) if one != layout)
    said = f"{own} of {count} boxes that their graph gives are among those decoded here"
    if found[other][0] > own:
        said += f"; with --layout {other} {found[other][0]} would be"
        if is_assumed:
            raise UsageError(f"pass --layout {other}: with {layout}, {said}")
    elif own < count:
        said += "; check --priors, --layout and --variances"
    notes.append(said)
