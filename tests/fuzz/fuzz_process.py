"""A command in a fork of a process that has the libraries loaded, within limits."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import io
import json
import logging
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

import click.utils
from fuzz_case import Case, Generator, Place, snapshot

#: seconds, of the processor and by the clock: a good input takes up to five
CPU_SECONDS, WALL_SECONDS = 30, 60
#: bytes that a command may take beyond what the loaded libraries hold: address space, and memory
ADDRESSES, MEMORY = 8 << 30, 2 << 30
#: exit code of the fork where the case itself could not be made
NOT_MADE = 99


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        case: what was run.
        arguments: its command line, or that of what came after.
        code: exit code; minus the signal that ended it.
        timed_out: it was ended for taking too long by the clock.
        memory: bytes at most that it held beyond what the fork began with.
        out: standard output.
        err: standard error.
        before: what lay in the folder of the case.
        after: what lies there now.
    """

    case: Case
    arguments: tuple[str, ...]
    code: int
    timed_out: bool
    memory: int
    out: bytes
    err: bytes
    before: dict[str, str]
    after: dict[str, str]


@dataclass
class Running:
    """A command that has been started, with a descriptor that is readable once it has ended.

    ``waited``: seconds that were waited for it, without those in which the machine stood still.
    """

    folder: Path
    pid: int
    descriptor: int
    started: float
    follows: bool
    waited: float = 0.0


def load_libraries() -> None:
    """Import what commands import, so that a fork need not; none of it may start a thread.

    What a library leaves in the temporary folder while it loads is therefore not seen here.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import cv2
    import onnx
    import onnxruntime
    import PIL.Image
    import safetensors
    import ssd_small.export
    import torch
    import torchvision
    import yaml

    import ssd_small.cli
    import ssd_small.datasets.coco
    import ssd_small.detection.load
    import ssd_small.evaluation.evaluate
    import ssd_small.training

    del cv2, onnx, onnxruntime, PIL, safetensors, torch, torchvision, yaml, ssd_small


def start(make: Generator, key: str, folder: Path) -> Running:
    """Fork: make the case in ``folder`` and run it."""
    for name in ("in", "out", "tmp", "home"):
        (folder / name).mkdir(parents=True)

    def prepare() -> Case:
        # inputs may hold what Python would not write out by itself
        sys.set_int_max_str_digits(0)
        case = make(random.Random(key), Place(folder))
        (folder.parent / f"{folder.name}.case").write_text(case.as_json())
        return case

    return _forked(folder, prepare, follows=False)


def start_next(case: Case, folder: Path) -> Running:
    """Fork: run what reads the output of a case."""
    return _forked(folder, lambda: case, follows=True)


def _forked(folder: Path, prepare: object, *, follows: bool) -> Running:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = NOT_MADE
        try:
            os.setsid()
            case = prepare()  # type: ignore[operator]
            held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            said = json.dumps({"files": snapshot(folder), "held": held})
            (folder.parent / f"{folder.name}.before").write_text(said)
            code = _run(case, case.then if follows else case.arguments, folder)
        except BaseException:
            # on the stream of the fuzzer, which ends by it
            traceback.print_exc()
        finally:
            os._exit(code)
    return Running(folder, pid, os.pidfd_open(pid), time.monotonic(), follows)


def wait_any(running: list[Running]) -> tuple[Running, Ended]:
    """The first that ends, by itself or by the clock; it is removed from the list."""
    before = time.monotonic()
    while True:
        ready, _, _ = select.select([one.descriptor for one in running], [], [], 0.5)
        now = time.monotonic()
        tick, before = min(now - before, 1.0), now
        for one in running:
            one.waited += tick
        for one in running:
            late = one.waited > WALL_SECONDS
            if one.descriptor in ready or late:
                running.remove(one)
                return one, _collected(one, late and one.descriptor not in ready)


def _collected(one: Running, timed_out: bool) -> Ended:
    # what the command itself has started belongs to its group
    if timed_out:
        os.killpg(one.pid, signal.SIGKILL)
    _, status, usage = os.wait4(one.pid, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(one.pid, signal.SIGKILL)
    os.close(one.descriptor)
    code = os.waitstatus_to_exitcode(status)
    beside = one.folder.parent
    if code == NOT_MADE:
        raise RuntimeError(f"the case in {one.folder} could not be made; see above")
    case = Case.from_json((beside / f"{one.folder.name}.case").read_text())
    before = json.loads((beside / f"{one.folder.name}.before").read_text())
    return Ended(
        case,
        case.then if one.follows else case.arguments,
        code,
        timed_out,
        (usage.ru_maxrss << 10) - before["held"],
        (beside / f"{one.folder.name}.out").read_bytes(),
        (beside / f"{one.folder.name}.err").read_bytes(),
        before["files"],
        snapshot(one.folder),
    )


def _run(case: Case, arguments: tuple[str, ...], folder: Path) -> int:
    """In the fork: what a process of ``ssd-small`` does, and its exit code."""
    _as_a_fresh_process(case, folder)
    from ssd_small.cli import main

    code: object = 0
    try:
        main(list(arguments))
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()  # type: ignore[attr-defined]
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code if isinstance(code, int) else 1


def _as_a_fresh_process(case: Case, folder: Path) -> None:
    """Streams, limits, working folder and environment; nothing of the parent's is kept."""
    os.chdir(folder)
    beside = folder.parent
    for number, name in ((0, os.devnull), (1, f"{folder.name}.out"), (2, f"{folder.name}.err")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(beside / name, flags, 0o600), number)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8")
    for number, stream, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        raw = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        wrapper = io.TextIOWrapper(raw, case.encoding, errors, line_buffering=number == 2)
        setattr(sys, stream, wrapper)
    os.environ.update(TMPDIR=str(folder / "tmp"), HOME=str(folder / "home"))
    for name, value in case.environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    tempfile.tempdir = None
    # what a terminal would get; click takes escape sequences away where there is none
    click.utils.should_strip_ansi = lambda stream=None, color=None: False
    sys.set_int_max_str_digits(sys.int_info.default_max_str_digits)
    # what a test runner has set up is not the program's
    faulthandler.disable()
    atexit._clear()  # type: ignore[attr-defined]
    logging.root.handlers.clear()
    warnings.resetwarnings()
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ADDRESSES, held + ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
