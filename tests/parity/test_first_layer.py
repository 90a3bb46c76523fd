"""The first layer that moved is named, in few cuts, whatever the fault is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from layered_network import (  # noqa: E402
    CONVOLUTIONS,
    DESCRIPTION,
    engine_from_network,
    layered_network,
    with_overflow,
    with_scaled_weights,
)

from ssd_small.parity.first_layer import (  # noqa: E402
    MOST_PICTURES,
    run_from_model,
    search_from_graphs,
)
from ssd_small.parity.layer_errors import NOT_FINITE, Search  # noqa: E402
from ssd_small.parity.shared_cuts import shared_cuts  # noqa: E402
from ssd_small.runtimes.cuts import cut_model  # noqa: E402

PICTURES = list(np.random.default_rng(0).integers(0, 256, (2, 300, 300, 3), np.uint8))
NETWORK = layered_network()


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def engine(precision: str, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return engine_from_network(NETWORK, tmp_path_factory.mktemp("engine"), precision)


def found_in(engine: onnx.ModelProto) -> Search:
    return search_from_graphs(NETWORK, engine, DESCRIPTION, PICTURES)


def names_a_layer_in_few_cuts(found: Search, name: str, operator: str = "Conv") -> None:
    assert found.first is not None
    assert (found.first.name, found.first.operator) == (name, operator)
    # one search by halves and a look at the layer itself
    assert found.cuts <= math.ceil(math.log2(found.places)) + 1
    assert found.first in found.layers
    assert "<-" in next(line for line in found.lines() if line.startswith(f"  {name} "))


@pytest.mark.slow
def test_an_engine_that_rounds_alone_has_no_such_layer(engine: onnx.ModelProto) -> None:
    found = found_in(engine)
    assert found.first is None
    assert found.places >= CONVOLUTIONS
    # three trails at most, and the ones behind the heads
    assert found.cuts <= 4 * (math.ceil(math.log2(found.places)) + 1)
    assert "each within rounding" in found.lines()[0]


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 7, 13, 22, CONVOLUTIONS - 1])
def test_wrong_weights_are_found_in_the_convolution_that_has_them(
    index: int, precision: str, tmp_path: Path
) -> None:
    name = f"conv_{index}"
    wrong = engine_from_network(with_scaled_weights(NETWORK, name, 1.05), tmp_path, precision)
    names_a_layer_in_few_cuts(found_in(wrong), name)


@pytest.mark.slow
def test_an_overflow_is_found_in_the_convolution_that_overflows(tmp_path: Path) -> None:
    half = engine_from_network(NETWORK, tmp_path, "fp16")
    for index in (*range(0, CONVOLUTIONS, 4), CONVOLUTIONS - 1):
        found = found_in(with_overflow(half, f"conv_{index}"))
        names_a_layer_in_few_cuts(found, f"conv_{index}")
        assert found.first is not None
        assert found.first.error == NOT_FINITE
        json.dumps([one.to_dict() for one in found.layers], allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "operator"), [("pow", "Pow"), ("sum", "ReduceSum")])
def test_an_overflow_is_found_in_the_operator_of_l2norm(
    name: str, operator: str, engine: onnx.ModelProto
) -> None:
    names_a_layer_in_few_cuts(found_in(with_overflow(engine, name)), name, operator)


def test_the_first_of_two_faults_is_named(engine: onnx.ModelProto) -> None:
    found = found_in(with_overflow(with_overflow(engine, "conv_20"), "conv_9"))
    names_a_layer_in_few_cuts(found, "conv_9")


def test_a_fault_that_a_later_layer_undoes_is_no_layer_that_moved(tmp_path: Path) -> None:
    """Twice the weights before L2Norm, whose output has length 1 whatever comes in."""
    wrong = with_scaled_weights(NETWORK, "conv_11", 2)
    bias = next(one for one in wrong.graph.initializer if one.name == "b11")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(8, 0.2, np.float32), "b11"))
    assert found_in(engine_from_network(wrong, tmp_path)).first is None


def test_layers_come_in_the_order_of_the_network_with_their_growth(tmp_path: Path) -> None:
    wrong = engine_from_network(with_scaled_weights(NETWORK, "conv_13", 1.05), tmp_path)
    found = found_in(wrong)
    order = [node.name for node in NETWORK.graph.node]
    places = [order.index(one.name) for one in found.layers]
    assert places == sorted(places)
    assert found.first is not None
    before = [one.error for one in found.layers if order.index(one.name) < order.index("conv_13")]
    # float32 rounds by 2**-24 and sums in another order; 5% is far from that
    assert max(before, default=0.0) < 1e-5
    assert found.first.growth > 1000


@pytest.mark.slow
def test_few_pictures_are_run_one_at_a_time() -> None:
    sizes: list[int] = []

    def watched(model: onnx.ModelProto):
        run = run_from_model(model)

        def once(feeds):
            sizes.append(len(feeds["images"]) if "images" in feeds else 1)
            return run(feeds)

        return once

    many = PICTURES * 5
    search = search_from_graphs(NETWORK, NETWORK, DESCRIPTION, many, watched)
    assert set(sizes) == {1}
    # of the engine at each step at most: as it is, and two parts
    assert len(sizes) <= MOST_PICTURES * (3 * search.cuts + 1)


def test_cuts_do_without_the_tensors_before_them(engine: onnx.ModelProto) -> None:
    cuts = shared_cuts(NETWORK, engine)
    start = {cuts[15].engine[0]: (np.dtype(np.float32), None)}
    rest = cut_model(engine, cuts[-1].engine, start)
    assert [value.name for value in rest.graph.input] == [*start]
    assert len(rest.graph.node) < len(engine.graph.node) * 0.8
    assert {name for cut in cuts for name in cut.reference} >= {"relu_5", "sum", "loc", "conf"}


def test_graphs_without_common_names_have_no_places() -> None:
    other = onnx.ModelProto()
    other.CopyFrom(NETWORK)
    for node in other.graph.node:
        node.name = f"x{node.name}"
        node.output[:] = [f"x{name}" for name in node.output]
        node.input[:] = [
            f"x{n}" if any(n in m.output for m in NETWORK.graph.node) else n for n in node.input
        ]
    found = found_in(other)
    assert (found.first, found.places) == (None, 0)
    assert "none can be compared" in found.lines()[0]
