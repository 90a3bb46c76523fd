"""Files in the place of a checkpoint: read, or told by what they are."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ssd_small.errors import BadFile, MissingRequirement
from ssd_small.models import checkpoint_file
from ssd_small.models.checkpoint import read_state_dict
from ssd_small.models.shipped import advice_on_missing, shipped_checkpoints

STATE = {"base.0.weight": torch.arange(6.0).reshape(2, 3), "conf.0.bias": torch.ones(3).half()}


def _saved(content: object, **options: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def _zip(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return stream.getvalue()


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return stream.getvalue()


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(2))
    return stream.getvalue()


def _script() -> bytes:
    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(Net()), stream)
    return stream.getvalue()


def _exported() -> bytes:
    stream = io.BytesIO()
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, stream)
    return stream.getvalue()


GOOD = _saved(STATE)
LEGACY = _saved(STATE, _use_new_zipfile_serialization=False)
FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "it is empty (0 bytes)"),
    "half": (lambda: GOOD[: len(GOOD) // 2], "it is truncated or damaged"),
    "half, legacy": (lambda: LEGACY[: len(LEGACY) // 2], "it is truncated or damaged"),
    "LFS": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
        "Git LFS pointer, a text in the place of the file; fetch the file itself: git lfs pull",
    ),
    "HTML": (lambda: b"\n<!DOCTYPE html><html>404", "it is a web page"),
    "text": (lambda: b"hello", "it is a text file"),
    "long text": (lambda: "ä".encode() * 400, "it is a text file"),
    "index": (
        lambda: json.dumps({"metadata": {}, "weight_map": {"a": "b"}}).encode(),
        "index of a checkpoint in several files",
    ),
    "gzip": (lambda: gzip.compress(GOOD), "it is a gzip archive; unpack it first"),
    "tar": (_tar, "it is a tar archive, PyTorch's form until 2017"),
    "npz": (_npz, "it holds NumPy arrays"),
    "zip of a checkpoint": (
        lambda: _zip(best_dot_pth=GOOD),
        "it is a zip file that holds 'best.pth'; unpack it",
    ),
    "another zip": (lambda: _zip(a=b"b"), "it is a zip file without a checkpoint in it"),
    "torch.export": (_exported, "it is a program of torch.export, which is code"),
    "engine": (lambda: b"vtrt" + bytes(100), "it is a TensorRT engine, not a checkpoint"),
    "tflite": (lambda: b"\x1c\0\0\0TFL3" + bytes(100), "TensorFlow Lite"),
    "HDF5": (lambda: b"\x89HDF\r\n" + bytes(100), "HDF5"),
    "zeros": (lambda: bytes(4096), "it is no checkpoint, or is damaged"),
    "pickle 4": (lambda: pickle.dumps(STATE, 4), "it is a pickle of protocol 4, which could run"),
    "pickle 2": (lambda: pickle.dumps(STATE, 2), "a pickle that torch.save has not written"),
    "protocol 4": (lambda: _saved(STATE, pickle_protocol=4), "another pickle protocol"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_checkpoint_is_told_by_what_it_is(kind: str, tmp_path: Path) -> None:
    make, words = FILES[kind]
    path = tmp_path / "c.pth"
    path.write_bytes(make())
    with pytest.raises(BadFile) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert message.startswith(f"cannot load checkpoint {path}: ")
    assert words in message
    assert "\n" not in message
    # a whole file is not called damaged
    assert ("truncated" in message) == kind.startswith("half")


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_torchscript_is_told_by_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "c.pth").write_bytes(_script())
    with pytest.raises(
        BadFile, match=r"it is a TorchScript program .torch.jit.save., which is code"
    ):
        read_state_dict(tmp_path / "c.pth")


@pytest.mark.parametrize("checksums", [True, False])
def test_a_byte_that_changed_is_found_by_the_file_s_own_checksums(
    checksums: bool, tmp_path: Path
) -> None:
    torch.serialization.set_crc32_options(checksums)
    try:
        content = bytearray(_saved({"base.0.weight": torch.arange(1000.0)}))
    finally:
        torch.serialization.set_crc32_options(True)
    path = tmp_path / "c.pth"
    path.write_bytes(content)
    assert read_state_dict(path)["base.0.weight"][500] == 500
    content[content.index(np.float32(500).tobytes())] ^= 1
    path.write_bytes(content)
    if checksums:
        with pytest.raises(BadFile, match="it is damaged: bytes have changed since it was written"):
            read_state_dict(path)
    else:
        assert read_state_dict(path)["base.0.weight"][500] != 500


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.pth")
    with pytest.raises(BadFile, match="it is a device or pipe; expected a file"):
        read_state_dict(tmp_path / "c.pth")


FOLDERS: dict[str, tuple[tuple[str, ...], str]] = {
    "empty": ((), "it is a folder; expected a file"),
    "hub": (("config.json", "model.safetensors"), "name the file in it: model.safetensors"),
    "parts": (("model.safetensors.index.json", "model-1.safetensors"), "in several files; join"),
    "distributed": ((".metadata", "__0_0.distcp"), "dcp_to_torch"),
    "unpacked": (("data.pkl", "version"), "an unpacked checkpoint; take the file"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_is_told_by_what_is_in_it(kind: str, tmp_path: Path) -> None:
    names, words = FOLDERS[kind]
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(BadFile) as caught:
        read_state_dict(tmp_path)
    assert words in str(caught.value)


@pytest.mark.parametrize("form", ["zip", "legacy", "protocol 3"])
def test_every_form_of_torch_save_is_read(form: str, tmp_path: Path) -> None:
    made = {"zip": GOOD, "legacy": LEGACY, "protocol 3": _saved(STATE, pickle_protocol=3)}
    (tmp_path / "c.pth").write_bytes(made[form])
    found = read_state_dict(tmp_path / "c.pth")
    assert {key: (v.dtype, v.tolist()) for key, v in found.items()} == {
        key: (v.dtype, v.tolist()) for key, v in STATE.items()
    }


# --- safetensors


def test_safetensors_are_read_whatever_their_ending(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.torch")
    wrapped = {f"model.{key}": value for key, value in STATE.items()}
    for name in ("m.safetensors", "m.pth"):
        library.save_file(wrapped, tmp_path / name, metadata={"format": "pt"})
        found = read_state_dict(tmp_path / name)
        assert found.keys() == STATE.keys()
        assert all(torch.equal(found[key], STATE[key]) for key in STATE)
        assert found["conf.0.bias"].dtype == torch.float16
    content = (tmp_path / "m.safetensors").read_bytes()
    for damaged in (content[:-1], content[:40], content[:8] + b"{" * (len(content) - 8)):
        (tmp_path / "d.safetensors").write_bytes(damaged)
        with pytest.raises(BadFile, match=r"d.safetensors: it is a damaged safetensors file"):
            read_state_dict(tmp_path / "d.safetensors")


def test_safetensors_without_the_library_name_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))

    def absent(module: str, purpose: str) -> object:
        raise MissingRequirement(f"{purpose} needs {module}")

    monkeypatch.setattr(checkpoint_file, "require", absent)
    with pytest.raises(MissingRequirement, match=r"m.safetensors needs safetensors.torch"):
        read_state_dict(path)


# --- what may not be read, or is not there


@pytest.fixture
def nobody() -> Iterator[None]:
    """Not to be root, whom nothing is forbidden."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_file_that_may_not_be_read_is_no_truncated_one(
    closed: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    path = folder / "c.pth"
    path.write_bytes(GOOD)
    place = path if closed == "file" else folder
    place.chmod(0)
    try:
        request.getfixturevalue("nobody")
        with pytest.raises(BadFile) as caught:
            read_state_dict(path)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        place.chmod(0o700)
    assert "Permission denied" in str(caught.value)
    assert "truncated" not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300 + ".pth", "a\0b.pth", "m.pth/c.pth"])
def test_a_name_that_no_file_has_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(GOOD)
    with pytest.raises(BadFile, match="checkpoint"):
        read_state_dict(tmp_path / name)


ALL = ", ".join(one.name for one in shipped_checkpoints())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            "digits/mobilnet_v1",
            f"did you mean digits/mobilenet_v1 or digits/mobilenet_v1_s1l0? the package has {ALL}",
        ),
        ("Digits/Mobilenet_V1", "did you mean digits/mobilenet_v1"),
        ("mobilenet_v1", "did you mean digits/mobilenet_v1?"),
        ("bccd/yolo", f"the package has {ALL}"),
        ("runs/last.pth", "expected a file written by torch.save"),
        ("digits/none.pth", "expected a file written by torch.save"),
    ],
)
def test_a_typo_in_the_name_of_a_shipped_checkpoint_lists_the_names(given: str, words: str) -> None:
    assert advice_on_missing(given).startswith(words)
    with pytest.raises(BadFile) as caught:
        read_state_dict(given)
    assert words in str(caught.value)
