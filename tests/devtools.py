"""A browser without a window that is told what to do, by the DevTools protocol over two pipes."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import CHROMIUM

SECONDS = 60


class Tab:
    """A page in a browser."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._read, self._number, self._session = b"", 0, ""
        #: what the page has said on its console or thrown, and what it has asked others for
        self.faults: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """One command and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + SECONDS
        while True:
            said = self._next(end)
            if said.get("id") == self._number:
                assert "result" in said, said
                return said["result"]
            self._heard(said)

    def _next(self, end: float) -> Any:
        while b"\0" not in self._read:
            left = end - time.monotonic()
            assert left > 0
            assert select.select([self._answers], [], [], left)[0], "the browser says nothing"
            part = os.read(self._answers, 1 << 20)
            assert part, "the browser has ended"
            self._read += part
        line, _, self._read = self._read.partition(b"\0")
        return json.loads(line)

    def _heard(self, said: Any) -> None:
        method, params = said.get("method", ""), said.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.faults.append(json.dumps(params))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.faults.append(params["entry"]["text"])

    def go(self, url: str, width: int) -> None:
        """Open a page on a screen of a width; a telephone's below 600 pixels."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def of(self, expression: str) -> Any:
        """The value of a script's expression."""
        how = {"returnByValue": True, "awaitPromise": True}
        done = self.call("Runtime.evaluate", expression=expression, **how)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until it is true, not for ever."""
        end = time.monotonic() + SECONDS
        while not self.of(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.05)

    def choose(self, selector: str, file: Path) -> None:
        """Give an input a file, as its user does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def press(self, key: str) -> None:
        """A key."""
        for kind in ("rawKeyDown", "keyUp"):
            codes = {"Tab": 9, "ArrowRight": 39}
            words = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
            self.call("Input.dispatchKeyEvent", **words)


@contextmanager
def tab(folder: Path) -> Iterator[Tab]:
    """A browser with one page, whose own files lie in ``folder``; gone afterwards."""
    assert CHROMIUM is not None
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    words = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    words += [f"--user-data-dir={folder / 'browser'}", "--remote-debugging-pipe"]
    # it wants to read 3 and to write 4; the shell puts them there whatever their numbers are
    shell = f'exec "$@" 3<&{command_read} 4>&{answer_write}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", *words],
        pass_fds=(command_read, answer_write),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    os.close(command_read)
    os.close(answer_write)
    try:
        page = Tab(command_write, answer_read)
        yield page
        page._session = ""
        os.write(command_write, b'{"id": 0, "method": "Browser.close"}\0')
        process.wait(20)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(command_write)
        os.close(answer_read)
