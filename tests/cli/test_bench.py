"""``ssd-small bench``: batches, where the time of pictures goes, comparison with another run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Outcome

Call = Callable[..., Outcome]
pytestmark = pytest.mark.slow
#: PyTorch beside the engine would only take time here
QUICK = ("--seconds", "0.2", "--threads", "1", "--json")


@pytest.fixture(scope="module")
def report(spawn: Call, engine: Path, pictures: Path) -> dict[str, Any]:
    """Two batches of an engine and PyTorch, with real pictures."""
    return spawn(
        *("bench", "--engine", engine, "--batch", "1,2", "--images", pictures, *QUICK)
    ).json  # type: ignore[no-any-return]


def test_every_batch_is_a_row_that_names_its_engine(report: dict[str, Any], engine: Path) -> None:
    rows = report["results"]
    assert [(row["engine"], row["batch"]) for row in rows] == [
        (None, 1),
        (None, 2),
        (str(engine), 1),
        (str(engine), 2),
    ]
    for row in rows:
        for timing in filter(None, (row["network_ms"], row["decode_nms_ms"], row["total_ms"])):
            assert timing["median"] <= timing["p90"] <= timing["p99"] <= timing["p999"]
        assert row["runs_compared"] >= 1
        assert len(row["samples_ms"]) >= 3
        assert row["images_per_second"] == pytest.approx(1e3 / row["total_ms"]["median"], 1e-3)


def test_what_enters_nms_stands_beside_its_time(report: dict[str, Any]) -> None:
    reference, engine = report["results"][0], report["results"][2]
    assert reference["decode_nms_ms"]
    assert reference["candidates_per_image"] > reference["detections_per_image"] > 0
    assert engine["decode_nms_ms"] is None
    assert engine["candidates_per_image"] is None


def test_the_ledger_tells_every_stage_of_real_pictures(
    report: dict[str, Any], pictures: Path
) -> None:
    assert report["results"][0]["ledger"] is None
    ledger = report["results"][2]["ledger"]
    assert list(ledger["stages"]) == ["read", "decode", "resize", "network"]
    assert sum(stage["share"] for stage in ledger["stages"].values()) == pytest.approx(1, abs=1e-3)
    assert ledger["pictures"] == len(list(pictures.glob("*.*")))
    assert ledger["passes_compared"] >= 1
    assert ledger["images_per_second_overlapped"] > 0


def test_published_times_stand_beside_the_full_network_alone(report: dict[str, Any]) -> None:
    assert all(row["published_ms"] is None for row in report["results"])
    from ssd_small.artefacts.description import description_from_spec
    from ssd_small.bench.run import _published_ms
    from ssd_small.models.registry import get_spec

    vgg = get_spec("vgg16")
    assert _published_ms(description_from_spec(vgg, 81, 1.0)) == pytest.approx(12.1, abs=0.1)
    assert _published_ms(description_from_spec(vgg, 81, 0.25)) is None
    assert _published_ms(description_from_spec(vgg, 21, 1.0)) is None


def test_machine_load_and_gpus_are_in_every_report(report: dict[str, Any]) -> None:
    assert report["machine"]["gpus"] == [] or report["machine"]["driver"]
    assert set(report["disturbance"]) == {"load", "others", "cores"}


def halved(report: dict[str, Any], factor: float) -> dict[str, Any]:
    """The same run as if everything had taken ``factor`` of its time."""
    old: dict[str, Any] = json.loads(json.dumps(report))
    for row in old["results"]:
        row["samples_ms"] = [value * factor for value in row["samples_ms"]]
        row["total_ms"]["median"] *= factor
        row["total_ms"]["spread"] = 0.0
    return old


def test_against_a_faster_run_exit_1_against_a_slower_one_exit_0(
    call: Call, engine: Path, report: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("scipy")
    old = tmp_path / "old.json"
    command = ("bench", "--engine", engine, *QUICK, "--against", old)
    # a hundredth and a hundredfold are beyond what any machine strays by
    old.write_text(json.dumps(halved(report, 0.01)))
    outcome = call(*command)
    outcome.fails(1, "slower than in", "old.json")
    changes = outcome.json["against"]["changes"]
    # three runs, all that a busy machine may have made of a network, are too few for a rank test
    assert {one["verdict"] for one in changes} - {"same"} == {"slower"}
    old.write_text(json.dumps(halved(report, 100)))
    changes = call(*command).json["against"]["changes"]
    assert {one["verdict"] for one in changes} - {"same"} == {"faster"}


def test_unlike_runs_are_refused_before_anything_is_measured(
    call: Call, engine: Path, report: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("scipy")
    old = tmp_path / "old.json"
    other = halved(report, 1)
    other["machine"]["cpu"] = "another processor"
    old.write_text(json.dumps(other))
    outcome = call("bench", "--engine", engine, *QUICK, "--against", old)
    outcome.fails(2, "another processor", "measure both alike")
    assert "measuring" not in outcome.err
    old.write_text(json.dumps(halved(report, 1)))
    threads = ("--seconds", "0.1", "--threads", "2", "--json", "--against", old)
    call("bench", "--engine", engine, *threads).fails(2, "threads 1, now 2")
    old.write_text("{}")
    call("bench", "--engine", engine, *QUICK, "--against", old).fails(4, "no report of a bench")


def test_a_runtime_that_answers_otherwise_while_it_is_timed_fails(
    call: Call, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssd_small.runtimes.onnxruntime import OnnxRuntimeRuntime

    calls = 0
    infer = OnnxRuntimeRuntime.infer

    def forgetful(self: Any, images: Any) -> Any:
        nonlocal calls
        calls += 1
        return infer(self, images if calls < 3 else np.zeros_like(images))

    monkeypatch.setattr(OnnxRuntimeRuntime, "infer", forgetful)
    call("bench", "--engine", engine, *QUICK).fails(1, "differ from those of the untimed run")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--batch", "0"), "--batch 0: expected 1 to 64"),
        (("--batch", "1,x"), "expected whole numbers"),
        (("--workers", "2"), "--workers goes with --images"),
        (("--images", "."), "--images goes with --engine"),
    ],
)
def test_usage_errors_are_one_line(call: Call, arguments: tuple[str, ...], words: str) -> None:
    call("bench", *arguments).fails(2, words)


@pytest.mark.parametrize(
    "given", [("--score-threshold", 0.5), ("--preset", "coco"), ("--num-classes", 3)]
)
def test_what_is_an_engine_s_own_is_not_taken_and_passed_over(
    call: Call, engine: Path, given: tuple[object, ...]
) -> None:
    call("bench", "--engine", engine, *QUICK, *given).fails(2, f"{given[0]} goes with --model")


def test_a_ledger_needs_pictures(call: Call, engine: Path, tmp_path: Path) -> None:
    call("bench", "--engine", engine, "--images", tmp_path, *QUICK).fails(4, "no image")
