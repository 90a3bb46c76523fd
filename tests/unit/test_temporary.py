"""What a killed process left is removed by the next one, and what is in use never."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ssd_small.errors import OutputError
from ssd_small.files import check_writable, write_bytes
from ssd_small.system import temporary
from ssd_small.system.temporary import (
    remove_leftovers,
    remove_own,
    temporary_file,
    temporary_folder,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")

HOLDS = """
import sys, time
from pathlib import Path
from ssd_small.system.temporary import temporary_file, temporary_folder
folder = Path(sys.argv[1])
with temporary_folder(folder) as made, temporary_file(folder) as file:
    (made / "content").touch()
    print("ready", flush=True)
    time.sleep(60)
"""
OLD, OTHER = ".ssd-small-0123abcd.part", ".ssd-small-00000000-0123abcd.part"


@pytest.fixture(autouse=True)
def _always_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_LOOKS_APART", 0)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with a temporary file and a temporary folder in ``tmp_path``."""
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_what_a_living_process_uses_stays_and_goes_when_it_was_killed(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    holder.kill()
    holder.wait()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "use",
    [lambda path: write_bytes(path, b"x"), check_writable],
)
def test_who_writes_or_asks_whether_he_may_removes_leftovers(
    use: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / OLD).touch()
    use(tmp_path / "x")
    assert not (tmp_path / OLD).exists()


def test_this_process_does_not_remove_what_it_uses(tmp_path: Path) -> None:
    with temporary_file(tmp_path) as file, temporary_folder(tmp_path) as folder:
        remove_leftovers(tmp_path)
        assert file.is_file()
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_another_machines_leftovers_must_be_a_day_old(tmp_path: Path) -> None:
    (tmp_path / OTHER).touch()
    remove_leftovers(tmp_path)
    assert (tmp_path / OTHER).exists()
    yesterday = time.time() - 25 * 3600
    os.utime(tmp_path / OTHER, (yesterday, yesterday))
    remove_leftovers(tmp_path)
    assert not (tmp_path / OTHER).exists()


def test_another_users_leftovers_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / OLD).touch()
    me = os.geteuid()
    monkeypatch.setattr(temporary.os, "geteuid", lambda: me + 1)
    remove_leftovers(tmp_path)
    assert (tmp_path / OLD).exists()


@pytest.mark.parametrize("name", ["ssd-small-training", "ssd-small-0123abcd", ".ssd-small-x.part"])
def test_what_a_user_may_have_named_stays(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    remove_leftovers(tmp_path)
    assert (tmp_path / name).exists()


def test_links_and_pipes_of_such_a_name_stay_and_block_nobody(tmp_path: Path) -> None:
    (tmp_path / "user").write_text("kept")
    (tmp_path / OLD).symlink_to(tmp_path / "user")
    os.mkfifo(tmp_path / ".ssd-small-0123abce.part")
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_system_without_locks_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(temporary.fcntl, "flock", no_locks)
    with temporary_file(tmp_path) as file:
        remove_leftovers(tmp_path)
        assert file.exists()
    assert not file.exists()


def test_what_is_taken_for_a_leftover_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, removed = temporary.fcntl.flock, []

    def late(file: int, operation: int) -> None:
        if not removed:
            removed.extend(tmp_path.iterdir())
            removed[0].unlink()
        lock(file, operation)

    monkeypatch.setattr(temporary.fcntl, "flock", late)
    with temporary_file(tmp_path) as file:
        assert file.exists()
        assert file != removed[0]


def test_a_process_that_must_end_removes_its_own(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    with temporary_file(tmp_path), temporary_folder(tmp_path) as folder:
        (folder / "content").touch()
        remove_own()
        assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_folder_of_a_million_files_is_not_read_for_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary, "_LOOKS_APART", 1e9)
    looks = []
    scan = os.scandir
    monkeypatch.setattr(temporary.os, "scandir", lambda folder: looks.append(1) or scan(folder))
    for number in range(5):
        write_bytes(tmp_path / str(number), b"")
    assert len(looks) == 1


def test_the_systems_temporary_folder_is_private_and_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


def test_no_temporary_folder_is_an_error_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="set TMPDIR"), temporary_folder():
        pass
