"""Damaged ONNX files, engines, sidecars, descriptions and timing caches."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import numpy as np
import onnx
from fuzz_case import GOOD, Case, Place
from fuzz_values import ODD_NUMBERS, ODD_TEXTS, damaged_bytes, damaged_json
from onnx import TensorProto, helper, numpy_helper

#: files of a network that takes pictures as they are
_OF_PICTURES = GOOD.with_name("description-format-3")
#: and of one with tiles inside
_TILED = GOOD.with_name("description-format-4")
#: and of one whose prior boxes are data
_OF_STORED_PRIORS = GOOD.with_name("description-format-5")
_ENGINES = (
    GOOD / "detections.fp32.engine",
    GOOD / "heads.fp16.engine",
    _OF_PICTURES / "heads.fp16.engine",
    _TILED / "heads.fp16.engine",
    _OF_STORED_PRIORS / "heads.fp16.engine",
)
_FILES = (
    *(GOOD / "detections.onnx", GOOD / "heads.onnx"),
    *(_OF_PICTURES / "heads.onnx", _TILED / "heads.onnx"),
    _OF_STORED_PRIORS / "detections.onnx",
)
_OPERATORS = ("Conv", "Relu", "Reshape", "Concat", "Loop", "If", "NonMaxSuppression", "Nothing")


def _tensor(rng: random.Random, model: onnx.ModelProto) -> str:
    tensor = rng.choice(model.graph.initializer)
    act = rng.choice(["dims", "dims", "type", "type", "cut", "outside", "gone", "twice", "values"])
    if act == "dims":
        dims = rng.choice([[], [0], [-1], [2**40, 2**40], [1] * 50, [2**31], [*tensor.dims, 2]])
        del tensor.dims[:]
        tensor.dims.extend(dims)
    elif act == "type":
        tensor.data_type = rng.choice((0, 2, 7, 8, 9, 10, 11, 14, 16, 17, 21, 23, 99, -1))
    elif act == "cut":
        tensor.raw_data = tensor.raw_data[: len(tensor.raw_data) // 2]
    elif act == "outside":
        tensor.data_location = TensorProto.EXTERNAL
        entries = [("location", rng.choice(["w.bin", "/etc/passwd", "../../x", "", "/dev/zero"]))]
        entries += [("offset", rng.choice(["0", "-1", "x", "9" * 30])), ("length", "4000000000")]
        for key, value in entries[: rng.randrange(4)]:
            tensor.external_data.add(key=key, value=value)
        tensor.ClearField("raw_data")
    elif act == "gone":
        model.graph.initializer.remove(tensor)
    elif act == "twice":
        model.graph.initializer.append(tensor)
    elif tensor.data_type == TensorProto.FLOAT and tensor.raw_data:
        values = np.full(numpy_helper.to_array(tensor).shape, rng.choice([np.nan, np.inf, 3e38]))
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    return f"initialiser {act}"


def _node(rng: random.Random, model: onnx.ModelProto) -> str:
    graphs = [model.graph, *model.functions]
    nodes = rng.choice(graphs).node
    node = rng.choice(nodes)
    act = rng.choice(
        ["bare", "operator", "swap", "input", "output", "domain", "gone", "value", "name"]
    )
    if act == "bare":
        del node.attribute[:]
    elif act == "operator":
        node.op_type = rng.choice(_OPERATORS)
    elif act == "swap":
        other = rng.choice(nodes)
        node.op_type, other.op_type = other.op_type, node.op_type
    elif act == "input" and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(
            ["", "none", "images", *node.output]
        )
    elif act == "output" and node.output:
        node.output[0] = rng.choice(["", "images", "loc", "x" * 1000])
    elif act == "domain":
        node.domain = rng.choice(["ssd_small", "com.microsoft", "nowhere", "\x1b[31m"])
    elif act == "gone":
        nodes.remove(node)
    elif act == "value" and node.attribute:
        attribute = rng.choice(node.attribute)
        value: Any = rng.choice([0, -1, 2**40, 1.5, "x", [1, 2], [0] * 9, [-1, -1]])
        node.attribute.remove(attribute)
        node.attribute.append(helper.make_attribute(attribute.name, value))
    else:
        node.name = rng.choice(ODD_TEXTS[:30]).replace("\ud800", "").replace("\udcff", "")
    return f"node {node.op_type} {act}"


def _frame(rng: random.Random, model: onnx.ModelProto) -> str:
    act = rng.choice(
        ["opset", "ir", "metadata", "record", "io", "functions", "bomb", "names", "graph"]
    )
    if act == "opset":
        model.opset_import[0].version = rng.choice((-1, 0, 1, 5, 17, 27, 99, 2**40))
    elif act == "ir":
        model.ir_version = rng.choice((0, 1, 3, 99, 2**40))
    elif act in ("metadata", "record") and not model.metadata_props:
        model.metadata_props.add(key="ssd_small", value="{}")
    elif act == "metadata":
        entry = rng.choice(model.metadata_props)
        entry.value = rng.choice(["", "{}", "[]", "null", "\x1b[31m", "9" * 5000, "[" * 10_000])
    elif act == "record":
        entry = rng.choice(model.metadata_props)
        text, what = damaged_json(rng, json.loads(entry.value))
        entry.value = text.decode("utf-8", "ignore")
        return f"record: {what}"
    elif act == "io":
        value = rng.choice([*model.graph.input, *model.graph.output])
        shape = value.type.tensor_type.shape
        forms = [lambda: shape.dim.add(dim_value=3), lambda: value.type.Clear()]
        forms += [lambda: shape.Clear(), lambda: setattr(value, "name", "other")]
        forms += [lambda: setattr(value.type.tensor_type, "elem_type", rng.choice((0, 7, 10, 99)))]
        if shape.dim:
            forms.append(lambda: setattr(shape.dim[-1], "dim_value", rng.choice((0, -1, 2**40, 7))))
        rng.choice(forms)()
    elif act == "functions":
        if model.functions and rng.random() < 0.5:
            model.functions.append(model.functions[0])
        else:
            del model.functions[:]
    elif act == "bomb":
        dims = numpy_helper.from_array(np.array([32768, 32768], np.int64), "many")
        model.graph.initializer.append(dims)
        model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["many"], ["big"]))
        model.graph.node.insert(1, helper.make_node("ReduceSum", ["big"], ["sum"]))
    elif act == "names":
        model.producer_name = rng.choice(["\x1b[31m", "\u202e", "a" * 10**5])
        model.graph.name = model.producer_name
    else:
        model.graph.Clear()
    return f"model {act}"


def _onnx_bytes(rng: random.Random) -> tuple[bytes, str]:
    good = rng.choice(_FILES)
    if rng.random() < 0.15:
        return damaged_bytes(rng, good.read_bytes(), head=300)
    return damaged_model(rng, onnx.load(good))


def damaged_model(rng: random.Random, model: onnx.ModelProto) -> tuple[bytes, str]:
    """The bytes of a model with one or two things changed, and what."""
    words = [rng.choice((_tensor, _node, _frame, _frame))(rng, model)]
    if rng.random() < 0.2 and model.graph.initializer:
        words.append(rng.choice((_tensor, _node, _frame))(rng, model))
    return model.SerializeToString(), "; ".join(words)


def onnx_file(rng: random.Random, place: Place) -> Case:
    """An ONNX file: tensors, nodes, inputs and outputs, metadata, opset."""
    data, what = _onnx_bytes(rng)
    path = place.write("m.onnx", data)
    picture = place.copy(GOOD / "picture.png")
    form = rng.randrange(12)
    if form <= 3:
        then = ("detect", "--engine", "out/m.engine", picture, "--threads", "1", "--json")
        build = ("build-engine", path, "--target", "onnxruntime", "-o", "out/m.engine")
        return Case(
            what, (*build, *rng.choice([(), ("--json",), ("--precision", "fp16")])), then=then
        )
    if form <= 6:
        return Case(what, ("inspect", path, *rng.choice([(), ("--json",)])))
    if form <= 9:
        return Case(what, ("detect", "--engine", path, picture, "--threads", "1"))
    if form == 10:
        rtx = (
            "--target",
            "tensorrt-rtx",
            "--compute-capability",
            "8.6",
            "--optimization-level",
            "0",
        )
        return Case(what, ("build-engine", path, *rtx, "-o", "out/m.engine"))
    return Case(what, ("bench", "--engine", path, "--seconds", "0", "--threads", "1"))


def _read_by(rng: random.Random, place: Place, path: str) -> tuple[str, ...]:
    """A command line that reads an engine."""
    picture = place.copy(GOOD / "picture.png")
    form = rng.randrange(9)
    if form <= 3:
        more = rng.choice([(), ("--json",), ("--batch", "2")])
        return ("detect", "--engine", path, picture, "--threads", "1", *more)
    if form <= 5:
        return ("inspect", path, *rng.choice([(), ("--json",)]))
    if form <= 7:
        return ("doctor", path, *rng.choice([(), ("--json",)]))
    return ("bench", "--engine", path, "--seconds", "0", "--threads", "1", "--json")


def engine(rng: random.Random, place: Place) -> Case:
    """An engine of ONNX Runtime, or the plan of TensorRT, that its sidecar vouches for or not."""
    file = rng.choice(_ENGINES)
    if rng.random() < 0.25:
        file = GOOD / "detections.tensorrt-rtx.engine"
        good = rng.choice([b"ftrt", b"ptrt\0\0\0\0", b""]) + rng.randbytes(5000)
    else:
        good = file.read_bytes()
    if rng.random() < 0.5 and file in _ENGINES:
        model = onnx.load_from_string(good)
        what = rng.choice((_tensor, _node, _frame))(rng, model)
        data = model.SerializeToString()
    else:
        data, what = damaged_bytes(rng, good, head=300)
    path = place.write(file.name, data)
    record = json.loads(file.with_name(f"{file.name}.json").read_text())
    if rng.random() < 0.8:
        record["engine"]["sha256"] = hashlib.sha256(data).hexdigest()
        what = f"vouched for, {what}"
    place.write(f"{file.name}.json", json.dumps(record))
    return Case(what, _read_by(rng, place, path))


def sidecar(rng: random.Random, place: Place) -> Case:
    """A sidecar with any field of any type beside a good engine."""
    file = rng.choice(_ENGINES)
    path = place.copy(file)
    text, what = damaged_json(rng, json.loads(file.with_name(f"{file.name}.json").read_text()))
    beside = place.write(f"{file.name}.json", text)
    if rng.random() < 0.15:
        return Case(what, ("inspect", beside, *rng.choice([(), ("--json",)])))
    return Case(what, _read_by(rng, place, path))


def description(rng: random.Random, place: Place) -> Case:
    """What inspect printed of an ONNX file, and a timing cache."""
    model = onnx.load(GOOD / "heads.onnx")
    record = json.loads(model.metadata_props[0].value)
    text, what = damaged_json(rng, {"file": "m.onnx", "kind": "onnx", **record})
    said = place.write("said.json", text)
    del model.metadata_props[:]
    path = place.write("m.onnx", model.SerializeToString())
    build = ("build-engine", path, "-o", "out/m.engine")
    picture = place.copy(GOOD / "picture.png")
    if rng.random() < 0.15:
        path = place.copy(GOOD / "heads.onnx", "n.onnx")
        cache = place.write("t.cache", rng.randbytes(rng.choice((0, 1, 1000))))
        target = ("--target", rng.choice(["tensorrt", "onnxruntime", "tensorrt-rtx"]))
        more = ("--timing-cache", cache, *target, "--workspace", str(rng.choice(ODD_NUMBERS[:8])))
        return Case("a timing cache", ("build-engine", path, "-o", "out/m.engine", *more))
    then = ("detect", "--engine", "out/m.engine", picture, "--threads", "1")
    options = ("--target", "onnxruntime", "--description", said, *rng.choice([(), ("--json",)]))
    return Case(what, (*build, *options), then=then)
