"""A promise of mAP: how few convolutions go back to floating point, and what is said if none do."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import ModelProto
from ssd_small.export.calibration import ranges_from_pictures
from ssd_small.export.max_drop import keep_promise
from ssd_small.export.quantise import FORMS

from ssd_small.artefacts.int8_options import Int8Options
from ssd_small.errors import CheckFailed


def candidate(reverted: int) -> ModelProto:
    return ModelProto(ir_version=reverted + 1)


def score_from(needed: int):
    """0.5 in floating point, 0.4 until so many convolutions are back in it."""
    return lambda model: 0.495 if model.ir_version > needed else 0.4


@pytest.mark.parametrize("needed", [0, 1, 2, 3, 5, 8, 13, 18, 19])
def test_the_fewest_go_back(needed: int) -> None:
    found = keep_promise(0.5, 0.01, 20, candidate, score_from(needed))
    assert found.reverted == needed
    assert found.model == candidate(needed)
    assert found.map == {"fp32": 0.5, "int8": 0.495}


def test_what_was_reached_is_told_where_it_does_not_hold() -> None:
    with pytest.raises(CheckFailed, match=r"0\.4950 was reached with 19 of 20") as raised:
        keep_promise(0.5, 0.001, 20, candidate, score_from(19))
    assert "nothing was written" in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["percentile", "minmax"])
def test_a_calibration_holds_the_tensors_of_one_picture(method, tmp_path, monkeypatch) -> None:
    """ONNX Runtime's calibrators keep what one call reads: a call must not read more."""
    import cv2
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import calibrate

    from ssd_small.pictures.preprocessing import Preprocessing

    rng = np.random.default_rng(0)
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 255, (8, 8, 3), np.uint8))
    weight = numpy_helper.from_array(rng.normal(size=(2, 3, 3, 3)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "w"], ["loc"], "conv")],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("loc", TensorProto.FLOAT, ["n", 2, 14, 14])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    kind = calibrate.MinMaxCalibrater if method == "minmax" else calibrate.HistogramCalibrater
    read: list[int] = []
    kept: list[int] = []
    original = kind.collect_data

    def watched(self, reader):
        class Counted:
            count = 0

            def get_next(self):
                given = reader.get_next()
                Counted.count += given is not None
                return given

            def __len__(self):
                return Counted.count

        original(self, Counted())
        read.append(Counted.count)
        kept.append(len(self.intermediate_outputs))

    monkeypatch.setattr(kind, "collect_data", watched)
    size = Preprocessing(height=16, width=16)
    options = Int8Options(tmp_path, method=method)
    ranges, record = ranges_from_pictures(
        model, size, options, FORMS["tensorrt"], lambda phase, share: None
    )
    assert read == [1] * 5
    assert max(kept) == 0
    assert record.count == 5
    low, high = (np.asarray(value).item() for value in ranges["images"].range_value)
    assert low < 0 < high
