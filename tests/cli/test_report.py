"""``--report`` and ``ssd-small report``: one file, whole, over nothing that is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from html_checks import read_page
from report_values import bench, evaluation_of, measurement

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

Call = Callable[..., Any]
Save = Callable[[object], Path]


def only_page(folder: Path) -> str:
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    html = (folder / "report.html").read_text()
    assert read_page(html).faults == []
    return html


def test_eval_writes_one_page_beside_what_it_prints(
    call: Call, engine: Path, pictures: Path, truth: Any, saved: Save, tmp_path: Path
) -> None:
    run = ("eval", "--engine", engine, "--annotations", saved(truth), "--images", pictures)
    plain = call(*run, "--json").fits().json
    report = call(*run, "--json", "--report", tmp_path / "new" / "page").fits().json
    assert report["metrics"] == plain["metrics"]
    assert [len(one["precision"]) for one in report["curves"]] == [101] * len(report["curves"])
    html = only_page(tmp_path / "new" / "page")
    for title in ("By size of objects", "Precision and recall", "Classes", "Kinds of errors"):
        assert f">{title}</h2>" in html
    # a network of random weights is wrong about both pictures
    assert html.count("data:image/jpeg;base64,") == 4


def test_eval_of_a_result_file_has_a_page_without_pictures(
    call: Call, truth: Any, saved: Save, tmp_path: Path
) -> None:
    found = tmp_path / "found.json"
    entry = {"image_id": 1, "category_id": 7, "bbox": [5, 5, 20, 20], "score": 0.9}
    found.write_text(json.dumps([entry]))
    run = ("eval", "--detections", found, "--annotations", saved(truth))
    call(*run, "--report", tmp_path / "page").fits()
    assert "data:" not in only_page(tmp_path / "page").replace("img-src data:", "")


def test_a_check_that_fails_has_its_page_nonetheless(
    call: Call, engine: Path, pictures: Path, truth: Any, saved: Save, tmp_path: Path
) -> None:
    run = ("eval", "--engine", engine, "--annotations", saved(truth), "--images", pictures)
    call(*run, "--min-map", "0.9", "--report", tmp_path / "page").fails(1, "below --min-map")
    assert "below the 0.9 that was asked for" in only_page(tmp_path / "page")


@pytest.mark.slow
def test_bench_writes_one_page(call: Call, engine: Path, pictures: Path, tmp_path: Path) -> None:
    run = ("bench", "--engine", engine, "--seconds", "0", "--images", pictures)
    call(*run, "--batch", "1,2", "--report", tmp_path / "page").fits()
    html = only_page(tmp_path / "page")
    for title in ("Throughput and latency", "Where the time of pictures goes", "Durations"):
        assert f">{title}</h2>" in html


@pytest.mark.slow
def test_parity_writes_one_page(
    call: Call, engine: Path, checkpoint: Path, pictures: Path, truth: Any, saved: Save,
    tmp_path: Path,
) -> None:  # fmt: skip
    run = ("parity", engine, "--against", checkpoint, "--annotations", saved(truth))
    call(*run, "--images", pictures, "--report", tmp_path / "page").fits()
    assert "equal: " in only_page(tmp_path / "page")


def test_runs_become_one_page_whose_name_is_printed(call: Call, tmp_path: Path) -> None:
    files = [tmp_path / "eval.json", tmp_path / "bench.json"]
    files[0].write_text(json.dumps(evaluation_of("x.engine", 0.4)))
    files[1].write_text(json.dumps(bench(measurement("x.engine", 8))))
    said = call("report", *files, "--output", tmp_path / "page").fits().out
    assert said.strip() == str(tmp_path / "page" / "report.html")
    assert "(0.400, 8.00 ms)" in only_page(tmp_path / "page")


def test_a_file_that_is_no_run_is_refused_and_nothing_written(call: Call, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    call("report", tmp_path / "x.json", "-o", tmp_path / "page").fails(4, "is no run", "x.json")
    call("report", tmp_path / "absent.json", "-o", tmp_path / "page").fails(4, "absent.json")
    call("report").fails(2, "RUN")
    assert not (tmp_path / "page").exists()


def test_a_page_never_replaces_an_input(
    call: Call, truth: Any, saved: Save, tmp_path: Path
) -> None:
    page = tmp_path / "page" / "report.html"
    page.parent.mkdir()
    page.write_text(json.dumps(evaluation_of("x.engine", 0.4)))
    before = page.read_bytes()
    call("report", page, "-o", page.parent).fails(2, "--report would overwrite an input")
    run = ("eval", "--detections", page, "--annotations", saved(truth))
    call(*run, "--report", page.parent).fails(2, "--report would overwrite an input")
    assert page.read_bytes() == before


def test_a_page_that_cannot_be_written_is_told_before_the_work(
    call: Call, engine: Path, pictures: Path, truth: Any, saved: Save, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("kept")
    run = ("eval", "--engine", engine, "--annotations", saved(truth), "--images", pictures)
    outcome = call(*run, "--report", tmp_path / "file")
    outcome.fails(4, "cannot write", "is a file; choose another --report")
    assert not outcome.out
