"""A short share of `make fuzz-cli`; and that the fuzzer sees each way to fail."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import fuzz_judge
import pytest
from fuzz_case import NOTHING, Case

import ssd_small.cli
import ssd_small.cli.models

for package in ("cv2", "onnx", "onnxruntime", "torchvision", "yaml"):
    pytest.importorskip(package)
fuzz_cli = pytest.importorskip("fuzz_cli")

FUZZER = Path(__file__).with_name("fuzz_cli.py")


@pytest.mark.slow
def test_a_share_of_the_inputs_of_every_kind(tmp_path: Path) -> None:
    counts = ("--inputs", "150", "--seconds", "120", "--seed", "15")
    done = subprocess.run(
        [sys.executable, FUZZER, *counts, "--output", tmp_path / "fuzz"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert not list((tmp_path / "fuzz" / "work").iterdir())
    for kind in fuzz_cli.KINDS:
        assert f"\n{kind} " in done.stdout


@pytest.mark.slow
def test_every_command_gets_inputs(tmp_path: Path) -> None:
    """A command that is added has no place in the fuzzer yet, and this fails."""
    from kinds_commands import BASES

    assert set(BASES) == set(ssd_small.cli.cli.list_commands(click.Context(ssd_small.cli.cli)))


def _says(text: str, code: int = 4) -> Callable[[], None]:
    def act() -> None:
        click.echo(text, err=True)
        raise SystemExit(code)

    return act


def _raises() -> None:
    raise RuntimeError("planted")


def _crashes() -> None:
    os.kill(os.getpid(), 11)


def _hangs() -> None:
    time.sleep(60)


def _takes_memory() -> None:
    # of the system: what was freed before the fork, and kept, would be taken for nothing new
    hold = mmap.mmap(-1, 1 << 28, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(hold), 4096):
        hold[at] = 1


def _leaves_a_file() -> None:
    Path("tmp/ssd-small-left").write_text("x")


def _changes_its_input() -> None:
    Path("in/given").write_text("other")


def _writes_infinity() -> None:
    Path("out/x.json").write_text("[Infinity]")


def _says_past_the_guard() -> None:
    os.write(2, f"{ERROR} \x1b[31m\n".encode())
    raise SystemExit(4)


def _nothing() -> None:
    pass


ERROR = "ssd-small: error: x"


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[str]]:
    """Faults found where ``models`` does what is given."""
    monkeypatch.setattr("fuzz_process.WALL_SECONDS", 2)
    monkeypatch.setattr(fuzz_judge, "MEMORY", 1 << 25)

    change = ""

    def make(rng: object, place: object) -> Case:
        (place.folder / "in" / "given").write_text("good")  # type: ignore[attr-defined]
        return Case(change, ("models",))

    def run(act: Callable[[], None], said: str = "planted") -> list[str]:
        nonlocal change
        change = said
        monkeypatch.setitem(fuzz_cli.KINDS, "planted", (make, 1))
        monkeypatch.setattr(ssd_small.cli.models.command, "callback", lambda **options: act())
        fuzzer = fuzz_cli.Fuzzer(0, tmp_path, 1)
        fuzzer.run([("planted", 0)], 10)
        failed = fuzzer.counts["planted"].failed
        assert failed == len(fuzzer.failures)
        return fuzzer.failures[0].faults if failed else []

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "fault"),
    [
        (_raises, "exit code: 70"),
        (_says("Traceback (most recent call last):\n  x"), "traceback"),
        (_crashes, "crash: SIGSEGV"),
        (_hangs, "hang"),
        (_takes_memory, "memory"),
        (_leaves_a_file, "left behind: tmp/ssd-small-left"),
        (_changes_its_input, "input changed: in/given"),
        (_writes_infinity, "not JSON: out/x.json"),
        (_says(ERROR, 9), "exit code: 9"),
        (_says(ERROR, 0), "exit 0 with an error"),
        (_says(f"{ERROR}\n{ERROR}"), "error lines: 2"),
        (_says(""), "no error line"),
        (_says(f"libpng error\n{ERROR}"), "foreign line: libpng error"),
        (_says_past_the_guard, "raw control character"),
        (_says(f"{ERROR}{'x' * 5000}"), "long line"),
        (_says(f"{ERROR}: internal error"), "internal error"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_planted_fault_is_counted(
    planted: Callable[..., list[str]], act: Callable[[], None], fault: str
) -> None:
    (found, *_) = planted(act)
    assert found.startswith(fault)


@pytest.mark.slow
@pytest.mark.parametrize("act", [_nothing, _says(ERROR)], ids=["fine", "refused"])
def test_what_is_right_is_not_counted(
    planted: Callable[..., list[str]], act: Callable[[], None]
) -> None:
    assert planted(act) == []


def test_what_a_page_is_written_to_is_an_output() -> None:
    words = ("eval", "--engine", "in/e", "--report", "out/p", "--save-detections=out/d")
    asked, read = fuzz_judge._named(words)
    assert asked == {"out/p", "out/d"}
    assert not asked & read


@pytest.mark.slow
def test_a_good_input_must_be_accepted(planted: Callable[..., list[str]]) -> None:
    assert planted(_nothing, NOTHING) == []
    (found,) = planted(_says(ERROR), NOTHING)
    assert found.startswith("a good input refused")
