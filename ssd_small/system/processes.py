"""Child processes that end with their parent, however it ends.

``python -m ssd_small.system.processes PID MODULE ...`` runs a module as ``python -m`` does, as a
child that ends with the process PID.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

#: from <linux/prctl.h>
_PR_SET_PDEATHSIG = 1


def command_of_child(module: str, *arguments: str) -> list[str]:
    """Command line that runs a module in a child that ends with this process."""
    return [sys.executable, "-m", __name__, str(os.getpid()), module, *arguments]


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when ``parent``, which started it, has ended.

    On Linux this happens when the thread that started it ends, so that thread must live as long as
    the parent. On other systems this does nothing.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # the parent may have ended before the request
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def end_worker_with_parent() -> None:
    """Like :func:`end_with_parent`, for a :mod:`multiprocessing` process that calls it itself."""
    from multiprocessing import connection, parent_process

    parent = parent_process()
    if parent is None or parent.pid is None:
        return
    if sys.platform == "linux" and os.getppid() == parent.pid:
        end_with_parent(parent.pid)
        return
    # it may have been forked by a server, whose end says nothing about the parent's
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
