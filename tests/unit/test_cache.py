"""What is kept in the user's cache folder: whole, bounded, and never in the way."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ssd_small.errors import BadFile, Note
from ssd_small.system.cache import cache_folder, opened_from_cache

MOST = 1000


class Entry:
    """Makes a file of some bytes, and counts how often."""

    def __init__(self, key: str, size: int = 10) -> None:
        self.key, self.size, self.made = key, size, 0

    def make(self, folder: Path) -> None:
        self.made += 1
        (folder / "file").write_bytes(b"x" * self.size)

    def opened(self, folder: Path) -> int:
        content = (folder / "file").read_bytes()
        if content != b"x" * self.size:
            raise BadFile("damaged")
        return len(content)

    def open(self) -> int:
        return opened_from_cache(self.key, self.make, self.opened, MOST)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ssd-small"


def _kept(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_an_entry_is_made_once(folder: Path) -> None:
    entry = Entry("a")
    assert [entry.open(), entry.open(), entry.made] == [10, 10, 1]
    assert _kept(folder) == ["a"]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_relative_folder_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for told in ("", "cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", told)
        assert cache_folder() == tmp_path / ".cache" / "ssd-small"


def test_a_damaged_entry_is_made_anew(folder: Path) -> None:
    entry = Entry("a")
    entry.open()
    (folder / "a" / "file").write_bytes(b"xx")
    assert [entry.open(), entry.open(), entry.made] == [10, 10, 2]
    (folder / "a" / "file").unlink()
    with pytest.warns(Note, match="cannot be used"):  # this one's own reader says no BadFile
        assert entry.open() == 10


def test_what_has_the_name_of_an_entry_and_is_none_makes_way(folder: Path) -> None:
    entry = Entry("a")
    folder.mkdir()
    (folder / "a").write_bytes(b"no folder")
    assert [entry.open(), entry.open(), entry.made] == [10, 10, 1]
    (folder / "c").symlink_to("nowhere")
    assert Entry("c").open() == 10
    assert (folder / "c").is_dir()
    assert not (folder / "c").is_symlink()


def test_those_opened_the_longest_ago_make_room(folder: Path) -> None:
    for number, key in enumerate("abcd"):
        Entry(key, 300).open() if key != "d" else None
        if key != "d":
            os.utime(folder / key, (number, number))
    Entry("a", 300).open()
    Entry("d", 300).open()
    assert _kept(folder) == ["a", "c", "d"]
    Entry("e", 2 * MOST).open()
    assert _kept(folder) == ["e"]


@pytest.mark.parametrize("fault", ["a file", "no space"])
def test_a_folder_that_cannot_be_used_is_no_error(
    fault: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Entry("a")
    if fault == "a file":
        folder.write_bytes(b"")
    else:
        plain = entry.make

        def full(made: Path) -> None:
            if made.parent == folder:
                (made / "file").write_bytes(b"x")
                raise OSError(28, "No space left on device")
            plain(made)

        monkeypatch.setattr(entry, "make", full)
    with pytest.warns(Note, match="the cache folder cannot be used .*XDG_CACHE_HOME"):
        assert entry.open() == 10
    assert entry.made == 1
    assert folder.is_file() or _kept(folder) == []


def test_what_cannot_be_made_leaves_nothing(folder: Path) -> None:
    def fail(made: Path) -> None:
        (made / "file").write_bytes(b"half")
        raise BadFile("no checkpoint")

    with pytest.raises(BadFile, match="no checkpoint"):
        opened_from_cache("a", fail, lambda made: 1, MOST)
    assert _kept(folder) == []


def test_of_two_that_make_the_same_one_is_kept(folder: Path) -> None:
    meeting, entries = threading.Barrier(2), [Entry("a"), Entry("a")]

    def work(entry: Entry, found: list[int]) -> None:
        def make(made: Path) -> None:
            meeting.wait(10)
            entry.make(made)

        found.append(opened_from_cache("a", make, entry.opened, MOST))

    found: list[int] = []
    threads = [threading.Thread(target=work, args=(one, found)) for one in entries]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [10, 10]
    assert [one.made for one in entries] == [1, 1]
    assert _kept(folder) == ["a"]
