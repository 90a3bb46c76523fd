"""Engines that are links, and names of files that are long or no text."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")


def _found(call, engine: Path, pictures: Path) -> list:
    lines = call("detect", pictures, "--engine", engine, "--score-threshold", 0.3, "--json").fits()
    return [json.loads(line)["detections"] for line in lines.out.splitlines()]


@pytest.fixture
def linked(own_engine, tmp_path) -> Path:
    """current.engine -> releases/next.engine -> ../m.engine, the sidecar beside the last."""
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "next.engine").symlink_to(Path("..") / own_engine.name)
    (tmp_path / "current.engine").symlink_to(Path("releases") / "next.engine")
    return tmp_path / "current.engine"


@pytest.mark.slow
def test_a_link_finds_the_sidecar_of_the_engine_it_leads_to(call, linked, own_engine, pictures):
    assert _found(call, linked, pictures) == _found(call, own_engine, pictures)
    assert call("inspect", linked, "--json").fits().json["kind"] == "engine"
    call("bench", "--engine", linked, "--seconds", 0).fits()


def test_a_sidecar_beside_the_link_comes_first(call, linked, own_engine, pictures):
    sidecar = own_engine.with_name("m.engine.json")
    values = json.loads(sidecar.read_text())
    values["description"]["labels"] = ["owl", "fox"]
    linked.with_name("current.engine.json").write_text(json.dumps(values))
    names = {box["name"] for boxes in _found(call, linked, pictures) for box in boxes}
    assert names
    assert names <= {"owl", "fox"}


def test_a_link_without_a_sidecar_anywhere_and_a_circle_are_refused(call, linked, own_engine):
    own_engine.with_name("m.engine.json").unlink()
    call("inspect", linked).fails(4, "current.engine", "has no sidecar")
    circle = linked.with_name("circle.engine")
    circle.symlink_to(circle.name)
    call("inspect", circle).fails(4, "circle.engine")


@pytest.mark.slow
def test_files_whose_names_are_no_text_are_built_and_run(
    call, spawn, onnx_file, pictures, tmp_path
):
    latin = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.onnx"))
    shutil.copy(onnx_file, latin)
    engine = latin.with_suffix(".engine")
    # a strict terminal takes the name as well
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    command = ("build-engine", latin, "--target", "onnxruntime", "-o", engine)
    assert "engine: onnxruntime" in spawn(*command, env=strict).fits().out
    assert _found(call, engine, pictures) == _found(call, latin, pictures)
    assert call("inspect", engine, "--json").fits().json["kind"] == "engine"


@pytest.mark.slow
def test_an_onnx_file_is_timed_like_an_engine(call, onnx_file):
    timed = ("bench", "--engine", onnx_file, "--seconds", 0, "--batch", 9, "--json")
    rows = call(*timed).fits().json["results"]
    assert rows[-1]["runtime"].startswith("onnxruntime")
    assert rows[-1]["batch"] == 9


def test_a_name_that_is_too_long_is_said_to_be(call, onnx_file, tmp_path):
    # with .json the sidecar's name has one byte more than a file system takes
    long = tmp_path / ("n" * 244 + ".engine")
    command = ("build-engine", onnx_file, "--target", "onnxruntime", "-o", long)
    call(*command).fails(4, "File name too long", "choose a shorter name")
    assert not list(tmp_path.iterdir())
    call("inspect", tmp_path / ("n" * 300)).fails(4, "File name too long")
