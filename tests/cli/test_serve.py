"""`ssd-small serve`: the answers of `detect`, refusals in a line, and an end without loss."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_process import (
    BOUNDARY,
    SECONDS,
    Answer,
    Running,
    form,
    read,
    resident_megabytes,
    serving,
    until,
)

for _package in ("uvicorn", "python_multipart", "prometheus_client"):
    pytest.importorskip(_package)

pytestmark = pytest.mark.slow
TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def server(engine: Path) -> Iterator[Running]:
    with serving(engine) as running:
        yield running


@pytest.fixture(scope="module")
def picture(pictures: Path) -> bytes:
    return (pictures / "a.jpg").read_bytes()


def entry(call: Any, engine: Path, path: Path, *options: object) -> dict[str, Any]:
    outcome = call("detect", "--engine", engine, "--json", "--threads", 1, path, *options)
    assert outcome.code == 0, outcome
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def same(own: dict[str, Any], detected: dict[str, Any]) -> None:
    """Equal, in the same order of fields, but for the name of the picture."""
    assert list(own) == list(detected)
    assert own | {"image": None} == detected | {"image": None}


@pytest.mark.parametrize("threshold", ["0.01", "0.3", "cat=0.02"])
def test_an_answer_is_the_entry_of_detect(server, call, engine, pictures, threshold) -> None:
    for name in ("a.jpg", "b.png"):
        path = pictures / name
        expected = entry(call, engine, path, "--score-threshold", threshold)
        query = f"?score_threshold={threshold.replace('=', '%3D')}"
        answer = server.detect(path.read_bytes(), query)
        assert answer.status == 200
        same(answer.json, expected)
        assert answer.json["image"] is None
        sent = form(path.read_bytes(), filename=name)
        answer = server.ask("POST", f"/v1/detect{query}", **sent)
        same(answer.json, expected)
        assert answer.json["image"] == name
    assert threshold == "0.3" or expected["detections"], "nothing was compared"


def test_without_a_threshold_it_is_the_one_of_detect(server, call, engine, pictures, picture):
    same(server.detect(picture).json, entry(call, engine, pictures / "a.jpg"))


def test_many_at_once_have_each_its_own_answer(call, engine, pictures) -> None:
    """In two replicas, with two thresholds, each as alone: a batch of one by default."""
    cases = [(name, limit) for name in ("a.jpg", "b.png") for limit in ("0.01", "0.02")]
    wanted = {
        case: entry(call, engine, pictures / case[0], "--score-threshold", case[1])
        for case in cases
    }
    faults: list[object] = []

    def client(number: int, running: Running) -> None:
        for step in range(6):
            name, limit = case = cases[(number + step) % len(cases)]
            sent = form((pictures / name).read_bytes(), filename=name)
            answer = running.ask("POST", f"/v1/detect?score_threshold={limit}", **sent)
            own = wanted[case] | {"image": name}
            if answer.status != 200 or answer.json != own:
                faults.append((case, answer))

    with serving(engine, "--replicas", 2, "--max-wait-ms", 5) as running:
        together([threading.Thread(target=client, args=(n, running)) for n in range(8)])
    assert not faults


def together(threads: list[threading.Thread]) -> None:
    for one in threads:
        one.start()
    for one in threads:
        one.join(SECONDS)
    assert not any(one.is_alive() for one in threads)


def png(width: int, height: int) -> bytes:
    """The head of a PNG file that declares so many pixels, and hardly anything behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def test_what_is_no_picture_is_refused(server, picture) -> None:
    server.detect(b"").refuses(400, "empty")
    server.detect(b"no picture").refuses(400, "not an image")
    server.detect(picture[:200]).refuses(400)
    server.ask("POST", "/v1/detect", **form(b"none", filename="x\x1b[31m.png")).refuses(400)


@pytest.mark.parametrize(
    "query",
    [
        *("?x=1", "?token=1", "?%00=%ff", "?score_threshold=", "?score_threshold=nan"),
        *("?score_threshold=1.5", "?score_threshold=-1", "?score_threshold=0.001"),
        "?score_threshold=bird=0.5",
    ],
)
def test_an_option_that_does_not_fit_is_refused(server, picture, query) -> None:
    server.detect(picture, query).refuses(400)


def test_a_wrong_place_or_method_is_refused(server, picture) -> None:
    server.ask("GET", "/v2").refuses(404, "/v1/detect")
    answer = server.ask("GET", "/v1/detect")
    answer.refuses(405)
    assert answer.headers["allow"] == "POST"
    for path in ("/", "/health", "/metrics"):
        answer = server.ask("POST", path, picture)
        answer.refuses(405)
        assert answer.headers["allow"] == "GET, HEAD"
        assert server.ask("HEAD", path).body == b""
    assert server.ask("BREW", "/v1/detect").status == 405


def test_a_form_without_the_picture_is_refused(server, picture) -> None:
    server.ask("POST", "/v1/detect", **form(picture, name="image")).refuses(400, "'image'")
    kind = f"multipart/form-data; boundary={BOUNDARY}"

    def send(body: bytes, kind: str = kind) -> Answer:
        return server.detect(body, **{"Content-Type": kind})

    whole = form(picture)["body"]
    send(b"").refuses(400, "is empty")
    send(whole[: len(whole) // 2]).refuses(400, "cut off")
    send(whole.replace(b"\r\n\r\n", b"\r\n", 1)).refuses(400)
    send(f"--{BOUNDARY}--\r\n".encode()).refuses(400)
    send(whole, "multipart/form-data").refuses(400, "boundary")
    send(whole, "multipart/mixed; boundary=x").refuses(415)
    twice = whole.replace(f"--{BOUNDARY}--".encode(), whole, 1)
    send(twice).refuses(400, "several")
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"\r\n\r\n1\r\n'
    send(field.encode() * 10_000).refuses(400)
    server.detect(picture, **{"Content-Encoding": "gzip"}).refuses(415)


def test_too_many_bytes_are_refused_however_they_come(server) -> None:
    block = bytes(1_000_000)
    server.ask("POST", "/v1/detect", block * 64 + b"1").refuses(413, "64000000")
    chunks = (block for _ in range(70))
    server.ask("POST", "/v1/detect", chunks, encode_chunked=True).refuses(413, "64000000")
    # a length alone: no byte is waited for
    head = (
        b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    )
    for length in (64_000_001, 10**17, 10**30):
        said = server.say(head % length)
        assert said.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400")), said
        assert b"100 Continue" not in said
    assert server.ask("GET", "/health").status == 200


def test_a_picture_of_too_many_pixels_is_refused_by_its_head(server) -> None:
    before = resident_megabytes(server.process.pid)
    for _ in range(5):
        server.detect(png(60_000, 60_000)).refuses(413, "60000x60000")
    # decoded it would take 10 GB
    assert resident_megabytes(server.process.pid) < before + 300


def test_a_picture_that_detect_takes_can_be_too_large_for_a_server(server, engine, picture) -> None:
    """What strangers send has less room; nothing of it is decoded."""
    server.detect(png(10_000, 10_000)).refuses(413, "10000x10000", str(1 << 26))
    # here it gets as far as the decoder, which finds no pixels in it
    with serving(engine, "--max-pixels", 1 << 27) as running:
        running.detect(png(10_000, 10_000)).refuses(400, "damaged")


def test_a_server_for_small_pictures_alone(engine, picture) -> None:
    with serving(engine, "--max-pixels", 4000) as running:
        running.detect(picture).refuses(413, "80x60", "4000")


def test_metrics_are_text_of_format_0_0_4(server, picture) -> None:
    server.detect(picture)
    server.detect(b"")
    answer = server.ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    line = re.compile(r'#.*|[a-z_]+(\{([a-z]+="[^"]*",?)*\})? [-+.e0-9]+|')
    for one in text.split("\n"):
        assert line.fullmatch(one), one
    number = r'_requests_total\{path="/v1/detect",status="%d"\} [1-9]'
    assert re.search(number % 200, text)
    assert re.search(number % 400, text)
    for name in ("request_seconds_bucket", "batch_pictures_count", "queue_pictures", "pictures"):
        assert f"ssd_small_{name}" in text


def test_it_is_watched_over_at_health(server) -> None:
    answer = server.ask("GET", "/health")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_token_is_asked_for_and_told_nobody(engine, picture, way) -> None:
    options = ("--token", TOKEN) if way == "option" else ()
    env = {"SSD_SMALL_TOKEN": TOKEN} if way == "environment" else {}
    with serving(engine, *options, env=env) as running:
        for given in ("", TOKEN, f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer", "Bearer \xe9"):
            answer = running.detect(picture, Authorization=given)
            answer.refuses(401, "Bearer")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert TOKEN not in str(answer)
        assert running.detect(picture).status == 401
        assert running.detect(picture, Authorization=f"bearer {TOKEN}").status == 200
        assert running.ask("GET", "/metrics").status == 401
        # those have nothing to hide, and who watches has no token
        assert running.ask("GET", "/health").status == 200
        page = running.ask("GET", "/")
        assert page.status == 200
        assert TOKEN.encode() not in page.body
        running.ask("GET", f"/{TOKEN}")
        running.ask("GET", f"/v1/detect?token={TOKEN}")
    log = "".join(running.log)
    assert "401" in log
    assert TOKEN not in log


def test_a_token_that_no_header_can_hold_is_refused_unseen(call, engine) -> None:
    line = call("serve", engine, "--token", "not a\ttoken").fails(2, "--token")
    assert "not a" not in line
    call("serve", engine, "--token", "").fails(2, "--token")


def test_what_is_too_much_is_refused_and_comes_again_later(engine, picture) -> None:
    answers: list[Answer] = []

    def client(running: Running) -> None:
        for _ in range(15):
            answers.append(running.detect(picture))

    with serving(engine, "--queue", 1) as running:
        together([threading.Thread(target=client, args=(running,)) for _ in range(8)])
    kinds = {one.status for one in answers}
    assert kinds == {200, 503}, kinds
    for one in answers:
        if one.status == 503:
            one.refuses(503, "try again")
            assert 1 <= int(one.headers["retry-after"]) <= 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_lost_when_it_ends_under_load(engine, picture, number) -> None:
    """16 clients that ask again and again: whole answers, then refusals until the door is closed.

    Who asks once it has been told to end may find the door closing: only what was asked before
    has to be answered.
    """
    answered: list[Answer] = []
    lost: list[Exception] = []
    told, ending = threading.Event(), threading.Event()

    def client(running: Running) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=SECONDS)
        with contextlib.closing(connection):
            ask(connection)

    def ask(connection: http.client.HTTPConnection) -> None:
        for _ in range(20_000):
            late = ending.is_set()
            if told.is_set() and random.random() < 0.2:
                connection.close()  # the next one comes by a new connection
            try:
                connection.request("POST", "/v1/detect", picture)
            except ConnectionRefusedError:
                return
            except OSError as error:  # cut off while it was sent
                lost.extend([] if late else [error])
                return
            try:
                answer = read(connection)
            except (OSError, http.client.HTTPException) as error:
                lost.extend([] if late else [error])
                return
            answered.append(answer)
            if answer.status == 503:
                assert answer.json["error"].startswith("the server is shutting down")

    with serving(engine) as running:
        threads = [threading.Thread(target=client, args=(running,)) for _ in range(16)]
        for one in threads:
            one.start()
        until(lambda: len(answered) > 30)
        told.set()
        ending.set()
        began = time.monotonic()
        assert running.end(number) == 0
        assert time.monotonic() - began < 20
        for one in threads:
            one.join(SECONDS)
    assert not lost
    assert {one.status for one in answered} <= {200, 503}
    assert all(one.json["width"] == 80 for one in answered if one.status == 200)
    assert "every request has its answer" in running.log[-1]


def test_who_is_sending_when_it_ends_gets_an_answer(engine, picture) -> None:
    with serving(engine) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=SECONDS)
        connection.putrequest("POST", "/v1/detect")
        connection.putheader("Content-Length", str(len(picture)))
        connection.endheaders()
        connection.send(picture[:100])
        time.sleep(0.3)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        refused = running.ask("GET", "/health")
        refused.refuses(503, "shutting down")
        connection.send(picture[100:])
        answer = read(connection)
        connection.close()
        assert answer.status == 200
        assert answer.json["width"] == 80
        assert running.process.wait(20) == 0


def test_a_port_that_is_taken_is_a_line(call, engine) -> None:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        call("serve", engine, "--port", own.getsockname()[1]).fails(2, "--port")
    call("serve", engine, "--host", "no such host").fails(2, "--host")
    call("serve", engine, "--host", "192.0.2.1").fails(2, "192.0.2.1")


#: what is no request, or half of one
_GARBAGE = (
    b"",
    b"\r\n" * 100,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000,
    b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n\0\xff\xfe garbage behind it\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
    b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
    b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nonly a part",
    b"GET /%00%0a%1b[31m HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://elsewhere/health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
)


def test_garbage_neither_ends_it_nor_fills_its_memory(server, picture) -> None:
    before = resident_megabytes(server.process.pid)
    for text in _GARBAGE:
        said = server.say(text)
        assert not said or said.startswith(b"HTTP/1.1 "), (text[:60], said)
        if said.startswith(b"HTTP/1.1 400"):
            assert json.loads(said.partition(b"\r\n\r\n")[2].partition(b"\n")[0])["error"]
    rng = random.Random(19)
    whole = b"POST /v1/detect HTTP/1.1\r\nHost: x\r\n"
    sent = form(picture)
    whole += f"Content-Type: {sent['headers']['Content-Type']}\r\n".encode()
    whole += f"Content-Length: {len(sent['body'])}\r\nConnection: close\r\n\r\n".encode()
    whole += sent["body"]
    for _ in range(60):
        damaged = bytearray(whole[: rng.choice((len(whole), rng.randrange(1, len(whole))))])
        for _ in range(rng.randrange(4)):
            damaged[rng.randrange(min(len(damaged), 400))] = rng.randrange(256)
        with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as own:
            own.sendall(bytes(damaged))
            if rng.random() < 0.7:
                own.shutdown(socket.SHUT_WR)
                own.recv(10_000)
    assert server.detect(picture).status == 200
    assert server.process.poll() is None
    assert resident_megabytes(server.process.pid) < before + 100
    assert not any("Traceback" in line for line in server.log)
    assert all(line.isprintable() for line in (one.rstrip("\n") for one in server.log))


def test_it_connects_to_nobody(server, picture) -> None:
    """Nothing but loopback, in all that it has open: no word sent anywhere."""
    server.detect(picture)
    for table in ("tcp", "tcp6", "udp", "udp6"):
        rows = Path(f"/proc/{server.process.pid}/net/{table}").read_text().splitlines()[1:]
        inodes = {
            one.readlink().name
            for one in Path(f"/proc/{server.process.pid}/fd").iterdir()
            if one.is_symlink()
        }
        for row in rows:
            fields = row.split()
            if f"socket:[{fields[9]}]" in inodes:
                assert fields[1].startswith("0100007F:"), row


def test_large_pictures_are_cut_as_detect_cuts_them(call, engine, pictures) -> None:
    cut = ("--tiles", "40x40", "--overlap", 0.25, "--whole")
    path = pictures / "b.png"
    expected = entry(call, engine, path, *cut, "--score-threshold", 0.02)
    with serving(engine, *cut, "--score-threshold", 0.02) as running:
        answer = running.detect(path.read_bytes())
    assert answer.json["tiles"] > 1
    assert answer.json["detections"]
    same(answer.json, expected)


def test_a_checkpoint_is_served_by_its_name(call, pictures) -> None:
    pytest.importorskip("torch")
    name = "digits/mobilenet_v1_s1l0"
    words = ("--weights", name, "--json", "--threads", 1, "--score-threshold", 0.02)
    outcome = call("detect", *words, pictures / "a.jpg")
    with serving(name) as running:
        answer = running.detect((pictures / "a.jpg").read_bytes(), "?score_threshold=0.02")
    same(answer.json, json.loads(outcome.out))


def test_of_two_that_start_on_one_port_one_says_so(engine) -> None:
    with serving(engine) as running:
        command = [sys.executable, "-m", "ssd_small", "serve", str(engine)]
        command += ["--port", str(running.port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "--port" in done.stderr
        assert running.ask("GET", "/health").status == 200
