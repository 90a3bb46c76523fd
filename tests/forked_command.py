"""The command line in a fork with limits, of a process that has loaded packages and has no threads.

A fork of the tests' own process would lack the threads of OpenMP that computing has left there, and
wait for them.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from ssd_small.cli import main

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["cv2", "onnx", "onnxruntime", "PIL.Image", "hotcoco", "torchvision", "ssd_small.cli"]
)


def run_forked(arguments: list[str], *, seconds: int, processor_seconds: int) -> tuple[int, str]:
    """Exit code of a command, -14 or -24 if its time ran out; and all that it printed.

    Args:
        arguments: of the command line.
        seconds: of the clock.
        processor_seconds: of a processor.
    """
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        limits = (seconds, processor_seconds)
        child = _SERVER.Process(target=_run, args=(arguments, limits, str(said)))
        child.start()
        child.join()
        assert child.exitcode is not None
        return child.exitcode, said.read_text(errors="replace") if said.exists() else ""


def _run(arguments: list[str], limits: tuple[int, int], said: str) -> None:
    code = 99
    with Path(said).open("w") as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
            seconds, processor_seconds = limits
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            resource.setrlimit(resource.RLIMIT_CPU, (_spent() + processor_seconds,) * 2)
            main(arguments)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 98
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _spent() -> int:
    """Seconds of a processor so far; a fork begins at 0, other systems may count on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return int(used.ru_utime + used.ru_stime)
