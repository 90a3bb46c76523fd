"""Streams on this machine: the newest frame, dropped ones, reconnecting, and Ctrl-C."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from clips import entries_of, free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def sending(ffmpeg) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Debian's ffmpeg gives a moving picture to whoever connects to an address."""
    started: list[subprocess.Popen[bytes]] = []

    def run(address: str) -> subprocess.Popen[bytes]:
        source = ("-re", "-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=120")
        codec = ("-c:v", "mpeg2video", "-g", "5", "-f", "mpegts")
        command = [str(shutil.which("ffmpeg")), "-loglevel", "error", *source, *codec]
        # http: a server that answers one client
        listen = ("-listen", "1") if address.startswith("http") else ()
        ends = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen([*command, *listen, address], **ends))
        return started[-1]

    yield run
    for one in started:
        one.kill()
        one.wait()


@pytest.fixture
def opened():
    cv2 = pytest.importorskip("cv2")

    def count(path) -> int:
        capture, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), 0
        while capture.grab():
            frames += 1
        return frames

    return count


def _check_frames(entries) -> None:
    indices, times = ([entry[key] for entry in entries] for key in ("frame", "time"))
    assert indices == sorted(set(indices))
    assert times == sorted(times)
    assert {(entry["width"], entry["height"]) for entry in entries} == {(160, 120)}


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_a_stream_of_ffmpeg_s_is_read_until_ctrl_c(kind, start, engine, sending, tmp_path, opened):
    address = f"{kind}://127.0.0.1:{free_port()}"
    sending(f"{address}{'?listen=1' if kind == 'tcp' else ''}")
    time.sleep(1)
    out = tmp_path / "x.mp4"
    running = start("detect", "--engine", engine, address, "--json", "-o", out, "--track")
    running.wait_for_lines(20)
    outcome = running.interrupt()
    assert outcome.code == 130, outcome.err
    assert outcome.out.endswith("}\n")
    entries = entries_of(outcome.out)
    _check_frames(entries)
    assert f"{address}: {len(entries)} frames, " in outcome.err
    assert " dropped of " in outcome.err
    # what was seen until then is a whole video
    assert opened(out) in (len(entries), len(entries) + 1)


def test_a_stream_ends_when_nobody_reads_its_lines(engine, sending):
    address = f"tcp://127.0.0.1:{free_port()}"
    sending(f"{address}?listen=1")
    time.sleep(1)
    command = [sys.executable, "-m", "ssd_small", "detect", "--engine", str(engine), address]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "--json"], **pipes) as running:
        assert running.stdout.readline().endswith("}\n")
        running.stdout.close()
        try:
            assert running.wait(20) == 0, running.stderr.read()
        finally:
            running.kill()


def test_an_rtsp_stream_that_goes_away_is_taken_up_again(start, engine, rtsp):
    port = free_port()
    server = rtsp(port)
    address = f"rtsp://127.0.0.1:{port}/camera"
    running = start("detect", "--engine", engine, address, "--json")
    running.wait_for_lines(5)
    server.kill()
    server.wait()
    running.wait_for(lambda: "reconnect" in running.err)
    seen = running.out.count("\n")
    rtsp(port)
    running.wait_for_lines(seen + 5)
    outcome = running.interrupt()
    assert outcome.code == 130, outcome.err
    _check_frames(entries_of(outcome.out))
    lines = outcome.err.splitlines()
    assert lines[0].startswith(f"{address} gives no more frames; reconnect in 3 s")
    assert any(line.startswith(f"{address} reconnected after ") for line in lines)


def test_ctrl_c_ends_it_while_the_source_is_away(start, engine, sending):
    address = f"tcp://127.0.0.1:{free_port()}"
    server = sending(f"{address}?listen=1")
    time.sleep(1)
    running = start("detect", "--engine", engine, address, "--json")
    running.wait_for_lines(3)
    server.kill()
    server.wait()
    running.wait_for(lambda: running.err.count("reconnect in") >= 2)
    outcome = running.interrupt()
    assert outcome.code == 130, outcome.err
    assert outcome.err.splitlines()[-1] == "ssd-small: interrupted; nothing half-written was left"
