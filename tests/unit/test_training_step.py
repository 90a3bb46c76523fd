"""One update: rates, clipping, averaging, precision, and where the weights start."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from training_doubles import CLASSES, MODEL, WIDTH, NoiseBatches, learner_of  # noqa: E402

from ssd_small.errors import BadFile  # noqa: E402
from ssd_small.models.network import create_model  # noqa: E402
from ssd_small.models.registry import get_spec  # noqa: E402
from ssd_small.training.initialise import initial_network  # noqa: E402
from ssd_small.training.matching import Targets  # noqa: E402
from ssd_small.training.recipe import Recipe  # noqa: E402
from ssd_small.training.step import Learner, averaged_copy, update  # noqa: E402


def _plain(**given: object) -> Recipe:
    values = {"epochs": 1, "batch": 2, "lr": 0.01, "warm_up": 0.0, "norm_scale": 8.0}
    return Recipe(**{**values, **given})  # type: ignore[arg-type]


def _one_update(learner: Learner) -> None:
    images, targets = NoiseBatches(learner.net).batch(0)
    update(learner, images, targets, list)


def _weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in learner.net.named_parameters()}


def test_an_update_is_the_rate_times_the_gradient_and_heads_have_their_own() -> None:
    learner = learner_of(_plain(head_lr=0.001, weight_decay=0.0))
    before = _weights(learner)
    assert learner.set_lr(0.5) == 0.005
    _one_update(learner)
    for name, parameter in learner.net.named_parameters():
        rate = 0.0005 if name.startswith(("loc.", "conf.")) else 0.005
        expected = before[name] - rate * parameter.grad
        # the difference of two roundings of a weight below 1.3 (norm: 8)
        assert torch.allclose(parameter, expected, rtol=0, atol=2e-6), name


def test_the_gradient_is_clipped_over_all_parameters() -> None:
    learner = learner_of(_plain(clip_norm=0.25, weight_decay=0.0))
    before = _weights(learner)
    learner.set_lr(1.0)
    _one_update(learner)
    steps = [(p.detach() - before[n]).square().sum() for n, p in learner.net.named_parameters()]
    # the norm of noise batches is above 1
    assert float(sum(steps).sqrt()) == pytest.approx(0.25 * 0.01, rel=1e-3)


def test_pictures_without_objects_train_without_harm() -> None:
    learner = learner_of(_plain(weight_decay=0.1))
    before = _weights(learner)
    learner.set_lr(1.0)
    images, targets = NoiseBatches(learner.net).batch(0)
    empty = Targets(torch.zeros_like(targets.loc), torch.zeros_like(targets.labels))
    report = update(learner, images, empty, list)
    assert (report.loc, report.conf, report.positives) == (0, 0, 0)
    for name, parameter in learner.net.named_parameters():
        # nothing but the decay: w - lr * decay * w
        assert torch.allclose(parameter, before[name] * (1 - 0.01 * 0.1), rtol=1e-6), name


def test_one_picture_without_objects_among_others() -> None:
    learner = learner_of(_plain())
    images, targets = NoiseBatches(learner.net).batch(0)
    labels, loc = targets.labels.clone(), targets.loc.clone()
    labels[1], loc[1] = 0, 0
    report = update(learner, images, Targets(loc, labels), list)
    assert report.positives == int((labels[0] > 0).sum())
    assert report.loc > 0


def test_half_precision_computes_about_the_same_and_keeps_float32_weights() -> None:
    losses = {}
    # the network's own input: on a map of one pixel, which only a small input has, torch 2.14.1
    # leaves most of the gradient of a bfloat16 depthwise convolution unwritten
    spec = get_spec(MODEL)
    for precision in ("fp32", "amp"):
        learner = learner_of(_plain(precision=precision), spec=spec)
        images, targets = NoiseBatches(learner.net, side=300).batch(0)
        report = update(learner, images, targets, list)
        losses[precision] = report.loc + report.conf
        assert {p.dtype for p in learner.net.parameters()} == {torch.float32}
    # bfloat16 has eight bits: 0.4 per cent each of some thirty layers, averaging out
    assert losses["amp"] == pytest.approx(losses["fp32"], rel=0.05)
    assert losses["amp"] != losses["fp32"], "autocast did nothing"


def test_the_memory_layout_changes_nothing_but_roundings() -> None:
    losses = []
    for channels_last in (True, False):
        learner = learner_of(_plain(channels_last=channels_last))
        images, targets = NoiseBatches(learner.net).batch(0)
        report = update(learner, images, targets, list)
        losses.append(report.loc + report.conf)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_average_by_hand() -> None:
    net = torch.nn.BatchNorm1d(1)
    ema = averaged_copy(net, 0.3)  # type: ignore[arg-type]
    expected = None
    for n, value in enumerate([4.0, 1.0, -2.0, 7.0]):
        with torch.no_grad():
            net.weight.fill_(value)
            net.running_mean.fill_(10 * value)
            net.num_batches_tracked.fill_(n)
        ema.update_parameters(net)
        decay = min(0.3, (1 + n) / (10 + n))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert ema.module.weight.item() == pytest.approx(expected)
        assert ema.module.running_mean.item() == pytest.approx(10 * expected)
        assert ema.module.num_batches_tracked.item() == n


def test_what_is_averaged_follows_what_learns() -> None:
    learner = learner_of(_plain(ema_decay=0.5))
    assert learner.result is not learner.net
    _one_update(learner)
    assert torch.equal(learner.result.conf[0].weight, learner.net.conf[0].weight)
    _one_update(learner)
    assert not torch.equal(learner.result.conf[0].weight, learner.net.conf[0].weight)
    assert torch.equal(learner.result.priors, learner.net.priors)
    alone = learner_of(_plain())
    assert alone.result is alone.net


def test_the_start_is_random_by_seed_with_the_norm_asked_for() -> None:
    nets = [initial_network(MODEL, CLASSES, WIDTH, _plain(seed=s)) for s in (0, 0, 1)]
    states = [net.state_dict() for net in nets]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert not torch.equal(states[0]["conf.0.weight"], states[2]["conf.0.weight"])
    assert states[0]["norm.weight"].unique().tolist() == [8.0]
    assert nets[0].training
    published = initial_network(MODEL, CLASSES, WIDTH, Recipe()).state_dict()
    assert published["norm.weight"].unique().tolist() == [20.0]


def test_priors_start_as_background_with_the_probability_asked_for() -> None:
    net = initial_network(MODEL, CLASSES, WIDTH, _plain(background=0.97))
    for head in net.conf:
        scores = head.bias.detach().view(-1, CLASSES).softmax(dim=1)
        assert scores[:, 0] == pytest.approx(0.97)
        assert scores[:, 1] == pytest.approx(scores[:, 2])


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Weights of a network with more classes."""
    torch.manual_seed(5)
    path = tmp_path / "trained.pth"
    torch.save(create_model("mobilenet_v1_s1l0", 7, WIDTH).state_dict(), path)
    return path


def test_the_scope_base_takes_the_backbone_of_a_sibling_and_nothing_else(trained: Path) -> None:
    recipe = _plain()
    taken = torch.load(trained, weights_only=True)
    fresh = initial_network(MODEL, CLASSES, WIDTH, recipe).state_dict()
    net = initial_network(MODEL, CLASSES, WIDTH, recipe, trained, "base").state_dict()
    for name, value in net.items():
        source = taken if name.startswith("base.") else fresh
        assert torch.equal(value, source[name]), name
    assert not torch.equal(fresh["base.5.conv.0.weight"], taken["base.5.conv.0.weight"])


def test_the_scope_all_takes_everything(trained: Path) -> None:
    net = initial_network("mobilenet_v1_s1l0", 7, WIDTH, _plain(), trained, "all").state_dict()
    taken = torch.load(trained, weights_only=True)
    assert all(torch.equal(value, taken[name]) for name, value in net.items())


@pytest.mark.slow
def test_weights_that_do_not_fit_are_refused(trained: Path) -> None:
    with pytest.raises(BadFile, match=r"does not fit.*pass init_scope base"):
        initial_network("mobilenet_v1_s1l0", CLASSES, WIDTH, _plain(), trained, "all")
    with pytest.raises(BadFile, match=r"does not fit.*pass width 0\.1"):
        initial_network(MODEL, CLASSES, 0.5, _plain(), trained, "base")
    with pytest.raises(BadFile, match=r"does not fit.*those of mobilenet_v1 or.*\n.*base\.0"):
        initial_network("vgg16", CLASSES, WIDTH, _plain(), trained, "base")
