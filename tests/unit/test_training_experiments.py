"""Every published experiment trains: one update by its own recipe, at a small width."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from training_doubles import CPU, NoiseBatches  # noqa: E402

from ssd_small.configs.experiment import read_experiment  # noqa: E402
from ssd_small.models.from_config import spec_from_config  # noqa: E402
from ssd_small.training.configuration import recipe_from_experiment  # noqa: E402
from ssd_small.training.initialise import initial_network  # noqa: E402
from ssd_small.training.schedule import lr_factor  # noqa: E402
from ssd_small.training.step import Learner, update  # noqa: E402

CLASSES, WIDTH = 3, 0.05
#: asks for channels that do not come
NO_NETWORK = "ssd_lite_dual_mobilenetv1_train_coco_S1L0"
#: one of each family
SOME = (
    "ssd_vgg16_train_voc",
    "ssd_dual_vgg16_S1L2_train_coco_1",
    "ssd_lite_mobilenetv2_train_coco",
    "ssd_lite_dual_mobilenetv1_train_coco_S1L0_Split",
    "rfb_resnet50_train_voc",
    "rfb_lite_mobilenetv1_train_coco",
    "fssd_darknet53_coco",
    "fssd_lite_mobilenetv2_train_voc",
)


def _check_an_update(path: Path) -> None:
    experiment = read_experiment(path)
    # all priors are in the loss, so that all levels have a gradient
    recipe = replace(recipe_from_experiment(experiment), batch=2, negative_ratio=1e4)
    net = initial_network(spec_from_config(experiment.network, path), CLASSES, WIDTH, recipe)
    learner = Learner.of(net, recipe, CPU)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    learner.set_lr(1.0)
    height, _ = net.spec.input_size
    report = update(learner, *NoiseBatches(net, side=height).batch(0), list)
    assert report.positives > 0
    scope = recipe.trainable_scope
    assert scope is not None, "every file names one"
    for name, parameter in net.named_parameters():
        # without one DistributedDataParallel would wait for it
        assert (parameter.grad is not None) == (name.partition(".")[0] in scope), name
        assert torch.isfinite(parameter).all(), name
    moved = {
        n.partition(".")[0] for n, p in net.named_parameters() if not torch.equal(p, before[n])
    }
    assert moved == {
        name for name, _ in net.named_children() if name in scope and _learns(net, name)
    }
    _check_rates(path, learner)


def _learns(net: torch.nn.Module, name: str) -> bool:
    return any(True for _ in net.get_submodule(name).parameters())


def _check_rates(path: Path, learner: Learner) -> None:
    """The published cosine: held through the warm-up, below that at once, 0 in the last epoch."""
    recipe = learner.recipe
    assert (recipe.optimizer, recipe.schedule) == ("sgd", "sgdr")
    assert recipe.epochs is not None
    held = read_experiment(path).train.lr_scheduler.warm_up_epochs
    rates = [lr_factor(recipe, n / recipe.epochs, n) for n in range(recipe.epochs)]
    assert rates[:held] == [1.0] * held
    assert rates[held] < 1
    assert rates[held:] == sorted(rates[held:], reverse=True)
    assert rates[-1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_one_of_each_family_learns(shared_data: Path, name: str) -> None:
    _check_an_update(shared_data / "experiments" / f"{name}.yml")


@pytest.mark.slow
def test_all_others_do(shared_data: Path) -> None:
    paths = sorted((shared_data / "experiments").glob("*.yml"))
    others = [path for path in paths if path.stem not in (*SOME, NO_NETWORK)]
    assert len(others) == 46 - len(SOME)
    for path in others:
        _check_an_update(path)
