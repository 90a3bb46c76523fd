"""``ssd-small triton-client``: what it says where it cannot ask; answers are in tests/triton."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from command_line import Outcome
from triton_answers import answering

from ssd_small.errors import UsageError
from ssd_small.serving.triton.connection import ServerAddress, address_from_url

pytestmark = pytest.mark.slow

Call = Callable[..., Outcome]


@pytest.fixture
def repository(call: Call, onnx_file: Path, tmp_path: Path) -> Path:
    call("triton", onnx_file, "-o", tmp_path / "models", "--ensemble").fits()
    return tmp_path / "models"


@pytest.fixture
def url(repository: Path) -> Iterator[str]:
    with answering(repository) as address:
        yield address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:1", ServerAddress("http", "h:1")),
        ("h", ServerAddress("http", "h:8000")),
        ("127.0.0.1:7/", ServerAddress("http", "127.0.0.1:7")),
        ("grpc://h", ServerAddress("grpc", "h:8001")),
        ("http://h:1/a%20b", ServerAddress("http", "h:1", False, "a b")),
        ("https://h/m", ServerAddress("http", "h:443", True, "m")),
        ("grpcs://h:2/m", ServerAddress("grpc", "h:2", True, "m")),
        ("http://[::1]:1/v2/models/m", ServerAddress("http", "[::1]:1", False, "m")),
        ("http://h:1/v2/models/m/versions/3/infer", ServerAddress("http", "h:1", False, "m", "3")),
        ("http://h:1/v2/models/m/infer", ServerAddress("http", "h:1", False, "m")),
    ],
)
def test_addresses(url: str, expected: ServerAddress) -> None:
    assert address_from_url(url) == expected


@pytest.mark.parametrize(
    "url", ["", "ftp://h", "http://", "http://h:0", "http://h:65536", "http://h/a/b", "h h", "h:x"]
)
def test_what_is_no_address_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="expected the address of a Triton server"):
        address_from_url(url)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_is_not_there_is_missing(scheme: str, call: Call, pictures: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: connecting is refused
        taken.bind(("127.0.0.1", 0))
        place = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
        outcome = call("triton-client", place, pictures, "--timeout", 5)
    outcome.fails(3, place, "does not answer", "start it")
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_is_silent_is_not_waited_for(scheme: str, call: Call, pictures: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        call("triton-client", place, pictures, "--timeout", 0.5).fails(3, "does not answer")


def test_what_is_no_triton_server_is_said(call: Call, pictures: Path) -> None:
    stop = Event()

    def answer(listener: socket.socket) -> None:
        listener.settimeout(20)
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=answer, args=(listener,), daemon=True)
        thread.start()
        place = f"http://127.0.0.1:{listener.getsockname()[1]}"
        call("triton-client", place, pictures, "--timeout", 5).fails(3, "does not answer")
        stop.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join(20)


def test_a_model_that_is_not_there_is_a_bad_name(call: Call, url: str, pictures: Path) -> None:
    for words in ((f"{url}/absent",), (url, "--model", "absent")):
        call("triton-client", words[0], pictures, *words[1:]).fails(4, "absent", "--model")


def test_the_model_of_another_tool_is_refused(call: Call, repository: Path, pictures: Path) -> None:
    shutil.rmtree(repository / "m_ensemble")
    config = repository / "m" / "config.pbtxt"
    config.write_text(re.sub(r"key: \"ssd_small\"", 'key: "else"', config.read_text()))
    with answering(repository) as address:
        call("triton-client", f"{address}/m", pictures).fails(4, "does not say", "ssd-small triton")
        call("triton-client", address, pictures).fails(4, "has no model that is ready")


def test_a_damaged_description_is_refused(call: Call, repository: Path, pictures: Path) -> None:
    config = repository / "m" / "config.pbtxt"
    config.write_text(config.read_text().replace('\\"num_classes\\": 3', '\\"num_classes\\": 7'))
    with answering(repository) as address:
        call("triton-client", f"{address}/m", pictures).fails(4, "model m")


def test_a_server_that_fails_is_missing(call: Call, url: str, pictures: Path) -> None:
    for model in ("m", "m_ensemble"):
        outcome = call("triton-client", f"{url}/{model}", pictures)
        outcome.fails(3, "this server runs no model")


@pytest.mark.parametrize("model", ["m", "m_ensemble"])
def test_a_picture_that_is_not_there_is_told_without_the_server(
    model: str, call: Call, url: str, tmp_path: Path
) -> None:
    path = tmp_path / "absent.jpg"
    outcome = call("triton-client", f"{url}/{model}", path, "--json")
    outcome.fails(4, str(path), "does not exist")
    assert json.loads(outcome.out)["image"] == str(path)


@pytest.mark.parametrize("hidden", ["tritonclient", "geventhttpclient"])
def test_without_its_packages_the_line_to_type_is_given(
    hidden: str, pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    spawn: Callable[..., Outcome],
) -> None:  # fmt: skip
    code = (
        "import sys\nclass Hidden:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {hidden!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    (tmp_path / "sitecustomize.py").write_text(code)
    outcome = spawn(
        "triton-client", "http://127.0.0.1:9", pictures, env={"PYTHONPATH": str(tmp_path)}
    )
    outcome.fails(3, "pip install '.[triton]'")
