"""Clips that OpenCV writes, and the command line as a process whose output is read as it comes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Outcome

#: frames, height and width of the clips
FRAMES, SIZE, RATE = 12, (96, 128), 10


def grey(number: int) -> int:
    """The grey level of a frame, by which tests know it."""
    return 20 + 15 * number


def write_clip(path: Path, codec: str, count: int = FRAMES, size: tuple[int, int] = SIZE) -> Path:
    """A clip whose frames are of one grey each."""
    cv2 = pytest.importorskip("cv2")
    code = cv2.VideoWriter_fourcc(*codec)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, RATE, size[::-1])
    assert writer.isOpened()
    for number in range(count):
        writer.write(np.full((*size, 3), grey(number), np.uint8))
    writer.release()
    return path


def entries_of(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Running:
    """``ssd-small`` in a process of its own, whose output is read while it runs."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        command = [sys.executable, "-m", "ssd_small", *map(str, arguments)]
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err)

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_for(self, what: Callable[[], bool], seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, (self.process.returncode, self.err)
            assert time.monotonic() < end, (self.out[-300:], self.err)
            time.sleep(0.05)

    def wait_for_lines(self, count: int) -> None:
        self.wait_for(lambda: self.out.count("\n") >= count)

    def interrupt(self) -> Outcome:
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self, seconds: float = 90) -> Outcome:
        return Outcome(self.process.wait(seconds), self.out, self.err)
