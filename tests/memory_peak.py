"""What a piece of work takes at most of memory, measured in a process of its own."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable


def peak_of(work: Callable[[], object], *, seconds: int = 60) -> int:
    """Bytes by which the resident set of a fork of this process grew at most while it worked.

    The fork is killed by its own alarm after ``seconds``. What ``work`` raises fails the caller.
    """
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        import signal

        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            # the peak of the parent is not the child's
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
            _use_one_thread()
            before = _status("VmHWM")
            work()
            os.write(sending, str(_status("VmHWM") - before).encode())
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)
    os.close(sending)
    with os.fdopen(receiving) as answers:
        answer = answers.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the work ended with {status} (14: it took more than {seconds} s)"
    return int(answer)


def _use_one_thread() -> None:
    """Threads that computing has left in the parent are not here, and would be waited for."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
    if (cv2 := sys.modules.get("cv2")) is not None:
        cv2.setNumThreads(1)


def _status(name: str) -> int:
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
