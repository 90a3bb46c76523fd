"""Turning any SSD's ONNX file into one of ours: cut at its heads, with DecodeNms appended.

"Their" network is the one in that file. In the order of the work: ``adopt_asked`` holds what the
user says, ``adopt_file`` reads and cuts, ``adopt_heads`` and ``adopt_graph`` convert heads and
graph to our form, ``adopt_priors`` finds the prior boxes, ``adopt_check`` runs both graphs.
``adopt_candidates`` suggests tensors that could have been meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto

from ..artefacts.description import Description
from ..artefacts.labels import check_labels
from ..artefacts.onnx_sizes import check_declared, check_memory
from ..artefacts.quantised import QUANTISED_OPERATORS
from ..artefacts.stored_priors import StoredPriors
from ..artefacts.tensors import HEADS
from ..errors import BadFile, MissingRequirement, UsageError, quoted, reason_from_exception
from ..export.decode_nms_node import append_decode_nms, ending_of
from ..export.onnx_file import set_description
from ..files import sha256_of
from ..pictures.preprocessing import Preprocessing, input_from_image
from ..postprocess import PostprocessParams
from .adopt_asked import Asked, assumed_layout, check_name, params_of, preprocessing_of
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
    spellings,
    tensor_name,
)
from .adopt_graph import heads_graph
from .adopt_heads import HeadForm, Layout, conf_form, loc_form
from .adopt_priors import INITIALIZER, stored_priors


@dataclass(frozen=True)
class Adopted:
    """An adopted network.

    Attributes:
        model: the ONNX model, as ``export`` writes them.
        description: its description.
        check: comparison of their heads with ours.
        layout, scores: as asked for, or derived from the file.
        changes: what was done to the graph.
        notes: assumptions, one line each.
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
    """Refuse a call that does not name the heads and priors, and suggest tensors for them.

    Raises:
        BadFile: not an ONNX file.
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
    told = list(lines(found))
    by_shape = "by their shapes:" if told else "no tensor has the shape of one"
    raise UsageError(f"pass {missing}: which tensors of {path} they are; {by_shape}", *told)


@dataclass(frozen=True)
class _Theirs:
    """Their network, run on the picture.

    Attributes:
        model: the whole file.
        part: the part that computes the heads.
        given: its input.
        names: tensors of the heads.
        preprocessing: of pictures.
        images: ``[1, 3, H, W]`` float32, the picture.
        feed: the picture in the form that their graph takes.
        heads: their values for the picture.
    """

    path: Path
    model: ModelProto
    part: ModelProto
    given: PicturesInput
    names: list[str]
    preprocessing: Preprocessing
    images: npt.NDArray[np.float32]
    feed: dict[str, npt.NDArray[Any]]
    heads: list[npt.NDArray[Any]]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        return self.preprocessing.height, self.preprocessing.width

    def value(self, asked: str) -> npt.NDArray[np.floating[Any]]:
        """The value of any tensor of their graph, for the picture."""
        name = tensor_name(self.model, asked, "--priors", self.path)
        holder = ModelProto()
        holder.CopyFrom(self.model)
        if any(tensor.name == name for tensor in self.model.graph.initializer):
            # ONNX Runtime does not return an initializer itself
            node = onnx.helper.make_node("Identity", [name], [f"{name}/value"])
            holder.graph.node.append(node)
            name = f"{name}/value"
        (value,) = run_part(part_of(holder, [name], self.path), self.feed, self.path)
        return value


def adopt(path: Path, asked: Asked, picture: npt.NDArray[np.uint8] | None = None) -> Adopted:
    """Turn somebody else's network into a file of ours.

    Args:
        path: the ONNX file.
        asked: what the file does not say.
        picture: ``[H, W, 3]`` BGR, on which both graphs are run; None for a synthetic one.

    Raises:
        BadFile: it cannot be read, run, or converted to our form.
        CheckFailed: our graph computes other heads than theirs.
        UsageError: what was asked for is not in it, or contradicts it.
        MissingRequirement: ONNX Runtime is not installed.
    """
    notes: list[str] = []
    check_name(asked.name)
    theirs = _run(path, asked, picture, notes)
    layout = asked.layout or assumed_layout(theirs.given, theirs.names[0], notes)
    form, count = loc_form(theirs.heads[0].shape, layout, theirs.names[0])
    forms = (form, conf_form(theirs.heads[1].shape, count, theirs.names[1]))
    loc, conf = (one.array(head[:1]) for one, head in zip(forms, theirs.heads, strict=True))
    priors, said = stored_priors(asked.priors, count, theirs.size, layout, theirs.value)
    notes.append(f"prior boxes {said}")
    scores = asked.scores
    if scores is None:
        scores, why = scores_from_graph(theirs.model, theirs.names[1], conf, layout)
        notes.append(f"--scores {scores} is assumed: {why}")
    is_half = theirs.heads[1].dtype == np.float16
    check_scores(conf, scores, theirs.names[1], is_half=is_half)
    params = params_of(asked, scores, conf.shape[2])
    check_labels(asked.labels, conf.shape[2], params.background_label)
    _compare_boxes(theirs, asked, (form.order, loc), priors, params, layout, notes)
    ours = heads_graph(theirs.part, theirs.given, theirs.size, forms, count, path)
    kinds = {tensor.data_type for tensor in ours.graph.initializer}
    precision = "fp16" if is_half or TensorProto.FLOAT16 in kinds else "fp32"
    if any(node.op_type in QUANTISED_OPERATORS for node in ours.graph.node):
        precision = "int8"  # in a batch, rounding may change by a whole INT8 step
    check = compare_heads(ours, theirs.images, (loc, conf), path, precision)
    changes = _changes(theirs, ours, forms)
    description = Description(
        model=asked.name,
        num_classes=conf.shape[2],
        width=1.0,
        labels=asked.labels,
        weights=f"sha256:{sha256_of(path)}",
        preprocessing=theirs.preprocessing,
        postprocess=params,
        levels=(),
        clip="none",
        has_decode_nms=asked.has_decode_nms,
        stored_priors=priors,
    )
    _end(ours, description, path)
    return Adopted(ours, description, check, layout, scores, changes, tuple(notes))


def _run(
    path: Path, asked: Asked, picture: npt.NDArray[np.uint8] | None, notes: list[str]
) -> _Theirs:
    """Read and cut their network, and run it."""
    model = read_foreign(path)
    names = [
        tensor_name(model, name, option, path, computed=True)
        for option, name in (("--loc", asked.loc), ("--conf", asked.conf))
    ]
    if names[0] == names[1]:
        raise UsageError(f"--loc and --conf are one tensor, {quoted(names[0])}; expected two")
    begin = asked.begin
    if begin is not None:
        begin = tensor_name(model, begin, "--input", path, computed=True)
    part = part_of(model, names, path, begin)
    given = input_of_part(part, path)
    preprocessing = preprocessing_of(asked.preprocessing, given, path, notes)
    size = (preprocessing.height, preprocessing.width)
    shown = made_picture(size) if picture is None else picture
    images = input_from_image(shown, preprocessing)[None]
    feed = feed_from_images(images, given)
    heads = run_part(part, feed, path)
    _check_batch(heads, feed, names)
    return _Theirs(path, model, part, given, names, preprocessing, images, feed, heads)


def _changes(
    theirs: _Theirs, ours: ModelProto, forms: tuple[HeadForm, HeadForm]
) -> tuple[str, ...]:
    """What was changed in the graph, in words."""
    changes = [
        f"{name}: {what}" for name, one in zip(HEADS, forms, strict=True) for what in one.done
    ]
    changes += ["input: channels last"] * theirs.given.channels_last
    changes += [f"batch: {theirs.given.batch}"] * (theirs.given.batch is not None)
    before, after = (
        next(one.version for one in graph.opset_import if one.domain == "")
        for graph in (theirs.part, ours)
    )
    return (*changes, *([f"opset: {before}"] if before != after else []))


def _end(ours: ModelProto, description: Description, path: Path) -> None:
    """Append DecodeNms, if it is to be inside, and the description to a network of heads."""
    if description.has_decode_nms:
        append_decode_nms(ours, *ending_of(description))
    set_description(ours, description)
    try:
        onnx.checker.check_model(ours, full_check=True)
    except Exception as error:  # the checker's own exception types vary by version
        reason = reason_from_exception(error)
        raise BadFile(f"{path} cannot be adopted ({reason}); export it again") from error


def made_picture(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Coloured squares of 16 pixels with noise, ``[H, W, 3]``; always the same picture."""
    height, width = size
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, ((height + 15) // 16, (width + 15) // 16, 3))
    squares = cells.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    noise = rng.integers(-20, 21, squares.shape)
    return (squares + noise).clip(0, 255).astype(np.uint8)


def _check_batch(
    heads: list[npt.NDArray[Any]], feed: dict[str, npt.NDArray[Any]], names: list[str]
) -> None:
    """Check that each head has a row for each picture."""
    batch = len(next(iter(feed.values())))
    for option, head, name in zip(("--loc", "--conf"), heads, names, strict=True):
        if head.dtype.kind != "f" or head.ndim < 2 or len(head) != batch:
            raise UsageError(
                f"{option} {name} is {head.dtype} {list(head.shape)} for {batch} pictures; "
                "expected floating-point numbers of which the first side is that of the pictures"
            )


def _compare_boxes(
    theirs: _Theirs,
    asked: Asked,
    loc: tuple[tuple[int, ...] | None, npt.NDArray[np.float32]],
    priors: StoredPriors,
    params: PostprocessParams,
    layout: Layout,
    notes: list[str],
) -> None:
    """Note how many of the boxes that their whole graph outputs are among those decoded here.

    ``loc`` holds the order in which the offsets were put, and the offsets.
    """
    ends = [one.name for one in theirs.model.graph.output]
    try:
        check_declared(theirs.model, theirs.path)
        check_memory(theirs.model, theirs.path)
        every = run_part(theirs.model, theirs.feed, theirs.path)
    except (BadFile, MissingRequirement):
        return  # it has loops or other tools' operators, so nothing is known
    # the file may also output heads and prior boxes, which are not detected boxes
    known = (*theirs.names, *spellings(asked.priors.removeprefix(INITIALIZER)))
    outputs = [value for name, value in zip(ends, every, strict=True) if name not in known]
    order, offsets = loc
    own = offsets if order is None else offsets[..., list(order)]
    found = boxes_found(outputs, own, priors.array, params.variances, theirs.size)
    if not found:
        return
    near, count = found[layout]
    (other,) = (one for one in get_args(Layout) if one != layout)
    said = f"{near} of {count} boxes that their graph gives are among those decoded here"
    if found[other][0] > near:
        said += f"; with --layout {other} {found[other][0]} would be"
        if asked.layout is None:
            raise UsageError(f"pass --layout {other}: with {layout}, {said}")
    elif near < count:
        said += "; check --priors, --layout and --variances"
    notes.append(said)
