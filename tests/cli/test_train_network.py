"""Training a network that the registry does not have: what the run and its files know of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome

torch = pytest.importorskip("torch", reason="needs torch")
for module in ("torchvision", "hotcoco", "cv2"):
    pytest.importorskip(module, reason=f"needs {module}")

import ssd_small  # noqa: E402
from ssd_small.configs.network import (  # noqa: E402
    FeatureList,
    NetworkConfig,
    network_config_to_dict,
)
from ssd_small.errors import UsageError  # noqa: E402
from ssd_small.models.checkpoint import read_state_dict  # noqa: E402
from ssd_small.models.from_config import spec_from_config  # noqa: E402
from ssd_small.training.options import job_from_options  # noqa: E402
from ssd_small.training.recipe import Recipe, published_recipe  # noqa: E402
from ssd_small.training.session import run_training  # noqa: E402

pytestmark = pytest.mark.slow

Call = Callable[..., Outcome]

#: MobileNetV1 with lite extras, as published but for its input: it is of no name
NETWORK = NetworkConfig(
    "ssd_lite",
    "mobilenet_v1",
    (128, 128),
    (FeatureList((11, 13, "S", "S", "S", "S"), (512, 1024, 512, 256, 256, 128)),),
    ((16, 16), (32, 32), (64, 64), (100, 100), (150, 150), (300, 300)),
    ((45, 45), (90, 90), (135, 135), (180, 180), (225, 225), (270, 270), (315, 315)),
    ((1, 2, 3), (1, 2, 3), (1, 2, 3), (1, 2, 3), (1, 2), (1, 2)),
)
NAMED = replace(NETWORK, image_size=(300, 300))


def _options(data: Path, **more: Any) -> dict[str, Any]:
    return {
        "annotations": data / "truth.json", "images": data, "width": 0.1, "batch": 4,
        "iterations": 2, "lr": 0.01, "workers": 0, "threads": 1, "device": "cpu", "log_every": 1,
    } | more  # fmt: skip


def _begin(data: Path, folder: Path, **more: Any) -> Path:
    """A run of two updates that was stopped after the first."""
    job = job_from_options(folder, _options(data, **more))
    report = run_training(replace(job, options=replace(job.options, stop_after=1e-9)))
    assert report["iterations"] == 1
    return folder


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Path:
    return _begin(data, tmp_path / "run", network=NETWORK)


def _bare(run: Path) -> tuple[object, ...]:
    return ("train", "--resume", "--output", run)


def test_a_configuration_of_a_named_network_is_that_network(data: Path) -> None:
    job = job_from_options("o", _options(data, network=NAMED))
    assert (job.model, job.network) == ("mobilenet_v1", None)
    assert job.recipe.lr == 0.01
    assert job.recipe.warm_up == published_recipe("mobilenet_v1").warm_up


def test_another_one_has_the_usual_recipe(data: Path) -> None:
    job = job_from_options("o", _options(data, network=NETWORK))
    assert job.network == NETWORK
    assert job.model == job.spec.name == spec_from_config(NETWORK).name
    assert job.recipe == Recipe().with_changes(batch=4, lr=0.01, iterations=2)


def test_a_run_knows_its_network_and_goes_on(
    call: Call, data: Path, run: Path, tmp_path: Path
) -> None:
    content = json.loads((run / "run.json").read_text())
    assert content["format"] == 2
    assert content["network"] == network_config_to_dict(NETWORK)
    assert torch.load(run / "resume.pth", weights_only=True)["format"] == 2
    assert call(*_bare(run), "--json").fits().json["iterations"] == 2
    whole = run_training(job_from_options(tmp_path / "w", _options(data, network=NETWORK)))
    one, other = read_state_dict(run / "last.pth"), read_state_dict(Path(whole["last"]))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_checkpoints_know_it_too(data: Path, run: Path, tmp_path: Path) -> None:
    with ssd_small.load(run / "last.pth", threads=1) as detector:
        assert detector.description.preprocessing.height == 128
        assert detector.labels == ("square", "disc")
    again = job_from_options(tmp_path, _options(data, weights=run / "last.pth", width=None))
    assert (again.network, again.width, again.init_scope) == (NETWORK, 0.1, "fitting")
    tuned = _begin(data, tmp_path / "tuned", weights=run / "last.pth", init_scope="all")
    assert json.loads((tuned / "run.json").read_text())["network"] == network_config_to_dict(
        NETWORK
    )


def test_another_network_is_another_run(data: Path, run: Path, call: Call) -> None:
    def resumed(**options: Any) -> None:
        run_training(job_from_options(run, options, resume=True))

    with pytest.raises(UsageError, match=r"network is .*, was "):
        resumed(network=replace(NETWORK, clip=False))
    with pytest.raises(UsageError, match=r"model is 'mobilenet_v1', was .*network is None"):
        resumed(network=NAMED)
    call(*_bare(run), "--model", "mobilenet_v1").fails(2, "model is 'mobilenet_v1'")
    resumed(network=NETWORK)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"NETS": "unknown"}, ("unknown",)),
        ({"STEPS": "odd"}, ("network.STEPS",)),
        ({"NOVELTY": 1}, ("network", "NOVELTY")),
        ({"CLIP": False}, ()),
    ],
)
def test_a_damaged_network_is_refused(
    call: Call, run: Path, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    content = json.loads((run / "run.json").read_text())
    content["network"] |= change
    (run / "run.json").write_text(json.dumps(content))
    if words:
        call(*_bare(run)).fails(4, "run.json", *words)
    else:
        call(*_bare(run)).fails(2, "network is ")


def test_a_network_that_does_not_go_with_its_name_is_refused(call: Call, run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    for network, model, words in (
        (network_config_to_dict(NAMED), content["model"], "that of mobilenet_v1"),
        (content["network"], "vgg16", "model: got 'vgg16'"),
        (None, content["model"], "model: got"),
    ):
        (run / "run.json").write_text(json.dumps(content | {"network": network, "model": model}))
        call(*_bare(run)).fails(4, "run.json", words)
