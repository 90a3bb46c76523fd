"""What commands report of themselves: help texts, JSON, threads and thresholds."""

from __future__ import annotations

import json

import pytest

SMALL = ("--model", "mobilenet_v1", "--width", "0.1", "--num-classes", "3")


def test_every_command_has_json_and_a_whole_help(call):
    from ssd_small.cli import cli

    for name in cli.list_commands(None):
        shown = call(name, "--help").fits().out
        assert "--json" in shown, name
        assert "None" not in shown, name


def test_digits_as_json(call, tmp_path):
    pytest.importorskip("skimage")
    made = call("digits", tmp_path / "d", "--train-images", "0", "--val-images", "1", "--json")
    report = json.loads(made.fits().out)
    assert report["pictures"] == {"train": 0, "val": 1}
    assert report["val_annotations"] == str(tmp_path / "d" / "val.json")
    assert call("digits", report["val_annotations"]).fails(4, "it is a file")


def test_demo_as_json_prints_the_summary_even_if_it_fails(call, tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    from ssd_small import demo
    from ssd_small.errors import CheckFailed

    def fails(folder, say):
        say("progress")
        folder.mkdir()
        (folder / "summary.json").write_text('{"networks": []}')
        raise CheckFailed("misses")

    monkeypatch.setattr(demo, "run_demo", fails)
    outcome = call("demo", "--output", tmp_path / "demo", "--json")
    outcome.fails(1, "misses")
    assert json.loads(outcome.out) == {"networks": []}
    assert "progress" in outcome.err


@pytest.mark.slow
@pytest.mark.parametrize("asked", [1, 0])
def test_bench_times_decode_nms_on_the_threads_it_reports(asked, call, monkeypatch):
    pytest.importorskip("onnxscript")
    from ssd_small.detection import inference

    used = set()
    decode_nms = inference.decode_nms

    def spied(*arguments, num_threads=0, **options):
        used.add(num_threads)
        return decode_nms(*arguments, num_threads=num_threads, **options)

    monkeypatch.setattr(inference, "decode_nms", spied)
    done = call("bench", *SMALL, "--seconds", "0", "--threads", asked, "--json")
    report = json.loads(done.fits().out)
    assert used == {report["threads"]}
    assert report["threads"] == (asked or report["machine"]["cores"])


@pytest.mark.slow
def test_bench_reports_the_thresholds_an_engine_was_timed_with(call, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    onnx_file, engine = tmp_path / "x.onnx", tmp_path / "x.engine"
    thresholds = ("--score-threshold", "0.35", "--keep-topk", "17")
    call("export", *SMALL, "--random-weights", *thresholds, "-o", onnx_file).fits()
    call("build-engine", onnx_file, "--target", "onnxruntime", "-o", engine).fits()
    done = call("bench", "--engine", engine, "--seconds", "0", "--threads", "1", "--json")
    for row in json.loads(done.fits().out)["results"]:
        assert row["postprocess"]["score_threshold"] == 0.35
        assert row["postprocess"]["keep_topk"] == 17
    shown = call("bench", "--engine", engine, "--seconds", "0", "--threads", "1").fits().out
    assert "mobilenet_v1: score > 0.35" in shown
    assert "17 per image" in shown
