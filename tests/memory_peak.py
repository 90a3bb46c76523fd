"""What a piece of work takes at most of memory, measured in a process of its own."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def peak_of(work: Callable[[], object], *, seconds: int = 60) -> int:
    """Bytes by which the resident set of a fork of this process grew at most while it worked.

    The fork is killed by its own alarm after ``seconds``. What ``work`` raises fails the caller.
    """
    receiving, sending = os.pipe()
    # told before the fork: OpenCV would wait there for the threads of its pool, which are not in it
    with _one_thread():
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


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads that computing has left here are not in a fork, where they would be waited for."""
    own = os.getpid()
    torch, cv2 = sys.modules.get("torch"), sys.modules.get("cv2")
    of_torch = 0 if torch is None else torch.get_num_threads()
    of_cv2 = 0 if cv2 is None else cv2.getNumThreads()
    if torch is not None:
        torch.set_num_threads(1)
    if cv2 is not None:
        cv2.setNumThreads(1)
    yield
    if os.getpid() == own:
        if torch is not None:
            torch.set_num_threads(of_torch)
        if cv2 is not None:
            cv2.setNumThreads(of_cv2)


def _status(name: str) -> int:
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
