"""ONNX graphs of a few bytes that would take gigabytes: refused before anything runs them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from memory_peak import peak_of  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from ssd_small.artefacts.onnx_sizes import (  # noqa: E402
    check_declared,
    check_memory,
    most_live_bytes,
)
from ssd_small.errors import BadFile  # noqa: E402

PATH = Path("x.onnx")
SMALL = 128 << 20


def _model(nodes, *arrays, outputs=("y",), dims=("N", 3, 300, 300)):
    graph = helper.make_graph(
        nodes,
        "bomb",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])


def _node(kind, *inputs, output="y", **attributes):
    return helper.make_node(kind, list(inputs), [output], **attributes)


def _doubled(times):
    """A tensor joined with itself again and again."""
    names = ["images", *(f"x{i}" for i in range(times - 1)), "y"]
    return [_node("Concat", one, one, output=other, axis=1) for one, other in pairwise(names)]


def _kept(count):
    """Constants of 36 MB each that are all in use at once."""
    made = [_node("ConstantOfShape", "shape", output=f"c{i}") for i in range(count)]
    return [*made, _node("Sum", *(f"c{i}" for i in range(count)))]


def _joined():
    """A constant joined to itself a thousand times, and that a thousand times."""
    return [
        _node("Concat", *["many"] * 1000, output="z", axis=0),
        _node("Concat", *["z"] * 1000, axis=0),
    ]


SIDE = 32768
MEMORY = {
    "constants joined": (_joined(), ("many", np.zeros(1000, np.float32))),
    "ConstantOfShape": ([_node("ConstantOfShape", "shape")], ("shape", [SIDE, SIDE])),
    "ConstantOfShape by arithmetic": (
        [_node("Mul", "half", "two", output="s"), _node("ConstantOfShape", "s")],
        ("half", [SIDE, SIDE // 2]),
        ("two", [1, 2]),
    ),
    "ConstantOfShape by a cast": (
        [_node("Cast", "shape", output="s", to=TensorProto.INT64), _node("ConstantOfShape", "s")],
        ("shape", np.array([SIDE, SIDE], np.float32)),
    ),
    "Expand": ([_node("Expand", "one", "shape")], ("one", [1.0]), ("shape", [SIDE, SIDE])),
    "Tile": ([_node("Tile", "one", "times")], ("one", [[1.0]]), ("times", [SIDE, SIDE])),
    "Range": (
        [_node("Range", "zero", "end", "one")],
        *(("zero", np.int64(0)), ("end", np.int64(1 << 31)), ("one", np.int64(1))),
    ),
    "Pad": ([_node("Pad", "one", "pads")], ("one", [[1.0]]), ("pads", [0, 0, SIDE, SIDE])),
    "Resize": (
        [_node("Resize", "images", "", "", "sizes")],
        ("sizes", [1, 3, SIDE, SIDE]),
    ),
    "Concat": (_doubled(12),),
    "sums of rows and columns": (
        [_node("Add", "row", "column")],
        ("row", np.zeros((1, SIDE), np.float32)),
        ("column", np.zeros((SIDE, 1), np.float32)),
    ),
    "products of rows and columns": (
        [_node("MatMul", "column", "row")],
        ("row", np.zeros((1, SIDE), np.float32)),
        ("column", np.zeros((SIDE, 1), np.float32)),
    ),
    "many at once": (_kept(30), ("shape", [3000, 3000])),
    "padding of a convolution": (
        [_node("Conv", "images", "weight", pads=[SIDE] * 4)],
        ("weight", np.zeros((1, 3, 1, 1), np.float32)),
    ),
    "a size that depends on pixels": (
        [
            _node("ReduceMax", "images", output="m", keepdims=0),
            _node("Cast", "m", output="i", to=TensorProto.INT64),
            _node("Reshape", "i", "one", output="s"),
            _node("ConstantOfShape", "s"),
        ],
        ("one", [1]),
    ),
    "an operator of another domain": ([_node("Grow", "images", domain="com.example")],),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MEMORY)
def test_a_graph_that_needs_gigabytes_is_refused(kind):
    nodes, *arrays = MEMORY[kind]
    model = _model(nodes, *arrays)
    model.opset_import.append(helper.make_opsetid("com.example", 1))

    def refused() -> None:
        check_declared(model, PATH)
        with pytest.raises(BadFile, match=r"x\.onnx(: nothing says how large| would have)"):
            check_memory(model, PATH)

    refused()
    assert peak_of(refused) < SMALL


def test_what_the_file_says_of_its_tensors_does_not_count():
    model = _model([_node("ConstantOfShape", "shape")], ("shape", [SIDE, SIDE]))
    told = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])
    model.graph.output[0].CopyFrom(told)
    model.graph.value_info.append(told)
    with pytest.raises(BadFile):
        check_memory(model, PATH)


def test_a_usual_graph_passes():
    weight = np.zeros((64, 3, 3, 3), np.float32)
    nodes = [
        _node("Conv", "images", "weight", output="c", pads=[1] * 4),
        *(_node("Relu", f"{'c' if i == 0 else f'r{i}'}", output=f"r{i + 1}") for i in range(200)),
        _node("ConstantOfShape", "shape", output="z"),
        _node("Add", "r200", "z"),
    ]
    model = _model(nodes, ("weight", weight), ("shape", [1, 64, 300, 300]))
    check_declared(model, PATH)
    check_memory(model, PATH)
    assert most_live_bytes(300, 300) < 1 << 30
    assert most_live_bytes(1 << 20, 1 << 20) == 4 << 30


def _heads(times):
    """Reshaped for a batch that the graph computes, as exports of any batch are, and joined."""
    nodes = [
        _node("Relu", "images", output="x"),
        _node("Shape", "x", output="s", start=0, end=1),
        _node("Squeeze", "s", output="n"),
        _node("Reshape", "n", "one", output="b"),
        _node("Concat", "b", "rest", output="to", axis=0),
        _node("Reshape", "x", "to", output="boxes"),
        _node("Concat", *["boxes"] * times, axis=1),
    ]
    return _model(nodes, ("one", [1]), ("rest", [-1, 4]))


def test_joined_tensors_of_computed_shapes_count_together():
    """A picture has 1.08 MB, 900 times of which are past what networks for it need."""
    check_memory(_heads(12), PATH)
    with pytest.raises(BadFile, match=r"would have \d{9} bytes in use at its Concat"):
        check_memory(_heads(900), PATH)


def _tensor(**fields):
    return TensorProto(name="t", data_type=TensorProto.FLOAT, **fields)


@pytest.mark.parametrize(
    "tensor",
    [
        _tensor(dims=[1 << 31, 1 << 31], raw_data=b"1234"),
        _tensor(dims=[1 << 62], float_data=[1.0]),
        _tensor(dims=[100]),
        _tensor(dims=[-1, -100], raw_data=b"1234"),
    ],
)
def test_a_tensor_declares_what_it_holds(tensor):
    for holder in ("initializer", "attribute"):
        model = _model([_node("Identity", "images")])
        if holder == "initializer":
            model.graph.initializer.append(tensor)
        else:
            model.graph.node.append(_node("Constant", output="z", value=tensor))
        with pytest.raises(BadFile, match="export it again"):
            check_declared(model, PATH)


@pytest.mark.parametrize(
    ("offset", "length"), [("0", "1000"), ("1000", "1"), ("-1", "4"), (str(1 << 62), "4")]
)
def test_data_elsewhere_are_within_their_file(tmp_path, offset, length):
    (tmp_path / "w.bin").write_bytes(b"1234")
    tensor = _tensor(dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "w.bin", "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=value)
    model = _model([_node("Identity", "images")])
    model.graph.initializer.append(tensor)
    with pytest.raises(BadFile, match="which has 4 bytes"):
        check_declared(model, tmp_path / "x.onnx")


def test_graphs_in_graphs_functions_and_sparse_tensors_are_refused():
    body = helper.make_graph([], "body", [], [])
    loop = _model([_node("Loop", "", "", "images", body=body)])
    with pytest.raises(BadFile, match="a graph in a graph"):
        check_declared(loop, PATH)
    function = _model([_node("Identity", "images")])
    nodes = [_node("Twice", "x", domain="own")]
    opset = [helper.make_opsetid("", 19)]
    function.functions.append(helper.make_function("own", "Twice", ["x"], ["y"], nodes, opset))
    with pytest.raises(BadFile, match="a function of its own, 'Twice'"):
        check_declared(function, PATH)
    sparse = _model([_node("Identity", "images")])
    sparse.graph.sparse_initializer.add(dims=[1 << 40])
    with pytest.raises(BadFile, match="sparse"):
        check_declared(sparse, PATH)
    many = _model([_node("Identity", "images", output=f"i{i}") for i in range(50_001)])
    with pytest.raises(BadFile, match="has 50001 nodes"):
        check_declared(many, PATH)
