"""export with weights, labels and options that do not fit."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

EXPORT = ("export", "--model", "mobilenet_v1", "--output")
MAKERS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "zero bytes": (lambda good: b"", "it is empty"),
    "half of it": (lambda good: good.read_bytes()[:20000], "it is truncated or damaged"),
    "text": (lambda good: b"hello", "it is a text file"),
}


@pytest.fixture
def refuse(call, tmp_path):
    """Export a checkpoint that must be refused; nothing may be written."""

    def run(weights: Path, *words: str, extra: tuple[object, ...] = (), code: int = 4) -> str:
        output = tmp_path / "new" / "x.onnx"
        outcome = call(*EXPORT, output, "--weights", weights, *extra)
        assert not output.parent.exists()
        return outcome.fails(code, *words)

    return run


@pytest.mark.parametrize("kind", MAKERS)
def test_damaged_checkpoint(kind, refuse, checkpoint, tmp_path):
    make, reason = MAKERS[kind]
    path = tmp_path / "w.pth"
    path.write_bytes(make(checkpoint))
    refuse(path, "w.pth", reason)


def test_missing_checkpoint_and_folder(refuse, tmp_path):
    refuse(tmp_path / "none.pth", "none.pth", "does not exist")
    refuse(tmp_path, "is a folder")


class _Evil:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.witness),)


def test_a_file_of_another_kind_is_told_by_what_it_is(refuse, onnx_file, engine):
    refuse(onnx_file, "m.onnx", "it is an ONNX model, not a checkpoint", "pass it as --engine")
    refuse(engine, "it is an ONNX model, not a checkpoint", "--engine")


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_code_in_a_checkpoint_does_not_run(form, refuse, tmp_path):
    path, witness = tmp_path / "evil.pth", tmp_path / "owned"
    if form == "pickle":
        path.write_bytes(pickle.dumps(_Evil(witness)))
    else:
        torch.save({"a": _Evil(witness)}, path, _use_new_zipfile_serialization=form == "zip")
    refuse(path, "evil.pth", "could run code")
    assert not witness.exists()
    pickle.loads(pickle.dumps(_Evil(witness)))  # the code is real: unsafe loading runs it
    assert witness.exists()


@pytest.mark.slow
def test_another_network_and_another_size(refuse, checkpoint, tmp_path):
    from ssd_small.models.network import create_model

    other = tmp_path / "vgg.pth"
    torch.save(create_model("vgg16", num_classes=3, width=0.1).state_dict(), other)
    line = refuse(other, "vgg.pth", "mobilenet_v1", "--model")
    assert len(line) < 300
    refuse(checkpoint, "--num-classes 3", extra=("--num-classes", 7))
    refuse(checkpoint, "--width 0.1", extra=("--width", 0.5))


def test_a_long_list_of_keys_is_cut(call, tmp_path):
    torch.save({"surplus": torch.zeros(1)}, tmp_path / "other.pth")
    outcome = call(*EXPORT, tmp_path / "x.onnx", "--weights", tmp_path / "other.pth")
    outcome.fails(4, "221 keys differ")
    assert len(outcome.err.splitlines()) == 12
    assert outcome.err.splitlines()[-1] == "  ... and 211 more"


def _changed(key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda state: {**state, key: value}


CONTENTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "list": (lambda state: [1, 2], "no dictionary of tensors"),
    "two": (
        lambda state: {"a": state, "b": {k: v + 1 for k, v in state.items()}},
        "several state dicts",
    ),
    "int8": (
        lambda state: {k: v.to(torch.int8) if v.ndim == 4 else v for k, v in state.items()},
        "base.0.conv.0.weight is a tensor of torch.int8; expected floating point",
    ),
    "scalar head": (_changed("conf.0.weight", torch.zeros(())), "does not fit"),
    "no classes": (_changed("conf.0.weight", torch.zeros(0, 8, 3, 3)), "does not fit"),
    "flat head": (_changed("conf.1.weight", torch.zeros(12)), "does not fit"),
    "integer key": (lambda state: {1: torch.zeros(1)}, "does not fit"),
    "not a number": (
        _changed("conf.0.bias", torch.full((18,), float("nan"))),
        "holds NaN or infinite values",
    ),
    "sparse": (lambda state: {k: v.to_sparse() for k, v in state.items()}, "expected dense"),
    "complex": (lambda state: {k: v + 0j for k, v in state.items()}, "expected dense real"),
    "meta": (lambda state: {k: v.to("meta") for k, v in state.items()}, "meta tensor"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONTENTS)
def test_content_that_is_no_state_dict_of_the_network(kind, refuse, checkpoint, tmp_path):
    change, reason = CONTENTS[kind]
    torch.save(change(torch.load(checkpoint, weights_only=True)), tmp_path / "w.pth")
    refuse(tmp_path / "w.pth", "w.pth", reason)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (b"a\n", 2, "1 labels for 3 classes"),
        (b"a\nb\nc\n", 2, "3 labels for 3 classes"),
        (b"a\na\n", 4, "occurs twice"),
        (b"", 4, "class name on every line"),
        (b"a\n\nb\n", 4, "class name on every line"),
        (b"\xff\xfe\x00", 4, "not UTF-8"),
    ],
)
def test_labels_that_do_not_fit(content, code, word, refuse, checkpoint, tmp_path):
    (tmp_path / "labels.txt").write_bytes(content)
    refuse(checkpoint, word, extra=("--labels", tmp_path / "labels.txt"), code=code)


def test_labels_may_begin_with_a_byte_order_mark(tmp_path):
    from ssd_small.artefacts.labels import read_labels

    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\n")
    assert read_labels(tmp_path / "labels.txt") == ("cat", "dog")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--width", v) for v in ("0", "-1", "nan", "inf", "5")),
        *(("--num-classes", v) for v in ("0", "1", "1025", "x")),
        *(("--score-threshold", v) for v in ("nan", "inf", "x")),
        *(("--iou-threshold", v) for v in ("nan", "-1", "2")),
        *(("--pixel-offset", v) for v in ("nan", "-1", "inf")),
        ("--keep-topk", "-1"),
        ("--opset", "7"),
    ],
)
def test_options_out_of_range(option, value, call, tmp_path):
    outcome = call(*EXPORT, tmp_path / "x.onnx", "--random-weights", option, value)
    outcome.fails(2, option, "ssd-small export --help")
    assert not list(tmp_path.iterdir())


def test_what_is_missing_or_contradicts_itself(call, tmp_path, checkpoint):
    output = tmp_path / "x.onnx"
    call("export", "-o", output).fails(2, "--model")
    call(*EXPORT, output).fails(2, "--weights", "--random-weights")
    call(*EXPORT, output, "--weights", checkpoint, "--random-weights").fails(2, "exclude")
    call("export", "--model", "nope", "-o", output, "--random-weights").fails(2, "nope", "vgg16")
    assert not list(tmp_path.iterdir())


def test_a_choice_among_state_dicts_is_one_note(call, checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)
    average = {f"module.{key}": value + 1 for key, value in state.items()}
    torch.save({"model": state, "ema": average}, tmp_path / "w.pth")
    unfit = (*EXPORT, tmp_path / "x.onnx", "--width", "0.3", "--weights")
    for command in (("inspect",), unfit):
        outcome = call(*command, tmp_path / "w.pth")
        notes = [line for line in outcome.err.splitlines() if line.startswith("note: ")]
        assert notes == [
            f"note: checkpoint {tmp_path / 'w.pth'}: took 'ema' (averaged weights, rather than "
            "'model')"
        ]


def test_a_typo_in_a_shipped_name_is_answered_by_every_command(call, pictures, saved, truth):
    name, picture = "digits/mobilnet_v1", next(pictures.glob("*.png"))
    network = ("--model", "mobilenet_v1", "--weights", name)
    data = ("--annotations", saved(truth), "--images", pictures)
    for words in (
        ("export", *network, "-o", pictures / "x.onnx"),
        ("detect", *network, picture),
        ("eval", *network, *data),
        ("train", *network, *data, "-o", pictures / "run"),
        ("inspect", name),
    ):
        call(*words).fails(4, "does not exist; did you mean digits/mobilenet_v1", "bccd/")
