"""Files that versions before this one wrote: each loads, tells the same, finds the same.

The folders under ``data`` stay as they are for good. A new format adds a folder, written by
``write_examples.py``.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome

torch = pytest.importorskip("torch")
for module in ("onnx", "onnxscript", "onnxruntime", "cv2", "torchvision"):
    pytest.importorskip(module, reason=f"needs {module}")

from write_examples import DETECTORS, RUN  # noqa: E402

import ssd_small  # noqa: E402
from ssd_small.doctor.inspection import inspect_file  # noqa: E402
from ssd_small.evaluation.limits import HEAD_LIMITS  # noqa: E402

FOLDERS = sorted(path for path in Path(__file__).with_name("data").iterdir() if path.is_dir())
WITH_RUN = [folder for folder in FOLDERS if (folder / RUN).is_dir()]


def _cases(what: str) -> list[Any]:
    return [
        pytest.param(folder, name, id=f"{folder.name}/{name}")
        for folder in FOLDERS
        for name in _expected(folder)[what]
    ]


def _expected(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "expected.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "name"), _cases("inspect"))
def test_a_file_of_then_tells_what_it_told_then(folder: Path, name: str) -> None:
    told = json.loads(json.dumps(inspect_file(folder / name)))
    expected = _expected(folder)["inspect"][name]
    # a later version may tell more
    assert {key: told.get(key) for key in expected} == expected | {"file": str(folder / name)}


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "name"), _cases("detections"))
def test_a_file_of_then_finds_what_it_found_then(folder: Path, name: str) -> None:
    options, precision = DETECTORS[name]
    with ssd_small.load(folder / name, threads=1, **options) as detector:
        (found,) = detector(next(folder.glob("picture.*")))
    expected = _expected(folder)
    then = expected["detections"][name]
    now = found.to_dict()["detections"]
    assert len(now) == len(then)
    # outputs may be as far from then's as they may be from PyTorch's
    loc, conf = (HEAD_LIMITS[precision] * expected["largest"][head] for head in ("loc", "conf"))
    for one in then:
        near = [other for other in now if _are_same(one, other, loc, conf, found.width)]
        assert len(near) == 1, (one, now)


def _are_same(
    one: dict[str, Any], other: dict[str, Any], loc: float, conf: float, side: int
) -> bool:
    """Whether two detections differ by no more than heads that are ``loc`` and ``conf`` off.

    A softmax of logits that are each off by e changes by at most e / 2. Priors are no larger than
    the picture. The centre of a box moves by 0.1 * loc of its prior's side; half of a box's side
    grows by 0.1 * loc of itself, and is at most exp(0.2 * 2) of its prior's, as no output here is
    larger than 2. Boxes may have been rounded to hundredths of a pixel.
    """
    pixels = side * loc * (0.1 + 0.1 * math.exp(0.4)) + 0.02
    boxes_agree = all(abs(a - b) <= pixels for a, b in zip(one["box"], other["box"], strict=True))
    scores_agree = abs(one["score"] - other["score"]) <= conf / 2 + 1e-6
    return one["name"] == other["name"] and boxes_agree and scores_agree


@pytest.mark.slow
@pytest.mark.parametrize("folder", [pytest.param(f, id=f.name) for f in WITH_RUN])
def test_a_run_of_then_goes_on(folder: Path, call: Callable[..., Outcome], tmp_path: Path) -> None:
    pytest.importorskip("hotcoco")
    run = Path(shutil.copytree(folder / RUN, tmp_path / "run"))
    # the pictures lie elsewhere now, which is no other run
    places = ("--annotations", run / "truth.json", "--images", run)
    report = call("train", "--resume", "--output", run, *places, "--json").fits().json
    assert report["iterations"] == 2
    told = inspect_file(run / "last.pth")
    assert told["labels"] == ["square", "disc"]
    assert told["training"]["iterations"] == 2
    recipe = json.loads((folder / RUN / "run.json").read_text())["recipe"]
    # a later version may tell more
    assert {name: told["recipe"].get(name) for name in recipe} == recipe


def test_examples_of_every_format_are_there() -> None:
    from ssd_small.artefacts.checkpoint import CHECKPOINT_FORMAT
    from ssd_small.artefacts.description import DESCRIPTION_FORMAT
    from ssd_small.artefacts.sidecar import SIDECAR_FORMAT
    from ssd_small.training.run_record import RUN_FORMAT
    from ssd_small.training.state import RESUME_FORMAT

    runs = [json.loads((folder / RUN / "run.json").read_text()) for folder in WITH_RUN]
    assert {one["format"] for one in runs} >= set(range(1, RUN_FORMAT + 1))
    states = [torch.load(folder / RUN / "resume.pth", weights_only=True) for folder in WITH_RUN]
    assert {one["format"] for one in states} >= set(range(1, RESUME_FORMAT + 1))
    told = [one for folder in FOLDERS for one in _expected(folder)["inspect"].values()]
    found = {(one["kind"], one["format"]) for one in told}
    newest = {
        "checkpoint": CHECKPOINT_FORMAT,
        "onnx": DESCRIPTION_FORMAT,
        "engine": SIDECAR_FORMAT,
        "sidecar": SIDECAR_FORMAT,
    }
    wanted = {(kind, n) for kind, last in newest.items() for n in range(1, last + 1)}
    assert wanted <= found


def test_the_examples_stay_small() -> None:
    for folder in FOLDERS:
        assert sum(path.stat().st_size for path in folder.rglob("*")) < 2_500_000
