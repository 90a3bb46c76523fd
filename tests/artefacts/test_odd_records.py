"""Records that are odd as a whole: no JSON, fields that stand twice, files that contradict."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("cv2")

from described_files import FORMAT_1, FORMS, Form, Text  # noqa: E402
from record_damage import Place, damages, json_text  # noqa: E402

pytestmark = pytest.mark.slow

Call = Callable[..., Outcome]
CHECKPOINT, SIDECAR = FORMS["record.pth"], FORMS["detections.tensorrt-rtx.engine.json"]
JSON_FORMS = [form for form in FORMS.values() if form.kind != "checkpoint"]


def _set(record: dict[str, Any], *place: str | int, to: Any) -> dict[str, Any]:
    changed: Any = json.loads(json.dumps(record))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = to
    return changed


def _detect(call: Call, form: Form, file: Path) -> Outcome:
    return call("detect", form.option, file, FORMAT_1 / "picture.png", "--json", "--threads", 1)


# --- no JSON


@pytest.mark.parametrize("form", JSON_FORMS, ids=lambda form: form.file)
def test_a_field_that_stands_twice_is_refused(form: Form, call: Call, tmp_path: Path) -> None:
    """Readers of JSON differ in which of the two they take."""
    record = form.said()
    places: list[Place] = [place for place in damages(record) if place and type(place[-1]) is str]
    assert len(places) > 40
    for place in places:
        file = form.write(Text(json_text(record, twice=place)), tmp_path)
        done = call("inspect", file)
        done.fails(4, file.name, f"field '{place[-1]}' stands in it twice")
        assert len(done.err.splitlines()) == 1


NO_JSON = {
    "nothing": "",
    "cut": '{"format": 1, "labels": ["cat',
    "nested": "[" * 99_999,
    "text": "hello",
    "nan": "NaN",
    "digits": '{"format": ' + "1" * 5_000 + "}",
    "comma": '{"format": 1,}',
}


@pytest.mark.parametrize("form", JSON_FORMS, ids=lambda form: form.file)
@pytest.mark.parametrize("kind", NO_JSON)
def test_what_is_no_json_is_refused(kind: str, form: Form, call: Call, tmp_path: Path) -> None:
    file = form.write(Text(NO_JSON[kind]), tmp_path)
    call("inspect", file).fails(4, file.name)
    if form.option is not None:
        _detect(call, form, file).fails(4, file.name)


def test_a_sidecar_in_another_encoding_is_refused(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes((FORMAT_1 / SIDECAR.file).read_bytes() + b"\xff")
    call("inspect", file).fails(4, "x.json", "is not JSON")


def _circle() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


def _many() -> Any:
    """Nine levels that hold the one below ten times: small in a file, a milliard when walked."""
    value: Any = ["x"]
    for _ in range(9):
        value = [value] * 10
    return value


NO_VALUES: dict[str, Callable[[], Any]] = {
    "tensor": lambda: torch.zeros(3),
    "numbered fields": lambda: {1: 2},
    "bytes": lambda: b"abc",
    "set": lambda: {1, 2},
    "complex": lambda: 1j,
    "long number": lambda: 10**5000,
    "circle": _circle,
    "milliard": _many,
    "type": lambda: torch.float32,
}


@pytest.mark.parametrize("kind", NO_VALUES)
@pytest.mark.parametrize(
    "place", [("recipe", "lr"), ("description",), ("format",), ("description", "labels"), ("new",)]
)
def test_a_checkpoint_with_a_record_that_is_no_json_is_refused(
    kind: str, place: tuple[str, ...], call: Call, tmp_path: Path
) -> None:
    content = torch.load(FORMAT_1 / CHECKPOINT.file, weights_only=True)
    inner = content["ssd_small"]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = NO_VALUES[kind]()
    torch.save(content, tmp_path / "w.pth")
    for command in (("inspect",), ("detect", FORMAT_1 / "picture.png", "--weights")):
        done = call(*command, tmp_path / "w.pth")
        line = done.fails(4, "w.pth")
        assert done.err.splitlines() == [line]
        assert len(line) < 500


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_a_checkpoint_whose_record_is_no_object_is_refused(
    value: Any, call: Call, tmp_path: Path
) -> None:
    file = CHECKPOINT.write(value, tmp_path)
    call("inspect", file).fails(4, "record.pth", "record")
    _detect(call, CHECKPOINT, file).fails(4, "record.pth", "record")


def test_lists_and_objects_of_python_may_be_of_another_kind(call: Call, tmp_path: Path) -> None:
    """torch writes what it is given: a recipe may hold tuples."""
    record = CHECKPOINT.said() | {"recipe": {"steps": (1, 2)}}
    file = CHECKPOINT.write(record, tmp_path)
    assert call("inspect", file, "--json").fits().json["recipe"] == {"steps": [1, 2]}


# --- sizes


HUGE: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "map": (("levels", 0, "map"), [8192, 8192]),
    "sizes": (("levels", 0, "sizes"), [30.0] * 20_000),
    "levels": (("levels",), [{"map": [4000, 4000], "step": 1, "sizes": [1], "aspect_ratios": []}]),
    "input": (("preprocessing", "height"), 10**9),
    "width": (("width",), 10**9),
    "classes": (("num_classes",), 10**9),
    "labels": (("labels",), ["x"] * 10**5),
    "variances": (("postprocess", "variances"), [0.1] * 10**5),
    "values": (("novelty",), [0] * 10**6),
}


@pytest.mark.parametrize("kind", HUGE)
def test_huge_sizes_are_refused_before_memory_is_taken(
    kind: str, call: Call, tmp_path: Path
) -> None:
    place, value = HUGE[kind]
    file = SIDECAR.write(_set(SIDECAR.said(), "description", *place, to=value), tmp_path)
    tracemalloc.start()
    try:
        done = call("inspect", file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(done.fails(4, file.name)) < 500
    # what the record takes itself, as text and as values; an array of such a size takes gigabytes
    assert peak < 400e6


@pytest.mark.parametrize(("field", "value"), [("width", 4.0), ("num_classes", 1024)])
def test_a_network_of_another_size_than_its_weights_is_not_built(
    field: str, value: Any, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssd_small.models import checkpoint

    monkeypatch.setattr(checkpoint, "create_model", lambda *size: pytest.fail(f"built: {size}"))
    record = _set(CHECKPOINT.said(), "description", field, to=value)
    if field == "num_classes":
        record["description"]["labels"] = [f"c{i}" for i in range(value - 1)]
    file = CHECKPOINT.write(record, tmp_path)
    _detect(call, CHECKPOINT, file).fails(4, "record.pth", "is damaged")


@pytest.mark.parametrize(
    ("option", "value", "labels"),
    [("--num-classes", 4, ["a", "b", "c"]), ("--width", 0.5, None)],
)
def test_a_record_of_another_network_than_its_weights_is_refused_whatever_is_asked_for(
    option: str, value: float, labels: list[str] | None, call: Call, tmp_path: Path
) -> None:
    own = CHECKPOINT.said()["description"]
    field = option[2:].replace("-", "_")
    record = _set(CHECKPOINT.said(), "description", field, to=value)
    if labels is not None:
        record["description"]["labels"] = labels
    file, written = CHECKPOINT.write(record, tmp_path), tmp_path / "x.onnx"
    words = (4, "record.pth", f"{own['model']} with", "is damaged")
    call("inspect", file).fails(*words)
    for given in ((), (option, own[field])):  # the weights' own size makes the record no truer
        call("export", "--weights", file, *given, "-o", written).fails(*words)
    assert not written.exists()


@pytest.mark.parametrize(("option", "value"), [("--num-classes", 9), ("--width", 1)])
def test_another_size_than_the_recorded_one_is_refused_with_both(
    option: str, value: float, call: Call, tmp_path: Path
) -> None:
    own = CHECKPOINT.said()["description"][option[2:].replace("-", "_")]
    file = CHECKPOINT.write(CHECKPOINT.said(), tmp_path)
    done = call("export", "--weights", file, option, value, "-o", tmp_path / "x.onnx")
    done.fails(2, "record.pth", f" {own:g}, not {value:g}; pass that {option}, or none")


# --- files that contradict themselves


CONTRADICTIONS: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("target",), "tensorrt-rtx", "target: got 'tensorrt-rtx', and 'onnxruntime' in its options"),
    (("precision",), "fp16", "precision: got 'fp16', and 'fp32' in its options"),
    (("engine", "bytes"), 7, "size or SHA-256"),
    (("engine", "sha256"), "0" * 64, "size or SHA-256"),
    (("description", "model"), "vgg16", "another model"),
    (("description", "width"), 0.04, "another width"),
    (("description", "weights"), "random", "another weights"),
    (("description", "has_decode_nms"), False, "another has_decode_nms"),
    (("description", "levels", 0, "step"), 17.0, "another levels"),
    (("description", "clip"), "none", "another clip"),
    (("description", "preprocessing", "height"), 512, "another input size"),
    (("description", "postprocess", "score_threshold"), 0.02, "another postprocess"),
    (("description", "postprocess", "keep_topk"), 100, "another postprocess"),
    (("description", "postprocess", "background_label"), 1, "another postprocess"),
]


@pytest.mark.parametrize(("place", "value", "words"), CONTRADICTIONS)
def test_a_sidecar_that_contradicts_itself_or_its_engine_is_refused(
    place: tuple[str | int, ...], value: Any, words: str, call: Call, tmp_path: Path
) -> None:
    form = FORMS["detections.fp32.engine"]
    file = form.write(_set(form.said(), *place, to=value), tmp_path)
    call("inspect", file).fails(4, file.name, words)
    _detect(call, form, file).fails(4, file.name, words)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31ma", "a\u2028b", " "])
@pytest.mark.parametrize(
    "form", [CHECKPOINT, FORMS["detections.fp32.engine"]], ids=lambda f: f.file
)
def test_a_class_name_that_is_no_line_of_text_is_refused(
    form: Form, name: str, call: Call, tmp_path: Path
) -> None:
    """A terminal would do what it says."""
    record = _set(form.said(), "description", "labels", 0, to=name)
    file = form.write(record, tmp_path)
    call("inspect", file).fails(4, file.name, "labels")
    _detect(call, form, file).fails(4, file.name, "labels")


def test_another_number_of_classes_is_refused(call: Call, tmp_path: Path) -> None:
    form = FORMS["detections.fp32.engine"]
    record = _set(form.said(), "description", "num_classes", to=4)
    record["description"]["labels"].append("cow")
    file = form.write(record, tmp_path)
    call("inspect", file).fails(4, file.name, "another num_classes")
    _detect(call, form, file).fails(4, file.name, "another num_classes")


ONNX_CONTRADICTIONS: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("postprocess", "score_threshold"), 0.9, "not the parameters it describes"),
    (("postprocess", "background_label"), 1, "not the parameters it describes"),
    (("levels", 0, "step"), 17.0, "other prior boxes"),
    (("clip",), "none", "other prior boxes"),
    (("levels", 0, "map"), [19, 18], "computes"),
    (("preprocessing", "width"), 320, "takes [3, 300, 300]"),
    (("has_decode_nms",), False, "does not describe"),
]


@pytest.mark.parametrize(("place", "value", "words"), ONNX_CONTRADICTIONS)
def test_an_onnx_file_that_describes_another_network_is_refused(
    place: tuple[str | int, ...], value: Any, words: str, call: Call, tmp_path: Path
) -> None:
    form = FORMS["detections.onnx"]
    file = form.write(_set(form.said(), *place, to=value), tmp_path)
    call("inspect", file).fails(4, file.name, words)
    _detect(call, form, file).fails(4, file.name, words)


def test_a_newer_operator_is_said_to_be_newer(call: Call, tmp_path: Path) -> None:
    form = FORMS["detections.onnx"]
    file = form.write(form.said(), tmp_path)
    model = onnx.load(file)
    next(o for o in model.opset_import if o.domain == "ssd_small").version = 3
    onnx.save(model, file)
    call("inspect", file).fails(4, file.name, "written by a newer ssd-small", "version 3")


# --- what may be changed by hand means what it says


@pytest.mark.parametrize("name", [form.file for form in FORMS.values() if form.option])
def test_a_change_by_hand_has_its_meaning(name: str, call: Call, tmp_path: Path) -> None:
    form = FORMS[name]
    record = form.said()
    within = () if form.kind == "onnx" else ("description",)

    def found(*place: str | int, to: Any) -> list[dict[str, Any]]:
        changed = _set(record, *within, *place, to=to)
        return _detect(call, form, form.write(changed, tmp_path)).fits().json["detections"]

    before = found("labels", to=["cat", "dog"])
    assert {one["name"] for one in before} == {"cat", "dog"}
    renamed = found("labels", to=["owl", "dog"])
    names = {"cat": "owl", "dog": "dog"}
    assert renamed == [one | {"name": names[one["name"]]} for one in before]
    assert found("preprocessing", "mean", to=[0, 0, 0]) != before
    assert found("preprocessing", "color_order", to="RGB") != before
    if not name.startswith("detections"):  # else it is built in
        strict = found("postprocess", "score_threshold", to=0.97)
        assert strict == [one for one in before if one["score"] > 0.97]
        assert 0 < len(strict) < len(before)
