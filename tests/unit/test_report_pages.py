"""Pages of reports from plain values: whole, safe whatever names hold, with the numbers given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_checks import read_page, svg_texts
from report_values import bench, evaluation, measurement, parity

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from ssd_small.datasets.coco import Annotations
from ssd_small.report.differing import examples_from_differences
from ssd_small.report.disagreements import examples_from_disagreements, largest_disagreements
from ssd_small.report.figures import Point, best_points, pareto, waterfall
from ssd_small.report.from_bench import page_from_bench
from ssd_small.report.from_eval import Details, page_from_eval
from ssd_small.report.from_parity import page_from_parity
from ssd_small.report.page import html_from_page

#: what names are made of by people who mean harm, and by those who do not
HOSTILE = (
    "<script>alert(1)</script>",
    '" onload="alert(1)',
    "</svg></title><img src=x onerror=alert(1)>",
    "$\\frac{",
    ' id="x" url(#y) href="#z"',
    "猫\u202e\n\x1b[31m",
    "_hidden",
    "{{ 7 * 7 }}",
    "n" * 5000,
)


def details(names: tuple[str, ...] = ("cat", "dog")) -> Details:
    matrix = np.arange((len(names) + 1) ** 2).reshape(len(names) + 1, -1).tolist()
    return Details([(name, 3, 0.0625) for name in names], (names, matrix))


def test_a_page_is_whole_and_refers_to_nothing_outside() -> None:
    assert read_page(html_from_page(page_from_eval(evaluation(), details()))).faults == []


def test_names_are_text_whatever_they_hold() -> None:
    html = html_from_page(page_from_eval(evaluation(HOSTILE), details(HOSTILE)))
    page = read_page(html)
    assert page.faults == []
    cells = [text for tag, text in page.texts if tag == "th"]
    for name in (*HOSTILE[:4], "_hidden", "{{ 7 * 7 }}"):
        assert name in cells
    assert "猫\\u202e\\n\\u001b[31m" in cells
    assert len(html) < 400_000


def test_figures_hold_the_numbers_given() -> None:
    texts = svg_texts(html_from_page(page_from_eval(evaluation(), details())))
    assert "0.123" in texts
    assert "0.789" in texts
    assert "0.0625" in texts
    assert "0 (38x38)" in texts
    assert "0.234" in texts


def test_a_result_file_and_an_older_report_have_no_levels() -> None:
    report = evaluation()
    for one in (report | {"by_level": None}, {k: v for k, v in report.items() if k != "by_level"}):
        assert "feature level" not in html_from_page(page_from_eval(one))


def test_the_same_values_make_the_same_bytes() -> None:
    pages = {html_from_page(page_from_eval(evaluation(), details())) for _ in range(2)}
    assert len(pages) == 1


@pytest.mark.parametrize(
    ("least", "said", "sign"), [(0.4, "at least the 0.4", "✓"), (0.5, "below the 0.5", "✗")]
)
def test_the_verdict_says_whether_enough_was_reached(least: float, said: str, sign: str) -> None:
    html = html_from_page(page_from_eval(evaluation(), least=least))
    assert said in html
    assert sign in html


def test_a_test_set_has_a_page_without_scores() -> None:
    report = evaluation(()) | {"metrics": None, "by_size": [], "curves": []}
    html = html_from_page(page_from_eval(report | {"operating_point": None}))
    assert "no ground truth" in html


def test_the_page_of_times_has_batches_ledger_and_durations() -> None:
    rows = [measurement("a.engine", 12.5), measurement("a.engine", 9.25, batch=4)]
    html = html_from_page(page_from_bench(bench(*rows), ["others used 1.7 of 2 cores"]))
    page = read_page(html)
    assert page.faults == []
    assert "Fastest of 2: mobilenet_v1 onnxruntime fp32, batch 4 takes 9.25 ms" in html
    assert "others used 1.7 of 2 cores" in html
    texts = svg_texts(html)
    for shown in ("p50 12.50 ms", "p99.9 16.25 ms", "ms per batch", "decode+NMS", "4.17"):
        assert shown in texts
    # latency of the whole batch
    assert "37.00" in html


def test_a_slower_run_is_the_verdict() -> None:
    change = measurement("a.engine", 1) | {"before": 1.0, "after": 2.0, "ratio": 2.0}
    change |= {"spread": 0.1, "p_value": 1e-5, "verdict": "slower"}
    against = {"against": {"file": "old.json", "changes": [change]}}
    html = html_from_page(page_from_bench(bench(measurement("a.engine", 1)) | against))
    assert "1 of 1 measurements are slower than in old.json" in html
    assert "✗" in html


def test_published_accuracy_stands_beside_times_of_full_networks() -> None:
    rows = [
        measurement(None, 5, model=model) | {"published_ms": 6.9}
        for model in ("mobilenet_v1", "vgg16")
    ]
    html = html_from_page(page_from_bench(bench(*rows)))
    assert read_page(html).faults == []
    assert "mobilenet_v1 onnxruntime fp32 0.018" in svg_texts(html)


def test_the_page_of_parity_says_first_what_differs_and_lays_it_to_stages() -> None:
    html = html_from_page(page_from_parity(parity()))
    page = read_page(html)
    assert page.faults == []
    assert "different: AP differs by -0.03000, more than 0.001" in html
    texts = svg_texts(html)
    # what the stages do to each other is a step of its own: -0.03 + 0.0312 - 0.0011
    for shown in ("mean", "-0.03120", "+0.00110", "together", "+0.00010", "0.47000"):
        assert shown in texts
    assert "network" not in texts
    assert "conv1 (Conv): error 0.25, growth not finite" in html


def test_parity_without_annotations_has_a_page() -> None:
    value = parity("equal") | {"map": None, "attribution": None, "heads": None, "first_layer": None}
    html = html_from_page(page_from_parity(value))
    assert read_page(html).faults == []
    assert "equal: 7 of 8 detections" in html


def test_detections_that_differ_are_shown_beside_ground_truth(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(tmp_path / "2.png"), np.full((100, 100, 3), 90, np.uint8))
    found = parity()["detections"]["examples"]
    examples = examples_from_differences(found, annotations(), tmp_path)
    captions = [one.caption for one in examples[0].pictures]
    assert captions[0] == "ground truth: 1 objects"
    assert captions[1].startswith("only in the reference: 1")
    assert captions[2].startswith("only in the engine: 0")
    assert len(examples_from_differences(found, None, tmp_path)[0].pictures) == 2


def test_points_that_others_beat_are_told_from_those_to_choose() -> None:
    fast, best = Point("fast", 2, 0.3), Point("best", 9, 0.5)
    beaten, equal = Point("beaten", 5, 0.25), Point("equal", 9.5, 0.5)
    assert best_points([best, beaten, equal, fast]) == [fast, best]
    svg = pareto([best, beaten, equal, fast], "AP", "figure-1")
    assert "Not beaten: fast, best" in svg


def test_a_waterfall_has_each_step_with_its_sign() -> None:
    svg = waterfall(
        ("reference", 0.5), [("mean", -0.03), ("rest", 0.01)], ("engine", 0.48), "AP", "f"
    )
    for text in ("0.50000", "-0.03000", "+0.01000", "0.48000"):
        assert text in svg


def annotations() -> Annotations:
    images = tuple(
        {"id": n, "file_name": f"{n}.png", "width": 100, "height": 100} for n in (1, 2, 3)
    )
    boxes = tuple(
        {
            "id": n,
            "image_id": n,
            "category_id": 1,
            "bbox": [10, 10, 20, 20],
            "area": 400,
            "iscrowd": 0,
        }
        for n in (1, 2, 3)
    )
    categories = ({"id": 1, "name": "cat"},)
    return Annotations(Path("truth.json"), images, categories, boxes, dropped=0)


def entry(image: int, x: float, score: float = 0.9) -> dict[str, Any]:
    return {"image_id": image, "category_id": 1, "bbox": [x, 10, 20, 20], "score": score}


def test_the_pictures_with_most_errors_come_first_and_those_without_not_at_all() -> None:
    # 1: right; 2: missed and wrong; 3: missed, its detection below the threshold
    results = [entry(1, 10), entry(2, 60), entry(3, 10, 0.1)]
    rows = largest_disagreements(annotations(), results, {1: 0.5})
    assert [(row.image["id"], row.errors) for row in rows] == [(2, 2), (3, 1)]


@pytest.mark.slow
def test_pictures_are_inside_the_page_beside_their_ground_truth(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    noise = np.random.default_rng(0).integers(0, 255, (3000, 3000, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "2.png"), noise[:100, :100])
    cv2.imwrite(str(tmp_path / "3.png"), noise)
    truth = annotations()
    rows = largest_disagreements(truth, [entry(2, 60)], {1: 0.5})
    examples = examples_from_disagreements(rows, truth, tmp_path)
    # the picture of 1 is not there
    assert [one.title for one in examples] == ["2.png", "3.png"]
    page = read_page(html_from_page(page_from_eval(evaluation(), Details(examples=examples))))
    assert page.faults == []
    assert "ground truth: 1 objects, 1 missed" in examples[0].pictures[0].alt
    assert all(len(one.uri) < 150_000 for example in examples for one in example.pictures)
