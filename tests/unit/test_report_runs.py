"""Several runs on one page: what is of one engine stands together, what compares badly is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from html_checks import read_page, svg_texts
from report_values import MACHINE, bench, evaluation, evaluation_of, measurement, parity

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from ssd_small.errors import BadFile
from ssd_small.report import figures
from ssd_small.report.from_runs import page_from_runs
from ssd_small.report.page import html_from_page
from ssd_small.report.run_files import Run, candidates_from_runs, read_run

Write = Callable[..., list[Run]]


@pytest.fixture
def runs(tmp_path: Path) -> Write:
    """Values as files, read."""

    def write(*values: Any) -> list[Run]:
        paths = [tmp_path / f"{place}.json" for place in range(len(values))]
        for path, value in zip(paths, values, strict=True):
            path.write_text(json.dumps(value))
        return [read_run(path) for path in paths]

    return write


def test_scores_times_and_verdict_of_one_file_are_of_one_engine(runs: Write) -> None:
    found = candidates_from_runs(
        runs(
            parity("equal", "/somewhere/a.engine"),
            bench(measurement("a.engine", 12.5), measurement("b.engine", 3.0)),
            evaluation_of("a.engine", 0.3),
        )
    )
    assert [(one.source, one.milliseconds, one.parity) for one in found] == [
        ("a.engine", 12.5, "equal"),
        ("b.engine", 3.0, ""),
    ]
    assert found[0].metrics["AP_small"] == 0.3
    assert found[0].timed.startswith("bench")


def test_files_of_one_name_in_two_folders_are_two_engines(runs: Write) -> None:
    found = candidates_from_runs(
        runs(evaluation_of("one/x.engine", 0.3), bench(measurement("two/x.engine", 9.0)))
    )
    assert [one.source for one in found] == ["one/x.engine", "two/x.engine"]


def test_the_page_names_what_nothing_beats(runs: Write) -> None:
    page = page_from_runs(
        runs(
            *(evaluation_of(f"{n}.engine", ap) for n, ap in (("a", 0.2), ("b", 0.4), ("c", 0.3))),
            bench(*(measurement(f"{n}.engine", ms) for n, ms in (("a", 2), ("b", 4), ("c", 9)))),
        )
    )
    html = html_from_page(page)
    assert read_page(html).faults == []
    assert page.verdict.text == (
        "To choose by AP small and time: "
        "mobilenet_v1 onnxruntime fp32 (a.engine) (0.200, 2.00 ms); "
        "mobilenet_v1 onnxruntime fp32 (b.engine) (0.400, 4.00 ms)"
    )
    assert "1 of 3 are slower" in html
    assert "(c.engine) 0.300" in svg_texts(html)


def test_what_cannot_be_compared_is_said(runs: Write) -> None:
    other = evaluation_of("b.engine", 0.4) | {"annotations": "other.json"}
    page = page_from_runs(
        runs(
            evaluation_of("a.engine", 0.2),
            other,
            bench(measurement("a.engine", 2)),
            parity("different", "b.engine"),
        )
    )
    said = " ".join(page.verdict.lines)
    assert "different ground truth" in said
    assert "times were taken in different ways" in said
    assert "Not equal to the reference" in said
    assert page.verdict.good is False


def test_a_demo_has_pytorch_beside_the_engine(runs: Write) -> None:
    metrics = {"AP": 0.4, "AP_small": 0.3, "AP_medium": 0.5, "AP_large": 0.6}
    network = {
        "model": "mobilenet_v1",
        "metrics": {"pytorch": metrics, "engine": metrics},
        "times": {
            "pytorch": measurement(None, 30) | {"runtime": "torch 2.7.0"},
            "engine": measurement(None, 5),
        },
    }
    page = page_from_runs(runs({"machine": MACHINE, "threads": 2, "networks": [network]}))
    assert "mobilenet_v1 onnxruntime fp32 (0.300, 5.00 ms)" in page.verdict.text
    assert "1 of 2 are slower" in " ".join(page.verdict.lines)


@pytest.mark.slow
@pytest.mark.parametrize("value", [evaluation(), bench(measurement(None, 5)), parity()])
def test_a_single_run_has_its_own_page(value: Any, runs: Write) -> None:
    assert read_page(html_from_page(page_from_runs(runs(value)))).faults == []


@pytest.mark.parametrize("value", [[], {}, {"metrics": {}}, "text", None])
def test_what_is_no_run_is_refused(value: Any, runs: Write) -> None:
    with pytest.raises(BadFile, match="is no run; expected JSON of eval, bench or parity"):
        runs(value)


@pytest.mark.parametrize("make", [evaluation, lambda: bench(measurement("a", 5)), parity])
@pytest.mark.parametrize("number", [1, 2])
def test_whatever_a_run_lacks_it_is_refused_in_a_line(
    make: Callable[[], Any], number: int, runs: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each key left out or with another thing in its place: a page, or the one error."""
    monkeypatch.setattr(figures, "svg_from_drawing", lambda *given, **more: "<svg></svg>")
    whole = make()
    refusals = []
    for key in whole:
        for value in (None, 7, "text", [3]):
            try:
                page_from_runs(runs(*[whole | {key: value}] * number))
            except BadFile as error:
                refusals.append(str(error))
    assert len(refusals) > 5
    assert not [line for line in refusals if "\n" in line or "is not a whole run" not in line]
