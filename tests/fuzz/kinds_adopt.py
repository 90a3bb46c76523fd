"""Damaged ONNX files of other projects, prior boxes and options of ``adopt``."""

from __future__ import annotations

import io
import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from fuzz_case import NOTHING, Case, Place
from fuzz_values import damaged_bytes
from kinds_engines import damaged_model

# the fuzzer is also run as a script, from anywhere
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from foreign_graphs import LABELS, PRIORS, Form, foreign, priors

_FORMS = (
    Form(),
    Form(channels_last=True, batch=1, layout="yxhw", loc="unit"),
    Form(opset=11, ir=4, listed=True, batch=1),
    Form(ending="nms", layout="yxhw", activation="Sigmoid", channels_last=True),
    Form(ending="custom", layout="yxhw", batch=1),
    Form(any_size=True, loc="flat", conf="flat"),
)


def _array(rng: random.Random) -> tuple[bytes, str]:
    """Prior boxes as a file."""
    boxes = priors()
    forms = {
        NOTHING: boxes,
        "of another type": boxes.astype(rng.choice(["f2", "f8", "i4", "c8", "?", "S4", ">f4"])),
        "of another shape": boxes.reshape(rng.choice([(4, -1), (-1,), (-1, 2), (1, -1, 4)])),
        "by columns": np.asfortranarray(boxes),
        "of other numbers": boxes * rng.choice([0.0, -1.0, 1e30, np.nan, np.inf]),
        "of another number": boxes[: rng.randrange(PRIORS)],
    }
    what = rng.choice(list(forms))
    stream = io.BytesIO()
    np.save(stream, forms[what])
    content = stream.getvalue()
    if rng.random() < 0.4:
        content, more = damaged_bytes(rng, content, head=128)
        what = f"{what}, {more}"
    return content, f"priors {what}"


def adopted(rng: random.Random, place: Place) -> Case:
    """A file of another project, its prior boxes, and what is said of them."""
    form = rng.choice(_FORMS)
    if rng.random() < 0.2:
        form = replace(form, half=form.ending is None)
    model, loc, conf = foreign(form)
    content, what = model.SerializeToString(), NOTHING
    if rng.random() < 0.2:
        content, what = damaged_bytes(rng, content, head=300)
    elif rng.random() < 0.8:
        content, what = damaged_model(rng, model)
    path = place.write("theirs.onnx", content)
    place.write("labels.txt", "\n".join(LABELS) + "\n")
    boxes, said = _array(rng) if rng.random() < 0.3 else _array_as_it_is()
    place.write("p.npy", boxes)
    names = [name for node in model.graph.node for name in node.output] or [loc]
    if rng.random() < 0.2:
        loc = rng.choice(names)
    if rng.random() < 0.2:
        conf = rng.choice(names)
    from_graph = form.ending is not None and rng.random() < 0.7
    command = [
        *("adopt", path, "--loc", loc, "--conf", conf, "--labels", "in/labels.txt"),
        *("--priors", "initializer:anchors" if from_graph else "in/p.npy", "-o", "out/x.onnx"),
    ]
    for option, values in (
        ("--layout", ("xywh", "yxhw")),
        ("--scores", ("logits", "sigmoid-logits", "softmax", "sigmoid")),
        ("--input", names[:6]),
    ):
        if rng.random() < (0.1 if option == "--input" else 0.5):
            command += [option, rng.choice(values)]
    if rng.random() < 0.15:
        command = ["adopt", path]
    then = ("inspect", "out/x.onnx", "--json") if len(command) > 2 else ()
    return Case(f"{what}; {said}", tuple(command), then=then)


def _array_as_it_is() -> tuple[bytes, str]:
    stream = io.BytesIO()
    np.save(stream, priors())
    return stream.getvalue(), "priors as they are"
