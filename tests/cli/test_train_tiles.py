"""``ssd-small train --tiles``: what is learned from, how it is scored, and what is recorded."""

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

from training_pictures import short_run  # noqa: E402

from ssd_small.models.checkpoint import read_state_dict  # noqa: E402
from ssd_small.training.options import job_from_options  # noqa: E402
from ssd_small.training.session import run_training  # noqa: E402

pytestmark = pytest.mark.slow

Call = Callable[..., Outcome]


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of two updates on tiles, scored on the whole pictures, and its report."""
    folder = tmp_path_factory.mktemp("tiles") / "run"
    job = job_from_options(folder, {**_options(data), **_val(data)})
    return folder, run_training(job)


def _options(data: Path) -> dict[str, Any]:
    arguments = short_run(data, Path("none"))[1:]
    given = {
        str(name)[2:].replace("-", "_"): value
        for name, value in zip(arguments[::2], arguments[1::2], strict=True)
    }
    del given["output"]
    return {**given, "tiles": (80, 80), "overlap": 0.25}


def _val(data: Path) -> dict[str, Any]:
    return {"val_annotations": data / "truth.json", "val_images": data}


def test_a_run_learns_from_tiles_and_says_so(trained, data: Path) -> None:
    folder, report = trained
    log = (folder / "train.log").read_text()
    pictures, tiles = 8, report["dataset"]["images"]
    # of pictures of 160 x 120: starts 0, 60, 80 by 0, 40
    assert 2 * pictures < tiles <= 6 * pictures
    assert f"{pictures} pictures are cut into tiles of 80x80 (overlap 0.25): {tiles} with" in log
    assert f"{tiles} tiles, {report['dataset']['boxes']} boxes" in log
    assert "eval needs --protocol coco --tiles 80x80 --overlap 0.25" in log
    assert report["dataset"]["boxes"] > 24  # an object can lie in several


def test_its_checkpoint_knows_objects_as_tiles_show_them(trained, call: Call) -> None:
    folder, _ = trained
    told = call("inspect", folder / "last.pth", "--json").fits().json
    size = told["object_size"]
    # some cut at edges; 300/80 times as large at the input
    assert 20 < size["picture"] < 40
    assert size["network"] == pytest.approx(size["picture"] * 300 / 80)
    assert told["training"]["tiles"] == {"width": 80, "height": 80, "overlap": 0.25}


def test_its_score_is_that_of_eval_by_the_same_tiles(trained, call: Call, data: Path) -> None:
    folder, report = trained
    where = ("--annotations", data / "truth.json", "--images", data, "--threads", 1)
    ways = ("--protocol", "coco", "--tiles", "80x80", "--overlap", 0.25)
    scores = call("eval", "--weights", folder / "last.pth", *where, *ways, "--json").fits().json
    assert scores["metrics"] == pytest.approx(report["metrics"], nan_ok=True)
    # the tile in which objects are as large as they were learned is the tile of training
    auto = call("eval", "--weights", folder / "last.pth", *where, "--tiles", "auto", "--json")
    tiles = auto.fits().json["protocol"]["tiles"]
    assert (tiles["width"], tiles["height"]) == (80, 80)


def test_a_stopped_run_goes_on_with_its_tiles_and_no_others(
    trained, call: Call, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    job = job_from_options(folder, _options(data))
    assert run_training(replace(job, options=replace(job.options, stop_after=1e-9)))["stopped"] == 0
    record = json.loads((folder / "run.json").read_text())
    assert record["format"] == 3
    assert record["data"]["tiles"] == {"width": 80, "height": 80, "overlap": 0.25}
    resume = ("train", "--resume", "--output", folder)
    call(*resume, "--tiles", "70x70").fails(2, "tiles is", "was")
    call(*resume).fits()
    one, other = (read_state_dict(place / "last.pth") for place in (folder, trained[0]))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_its_configuration_repeats_it(trained, call: Call, tmp_path: Path) -> None:
    folder, _ = trained
    again = tmp_path / "again"
    call("train", "--config", folder / "config.yml", "--output", again).fits()
    one, other = (read_state_dict(place / "last.pth") for place in (folder, again))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    printed = call("train", "--config", folder / "config.yml", "--tiles", "auto", "--print-config")
    assert "tiles: auto\n" in printed.fits().out


def test_tiles_that_cannot_be_are_refused_before_the_work(
    call: Call, data: Path, tmp_path: Path
) -> None:
    def run(*more: object, **changes: object) -> Outcome:
        return call(*short_run(data, tmp_path / "run", *more, **changes))

    run(overlap=0.3).fails(2, "--overlap goes with --tiles")
    run(tiles="big").fails(2, "expected such as 300x300, or auto")
    run(tiles="3x3", overlap=0.9).fails(2, "leaves no step")
    run(tiles="9x9").fails(4, "no tile of 9x9 has enough of any object")
    assert not (tmp_path / "run" / "run.json").exists()
