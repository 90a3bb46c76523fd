"""Locks of outputs: one holder, told by name, and none once it has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ssd_small.errors import Note, OutputError
from ssd_small.system import locks
from ssd_small.system.locks import LockHeld, held, is_held

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no POSIX locks")

#: holds the lock it is given until its standard input ends
_HOLDER = """
import sys
from pathlib import Path
from ssd_small.system.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
#: the same, with a forked child that outlives it and says its number
_PARENT = """
import os, sys, time
from pathlib import Path
from ssd_small.system.locks import held
with held(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    sys.stdin.read()
"""
#: the same, with a forked child that is refused and leaves the block by its parent's way
_LEAVING_CHILD = """
import os, sys
from pathlib import Path
from ssd_small.system.locks import LockHeld, held
with held(Path(sys.argv[1])):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with held(Path(sys.argv[1])):
                os._exit(1)
        except LockHeld:
            os.write(writer, b"refused")
    else:
        assert os.waitpid(child, 0)[1] == 0
        print(os.read(reader, 99).decode() + ", left", flush=True)
        sys.stdin.read()
"""


@contextmanager
def _process(program: str, lock: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process and the first line that it prints."""
    with subprocess.Popen(
        [sys.executable, "-c", program, lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_another_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    lock = tmp_path / "run" / "lock"
    assert not is_held(lock)
    with _process(_HOLDER, lock) as (process, line):
        assert line == "held"
        assert is_held(lock)
        with pytest.raises(LockHeld) as refused, held(lock):
            pass
        assert f"cannot write {lock.parent}: process {process.pid} is at work" in str(refused.value)
        assert refused.value.exit_code == 4
        process.communicate("")
    assert not lock.parent.exists(), "the folder that was made for it goes with it"


def test_a_look_never_takes_the_lock_from_anybody(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held(lock):
        assert is_held(lock)
        with _process(_HOLDER, lock) as (other, line):
            assert line == "", "is_held() has let go of this process' lock"
            assert other.wait(30) == 1
    assert not is_held(lock)
    assert not lock.exists()


def test_a_killed_holder_refuses_nobody_though_a_child_of_it_lives(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with _process(_PARENT, lock) as (process, line):
        child = int(line)
        try:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(30)
            os.kill(child, 0)
            assert lock.exists()
            assert not is_held(lock)
            with held(lock):
                pass
        finally:
            os.kill(child, signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def test_a_process_refuses_itself_by_any_name(tmp_path: Path) -> None:
    lock, link = tmp_path / "run" / "lock", tmp_path / "link"
    link.symlink_to("run")
    with held(lock):
        for again in (lock, link / "lock"):
            with pytest.raises(LockHeld, match="this process is at work"), held(again):
                pass
        with _process(_HOLDER, lock) as (other, _):
            assert other.wait(30) == 1, "the refused attempt has let go of the lock"


def test_a_child_does_not_release_what_its_parent_holds(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with _process(_LEAVING_CHILD, lock) as (_, line):
        assert line == "refused, left"
        assert lock.exists()
        assert is_held(lock)


@pytest.mark.slow
def test_of_many_at_once_one_holds_it(tmp_path: Path) -> None:
    """Holders that come and go, each of which removes the file that the next may have open."""
    lock, inside, most = tmp_path / "run" / "lock", [0], [0]
    until = time.monotonic() + 1

    def work() -> None:
        while time.monotonic() < until:
            try:
                with held(lock):
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    time.sleep(0.001)
                    inside[0] -= 1
            except LockHeld:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert not lock.exists()


@pytest.mark.slow
def test_of_many_processes_one_holds_it(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from ssd_small.system.locks import LockHeld, held
root, until, inside = Path(sys.argv[1]), time.monotonic() + 1.5, 0
while time.monotonic() < until:
    try:
        with held(root / "lock"):
            (root / "inside").touch(exist_ok=False)
            (root / "inside").unlink()
            inside += 1
    except LockHeld:
        pass
print(inside)
"""
    started = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=-1, stderr=-1, text=True)
        for _ in range(4)
    ]
    ended = [(process.communicate(timeout=60), process.returncode) for process in started]
    assert [code for _, code in ended] == [0] * 4, ended
    assert all(int(out) > 0 for (out, _), _ in ended)


def test_where_there_are_no_locks_a_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(file: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "lockf", refused)
    with pytest.warns(Note, match="has no locks"), held(tmp_path / "lock"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file_is_the_cause(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lock = tmp_path / "file" / "lock"
    with pytest.raises(OutputError, match="Not a directory") as refused, held(lock):
        pass
    assert not isinstance(refused.value, LockHeld)


def test_a_file_that_others_always_remove_is_held_by_somebody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.lock"
    monkeypatch.setattr(locks.fcntl, "lockf", lambda *_: path.unlink())
    with pytest.raises(LockHeld, match="is at work there"), held(path):
        pass
