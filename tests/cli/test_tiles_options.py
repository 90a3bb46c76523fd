"""--tiles of the commands: what they find, say and refuse."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

import ssd_small

#: of pictures of 80 x 60: columns at 0, 32, 40 and rows at 0, 20
TILES = ("--tiles", "40x40", "--overlap", "0.2")
MODEL = ("--model", "mobilenet_v1")
CAPS = "pre_nms_topk 400, keep_topk_per_class 100, keep_topk 200 of decode + NMS apply per tile"


def entries_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_detect_says_into_how_many_tiles_a_picture_was_cut(call, checkpoint, pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    network = (*MODEL, "--weights", checkpoint)
    done = call("detect", *network, "a.jpg", "b.png", *TILES, "--json").fits()
    entries = entries_of(done.out)
    assert [one["tiles"] for one in entries] == [6, 6]
    assert CAPS in done.err
    with ssd_small.load(checkpoint, model=MODEL[1]) as detector:
        found = detector(["a.jpg", "b.png"], tiles=(40, 40), overlap=0.2)
    assert entries == [one.to_dict() for one in found]
    plain = entries_of(call("detect", *network, "a.jpg", "--json").fits().out)
    assert plain[0]["tiles"] == 1
    text = call("detect", *network, "a.jpg", *TILES, "--score-threshold", "0.9999").fits().out
    assert text.startswith("a.jpg (80x60): 0 detections in 6 tiles (best score 0.99")


def test_more_is_found_of_a_picture_than_caps_of_one_view_would_let_through(
    call, checkpoint, pictures
):
    network = (*MODEL, "--weights", checkpoint, pictures / "a.jpg", "--score-threshold", "0.02")
    plain, tiled = (
        entries_of(call("detect", *network, *options, "--json").fits().out)[0]
        for options in ((), TILES)
    )
    assert len(plain["detections"]) == 200
    assert 200 < len(tiled["detections"]) <= 6 * 200


@pytest.mark.parametrize("kind", ["engine", "onnx_file"])
def test_engines_with_nms_inside_are_cut_before_it(call, kind, checkpoint, pictures, request):
    """What is cut off finds what the network does: the same but for rounding."""
    source = ("--engine", request.getfixturevalue(kind))
    given = (pictures / "a.jpg", *TILES, "--whole", "--json", "--score-threshold", "0.6")
    cut = entries_of(call("detect", *source, *given).fits().out)[0]["detections"]
    own = (*MODEL, "--weights", checkpoint)
    whole = entries_of(call("detect", *own, *given).fits().out)[0]["detections"]
    assert len(cut) == len(whole) > 10
    # two runtimes: fp32 heads of both differ by less than 1e-4, a score by a quarter of that
    scores = [[one["score"] for one in found] for found in (cut, whole)]
    assert scores[0] == pytest.approx(scores[1], abs=5e-5)


def test_a_picture_of_one_tile_is_found_as_without_tiles(call, checkpoint, pictures):
    given = (*MODEL, "--weights", checkpoint, pictures, "--json")
    plain = call("detect", *given).fits().out
    assert call("detect", *given, "--tiles", "80x60").fits().out == plain
    assert call("detect", *given, "--tiles", "99999x300", "--whole").fits().out == plain


def test_where_nothing_is_found_the_best_score_is_said(call, checkpoint, pictures):
    given = (*MODEL, "--weights", checkpoint, pictures / "a.jpg", "--json", "--score-threshold")
    (untiled,) = entries_of(call("detect", *given, "1").fits().out)
    (tiled,) = entries_of(call("detect", *given, "1", "--tiles", "80x60").fits().out)
    assert tiled == untiled
    (cut,) = entries_of(call("detect", *given, "1", *TILES).fits().out)
    (every,) = entries_of(call("detect", *given, "0.01", *TILES).fits().out)
    assert cut["detections"] == []
    # what is printed is rounded to six digits
    assert cut["best_score"] == pytest.approx(every["detections"][0]["score"], abs=5e-7)


def test_eval_says_how_pictures_were_cut(call, checkpoint, pictures, truth, saved):
    pytest.importorskip("hotcoco")
    given = (*MODEL, "--weights", checkpoint, "--annotations", saved(truth), "--images", pictures)
    done = call("eval", *given, *TILES, "--json").fits()
    report = done.json
    tiles = {"width": 40, "height": 40, "overlap": 0.2, "whole": False}
    assert report["protocol"]["tiles"] == {
        **tiles, "caps": "of a tile, times the tiles of a picture"
    }  # fmt: skip
    assert CAPS in done.err
    # the box of 20 x 20 pixels is half as wide and high as a tile, and so at the input of 300
    by_size = {(one["at"], one["from_px"]): one["boxes"] for one in report["by_size"]}
    assert (by_size["picture", 16], by_size["network", 96]) == (1, 1)
    text = call("eval", *given, *TILES, "--whole").fits().out
    assert "tiles of 40x40, overlap 0.2, and the whole picture; caps of a tile" in text
    assert "tiles" not in call("eval", *given, "--json").fits().json["protocol"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--overlap", "0.2"), "--overlap goes with --tiles"),
        (("--whole",), "--whole goes with --tiles"),
        (("--object-size", "20"), "--object-size goes with --tiles"),
        (("--tiles", "40x40", "--object-size", "20"), "--object-size goes with --tiles auto"),
        (("--tiles", "40"), "expected such as 300x300, or auto"),
        (("--tiles", "0x40"), "expected such as 300x300, or auto"),
        (("--tiles", "40x40", "--overlap", "1"), "--overlap"),
        (("--tiles", "40x40", "--overlap", "nan"), "--overlap"),
        (("--tiles", "1x1", "--overlap", "0.9"), "leaves no step"),
        (("--tiles", "auto"), "give the tile in pixels, such as --tiles 300x300"),
        (("--tiles", "auto", "--object-size", "0"), "--object-size"),
    ],
)
def test_options_that_do_not_go_together_are_a_wrong_usage(
    call, checkpoint, pictures, truth, saved, options, message
):
    network = (*MODEL, "--weights", checkpoint)
    assert message in call("detect", *network, pictures, *options).fails(2, "")
    where = ("--annotations", saved(truth), "--images", pictures)
    assert message in call("eval", *network, *where, *options).fails(2, "")


def test_detections_that_are_made_already_are_not_cut(call, truth, saved, tmp_path):
    path = tmp_path / "found.json"
    path.write_text("[]")
    given = ("eval", "--detections", path, "--annotations", saved(truth))
    call(*given, *TILES).fails(2, "--tiles does not go with --detections")


def test_auto_tiles_make_objects_as_large_as_in_training(call, pictures):
    given = ("detect", "--weights", "digits/mobilenet_v1_s1l0", pictures / "a.jpg", "--tiles")
    told = call(*given, "auto", "--object-size", "2", "--json").fits()
    learned = ssd_small.load("digits/mobilenet_v1_s1l0").description.object_size
    side = round(300 * 2 / learned.network)
    assert f"tiles of {side}x{side}, overlap 0.2" in told.err
    assert entries_of(told.out)[0]["tiles"] > 1


@pytest.fixture(scope="module")
def other_checkpoint(checkpoint, tmp_path_factory):
    """The network with its first weights scaled."""
    import torch

    tensors = torch.load(checkpoint, weights_only=True)
    name = next(key for key in tensors if key.endswith("weight"))
    tensors[name] = tensors[name] * 1.2
    path = tmp_path_factory.mktemp("other") / "other.pth"
    torch.save(tensors, path)
    return path


@pytest.mark.slow
def test_parity_of_tiles_is_proven_as_that_of_pictures_is(
    call, engine, checkpoint, other_checkpoint, pictures, truth, saved
):
    given = ("parity", engine, "--annotations", saved(truth), "--images", pictures)
    given += ("--json", "--threads", "1", *TILES)
    done = call(*given, "--whole", "--against", checkpoint).fits()
    report = done.json
    assert report["verdict"] == "equal"
    assert report["protocol"]["tiles"]["width"] == 40
    assert report["detections"]["matched"] > 400  # more than one view's cap for two pictures
    assert report["detections"]["unexplained"] == 0
    assert [row["level"] for row in report["heads"]] == list(range(6))
    assert report["attribution"] is None
    assert "no stages were exchanged" in done.err
    text = call(*(one for one in given if one != "--json"), "--against", checkpoint).fits().out
    assert "tiles of 40x40, overlap 0.2; caps of a tile" in text
    call(*given, "--against", other_checkpoint).fails(1, "differ by more than rounding")


@pytest.mark.slow
def test_parity_of_tiles_with_a_result_file(
    call, engine, checkpoint, pictures, truth, saved, tmp_path
):
    results = tmp_path / "results.json"
    where = ("--annotations", saved(truth), "--images", pictures, *TILES)
    call("eval", *MODEL, "--weights", checkpoint, *where, "--save-detections", results).fits()
    given = ("parity", engine, "--against", results, *where, "--json", "--threads", "1")
    report = call(*given).fits().json
    assert report["verdict"] == "equal"
    assert report["detections"]["matched"] == report["detections"]["reference"] > 400
    entries = json.loads(results.read_text())
    best = max(entries, key=lambda one: one["score"])
    best["bbox"][0] += 3
    results.write_text(json.dumps(entries))
    call(*given).fails(1, "detections differ by more than rounding")


@pytest.mark.slow
def test_parity_refuses_options_that_do_not_go_together(call, engine, checkpoint, pictures):
    given = ("parity", engine, "--against", checkpoint, "--images", pictures)
    assert "--overlap goes with --tiles" in call(*given, "--overlap", "0.2").fails(2, "")


@pytest.mark.slow
def test_bench_times_pictures_in_tiles(call, engine, pictures):
    cut = ("--tiles", "80x40", "--overlap", "0.5", "--whole", "--picture-size", "80x60")
    given = ("bench", "--engine", engine, *cut, "--seconds", "0.01")
    report = call(*given, "--batch", "2", "--images", pictures, "--json").fits().json
    reference, own = report["results"]
    for row in (reference, own):
        assert row["tiled"] == {
            "width": 80,
            "height": 40,
            "overlap": 0.5,
            "whole": True,
            "picture_width": 80,
            "picture_height": 60,
            "tiles": 2,
        }
        # decode + NMS are apart, whatever the engine holds
        assert row["decode_nms_ms"]["median"] > 0
        assert row["published_ms"] is None
    assert own["ledger"]["tiles_per_image"] == 2
    assert set(own["ledger"]["stages"]) == {"read", "decode", "resize", "network", "decode_nms"}
    text = call(*given).fits().out
    assert "an image is a picture of 80x60 in 2 tiles of 80x40, overlap 0.5, and the whole" in text


def test_other_tiles_are_nothing_to_be_compared_with():
    from report_values import bench, measurement

    from ssd_small.bench.against import check_comparable
    from ssd_small.errors import UsageError

    rows = [measurement("x.engine", 1.0) | {"tiled": tiled} for tiled in (None, {"tiles": 2})]
    with pytest.raises(UsageError, match="no network of this run is in the other"):
        check_comparable(bench(rows[0]), bench(rows[1]))
    check_comparable(bench(rows[1]), bench(rows[1]))


def test_bench_refuses_options_that_do_not_go_together(call, engine):
    given = ("bench", "--engine", engine)
    call(*given, "--picture-size", "80x60").fails(2, "--picture-size goes with --tiles")
    call(*given, "--overlap", "0.2").fails(2, "--overlap goes with --tiles")
    call(*given, "--tiles", "auto").fails(2, "give the tile in pixels")


def test_a_plan_with_nms_inside_is_refused_before_a_gpu_is_asked_for(
    call, onnx_file, pictures, truth, saved, tmp_path
):
    from sidecars import sidecar_for

    from ssd_small.artefacts.build_record import EngineFile
    from ssd_small.artefacts.onnx_file import read_onnx

    plan = tmp_path / "plan.engine"
    plan.write_bytes(b"plan")
    file = EngineFile(plan.name, hashlib.sha256(b"plan").hexdigest(), 4)
    sidecar = sidecar_for(read_onnx(onnx_file)[1], engine=file)
    plan.with_name("plan.engine.json").write_text(json.dumps(sidecar.to_dict()))
    where = ("--annotations", saved(truth), "--images", pictures)
    for command in (
        ("detect", "--engine", plan, pictures),
        ("eval", "--engine", plan, *where),
        ("parity", plan, *where),
        ("bench", "--engine", plan),
    ):
        told = call(*command, *TILES).fails(2, "has decode + NMS inside for good")
        assert "build-engine --heads" in told
