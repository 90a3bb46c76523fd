"""`ssd-small serve` as a process on loopback, and a client that reads whole answers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: seconds of the clock for what takes one or two on a machine that is idle
SECONDS = 60
BOUNDARY = "a-boundary-that-no-picture-has"


@dataclass
class Answer:
    """Of a server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def refuses(self, status: int, *words: str) -> None:
        """One line of JSON with one field, and why."""
        assert self.status == status, self
        assert list(self.json) == ["error"]
        assert self.body.count(b"\n") == 1
        assert self.body.endswith(b"\n")
        assert self.headers["content-type"] == "application/json"
        for word in words:
            assert word in self.json["error"], self.body


@dataclass
class Running:
    """A server.

    Attributes:
        process: which must be gone in the end.
        port: that it listens on.
        log: its standard error so far, a line each.
    """

    process: subprocess.Popen[str]
    port: int
    log: list[str] = field(default_factory=list)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Answer:
        """One request by a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, dict(headers or {}), **more)
            return read(connection)
        finally:
            connection.close()

    def detect(self, content: bytes, query: str = "", **headers: str) -> Answer:
        """A picture as body."""
        return self.ask("POST", f"/v1/detect{query}", content, headers)

    def say(self, text: bytes) -> bytes:
        """Raw bytes; all that comes until the connection is closed, or quiet for a while."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=0.3) as own:
            said = b""
            try:
                own.sendall(text)
                while part := own.recv(65536):
                    said += part
            except OSError:
                pass
            return said

    def end(self, number: int = signal.SIGTERM) -> int:
        """Tell it to end; its exit code."""
        os.kill(self.process.pid, number)
        return self.process.wait(20)


def read(connection: http.client.HTTPConnection) -> Answer:
    """A whole answer, or an exception."""
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(answer.status, headers, answer.read())


def form(content: bytes, name: str = "file", filename: str = "a.jpg") -> dict[str, Any]:
    """Body and headers of a form with one field."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"'
    body = f"{head}\r\n\r\n".encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    return {
        "body": body,
        "headers": {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    }


@contextmanager
def serving(
    engine: object,
    *options: object,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[Any]:
    """A server on a free port, ended and waited for, whatever happens."""
    command = [sys.executable, "-m", "ssd_small", "serve", str(engine), "--port", "0"]
    command += ["--threads", "1", *map(str, options)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        start_new_session=True,
        cwd=folder,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    running = Running(process, 0)
    stderr = process.stderr
    reader = threading.Thread(target=lambda: running.log.extend(stderr), daemon=True)
    reader.start()
    try:
        line = process.stdout.readline()
        assert " at http://127.0.0.1:" in line, (line, running.log)
        running.port = int(line.rpartition(":")[2])
        yield running
        if process.poll() is None:
            assert running.end() == 0, running.log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(5)
        process.stdout.close()
        stderr.close()
    assert session_of(process.pid) == [], "a process was left"


def session_of(leader: int) -> list[int]:
    """Processes of a session, its leader's children and theirs."""
    found = []
    for one in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = one.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(one.parent.name))
    return found


def resident_megabytes(process: int) -> float:
    """What a process holds in memory."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def until(true: Any, seconds: float = SECONDS) -> None:
    """Wait for something, not for ever."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
