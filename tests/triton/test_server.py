"""Our model repositories in a real Triton server, configurations unmodified."""

from __future__ import annotations

import importlib
import json
import os
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from triton_server import KINDS, PLAN, TritonServer, hash_of

from ssd_small.artefacts.description import Description
from ssd_small.artefacts.tensors import output_names
from ssd_small.pictures.preprocessing import input_from_image
from ssd_small.pictures.reading import read_image

pytestmark = pytest.mark.slow

PROTOCOLS = ("http", "grpc")
CLIENTS = 8
#: of the models, and of the files that are in them
FILES = {**KINDS, PLAN: "plain.onnx"}


def client_of(server: TritonServer, protocol: str) -> tuple[Any, Any]:
    """A client and its module."""
    module = importlib.import_module(f"tritonclient.{protocol}")
    place = getattr(server, protocol).partition("://")[2]
    return module.InferenceServerClient(place), module


def ask(
    server: TritonServer, model: str, images: np.ndarray, protocol: str = "http",
    name: str = "images",
) -> Any:  # fmt: skip
    client, module = client_of(server, protocol)
    kinds = {"float32": "FP32", "uint8": "UINT8", "object": "BYTES"}
    given = module.InferInput(name, list(images.shape), kinds[images.dtype.name])
    given.set_data_from_numpy(images)
    try:
        return client.infer(model, [given])
    finally:
        client.close()


@pytest.fixture(scope="session")
def session_of(written: Path) -> Callable[[str], Any]:
    """Function: ONNX Runtime as the double opens a model."""
    opened: dict[str, Any] = {}

    def session(model: str) -> Any:
        if model not in opened:
            settings = onnxruntime.SessionOptions()
            settings.intra_op_num_threads = 1
            (path,) = (written / model / "1").glob("model.*")
            opened[model] = onnxruntime.InferenceSession(path.read_bytes(), settings)
        return opened[model]

    return session


def description_of(written: Path, model: str) -> Description:
    from ssd_small.serving.triton.source import SourceChanges, network_from_file

    if model == PLAN:
        model = "digits"
    return network_from_file(written / model / "1" / "model.onnx", SourceChanges()).description


def inputs_of(written: Path, model: str, pictures: list[Path]) -> np.ndarray:
    """Network input of pictures; where pictures are taken as they are, of one size."""
    description = description_of(written, model)
    read = [read_image(path) for path in pictures]
    if description.pictures is not None:
        height, width = np.min([one.shape[:2] for one in read], axis=0)
        return np.stack([one[:height, :width] for one in read])
    return np.stack([input_from_image(one, description.preprocessing) for one in read])


def same_bits(found: Any, expected: list[np.ndarray], names: tuple[str, ...]) -> bool:
    """Whether outputs are equal; of a number per picture the server makes ``[N, 1]``."""
    pairs = ((found.as_numpy(name), one) for name, one in zip(names, expected, strict=True))
    return all(np.array_equal(own.reshape(one.shape), one) for own, one in pairs)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("model", FILES)
def test_outputs_are_those_of_onnxruntime_to_the_bit_at_equal_batch(
    model: str, protocol: str, server: TritonServer, written: Path, pictures: list[Path],
    session_of: Callable[[str], Any],
) -> None:  # fmt: skip
    names = output_names(description_of(written, model))
    for batch in (1, 3):
        images = inputs_of(written, model, pictures[:batch])
        expected = session_of(model).run(list(names), {"images": images})
        assert same_bits(ask(server, model, images, protocol), expected, names)


@pytest.mark.parametrize("model", ["digits", PLAN])
def test_models_are_warmed_up_on_the_picture(
    model: str, server: TritonServer, written: Path
) -> None:
    given = np.fromfile(written / model / "warmup" / "picture", np.float32)
    first, second = server.calls(model)[:2]
    assert first == {"model": model, "requests": [1], "pictures": [hash_of(given)]}
    assert second["pictures"] == [hash_of(given)] * 8
    assert np.ptp(given) > 100


def test_eight_clients_share_batches_and_each_gets_its_own_picture(
    server: TritonServer, written: Path, pictures: list[Path], session_of: Callable[[str], Any]
) -> None:
    inputs = {hash_of(one): one for one in inputs_of(written, "digits", pictures)}
    before, answers = len(server.calls("digits")), []
    together = threading.Barrier(CLIENTS, timeout=60)

    def client(number: int) -> None:
        picture = list(inputs)[number % len(inputs)]
        for _ in range(5):
            together.wait()
            answers.append((picture, ask(server, "digits", inputs[picture][None])))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    calls = server.calls("digits")[before:]
    assert sum(sum(call["requests"]) for call in calls) == 5 * CLIENTS
    assert len(calls) < 5 * CLIENTS / 2, "more than two requests to a call, on average"
    assert max(sum(call["requests"]) for call in calls) <= 8
    # an answer is, to the bit, a row of one of the calls that were made
    names = output_names(description_of(written, "digits"))
    rows: dict[str, list[list[np.ndarray]]] = {}
    for call in calls:
        batch = np.stack([inputs[one] for one in call["pictures"]])
        outputs = session_of("digits").run(list(names), {"images": batch})
        for row, picture in enumerate(call["pictures"]):
            rows.setdefault(picture, []).append([one[row : row + 1] for one in outputs])
    for picture, answer in answers:
        assert any(same_bits(answer, row, names) for row in rows[picture])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((9, 3, 300, 300), np.float32, "8"),
        ((1, 3, 299, 300), np.float32, "[-1,3,300,300]"),
        ((3, 300, 300), np.float32, "[-1,3,300,300]"),
        ((1, 3, 300, 300), np.uint8, "FP32"),
    ],
)
def test_what_the_network_does_not_take_is_refused(
    shape: tuple[int, ...], dtype: Any, words: str, protocol: str, server: TritonServer
) -> None:
    module = importlib.import_module("tritonclient.utils")
    before = len(server.calls("digits"))
    with pytest.raises(module.InferenceServerException) as caught:
        ask(server, "digits", np.zeros(shape, dtype), protocol)
    assert words in caught.value.message()
    assert caught.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")
    assert len(server.calls("digits")) == before


def test_metrics_count_requests(server: TritonServer, written: Path, pictures: list[Path]) -> None:
    def counted() -> float:
        with urllib.request.urlopen(f"{server.metrics}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        marks = 'nv_inference_request_success{model="heads",version="1"}'
        return float(next(line for line in lines if line.startswith(marks)).split()[-1])

    before = counted()
    for _ in range(3):
        ask(server, "heads", inputs_of(written, "heads", pictures[:1]))
    assert counted() == before + 3


def test_the_configuration_that_is_served_is_ours(server: TritonServer, written: Path) -> None:
    with server.get(f"/v2/models/{PLAN}/config") as answer:
        config = json.load(answer)
    assert (config["platform"], config["max_batch_size"]) == ("tensorrt_plan", 8)
    assert config["optimization"]["cuda"]["graphs"] is True
    assert config["dynamic_batching"]["preferred_batch_size"] == [4]
    assert [one["dims"] for one in config["output"]] == [[1], [200, 4], [200], [200], [200]]
    assert config["version_policy"] == {"latest": {"num_versions": 1}}


def test_models_are_unloaded_and_loaded_and_the_server_ends_with_whole_answers(
    start: Callable[..., TritonServer], written: Path, pictures: list[Path]
) -> None:
    server = start("--model-control-mode=explicit", "--load-model=digits")
    client, module = client_of(server, "http")
    images = inputs_of(written, "digits", pictures[:1])
    before = ask(server, "digits", images)
    client.unload_model("digits")
    until = time.monotonic() + 30
    while client.is_model_ready("digits") and time.monotonic() < until:
        time.sleep(0.05)
    with pytest.raises(module.InferenceServerException):
        ask(server, "digits", images)
    client.load_model("digits")
    assert client.is_model_ready("digits")
    again = ask(server, "digits", images)
    names = output_names(description_of(written, "digits"))
    assert all(np.array_equal(before.as_numpy(n), again.as_numpy(n)) for n in names)
    client.close()

    # told to end while requests are on their way: answers are whole, or there is none
    whole, refused, stop = [], [], threading.Event()

    def keep_asking(_: int) -> None:
        until = time.monotonic() + 60
        while not stop.is_set() and time.monotonic() < until:
            try:
                answer = ask(server, "digits", images)
            except Exception as error:
                refused.append(error)
                return
            whole.append(all(np.array_equal(answer.as_numpy(n).shape, before.as_numpy(n).shape)
                             for n in names))  # fmt: skip

    with ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(keep_asking, number) for number in range(4)]
        time.sleep(0.5)
        code = server.end()
        stop.set()
        for task in tasks:
            task.result(60)
    assert code == 0
    assert len(whole) >= 4
    assert all(whole)
    assert len(refused) == 4
    assert server.processes() == []


def test_what_is_started_sends_no_report_and_hears_this_machine_alone(server: TritonServer) -> None:
    processes = server.processes(seconds=0)
    assert len(processes) > len(FILES)  # a process for each model in Python, and itself
    sockets = set()
    for process in processes:
        folder = Path("/proc") / str(process)
        assert b"ORT_DISABLE_TELEMETRY=1" in (folder / "environ").read_bytes().split(b"\0")
        for file in (folder / "fd").iterdir():
            link = os.readlink(file) if os.path.lexists(file) else ""
            sockets |= {link[8:-1]} if link.startswith("socket:[") else set()
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and rest[5] in sockets:  # LISTEN
                # an address of IPv4 in the form of IPv6 is the same one
                listening.add(local.removeprefix("0000000000000000FFFF0000"))
    ports = [int(place.rpartition(":")[2]) for place in (server.http, server.grpc, server.metrics)]
    assert listening == {f"0100007F:{port:04X}" for port in ports}
