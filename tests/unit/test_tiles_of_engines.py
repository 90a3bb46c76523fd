"""Tiles through real networks, whatever holds them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from detection_models import Models, noise

from ssd_small.evaluation.limits import HEAD_LIMITS

#: logits of these networks are under 10: what heads of one network differ by in two runtimes, and a
#: score by no more than a quarter of the difference of two logits
SCORES = 2 * 10 * HEAD_LIMITS["fp32"] / 4


@pytest.mark.parametrize("kind", ["checkpoint", "heads", "heads_engine"])
def test_a_picture_of_one_tile_is_what_it_is_without_tiles_to_the_bit(
    kind: str, models: Models
) -> None:
    with models.open(kind, max_batch=2) as detector:
        plain = detector(noise(), score_threshold=0.5)
        assert len(plain[0]) > 10
        for tiles in ((80, 60), (300, 300)):
            assert detector(noise(), score_threshold=0.5, tiles=tiles, whole=True) == plain


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "engine", "own", "own_engine"])
def test_networks_with_nms_inside_are_cut_before_it_and_free_of_its_threshold(
    kind: str, models: Models
) -> None:
    given = {"tiles": (40, 40), "overlap": 0.25, "score_threshold": 0.6}
    with models.open("heads") as heads, models.open(kind) as detector:
        expected, found = heads(noise(), **given)[0], detector(noise(), **given)[0]
        assert len(found) == len(expected) > 20
        assert found.tiles == expected.tiles == 6
        np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=SCORES)
        assert detector.runtime.description.has_decode_nms  # and the engine serves as before
        with_nms = detector(noise())[0]
        assert len(with_nms)
    with pytest.raises(Exception, match="closed"):
        detector.inference_of_heads().runtime.infer(np.zeros((1, 3, 300, 300), np.float32))
