"""The published implementation's outputs, network by network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_networks import (
    NETWORKS,
    golden_heads,
    golden_images,
    golden_outputs,
    golden_parameter,
)

import ssd_small
from ssd_small.evaluation.limits import BOX_ROUNDING, HEAD_LIMITS
from ssd_small.evaluation.proof import heads_difference
from ssd_small.models.network import SsdNetwork
from ssd_small.postprocess import PostprocessParams, decode_nms

# the made-up scores are the published bits where numpy has AVX2; elsewhere its exponential is
# another one: 2.5 ulp and 1 ulp off, above and below the fraction line, and one rounding
SCORE_TOLERANCE = 1e-6


@pytest.fixture(scope="module", params=NETWORKS)
def case(request: pytest.FixtureRequest):
    name = request.param
    return name, golden_outputs(name), ssd_small.create_model(name)


def test_state_dict_has_the_published_keys_and_shapes(case) -> None:
    _, expected, net = case
    own = {key: str(tuple(value.shape)) for key, value in net.state_dict().items()}
    assert own == dict(zip(expected["keys"].tolist(), expected["shapes"].tolist(), strict=True))


def test_priors_are_the_published_ones(case) -> None:
    _, expected, net = case
    np.testing.assert_allclose(net.priors.numpy(), expected["priors"], rtol=0, atol=BOX_ROUNDING)


@pytest.mark.slow
def test_heads_are_those_of_the_published_network(case) -> None:
    _, expected, net = case
    loc, conf = _outputs(net)
    rows = expected["rows"]
    for name, own in (("loc", loc), ("conf", conf)):
        # another machine and version of PyTorch: 3e-6 was seen
        assert heads_difference([own[:, rows]], [expected[name]]) <= HEAD_LIMITS["fp32"]
        # sums over all priors, of which each may be off by the limit
        scale = np.abs(expected[name]).max()
        total = own.astype(np.float64).sum(axis=(1, 2))
        allowed = HEAD_LIMITS["fp32"] * scale * np.sqrt(own[0].size)
        np.testing.assert_allclose(total, expected[f"{name}_sum"], rtol=0, atol=allowed)


def _outputs(net: SsdNetwork) -> tuple[np.ndarray, np.ndarray]:
    state = {
        key: torch.from_numpy(np.asarray(golden_parameter(key, tuple(value.shape))))
        for key, value in net.state_dict().items()
    }
    net.load_state_dict(state)
    with torch.inference_mode():
        loc, conf = net(torch.from_numpy(golden_images()))
    return loc.numpy(), conf.numpy()


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("activation", ["none", "softmax"])
def test_coco_preset_keeps_exactly_the_published_detections(case, backend, activation) -> None:
    name, expected, net = case
    loc, scores = golden_heads(name)
    # the logarithm of softmax scores are logits whose softmax they are
    conf = scores if activation == "none" else np.log(scores)
    params = replace(PostprocessParams.coco(), activation=activation)
    found = decode_nms(loc[None], conf[None], net.priors.numpy(), params, backend=backend)[0]
    order = np.lexsort((found.prior_indices, -found.scores, found.labels))
    own = set(zip(found.labels.tolist(), found.prior_indices.tolist(), strict=True))
    published = set(
        zip(expected["det_label"].tolist(), expected["det_prior"].tolist(), strict=True)
    )
    assert own == published
    assert len(found) == len(expected["det_label"])
    if activation == "none":
        np.testing.assert_array_equal(found.labels[order], expected["det_label"])
        np.testing.assert_array_equal(found.prior_indices[order], expected["det_prior"])
        np.testing.assert_array_equal(found.scores, scores[found.prior_indices, found.labels])
        np.testing.assert_allclose(
            found.scores[order], expected["det_score"], rtol=SCORE_TOLERANCE, atol=0
        )
        # one rounding of the published box arithmetic (in pixels, then divided)
        np.testing.assert_allclose(found.boxes[order], expected["det_box"], rtol=0, atol=2e-7)
