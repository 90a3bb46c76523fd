"""Child processes that end with their parent, however it ends.

``python -m ssd_small.system.processes PID MODULE ...`` runs a module as ``python -m`` does, as such
a child of the process PID.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

#: of <linux/prctl.h>
_PR_SET_PDEATHSIG = 1


def command_of_child(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module in a child of this process; it ends with it."""
    return [sys.executable, "-m", __name__, str(os.getpid()), module, *arguments]


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when ``parent``, which started it, is gone.

    Linux counts the thread that started it: no other may go on without it. Elsewhere nothing is
    done.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # it may have ended before the kernel was asked
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def end_worker_with_parent() -> None:
    """The same for a process of :mod:`multiprocessing`, which calls it itself."""
    from multiprocessing import connection, parent_process

    parent = parent_process()
    if parent is None or parent.pid is None:
        return
    if sys.platform == "linux" and os.getppid() == parent.pid:
        end_with_parent(parent.pid)
        return
    # a server may have forked it, whose end says nothing of the parent's
    sentinel = parent.sentinel

    def watch() -> None:
        connection.wait([sentinel])
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    from runpy import run_module

    _, _parent, _module, *_arguments = sys.argv
    end_with_parent(int(_parent))
    sys.argv[1:] = _arguments
    run_module(_module, run_name="__main__", alter_sys=True)
