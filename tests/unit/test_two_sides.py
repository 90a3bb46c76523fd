"""Two detectors on the same pictures: equal, different, and by what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ssd_small.datasets.coco import annotations_from_content
from ssd_small.errors import BadFile, UsageError
from ssd_small.parity.head_differences import HeadDifferences
from ssd_small.parity.naming import labels_of_reference
from ssd_small.parity.opening import (
    Running,
    find_reference,
    open_engine_side,
    open_reference_side,
)
from ssd_small.parity.parity import Parity, parity_of_sides
from ssd_small.parity.pictures import Pictures

if TYPE_CHECKING:
    from detection_models import Models

RUNNING = Running(threads=1)
#: one for the annotations below, which fit nothing
MARGIN = 0.001


def pictures(annotated: bool = True, count: int = 2) -> Pictures:
    from detection_models import noise

    given = [noise(seed) for seed in range(count)]
    names = [f"{seed}.png" for seed in range(count)]
    box = {"category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}
    content = {
        "images": [
            {"id": i, "file_name": name, "width": 80, "height": 60} for i, name in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [{"id": i + 1, "image_id": i, **box} for i in range(count)],
    }
    truth = annotations_from_content(content, Path("truth.json")) if annotated else None
    return Pictures(given, names, truth)


def parity(engine: Path, reference: Path, of: Pictures, protocol: str | None = None) -> Parity:
    judged = open_engine_side(engine, protocol, RUNNING)
    with judged.detector:
        other = open_reference_side(reference, judged, RUNNING)
        with other.detector:
            return parity_of_sides(other, judged, of, max_difference=MARGIN)


def changed(source: Path, path: Path, weights: float = 1.0, **described: Any) -> Path:
    """An ONNX file with one convolution scaled, or with other fields in its description."""
    model = onnx.load(source)
    convolution = [node for node in model.graph.node if node.op_type == "Conv"][5]
    for tensor in model.graph.initializer:
        if tensor.name == convolution.input[1]:
            scaled = numpy_helper.to_array(tensor) * np.float32(weights)
            tensor.CopyFrom(numpy_helper.from_array(scaled, tensor.name))
    for entry in model.metadata_props:
        if entry.key == "ssd_small":
            told = json.loads(entry.value)
            told["preprocessing"] |= described.pop("preprocessing", {})
            entry.value = json.dumps(told | described)
    onnx.save(model, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["engine", "heads_engine", "onnx", "own"])
def test_an_engine_is_equal_to_its_network(models: Models, kind: str) -> None:
    found = parity(models.files[kind], models.files["checkpoint"], pictures())
    assert (found.verdict, found.why) == ("equal", ())
    counts = found.detections
    assert counts["unexplained"] == 0
    assert counts["matched"] > 50
    assert 2 * counts["matched"] + counts["explained"] == counts["reference"] + counts["engine"]
    assert found.heads is not None
    assert len(found.heads) == 6
    # float32 sums in another order; see HEAD_LIMITS
    assert all(0 <= row["conf_p999"] <= row["conf_max"] < 1e-4 for row in found.heads)
    assert found.heads[0]["conf_p999"] > 0
    assert found.map is not None
    assert found.map["difference"] == pytest.approx(0, abs=MARGIN)


def test_weights_that_are_off_are_different(models: Models, tmp_path: Path) -> None:
    damaged = changed(models.files["onnx"], tmp_path / "damaged.onnx", 2.0)
    found = parity(damaged, models.files["checkpoint"], pictures())
    assert found.verdict == "different"
    assert found.detections["unexplained"] > 0
    example = found.detections["examples"][0]
    assert set(example) >= {"picture", "class", "box", "score", "reason"}
    assert example["picture"] in ("0.png", "1.png")
    assert not example["explained"]


def test_another_mean_is_different_though_the_heads_would_be_equal(
    models: Models, tmp_path: Path
) -> None:
    other = {"mean": [104.0, 117.0, 133.0]}
    damaged = changed(models.files["onnx"], tmp_path / "mean.onnx", preprocessing=other)
    found = parity(damaged, models.files["onnx"], pictures(annotated=False))
    assert found.verdict == "different"
    assert found.map is None
    assert found.detections["unexplained"] > 0


def test_classes_in_another_order_are_other_detections(models: Models, tmp_path: Path) -> None:
    damaged = changed(models.files["onnx"], tmp_path / "labels.onnx", labels=["dog", "cat"])
    found = parity(damaged, models.files["onnx"], pictures())
    assert found.verdict == "different"
    assert any("another order" in line for line in found.notes)
    assert found.heads is not None
    assert max(row["conf_max"] for row in found.heads) == 0  # the network is the same


def test_both_run_under_the_engine_s_protocol(models: Models) -> None:
    found = parity(models.files["own_engine"], models.files["engine"], pictures())
    assert found.protocol["score_threshold"] == 0.9
    assert found.reference["recorded"]["score_threshold"] == 0.01
    assert found.verdict == "equal"
    assert found.detections["reference"] == found.detections["engine"]


def test_a_preset_takes_both_where_decode_nms_are_outside(models: Models) -> None:
    found = parity(models.files["heads_engine"], models.files["heads"], pictures(), "coco")
    assert found.protocol["name"] == "coco"
    with pytest.raises(UsageError, match="decode \\+ NMS inside"):
        parity(models.files["engine"], models.files["checkpoint"], pictures(), "coco")


def test_where_no_heads_can_be_had_detections_are_matched_by_overlap(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssd_small.parity.comparison.cut_runtime", lambda *given: None)
    found = parity(models.files["engine"], models.files["onnx"], pictures())
    assert found.heads is None
    assert found.verdict == "equal"
    assert found.detections["matched"] > 50
    # the reference alone has heads
    found = parity(models.files["engine"], models.files["heads"], pictures())
    assert found.heads is None
    assert found.detections["unexplained"] == 0
    # the engine alone
    found = parity(models.files["heads"], models.files["engine"], pictures())
    assert found.detections["unexplained"] == 0


def test_half_precision_is_within_its_limits(models: Models, tmp_path: Path) -> None:
    from ssd_small.export.build_engine import build_engine

    from ssd_small.artefacts.build_options import BuildOptions

    engine = tmp_path / "half.engine"
    build_engine(models.files["onnx"], engine, BuildOptions("onnxruntime", precision="fp16"))
    found = parity(engine, models.files["checkpoint"], pictures())
    assert found.engine["precision"] == "fp16"
    assert found.detections["unexplained"] == 0
    assert found.heads is not None
    assert 1e-4 < max(row["conf_max"] for row in found.heads) < 0.03


def test_the_reference_is_found_by_the_hash_of_the_weights(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    side = open_engine_side(models.files["engine"], None, RUNNING)
    with side.detector:
        assert find_reference(side) == models.files["checkpoint"]
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(models.files["onnx"].read_bytes())
    (tmp_path / "other.pth").write_bytes(b"other weights")
    side = open_engine_side(alone, None, RUNNING)
    with side.detector, pytest.raises(UsageError, match=r"pass .*against CHECKPOINT"):
        find_reference(side)
    (tmp_path / "weights.pt").write_bytes(models.files["checkpoint"].read_bytes())
    with side.detector:
        assert find_reference(side) == tmp_path / "weights.pt"


def test_labels_are_matched_by_name_and_else_by_order(models: Models, tmp_path: Path) -> None:
    from dataclasses import replace

    from ssd_small.artefacts.onnx_file import read_onnx

    own = read_onnx(models.files["onnx"])[1]
    assert labels_of_reference(own, replace(own, labels=("dog", "cat")))[0] == [0, 2, 1]
    mapped, line = labels_of_reference(own, replace(own, labels=("cat", "cow")))
    assert mapped == [0, 1, 2]
    assert line is not None
    assert "'dog' in the reference, 'cow' in the engine" in line


def test_head_differences_are_shares_of_the_largest_value(models: Models) -> None:
    from ssd_small.artefacts.onnx_file import read_onnx

    description = read_onnx(models.files["onnx"])[1]
    size = len(description.priors)
    loc, conf = np.zeros((size, 4), np.float32), np.zeros((size, 3), np.float32)
    loc[-1, 0], conf[0, 0] = 8, -4
    differing = HeadDifferences(description)
    moved = conf.copy()
    moved[-1, 2] += 1
    differing.add((loc, conf), (loc, moved))
    rows = differing.to_list()
    assert rows is not None
    assert [row["level"] for row in rows] == list(range(6))
    assert all(row["loc_max"] == 0 == row["loc_p999"] for row in rows)
    assert [row["conf_max"] for row in rows] == [0, 0, 0, 0, 0, 0.25]
    moved[0, 0] = np.nan
    differing.add((loc, conf), (loc, moved))
    rows = differing.to_list()
    assert rows is not None
    assert rows[0]["conf_max"] is None
    assert rows[1]["conf_max"] == 0


def test_a_percentile_is_at_most_a_hundredth_too_high(models: Models) -> None:
    from ssd_small.artefacts.onnx_file import read_onnx

    description = read_onnx(models.files["onnx"])[1]
    size = len(description.priors)
    rng = np.random.default_rng(0)
    conf = rng.normal(0, 1, (size, 3)).astype(np.float32)
    other = conf + rng.normal(0, 1e-3, conf.shape).astype(np.float32)
    loc = np.zeros((size, 4), np.float32)
    differing = HeadDifferences(description)
    differing.add((loc, conf), (loc, other))
    rows = differing.to_list()
    assert rows is not None
    first = 19 * 19 * 6
    exact = np.quantile(np.abs(conf - other)[:first], 0.999, method="inverted_cdf")
    told = rows[0]["conf_p999"] * np.abs(conf).max()
    assert exact * 0.9999 <= told <= exact * 1.009


def entries_of(kind: Path, of: Pictures, digits: int | None = None) -> list[dict[str, Any]]:
    """COCO result entries of a detector, their numbers rounded as files have them."""
    from ssd_small.detection.load import load
    from ssd_small.evaluation.coco_results import results_from_detections

    assert of.annotations is not None
    with load(kind, threads=1) as detector:
        outcomes = [outcome for outcome, _ in detector.outcomes(list(of.given))]
        entries = [
            entry
            for outcome, image in zip(outcomes, of.annotations.images, strict=True)
            for entry in results_from_detections(
                outcome.detections, image, detector.description, (1, 2)
            )
        ]
    if digits is not None:
        for entry in entries:
            entry["bbox"] = [round(v, digits) for v in entry["bbox"]]
            entry["score"] = round(entry["score"], 2 + digits)
    return entries


@pytest.mark.parametrize("digits", [None, 1, 3])
def test_a_result_file_of_the_same_network_is_equal(
    models: Models, tmp_path: Path, digits: int | None
) -> None:
    found = against_file(models, tmp_path, entries_of(models.files["heads"], pictures(), digits))
    assert found.verdict == "equal"
    assert found.heads is None
    assert found.reference["source"] == "COCO result file"
    counts = found.detections
    assert (counts["explained"], counts["unexplained"]) == (0, 0)
    assert counts["matched"] == counts["engine"] == counts["reference"]


def test_entries_that_have_moved_or_are_gone_are_real_differences(
    models: Models, tmp_path: Path
) -> None:
    entries = entries_of(models.files["heads"], pictures())
    entries[0]["bbox"][0] += 3
    entries[1]["score"] *= 0.9
    del entries[2]
    found = against_file(models, tmp_path, entries)
    assert found.verdict == "different"
    # two that the engine does not give, and three of its own that the file has not
    assert found.detections["unexplained"] == 5
    by_side = [one["side"] for one in found.detections["examples"]]
    assert (by_side.count("reference"), by_side.count("engine")) == (2, 3)


def against_file(models: Models, folder: Path, entries: list[dict[str, Any]]) -> Parity:
    from ssd_small.parity.parity import parity_of_comparison
    from ssd_small.parity.result_file import compare_with_file, read_result_file

    path, of = folder / "found.json", pictures()
    path.write_text(json.dumps(entries))
    assert of.annotations is not None
    judged = open_engine_side(models.files["engine"], None, RUNNING)
    with judged.detector:
        file = read_result_file(path, of.annotations, judged.params.score_threshold)
        compared = compare_with_file(file, judged, of)
        return parity_of_comparison(compared, file.to_dict(), judged, of, max_difference=MARGIN)


def test_an_engine_agrees_with_itself_and_a_fault_in_one_row_is_seen(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssd_small.parity.self_consistency import self_consistency

    side = open_engine_side(models.files["engine"], None, RUNNING)
    with side.detector:
        checks = {one.check: one for one in self_consistency(side, pictures(), RUNNING)}
        assert set(checks) == {
            "one_picture_in_every_row",
            "rows_permuted",
            "batch_against_one",
            "repeats",
            "threads",
        }
        assert checks["repeats"].compared == 50
        assert checks["repeats"].identical
        assert all(one.detections_changed == 0 for one in checks.values())
        runtime = side.detector.runtime
        infer = runtime.infer

        def last_row_dark(images: np.ndarray) -> object:
            changed = images.copy()
            changed[-1] = 0 if len(images) > 1 else changed[-1]
            return infer(changed)

        monkeypatch.setattr(runtime, "infer", last_row_dark)
        checks = {one.check: one for one in self_consistency(side, pictures(), RUNNING)}
        wrong = {name for name, one in checks.items() if one.detections_changed}
        assert wrong == {"one_picture_in_every_row", "rows_permuted", "batch_against_one"}
        assert checks["repeats"].identical


def test_a_reference_that_names_no_classes_has_the_engine_s_where_order_cannot_tell(
    models: Models,
) -> None:
    from dataclasses import replace

    from ssd_small.artefacts.onnx_file import read_onnx
    from ssd_small.parity.naming import ids_of_both, namings

    named = read_onnx(models.files["onnx"])[1]
    nameless = replace(named, labels=("class 1", "class 2"))
    truth = pictures().annotations
    assert truth is not None
    ids, _ = ids_of_both(truth, nameless, replace(named, labels=("dog", "cat")))
    assert ids == ((1, 2), (2, 1))
    more = replace(truth, categories=({"id": 0, "name": "bird"}, *truth.categories))
    ids, notes = ids_of_both(more, nameless, named)
    assert ids == ((1, 2), (1, 2))
    assert any("names no classes" in line for line in notes)
    assert [one.ids for one in namings(nameless, named, more)] == [*ids]
    assert labels_of_reference(nameless, named) == ([0, 1, 2], None)


def test_categories_of_other_classes_are_refused_without_an_option_that_parity_lacks(
    models: Models,
) -> None:
    from dataclasses import replace

    from ssd_small.artefacts.onnx_file import read_onnx
    from ssd_small.parity.naming import ids_of_labels

    truth = pictures().annotations
    assert truth is not None
    named = replace(read_onnx(models.files["onnx"])[1], labels=("dog", "owl"))
    with pytest.raises(BadFile, match=r"give annotations of the network's classes") as refused:
        ids_of_labels(truth, named)
    assert "--labels" not in str(refused.value)
