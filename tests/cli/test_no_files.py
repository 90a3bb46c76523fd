"""Devices, pipes, sockets and folders where a file is to be read: said at once, exit 4."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable, Iterator
from os import mkfifo
from pathlib import Path

import pytest

pytest.importorskip("cv2")

#: name of the input -> the command that reads it
READERS: dict[str, tuple[str, ...]] = {
    "p.png": ("detect", "p.png", "--weights", "digits/mobilenet_v1"),
    "m.onnx": ("build-engine", "m.onnx", "--target", "onnxruntime"),
    "n.onnx": ("inspect", "n.onnx"),
    "m.engine": ("doctor", "m.engine"),
    "n.engine": ("bench", "--engine", "n.engine", "--seconds", "0"),
    "truth.json": ("check-data", "truth.json", "--images", "."),
    "found.json": ("eval", "--detections", "found.json", "--annotations", "own.json"),
    "told.json": ("build-engine", "m.onnx", "--description", "told.json"),
    "names.txt": ("convert", "--from", "csv", "own.csv", "--labels", "names.txt", "-o", "o.json"),
    "boxes.csv": ("convert", "--from", "csv", "boxes.csv", "-o", "o.json"),
    "data.yaml": ("convert", "--from", "yolo", "data.yaml", "-o", "o.json"),
    "c.pth": ("export", "--weights", "c.pth", "-o", "o.onnx"),
    "d.pth": ("inspect", "d.pth"),
    "c.yml": ("models", "--config", "c.yml"),
}


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)  # in the working folder: a socket's name is short


KINDS: dict[str, Callable[[Path], None]] = {
    "fifo": mkfifo,
    "socket": _socket,
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "full": lambda path: path.symlink_to("/dev/full"),
    "link to a fifo": lambda path: (mkfifo("pipe"), path.symlink_to("pipe"))[1],
}


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """An end of what would wait for a pipe, or read a device, for ever."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.csv").write_text("a.jpg,1,2,3,4,cat\n")
    image = {"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}
    truth = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "own.json").write_text(json.dumps(truth))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_not_read(name, kind, call, place):
    KINDS[kind](place / name)
    said = call(*READERS[name]).fails(4, name)
    assert "device" in said, said


@pytest.mark.parametrize("name", [name for name in READERS if name != "p.png"])
def test_a_folder_is_not_read(name, call, place):
    # a folder of pictures is read, and so is one of YOLO labels
    (place / name).mkdir()
    said = call(*READERS[name]).fails(4, name)
    assert "folder" in said or "directory" in said or name == "data.yaml", said


def test_the_size_of_a_pipe_is_not_waited_for(tmp_path):
    from ssd_small.errors import BadFile
    from ssd_small.pictures.sizes import shown_size

    mkfifo(tmp_path / "a.png")
    with pytest.raises(BadFile, match="not a file but a device or pipe"):
        shown_size(tmp_path / "a.png")


@pytest.mark.parametrize("option", ["-o", "--engine", "--labels", "--config"])
def test_an_empty_name_is_not_the_present_folder(call, tmp_path, monkeypatch, option):
    """What a shell makes of ``-o "$UNSET"``."""
    monkeypatch.chdir(tmp_path)
    call("detect", "p.png", "--weights", "digits/mobilenet_v1", option, "").fails(
        2, "name is empty"
    )
    assert not list(tmp_path.iterdir())
