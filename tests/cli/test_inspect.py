"""``ssd-small inspect``: checkpoint, ONNX file, engine and sidecar tell the same of themselves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from sidecars import sidecar_for  # noqa: E402

from ssd_small.artefacts.checkpoint import (  # noqa: E402
    CHECKPOINT_FORMAT,
    CheckpointRecord,
    write_checkpoint,
)
from ssd_small.artefacts.description import (  # noqa: E402
    DESCRIPTION_FORMAT,
    description_from_spec,
)
from ssd_small.artefacts.sidecar import SIDECAR_FORMAT  # noqa: E402
from ssd_small.files import sha256_of  # noqa: E402
from ssd_small.json_files import write_json  # noqa: E402
from ssd_small.models.checkpoint import model_from_checkpoint  # noqa: E402

Call = Callable[..., Outcome]
#: than any format of this version
NEWER = max(CHECKPOINT_FORMAT, DESCRIPTION_FORMAT, SIDECAR_FORMAT) + 1
KINDS = ("checkpoint", "onnx", "engine", "sidecar")
#: what every file of ours says
ALL = (
    *("file", "kind", "format", "format_minor", "tool_version", "model", "width", "num_classes"),
    *("labels", "weights", "preprocessing", "postprocess", "levels", "clip", "has_decode_nms"),
    "tensors",
)
#: and what is known of engines besides
BUILT = (
    *("target", "target_version", "precision", "receipt", "layers", "batch", "options", "onnx"),
    *("engine", "compute_capabilities", "checks", "plugin", "seconds"),
)


@pytest.fixture(scope="module")
def recorded(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights with a record."""
    net = model_from_checkpoint("mobilenet_v1", checkpoint)
    description = description_from_spec(net.spec, 3, net.width, labels=("cat", "dog"))
    path = tmp_path_factory.mktemp("recorded") / "m.pth"
    record = CheckpointRecord(description, {"lr": 0.01}, {"images": 7})
    write_checkpoint(net.state_dict(), record, path)
    return path


@pytest.fixture
def files(recorded: Path, onnx_file: Path, own_engine: Path, tmp_path: Path) -> dict[str, Path]:
    """A file of each kind, to be changed."""
    checkpoint = Path(shutil.copy(recorded, tmp_path / "c.pth"))
    onnx_copy = Path(shutil.copy(onnx_file, tmp_path / "o.onnx"))
    sidecar = own_engine.with_name("alone.json")
    shutil.copy(own_engine.with_name("m.engine.json"), sidecar)
    paths = (checkpoint, onnx_copy, own_engine, sidecar)
    return dict(zip(KINDS, paths, strict=True))


def _change(kind: str, file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a file says of itself."""
    if kind == "checkpoint":
        content = torch.load(file, weights_only=True)
        change(content["ssd_small"])
        torch.save(content, file)
    elif kind == "onnx":
        model = onnx.load(file)
        record = json.loads(model.metadata_props[0].value)
        change(record)
        model.metadata_props[0].value = json.dumps(record)
        onnx.save(model, file)
    else:
        path = file.with_name(f"{file.name}.json") if kind == "engine" else file
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))


# --- JSON


@pytest.mark.parametrize("kind", KINDS)
def test_json_is_one_object_with_the_same_fields_for_each_kind(
    kind: str, call: Call, files: dict[str, Path]
) -> None:
    done = call("inspect", files[kind], "--json").fits()
    told = json.loads(done.out)  # one value, and nothing after it
    assert set(ALL) <= set(told)
    assert (told["file"], told["kind"]) == (str(files[kind]), kind)
    assert type(told["format"]) is int
    assert told["format_minor"] == 0
    assert (told["model"], told["width"], told["num_classes"]) == ("mobilenet_v1", 0.1, 3)
    assert told["labels"] == ["cat", "dog"]
    assert told["preprocessing"]["mean"] == [103.94, 116.78, 123.68]
    assert told["postprocess"]["iou_threshold"] == 0.6
    for tensor in told["tensors"]:
        assert set(tensor) == {"name", "mode", "type", "shape"}
    assert done.err == ""
    assert all(
        (name in told) == (kind in ("engine", "sidecar")) for name in set(BUILT) - {"layers"}
    )


def test_a_network_is_the_same_in_each_kind(call: Call, files: dict[str, Path]) -> None:
    told = {kind: call("inspect", files[kind], "--json").fits().json for kind in KINDS}
    for name in ("model", "width", "num_classes", "labels", "preprocessing", "levels", "clip"):
        assert all(one[name] == told["onnx"][name] for one in told.values()), name
    names = {kind: [tensor["name"] for tensor in one["tensors"]] for kind, one in told.items()}
    assert names["checkpoint"] == ["images", "loc", "conf"]
    assert names["onnx"] == names["engine"] == names["sidecar"]
    assert names["onnx"][:2] == ["images", "num_detections"]
    shapes = {tensor["name"]: tensor["shape"] for tensor in told["onnx"]["tensors"]}
    assert shapes["images"] == ["batch", 3, 300, 300]
    assert shapes["boxes"] == ["batch", 200, 4]


@pytest.mark.usefixtures("traced_once")
def test_weights_are_a_hash(call: Call, files: dict[str, Path]) -> None:
    told = call("inspect", files["checkpoint"], "--json").fits().json
    assert told["weights"] == f"sha256:{sha256_of(files['checkpoint'])}"
    exported = files["onnx"].with_name("x.onnx")
    call("export", "--weights", files["checkpoint"], "-o", exported).fits()
    assert call("inspect", exported, "--json").fits().json["weights"] == told["weights"]


def test_layers_are_told_where_there_are_any(call: Call, files: dict[str, Path]) -> None:
    assert call("inspect", files["onnx"], "--json").json["layers"]["DecodeNms"] == 1
    assert call("inspect", files["engine"], "--json").json["layers"]["Conv"] > 5
    assert call("inspect", files["sidecar"], "--json").json["layers"] is None


def test_a_checkpoint_tells_how_it_came_about(call: Call, files: dict[str, Path]) -> None:
    told = call("inspect", files["checkpoint"], "--json").fits().json
    assert (told["recipe"], told["training"]) == ({"lr": 0.01}, {"images": 7})
    assert told["state_dict"] > 200
    assert told["parameters"] > 10_000


def test_a_checkpoint_without_a_record_says_so(call: Call, checkpoint: Path) -> None:
    told = call("inspect", checkpoint, "--json").fits().json
    assert set(ALL) <= set(told)
    assert (told["kind"], told["format"], told["model"]) == ("checkpoint", 0, None)
    assert told["weights"] == f"sha256:{sha256_of(checkpoint)}"
    assert "pass --model" in call("inspect", checkpoint).fits().out


def test_a_shipped_checkpoint_is_told_of_by_its_name(call: Call) -> None:
    told = call("inspect", "bccd/mobilenet_v1_s1l0", "--json").fits().json
    assert (told["kind"], told["model"]) == ("checkpoint", "mobilenet_v1_s1l0")
    assert "RBC" in told["labels"]


# --- text


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_for_people(kind: str, call: Call, files: dict[str, Path]) -> None:
    shown = call("inspect", files[kind]).fits().out
    # no dictionary, list, tuple of Python, no null
    assert not any(mark in shown for mark in ("{", "}", "[", "]", "None", "null", "'"))
    lines = shown.splitlines()
    told = list(_named(lines))
    assert [name for name, _ in told][:4] == ["network", "classes", "input", "decode + NMS"]
    # the values stand below each other
    assert len({position for _, position in told}) == 1
    assert "mobilenet_v1, 3 classes, width 0.1" in lines[0]
    # and so do the columns of the tables
    (head,) = [line for line in lines if line.startswith("tensor ")]
    images = next(line for line in lines if line.startswith("images "))
    assert images.index("input") == head.index("mode")
    assert images.index("FLOAT") == head.index("type")


def _named(lines: list[str]) -> Iterator[tuple[str, int]]:
    """Names at the begin of lines, and where what is said of them begins."""
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or value[:1] != " ":
            return
        yield name, len(line) - len(value.lstrip())


def test_a_file_cannot_write_lines_of_its_own(call: Call, files: dict[str, Path]) -> None:
    def change(record: dict[str, Any]) -> None:
        record["labels"][0] = "cat\nengine: another\x1b[31m"

    _change("onnx", files["onnx"], change)
    done = call("inspect", files["onnx"])
    done.fails(4, r"'cat\nengine: another\x1b[31m' is not printable")
    assert "\x1b" not in done.err


# --- formats


def _newer(record: dict[str, Any]) -> None:
    record["format"] = NEWER
    # what this version cannot know: other fields, and none of its own
    record["network"] = record.pop("description", record.get("model"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_newer_major_format_is_refused_by_every_command(
    kind: str, call: Call, files: dict[str, Path], pictures: Path, saved: Any, truth: Any
) -> None:
    pytest.importorskip("hotcoco")
    file = files[kind]
    _change(kind, file, _newer)
    new = file.with_name("new")
    option = "--weights" if kind == "checkpoint" else "--engine"
    calls: list[tuple[object, ...]] = [("inspect", file), ("inspect", file, "--json")]
    if kind != "sidecar":
        data = ("--annotations", saved(truth), "--images", pictures)
        calls += [("detect", option, file, pictures / "a.jpg"), ("eval", option, file, *data)]
    if kind == "engine":
        calls += [("bench", "--engine", file, "--seconds", 0), ("doctor", file)]
    if kind == "checkpoint":
        calls.append(("export", "--weights", file, "-o", new))
    if kind == "onnx":
        calls.append(("build-engine", file, "--target", "onnxruntime", "-o", new))
    for one in calls:
        done = call(*one)
        line = done.fails(4, file.name, "written by a newer ssd-small", f"format {NEWER}", "update")
        if one[0] not in ("bench", "doctor"):  # they say what they are about to do
            assert (done.err.splitlines(), done.out) == ([line], "")
    assert not new.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_newer_description_inside_is_refused_too(
    kind: str, call: Call, files: dict[str, Path]
) -> None:
    _change(
        kind, files[kind], lambda record: record.get("description", record).update(format=NEWER)
    )
    call("inspect", files[kind]).fails(4, "written by a newer ssd-small", "its description is of")


@pytest.mark.parametrize("kind", KINDS)
def test_a_newer_minor_format_is_read_and_told(
    kind: str, call: Call, files: dict[str, Path]
) -> None:
    def change(record: dict[str, Any]) -> None:
        record |= {"format_minor": 4, "novelty": {"a": [1]}}

    _change(kind, files[kind], change)
    told = call("inspect", files[kind], "--json").fits().json
    assert (told["format_minor"], told["novelty"]) == (4, {"a": [1]})
    call("inspect", files[kind]).fits()


STRANGE = {"a": [1, {"b": None}], "c": 0.5}


def _grow(description: dict[str, Any]) -> None:
    description |= {"format_minor": 3, "novelty": STRANGE}
    description["preprocessing"]["padding"] = "grey"
    description["levels"][1]["tilt"] = 45


def _grown(description: dict[str, Any]) -> bool:
    """Whether all that :func:`_grow` added is there."""
    return (
        (description["format_minor"], description["novelty"]) == (3, STRANGE)
        and description["preprocessing"]["padding"] == "grey"
        and [level.get("tilt") for level in description["levels"]][:3] == [None, 45, None]
    )


@pytest.mark.usefixtures("traced_once")
def test_unknown_fields_go_from_checkpoint_to_onnx_to_engine(
    call: Call, files: dict[str, Path], tmp_path: Path
) -> None:
    _change("checkpoint", files["checkpoint"], lambda record: _grow(record["description"]))
    exported, built = tmp_path / "x.onnx", tmp_path / "x.engine"
    call("export", "--weights", files["checkpoint"], "-o", exported).fits()
    (entry,) = onnx.load(exported).metadata_props
    assert _grown(json.loads(entry.value))
    call("build-engine", exported, "--target", "onnxruntime", "-o", built).fits()
    assert _grown(json.loads((tmp_path / "x.engine.json").read_text())["description"])
    # the engine carries it as well, and the two do not contradict each other
    assert _grown(json.loads(onnx.load(built).metadata_props[0].value))
    assert call("inspect", built, "--json").fits().json["levels"][1]["tilt"] == 45


def test_unknown_fields_of_a_sidecar_and_a_record_are_written_again(
    files: dict[str, Path],
) -> None:
    from ssd_small.artefacts.sidecar import Sidecar

    record = torch.load(files["checkpoint"], weights_only=True)["ssd_small"] | {"novelty": STRANGE}
    _grow(record["description"])
    again = CheckpointRecord.from_dict(record, "m.pth").to_dict()
    assert again["novelty"] == STRANGE
    assert _grown(again["description"])
    sidecar = json.loads(files["sidecar"].read_text())
    sidecar["receipt"]["novelty"] = 1
    sidecar["batch"]["novelty"] = STRANGE
    again = Sidecar.from_dict(sidecar, "m.json").to_dict()
    assert (again["batch"]["novelty"], "novelty" in again["options"]) == (STRANGE, False)


# --- what is none of the four


def test_what_is_none_of_the_four_is_refused(call: Call, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"images": []}')
    (tmp_path / "x.engine").write_bytes(b"plan")
    call("inspect", tmp_path / "none.pth").fails(4, "none.pth does not exist", "checkpoint, ONNX")
    call("inspect", tmp_path).fails(4, "is a folder")
    call("inspect", pictures / "a.jpg").fails(4, "a.jpg")
    call("inspect", tmp_path / "x.json").fails(4, "x.json", "sidecar", "format None")
    for name in ("x.engine", "x.plan", "x.TRT"):
        (tmp_path / name).write_bytes(b"plan")
        call("inspect", tmp_path / name).fails(4, name, "no sidecar")
    (tmp_path / "x.ONNX").write_bytes(b"none")
    call("inspect", tmp_path / "x.ONNX").fails(4, "x.ONNX", "not a valid ONNX file")


def test_a_sidecar_that_contradicts_its_engine_is_not_told(
    call: Call, files: dict[str, Path]
) -> None:
    def change(record: dict[str, Any]) -> None:
        record["description"]["levels"][0]["step"] = 17.0

    _change("engine", files["engine"], change)
    call("inspect", files["engine"]).fails(4, "m.engine", "another levels")


def test_the_sidecar_of_an_engine_for_another_machine_is_told(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    from ssd_small.artefacts.onnx_file import read_onnx

    description = replace(read_onnx(onnx_file)[1], labels=("cat", "dog"))
    sidecar = sidecar_for(description, compute_capabilities=("8.6",))
    write_json(tmp_path / "x.json", sidecar.to_dict())
    told = call("inspect", tmp_path / "x.json", "--json").fits().json
    assert (told["target"], told["compute_capabilities"]) == ("tensorrt-rtx", ["8.6"])
    assert told["tensors"][0]["shape"] == ["1..4", 3, 300, 300]


def test_an_engine_of_tensorrt_says_how_other_tools_load_its_plugin(
    call: Call, onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssd_small.artefacts.build_options import BuildOptions
    from ssd_small.artefacts.build_record import PluginFile
    from ssd_small.artefacts.onnx_file import read_onnx

    plugin = tmp_path / "libssd_small_plugin.so"
    monkeypatch.setenv("SSD_SMALL_PLUGIN", str(plugin))
    description = read_onnx(onnx_file)[1]
    named = PluginFile(plugin.name, "0" * 64, "1")
    for target, told in (("tensorrt", True), ("tensorrt-rtx", False)):
        values = {"target": target, "options": BuildOptions(target), "plugin": named}
        sidecar = sidecar_for(description, compute_capabilities=("8.6",), **values)
        write_json(tmp_path / "x.json", sidecar.to_dict())
        plugin.touch()
        text = call("inspect", tmp_path / "x.json").fits().out
        assert (f"--dynamicPlugins={plugin}" in text) == told
        assert (f"custom-lib-path={tmp_path / 'libssd_small_plugin_dlopen.so'}" in text) == told
        plugin.unlink()
        assert "--dynamicPlugins" not in call("inspect", tmp_path / "x.json").fits().out
