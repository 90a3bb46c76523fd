"""Outputs that are inputs, by whatever name: refused, and every input stays as it was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def kept(tmp_path):
    """Remember files of the folder; afterwards they are what they were."""
    before: dict[Path, bytes] = {}

    def keep(*paths: Path) -> None:
        before.update({path: path.read_bytes() for path in paths})

    yield keep
    assert before, "nothing was kept"
    for path, content in before.items():
        assert path.read_bytes() == content, path


def _names(path: Path) -> list[Path]:
    """The file, a link to it, a link by way of a linked folder, and its hard link."""
    link, hard = path.with_name(f"link-{path.name}"), path.with_name(f"hard-{path.name}")
    folder = path.parent.with_name(f"{path.parent.name}-linked")
    link.symlink_to(path.name)
    folder.symlink_to(path.parent)
    os.link(path, hard)
    return [path, link, folder / path.name, hard]


def test_eval_keeps_annotations_and_all_else_that_it_reads(
    call, own_engine, pictures, truth, saved, tmp_path, kept
):
    annotations = saved(truth)
    sidecar = own_engine.with_name(f"{own_engine.name}.json")
    labels = tmp_path / "names.txt"
    labels.write_text("cat\ndog\n")
    kept(annotations, own_engine, sidecar, labels, pictures / "a.jpg")
    run = ("eval", "--engine", own_engine, "--annotations", annotations, "--images", pictures)
    run += ("--labels", labels)
    for output in (*_names(annotations), own_engine, sidecar, labels, pictures / "a.jpg"):
        call(*run, "--save-detections", output).fails(2, "--save-detections would overwrite")


def test_build_engine_keeps_the_onnx_file_below_the_name_of_a_sidecar(
    call, onnx_file, tmp_path, kept
):
    source = tmp_path / "q.engine.json"
    shutil.copy(onnx_file, source)
    kept(source)
    call("build-engine", source, "-o", tmp_path / "q.engine").fails(2, "would overwrite")
    for output in _names(source):
        call("build-engine", source, "-o", output).fails(2, "would overwrite")
    described = tmp_path / "told.json"
    described.write_text("{}")
    kept(described)
    run = ("build-engine", source, "--description", described)
    call(*run, "-o", tmp_path / "told").fails(2, "would overwrite an input")


def test_a_timing_cache_is_neither_input_nor_engine(call, onnx_file, tmp_path, kept):
    kept(onnx_file)
    engine = tmp_path / "e.engine"
    run = ("build-engine", onnx_file, "-o", engine, "--target", "tensorrt")
    call(*run, "--timing-cache", onnx_file).fails(2, "would overwrite")
    for cache in (engine, tmp_path / "e.engine.json"):
        call(*run, "--timing-cache", cache).fails(2, "would be written to one file")


def test_export_keeps_weights_labels_and_config(call, checkpoint, tmp_path, kept):
    weights = tmp_path / "c.pth"
    shutil.copy(checkpoint, weights)
    labels, config = tmp_path / "names.txt", tmp_path / "c.yml"
    labels.write_text("cat\ndog\n")
    config.write_text("model: mobilenet_v1\n")
    kept(weights, labels, config)
    run = ("export", "--model", "mobilenet_v1", "--weights", weights, "--labels", labels)
    for output in (*_names(weights), labels):
        call(*run, "-o", output).fails(2, "would overwrite an input")
    call("export", "--config", config, "-o", config).fails(2, "would overwrite an input")


@pytest.mark.parametrize("command", ["convert", "convert-voc"])
def test_conversions_keep_their_sources(command, call, tmp_path, kept):
    folder = tmp_path / "voc"
    xml = folder / "Annotations" / "a.xml"
    xml.parent.mkdir(parents=True)
    xml.write_text("<annotation/>")
    labels = tmp_path / "names.txt"
    labels.write_text("cat\n")
    elsewhere = tmp_path / "elsewhere.xml"
    elsewhere.write_text("<annotation/>")
    (xml.parent / "b.xml").symlink_to(elsewhere)
    kept(xml, labels, elsewhere)
    source = ("--from", "voc", folder) if command == "convert" else ("--folder", folder)
    for output in (xml, labels, elsewhere, tmp_path / "voc" / "Annotations" / "b.xml"):
        call(command, *source, "--labels", labels, "-o", output).fails(2, "would overwrite")


def test_detect_keeps_pictures_beside_those_that_it_reads(call, engine, pictures, tmp_path, kept):
    pytest.importorskip("PIL")
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("x.jpg", "x.tif"):
        shutil.copy(pictures / "a.jpg", folder / name)
    kept(folder / "x.jpg", folder / "x.tif")
    (tmp_path / "linked").symlink_to(folder)
    run = ("detect", "--engine", engine, folder / "x.tif", "-o")
    for output in (folder, tmp_path / "linked"):
        call(*run, output).fails(2, "would overwrite", "x.jpg")
    call(*run, tmp_path / "out").fits()
    call(*run, tmp_path / "out").fits()  # what detect has drawn it may draw anew


def test_train_keeps_inputs_that_are_called_like_its_files(
    call, pictures, truth, saved, tmp_path, kept
):
    pytest.importorskip("torchvision")
    annotations = saved(truth)
    run = tmp_path / "run"
    run.mkdir()
    own = run / "run.json"
    shutil.copy(annotations, own)
    config = run / "config.yml"
    config.write_text("lr: 0.01\n")
    labels = run / "labels.txt"
    labels.write_text("cat\n")
    kept(own, config, labels)
    base = ("train", "--model", "mobilenet_v1", "--images", pictures, "--output", run)
    call(*base, "--annotations", own).fails(2, "would overwrite an input")
    own.rename(run / "truth.json")
    call(*base, "--annotations", run / "truth.json").fails(2, "would overwrite", "config.yml")
    (run / "truth.json").rename(own)
    own_config = ("--annotations", annotations, "--config", config)
    call(*base, *own_config).fails(2, "would overwrite an input", "config.yml")


def test_check_data_keeps_what_links_of_its_folder_lead_to(
    call, pictures, truth, saved, tmp_path, kept
):
    annotations = saved(truth)
    folder = tmp_path / "linked"
    folder.mkdir()
    store = tmp_path / "store.jpg"
    shutil.copy(pictures / "a.jpg", store)
    (folder / "a.jpg").symlink_to(store)
    kept(store, annotations)
    for output in (store, *_names(annotations)):
        call("check-data", annotations, "--images", folder, "--fix", output).fails(2, "--fix")


@pytest.mark.parametrize("name", ["labels.txt", "config.yml", "history.csv", "curves.png"])
def test_train_keeps_what_no_run_has_written(name, call, pictures, truth, saved, tmp_path, kept):
    pytest.importorskip("torchvision")
    run = tmp_path / "run"
    run.mkdir()
    (run / name).write_text("mine\n")
    kept(run / name)
    call(
        *("train", "--model", "mobilenet_v1", "--images", pictures, "--output", run),
        *("--annotations", saved(truth), "--iterations", 1),
    ).fails(2, name, "would replace it")
    assert [path.name for path in run.iterdir() if not path.name.startswith(".")] == [name]


def test_weights_beside_an_onnx_file_are_inputs(
    call, onnx_file, pictures, truth, saved, tmp_path, kept
):
    onnx = pytest.importorskip("onnx")
    path, data = tmp_path / "q.onnx", tmp_path / "q.data"
    onnx.save_model(
        onnx.load(onnx_file), path, save_as_external_data=True, location="q.data",
        size_threshold=0,
    )  # fmt: skip
    (tmp_path / "linked").symlink_to(data)
    kept(path, data)
    scored = ("eval", "--engine", path, "--annotations", saved(truth), "--images", pictures)
    for output in (data, tmp_path / "linked"):
        call("build-engine", path, "-o", output).fails(2, "would overwrite an input", "q.data")
        call(*scored, "--save-detections", output).fails(2, "would overwrite", "q.data")
