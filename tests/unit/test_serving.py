"""The server's parts: its queue and batches, what it reads of a request, what it tells."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest
from detection_doubles import MadeUpRuntime

pytest.importorskip("cv2")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")
pytest.importorskip("prometheus_client")
import cv2

from ssd_small.cli import serve as command_module
from ssd_small.detection.detector import Detector
from ssd_small.errors import BadFile, UsageError
from ssd_small.pictures.limits import TooManyPixels
from ssd_small.serving.http import exchange as exchange_module
from ssd_small.serving.http import protocol as protocol_module
from ssd_small.serving.http import server as server_module
from ssd_small.serving.http.batching import Job, PictureQueue, PictureRefused, QueueFull
from ssd_small.serving.http.exchange import Exchange, Memory
from ssd_small.serving.http.form import boundary_from_type, file_from_form, threshold_from_query
from ssd_small.serving.http.page import page_of_detector
from ssd_small.serving.http.refusals import Gone, Refusal
from ssd_small.serving.http.server import Server, bound_socket
from ssd_small.serving.http.settings import ServeSettings

#: for what takes milliseconds on a machine that is idle
SECONDS = 30


def picture(brightness: int, side: int = 8) -> bytes:
    """A PNG file of one brightness, which the made-up network gives back."""
    done, content = cv2.imencode(".png", np.full((side, side, 3), brightness, np.uint8))
    assert done
    return bytes(content)


class Gate:
    """Holds the engine's calls until it is opened."""

    def __init__(self, runtime: MadeUpRuntime) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        runtime.at = self._at

    def _at(self, number: int) -> None:
        self.reached.set()
        assert self._open.wait(SECONDS)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def runtime() -> MadeUpRuntime:
    return MadeUpRuntime(max_batch=4)


Made = Callable[..., PictureQueue]


@pytest.fixture
def made(runtime: MadeUpRuntime) -> Iterator[Made]:
    queues: list[PictureQueue] = []

    def make(max_pixels: int | None = None, **settings: Any) -> PictureQueue:
        detector = Detector(runtime, threads=1, max_pixels=max_pixels)
        queues.append(PictureQueue([detector], ServeSettings(**settings)))
        return queues[-1]

    yield make
    for one in queues:
        one.close(SECONDS)
        assert not any(thread.is_alive() for thread in one._threads)


def submitted(pictures: PictureQueue, *jobs: Job) -> None:
    for job in jobs:
        pictures.submit(job)


def settled(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


class TestQueue:
    def test_pictures_that_wait_together_are_one_batch(self, made: Made, runtime) -> None:
        gate = Gate(runtime)
        pictures = made(max_batch=3)
        jobs = [Job(picture(n), f"{n}.png", None) for n in range(6)]
        submitted(pictures, jobs[0])
        assert gate.reached.wait(SECONDS)
        submitted(pictures, *jobs[1:])
        settled(lambda: len(pictures._ready) == 5)
        gate.open()
        found = [job.future.result(SECONDS) for job in jobs]
        assert [one["image"] for one in found] == [f"{n}.png" for n in range(6)]
        assert runtime.batches == [1, 3, 2]

    def test_those_of_another_threshold_are_another_batch(self, made: Made, runtime) -> None:
        gate = Gate(runtime)
        pictures = made(max_batch=4)
        first = Job(picture(1), None, None)
        low = [Job(picture(n), None, {None: 0.26}) for n in range(2)]
        high = [Job(picture(n), None, {"cat": 0.85, None: 1.0}) for n in range(2)]
        submitted(pictures, first)
        assert gate.reached.wait(SECONDS)
        submitted(pictures, low[0], high[0], low[1], high[1])
        settled(lambda: len(pictures._ready) == 4)
        gate.open()
        counts = [
            [len(job.future.result(SECONDS)["detections"]) for job in jobs] for jobs in (low, high)
        ]
        assert counts == [[5, 5], [1, 1]]
        assert runtime.batches == [1, 2, 2]

    def test_a_batch_waits_for_others_but_not_for_ever(self, made: Made, runtime) -> None:
        pictures = made(max_batch=2, max_wait=10.0)
        jobs = [Job(picture(n), None, None) for n in range(2)]
        submitted(pictures, jobs[0])
        time.sleep(0.05)
        assert not jobs[0].future.done()
        submitted(pictures, jobs[1])
        jobs[0].future.result(5)
        assert runtime.batches == [2]
        alone = made(max_batch=2, max_wait=0.02)
        job = Job(picture(1), None, None)
        submitted(alone, job)
        job.future.result(SECONDS)
        assert runtime.batches == [2, 1]

    def test_more_than_may_wait_are_refused(self, made: Made, runtime) -> None:
        gate = Gate(runtime)
        pictures = made(queue=2)
        jobs = [Job(picture(n), None, None) for n in range(4)]
        submitted(pictures, jobs[0])
        assert gate.reached.wait(SECONDS)
        submitted(pictures, *jobs[1:3])
        with pytest.raises(QueueFull):
            pictures.submit(jobs[3])
        assert 1 <= pictures.retry_after <= 60
        gate.open()
        for job in jobs[:3]:
            job.future.result(SECONDS)
        settled(lambda: not pictures.waiting)

    def test_what_is_no_picture_spoils_no_other(self, made: Made) -> None:
        pictures = made(max_batch=4, max_wait=0.05, max_pixels=100)
        jobs = [Job(one, None, None) for one in (picture(1), b"none", picture(2, 11), picture(3))]
        submitted(pictures, *jobs)
        assert jobs[0].future.result(SECONDS)["width"] == 8
        assert jobs[3].future.result(SECONDS)["width"] == 8
        for job, kind in ((jobs[1], BadFile), (jobs[2], TooManyPixels)):
            with pytest.raises(PictureRefused) as refused:
                job.future.result(SECONDS)
            assert type(refused.value.reason) is kind

    def test_pictures_in_memory_have_no_more_pixels_than_one_may(self, made: Made, runtime) -> None:
        gate = Gate(runtime)
        pictures = made(max_batch=4, max_pixels=100)
        jobs = [Job(picture(n), None, None) for n in range(4)]  # 64 pixels each
        submitted(pictures, *jobs)
        assert gate.reached.wait(SECONDS)
        time.sleep(0.05)
        assert len(pictures._pending) == 3
        gate.open()
        for job in jobs:
            job.future.result(SECONDS)
        assert runtime.batches == [1, 1, 1, 1]
        assert pictures._held_pixels == 0

    def test_who_has_gone_costs_no_work(self, made: Made, runtime) -> None:
        gate = Gate(runtime)
        pictures = made(queue=3)
        jobs = [Job(picture(n), None, None) for n in range(4)]
        submitted(pictures, jobs[0])
        assert gate.reached.wait(SECONDS)
        submitted(pictures, *jobs[1:])
        for job in jobs[1:3]:
            pictures.discard(job)
        gate.open()
        jobs[3].future.result(SECONDS)
        with pytest.raises(CancelledError):
            jobs[1].future.result(SECONDS)
        assert len(runtime.batches) == 2

    def test_an_engine_that_fails_answers_all_of_its_batch_and_goes_on(self, made: Made, runtime):
        def fail(number: int) -> None:
            if number == 0:
                runtime.batches.append(0)
                raise RuntimeError("the engine broke")

        runtime.at = fail
        pictures = made(max_batch=2, max_wait=5.0)
        jobs = [Job(picture(n), None, None) for n in range(2)]
        submitted(pictures, *jobs)
        for job in jobs:
            with pytest.raises(RuntimeError, match="broke"):
                job.future.result(SECONDS)
        more = [Job(picture(n), None, None) for n in range(2)]
        submitted(pictures, *more)
        assert more[1].future.result(SECONDS)["width"] == 8


class TestQuery:
    def test_thresholds_are_those_of_detect(self) -> None:
        assert threshold_from_query("") is None
        assert threshold_from_query("score_threshold=0.25") == {None: 0.25}
        query = "score_threshold=0.25&score_threshold=a%3Db%3D1e-1&score_threshold=c+d=1"
        assert threshold_from_query(query) == {None: 0.25, "a=b": 0.1, "c d": 1.0}

    @pytest.mark.parametrize(
        "query",
        [
            *("x=1", "score_threshold", "score_threshold=0_1", "score_threshold=inf", "=&="),
            *("a&b&c", "score_threshold=0.5&" * 65),
        ],
    )
    def test_what_is_none_is_refused(self, query: str) -> None:
        with pytest.raises(Refusal) as refused:
            threshold_from_query(query)
        assert refused.value.status == 400


def parts(*fields: tuple[str, bytes]) -> bytes:
    text = b"".join(
        b"--x\r\n" + head.encode() + b"\r\n\r\n" + one + b"\r\n" for head, one in fields
    )
    return text + b"--x--\r\n"


FILE = 'Content-Disposition: form-data; name="file"'


class TestForm:
    def test_the_picture_is_the_field_file_to_the_byte(self) -> None:
        content = bytes(range(256)) * 5 + b"\r\n--x\r\n--xy--\r\n\r\n"
        content = content.replace(b"\r\n--x\r\n", b"\r\n--\r\n")
        head = f'{FILE}; filename="ä\x1b[0m.png"\r\nContent-Type: image/png'
        assert file_from_form(parts((head, content)), b"x") == ("ä\x1b[0m.png", content)
        assert file_from_form(parts((FILE, b"")), b"x") == (None, b"")

    def test_a_long_name_is_cut(self) -> None:
        name, _ = file_from_form(parts((f'{FILE}; filename="{"y" * 1000}"', b"1")), b"x")
        assert name is not None
        assert len(name) <= 255

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (parts(), "is empty|damaged"),
            (b"", "is empty"),
            (parts((FILE, b"1"))[:-6], "is cut off"),
            (parts((FILE, b"1"), (FILE, b"1")), "several"),
            (parts(("Content-Disposition: form-data", b"1")), "a field ''"),
            (parts((f"{FILE}\r\nX: {'y' * 9000}", b"1")), "head of more than|damaged"),
            (b"no form at all", "damaged"),
        ],
    )
    def test_what_is_none_is_refused(self, content: bytes, reason: str) -> None:
        with pytest.raises(Refusal, match=reason) as refused:
            file_from_form(content, b"x")
        assert refused.value.status == 400

    def test_many_fields_are_not_read_to_their_end(self) -> None:
        other = 'Content-Disposition: form-data; name="a"'
        with pytest.raises(Refusal):
            file_from_form(parts(*[(other, b"")] * 10_000), b"x")

    def test_the_type_says_whether_it_is_one(self) -> None:
        for kind in ("", "image/jpeg", "application/x-www-form-urlencoded", "\xff;;;"):
            assert boundary_from_type(kind) is None
        assert boundary_from_type('Multipart/Form-Data; boundary="a b"') == b"a b"
        for kind in ("multipart/form-data", f"multipart/form-data; boundary={'x' * 300}"):
            with pytest.raises(Refusal, match="boundary"):
                boundary_from_type(kind)


def exchange(messages: list[Any], headers: dict[str, str], sent: list[Any]) -> Exchange:
    """Of a request whose body comes in these messages, and then no more."""

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        return await asyncio.sleep(SECONDS)

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(k.encode(), v.encode()) for k, v in headers.items()]
    scope = {"method": "POST", "path": "/v1/detect", "headers": raw, "query_string": b""}
    return Exchange(scope, receive, send)


def body_of(*contents: bytes, last: bool = True) -> list[Any]:
    each = [{"type": "http.request", "body": one, "more_body": True} for one in contents]
    each[-1]["more_body"] = not last
    return each


CHUNKED = {"transfer-encoding": "chunked"}


class TestBody:
    def test_it_is_put_together(self) -> None:
        memory = Memory(10)
        one = exchange(body_of(b"123", b"", b"45"), CHUNKED, [])
        assert asyncio.run(one.body(5, memory)) == b"12345"
        with pytest.raises(Refusal):
            memory.take(6)
        one.forget(memory)
        one.forget(memory)
        memory.take(10)

    def test_too_much_is_refused(self) -> None:
        with pytest.raises(Refusal) as refused:
            asyncio.run(exchange(body_of(b"123", b"456"), CHUNKED, []).body(5, Memory()))
        assert refused.value.status == 413
        with pytest.raises(Refusal) as refused:
            asyncio.run(exchange([], {"content-length": "6"}, []).body(5, Memory()))
        assert refused.value.status == 413
        with pytest.raises(Refusal) as refused:
            asyncio.run(exchange(body_of(b"123"), CHUNKED, []).body(5, Memory(2)))
        assert refused.value.status == 503
        assert "Retry-After" in refused.value.headers

    def test_who_sends_too_slowly_is_not_waited_for(self, monkeypatch) -> None:
        monkeypatch.setattr(exchange_module, "BODY_SECONDS", 0.05)
        with pytest.raises(Refusal) as refused:
            asyncio.run(exchange(body_of(b"1", last=False), CHUNKED, []).body(5, Memory()))
        assert refused.value.status == 408

    def test_who_goes_is_not_waited_for(self) -> None:
        messages = [*body_of(b"1", last=False), {"type": "http.disconnect"}]
        with pytest.raises(Gone):
            asyncio.run(exchange(messages, CHUNKED, []).body(5, Memory()))

    def test_an_answer_before_the_end_of_a_body_is_sent_whole_and_the_rest_read(self) -> None:
        sent: list[Any] = []
        messages = body_of(b"1" * 100, b"2" * 100)
        asyncio.run(exchange(messages, CHUNKED, sent).answer(413, {}, b"too much"))
        assert [one.get("body") for one in sent] == [None, b"too much", b""]
        assert [one.get("more_body") for one in sent] == [None, True, False]
        assert (b"connection", b"close") in sent[0]["headers"]
        assert not messages

    def test_nor_is_the_rest_read_for_ever(self, monkeypatch) -> None:
        monkeypatch.setattr(exchange_module, "LINGER_SECONDS", 0.05)
        monkeypatch.setattr(exchange_module, "LINGER_BYTES", 150)
        for messages in (body_of(*[b"1" * 100] * 9), body_of(b"1", last=False)):
            sent: list[Any] = []
            asyncio.run(exchange(messages, CHUNKED, sent).answer(413, {}, b"too much"))
            assert len(sent) == 3
            assert len(messages) in (7, 0)


class TestSettings:
    def test_a_token_that_no_header_holds_is_refused_unseen(self) -> None:
        for token in ("", "a b", "ä", "a\n"):
            with pytest.raises(UsageError) as refused:
                ServeSettings(token=token)
            assert not token.strip() or token not in str(refused.value)


def test_a_page_runs_its_own_script_alone(runtime) -> None:
    page = page_of_detector(Detector(runtime), {None: 0.4}, asks_token=True)
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    text = page.content.decode()
    assert "unsafe" not in text
    assert 'data-lowest="0.25" data-usual="0.4" data-token="true"' in text
    for word in ("http:", "https:", '"//', "@import", "url(", 'style="', "onclick", "innerHTML"):
        assert word not in text


def test_a_name_in_a_page_is_text(runtime) -> None:
    runtime.name = "<script>alert(1)</script>"
    page = page_of_detector(Detector(runtime), None, asks_token=False)
    assert b"<script>alert" not in page.content


class InThread:
    """A server in a thread of this process, on loopback."""

    def __init__(self, runtime: MadeUpRuntime, **settings: Any) -> None:
        self.listening = bound_socket("127.0.0.1", 0)
        self.address = self.listening.getsockname()
        given = ServeSettings(**settings)
        self.server = Server([Detector(runtime, threads=1)], given, self.listening)
        ready = threading.Event()
        self.lost: int | None = None
        self._loop: list[asyncio.AbstractEventLoop] = []

        def is_ready() -> None:
            self._loop.append(asyncio.get_running_loop())
            ready.set()

        def run() -> None:
            self.lost = self.server.run(is_ready)

        self.thread = threading.Thread(target=run)
        self.thread.start()
        assert ready.wait(SECONDS)

    def tell(self) -> None:
        self._loop[0].call_soon_threadsafe(self.server.stop)

    def end(self) -> int | None:
        self.tell()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()
        self.listening.close()
        return self.lost

    def connection(self) -> Any:
        import socket

        return socket.create_connection(self.address, timeout=SECONDS)

    def said(self, own: Any) -> bytes:
        """All that comes until the connection is closed."""
        text = b""
        while part := own.recv(65536):
            text += part
        return text


def request(content: bytes) -> bytes:
    head = f"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


@pytest.mark.slow
def test_who_sends_no_head_is_sent_away(runtime, monkeypatch) -> None:
    monkeypatch.setattr(protocol_module, "HEAD_SECONDS", 0.1)
    server = InThread(runtime)
    try:
        for begin in (b"", b"GET /hea", request(picture(1))):
            with server.connection() as own:
                own.sendall(begin)
                if begin.startswith(b"POST"):
                    assert own.recv(10_000).startswith(b"HTTP/1.1 200")
                    own.sendall(b"GET /hea")
                assert b"HTTP/1.1 408" in server.said(own)
    finally:
        assert server.end() == 0


@pytest.mark.slow
def test_connections_beyond_the_most_are_refused(runtime, monkeypatch) -> None:
    monkeypatch.setattr(protocol_module, "MOST_CONNECTIONS", 2)
    server = InThread(runtime)
    try:
        with server.connection() as first, server.connection() as second:
            for own in (first, second):
                own.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                assert own.recv(100).startswith(b"HTTP/1.1 200")
            with server.connection() as third:
                said = server.said(third)
            assert said.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 1" in said
    finally:
        assert server.end() == 0


@pytest.mark.slow
def test_what_is_in_the_engine_is_answered_before_the_end(runtime) -> None:
    gate = Gate(runtime)
    server = InThread(runtime)
    with server.connection() as own:
        own.sendall(request(picture(1)))
        assert gate.reached.wait(SECONDS)
        server.tell()
        time.sleep(0.8)  # longer than the time for others to hear of it
        assert server.thread.is_alive()
        with server.connection() as late:
            late.sendall(request(picture(2)))
            said = server.said(late)
            assert said.startswith(b"HTTP/1.1 503")
            assert b"shutting down" in said
        gate.open()
        head, _, body = server.said(own).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body)["width"] == 8
    server.thread.join(SECONDS)
    server.listening.close()
    assert server.lost == 0
    assert runtime.batches == [1]


@pytest.mark.slow
def test_told_twice_it_does_not_wait(runtime) -> None:
    gate = Gate(runtime)
    server = InThread(runtime)
    with server.connection() as own:
        own.sendall(request(picture(1)))
        assert gate.reached.wait(SECONDS)
        server.tell()
        server.tell()
        assert server.said(own).startswith(b"HTTP/1.1 503")
    server.thread.join(SECONDS)
    assert not server.thread.is_alive()
    server.listening.close()
    gate.open()


@pytest.mark.slow
def test_an_engine_that_breaks_is_an_answer_and_a_line(runtime, monkeypatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(server_module.Log, "__call__", lambda self, line: lines.append(line))

    def fail(number: int) -> None:
        raise RuntimeError("the engine broke\nin two lines")

    runtime.at = fail
    server = InThread(runtime)
    try:
        with server.connection() as own:
            own.sendall(request(picture(1)))
            assert own.recv(1000).startswith(b"HTTP/1.1 500")
        with server.connection() as own:
            own.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert own.recv(1000).startswith(b"HTTP/1.1 200")
    finally:
        server.end()
    assert any("RuntimeError: the engine broke" in line for line in lines)


def test_who_does_not_read_the_log_stops_nothing(monkeypatch) -> None:
    held = threading.Event()
    monkeypatch.setattr(server_module.os, "write", lambda *_: held.wait(SECONDS))
    log = server_module.Log()
    for _ in range(5000):
        log("a line")
    log.close(0.05)
    held.set()


def test_a_host_that_others_reach_without_a_token_is_a_warning(monkeypatch) -> None:
    """Nothing listens here but on loopback, which is taken for another address."""
    from click.testing import CliRunner

    monkeypatch.setattr(server_module, "is_loopback", lambda own: False)
    monkeypatch.setattr(server_module.Server, "run", lambda self, ready: 0)
    monkeypatch.setattr(command_module, "_opened", lambda *_: [Detector(MadeUpRuntime())])
    for token, warned in ((None, True), ("secret", False)):
        options = [] if token is None else ["--token", token]
        done = CliRunner().invoke(command_module.command, ["x", "--port", "0", *options])
        assert done.exit_code == 0, done.output
        assert ("warning: 127.0.0.1 can be reached" in done.output) == warned


def test_loopback_is_known() -> None:
    for host, own in (("127.0.0.1", True), ("localhost", True)):
        with bound_socket(host, 0) as listening:
            assert server_module.is_loopback(listening) == own
            assert server_module.url_of_socket(listening).startswith("http://")
