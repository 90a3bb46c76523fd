"""No command speaks to anything beyond this machine, or writes beside its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from traced_calls import (
    can_leave_the_network,
    can_trace,
    changes_outside,
    trace,
    words_sent,
)

Traced = Callable[..., str]
#: where ONNX Runtime keeps the device's id, below the user's cache folder
DEVICE_ID = Path("Microsoft/DeveloperTools/.onnxruntime/deviceid")
SWITCHES = ("ORT_DISABLE_TELEMETRY", "FIFTYONE_DO_NOT_TRACK")
#: an engine that stays open; ONNX Runtime looks its collector up about 10 s after it was loaded
OPEN = """
import sys, time
{first}
from ssd_small import load
with load(sys.argv[1]):
    time.sleep(float(sys.argv[2]))
"""
#: as a program that knows nothing of this package
UNAWARE = "import onnxruntime"


@pytest.fixture
def plain(tmp_path: Path) -> dict[str, str]:
    """A user's environment with a home of its own, where neither CI nor a switch is set."""
    for name in ("home", "temporary", "work"):
        (tmp_path / name).mkdir()
    kept = ("PATH", "LD_LIBRARY_PATH", "LANG", "SSD_SMALL_DATA")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "temporary"),
        "OMP_NUM_THREADS": "1",
        # Python's own cache, beside the sources
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def traced(plain: dict[str, str], tmp_path: Path) -> Traced:
    """Run Python under strace in the folder ``work``; its calls go to the file ``calls``."""
    if not can_trace():
        pytest.skip("not executed here: strace is absent or may not trace")

    def run(*arguments: object, alone: bool = False, **variables: str) -> str:
        if alone and not can_leave_the_network():
            pytest.skip("not executed here: no network namespace of its own")
        command = (sys.executable, *arguments)
        folder, env = tmp_path / "work", plain | variables
        return trace(command, tmp_path / "calls", cwd=folder, env=env, alone=alone)

    return run


@pytest.mark.parametrize(("given", "expected"), [(None, ["1", "1"]), ("0", ["0", "0"])])
def test_the_switches_are_set_unless_the_user_did(plain, given, expected):
    code = f"import os, ssd_small; print([os.environ.get(name) for name in {SWITCHES}])"
    env = plain | {name: given for name in SWITCHES if given}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == str(expected)


def test_the_guard_sees_words_and_files(traced, tmp_path):
    """A datagram's address is given without anything being sent; 192.0.2.0 belongs to nobody."""
    outside, inside = tmp_path / "outside", tmp_path / "work" / "inside"
    code = (
        "import os, socket, sys\n"
        "for address in ('127.0.0.1', '192.0.2.1'):\n"
        "    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect((address, 53))\n"
        "open(sys.argv[1], 'w').close(); open('inside', 'w').close(); open(sys.argv[1])\n"
        "os.rename(sys.argv[1], sys.argv[1] + '2'); os.mkdir(sys.argv[1] + '3')"
    )
    traced("-W", "ignore", "-c", code, outside)
    (word,) = words_sent(tmp_path / "calls")
    assert "192.0.2.1" in word
    found = changes_outside(tmp_path / "calls", inside.parent, [inside.parent])
    assert found == [str(outside), str(outside), f"{outside}2", f"{outside}3"]


@pytest.mark.slow
def test_the_commands_of_the_demo_send_no_word(traced, tmp_path):
    work = tmp_path / "work"

    def call(*arguments: object) -> str:
        out = traced("-m", "ssd_small", *arguments)
        assert words_sent(tmp_path / "calls") == []
        allowed = [work, tmp_path / "home" / ".cache", tmp_path / "temporary"]
        assert changes_outside(tmp_path / "calls", work, allowed) == []
        assert not (tmp_path / "home" / ".cache" / DEVICE_ID).exists()
        return out

    call("digits", "digits", "--train-images", 2, "--val-images", 3)
    call("models")
    network = ("--model", "mobilenet_v1", "--weights", "digits/mobilenet_v1")
    call("export", *network, "--preset", "coco", "--output", "m.onnx")
    call("build-engine", "m.onnx", "--target", "onnxruntime", "--output", "m.engine")
    truth = ("--annotations", "digits/val.json", "--images", "digits/val", "--json")
    for source in ((*network, "--protocol", "coco"), ("--engine", "m.engine")):
        assert json.loads(call("eval", *source, *truth))["metrics"]
    call("bench", "--model", "mobilenet_v1", "--width", "0.25", "--seconds", "0.2", "--json")
    call("detect", "--engine", "m.engine", "digits/val", "--output", "pictures")
    call("doctor", "m.engine")


@pytest.mark.slow
def test_an_open_engine_sends_no_word(traced, engine, tmp_path):
    traced("-c", OPEN.format(first=""), engine, 30)
    assert words_sent(tmp_path / "calls") == []
    assert changes_outside(tmp_path / "calls", tmp_path / "work", []) == []
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.slow
def test_an_engine_of_openvino_sends_no_word(traced, onnx_file, tmp_path):
    path = tmp_path / "work" / "openvino.engine"
    traced("-m", "ssd_small", "build-engine", onnx_file, "--target", "openvino", "-o", path)
    built = words_sent(tmp_path / "calls")
    traced("-c", OPEN.format(first=""), path, 2)
    assert (built, words_sent(tmp_path / "calls")) == ([], [])
    assert changes_outside(tmp_path / "calls", tmp_path / "work", []) == []
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.slow
def test_openvino_alone_would_write_into_the_home(traced, tmp_path):
    """In a network of its own, so that even this sends nothing."""
    traced("-c", "import openvino", alone=True)
    assert list((tmp_path / "home").iterdir()) != []


@pytest.mark.slow
def test_without_the_switch_the_guard_sees_onnx_runtime(traced, engine, tmp_path):
    """In a network of its own, so that even this sends nothing."""
    import onnxruntime

    version = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
    if version < (1, 29):
        pytest.skip("ONNX Runtime sends telemetry from 1.29 on")
    traced("-c", OPEN.format(first=UNAWARE), engine, 30, alone=True)
    assert words_sent(tmp_path / "calls") != []
    written = changes_outside(tmp_path / "calls", tmp_path / "work", [])
    assert str(tmp_path / "home" / ".cache" / DEVICE_ID.parent) in written
    assert (tmp_path / "home" / ".cache" / DEVICE_ID).exists()
