"""What commands print without --json is for people: no values as Python writes them."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.slow

#: dictionaries, lists of texts, None, True, arrays, paths and objects as Python's repr shows them
_OF_PYTHON = re.compile(
    r"\{['\"]|\{\}|\[['\"]|\b(None|True|False)\b|array\(|Path\(|<[\w.]+ (object|at)|dtype="
)


def of_python(text):
    return [line for line in text.splitlines() if _OF_PYTHON.search(line)]


@pytest.mark.parametrize(
    "arguments",
    [
        ("models",),
        ("doctor", "{engine}"),
        ("inspect", "{engine}"),
        ("inspect", "{checkpoint}"),
        ("detect", "--engine", "{engine}", "{pictures}", "--score-threshold", "0.01"),
        ("eval", "--engine", "{engine}", "--annotations", "{truth}", "--images", "{pictures}"),
        ("parity", "{engine}", "--against", "{onnx}", "--images", "{pictures}"),
        ("explain", "--engine", "{engine}", "{picture}", "--box", "5,5,20,20"),
        ("bench", "--engine", "{engine}", "--seconds", "0.01", "--images", "{pictures}"),
        ("check-data", "{truth}", "--images", "{pictures}"),
        ("tile", "{truth}", "--images", "{pictures}", "--tiles", "40x40", "-o", "{new}"),
        ("build-engine", "{onnx}", "-o", "{new}"),
        ("batch", "{engine}", "{pictures}", "-o", "{new}", "--format", "jsonl"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_text_has_nothing_of_python(
    arguments, spawn, onnx_file, engine, checkpoint, pictures, truth, saved, tmp_path
):
    places = {"onnx": onnx_file, "engine": engine, "checkpoint": checkpoint, "pictures": pictures}
    places |= {"truth": saved(truth), "new": tmp_path / "new", "picture": pictures / "a.jpg"}
    said = spawn(*(argument.format(**places) for argument in arguments))
    assert said.code in (0, 1), said.err
    assert len(said.out) > 20
    assert of_python(said.out + said.err) == []


def test_what_is_of_python_is_noticed():
    shown = ["{'a': 1}", "x: None", "['a', 'b']", "array([1.])", "PosixPath('a')", "fine: {} of 2"]
    assert of_python("\n".join(shown)) == shown
    assert of_python("(0, 0, 0), not (1, 1, 1)\na.jpg [no object] {1} 3 x Nones") == []
