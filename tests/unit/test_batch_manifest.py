"""The pictures of a job, from whatever names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssd_small.errors import BadFile, UsageError
from ssd_small.serving.jobs.job import Job, shard_count, shards_of
from ssd_small.serving.jobs.manifest import images_from_sources
from ssd_small.serving.jobs.merging import ids_of_names

pytest.importorskip("cv2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files by name; what is in them is nobody's concern here."""
    for name in ("p/b.png", "p/a.jpg", "p/note.md", "p/deep/c.png", "q/10.png", "q/[x].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _images(*sources: object) -> list[str]:
    return images_from_sources(map(str, sources))[0]


def test_sources_keep_their_order_and_folders_are_sorted(folder: Path) -> None:
    assert _images("q/10.png", "p") == ["q/10.png", "p/a.jpg", "p/b.png"]


def test_patterns_are_sorted_and_may_go_deep(folder: Path) -> None:
    assert _images("p/*.*") == ["p/a.jpg", "p/b.png"]
    assert _images("p/**/*.png") == ["p/b.png", "p/deep/c.png"]


def test_a_name_that_is_there_is_no_pattern(folder: Path) -> None:
    assert _images("q/[x].png") == ["q/[x].png"]


def test_a_picture_that_is_not_there_stays_in_its_place(folder: Path) -> None:
    assert _images("p/b.png", "no.png", "p/a.jpg") == ["p/b.png", "no.png", "p/a.jpg"]


def test_a_text_list_is_relative_to_its_folder(folder: Path) -> None:
    (folder / "q" / "list.txt").write_bytes(
        b"\xef\xbb\xbf# pictures\r\n10.png\r\n\r\n../p/a.jpg\n/abs/x.png\nmemory://m/y.png\nno.png"
    )
    expected = ["q/10.png", "q/../p/a.jpg", "/abs/x.png", "memory://m/y.png", "q/no.png"]
    assert _images("q/list.txt") == expected


@pytest.mark.parametrize("column", ["image", "path"])
def test_a_parquet_list_has_a_column_of_pictures(folder: Path, column: str) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"id": [1, 2], column: ["b.png", "a.jpg"]})
    parquet.write_table(table, folder / "p" / "list.parquet")
    assert _images("p/list.parquet") == ["p/b.png", "p/a.jpg"]


def test_addresses_are_listed_by_folder_and_pattern() -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("b.png", "a.jpg", "x.md"):
        memory.pipe(f"/manifest/{name}", b"")
    memory.pipe("/manifest/list.txt", b"b.png\n")
    both = ["memory:///manifest/a.jpg", "memory:///manifest/b.png"]
    assert _images("memory://manifest") == both
    assert _images("memory://manifest/*.png") == both[1:]
    assert _images("memory://manifest/b.png") == ["memory://manifest/b.png"]
    assert _images("memory://manifest/list.txt") == ["memory://manifest/b.png"]


def test_repeated_pictures_are_kept_and_told(folder: Path) -> None:
    images, notes = images_from_sources(["p/a.jpg", "p", "p/b.png"])
    assert images == ["p/a.jpg", "p/a.jpg", "p/b.png", "p/b.png"]
    assert any("2 of 4 pictures are named more than once" in line for line in notes)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("l.txt", b"# nothing\n", "lists no picture"),
        ("l.txt", b"a\0b", "holds bytes 0"),
        ("l.parquet", b"none", "is no parquet file"),
    ],
)
def test_a_list_without_pictures_is_refused(
    folder: Path, name: str, content: bytes, words: str
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(BadFile, match=words):
        _images(name)


def test_a_parquet_list_of_something_else_is_refused(folder: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"file": ["a"]}), folder / "l.parquet")
    with pytest.raises(BadFile, match=r"has columns file; expected one called image or path"):
        _images("l.parquet")
    parquet.write_table(arrow.table({"path": ["a", None]}), folder / "l.parquet")
    with pytest.raises(BadFile, match="row 1 of path is None"):
        _images("l.parquet")


@pytest.mark.parametrize("source", ["p/*.bmp", "memory://manifest/*.bmp"])
def test_a_pattern_that_fits_nothing_is_refused(folder: Path, source: str) -> None:
    with pytest.raises(BadFile, match="names no picture"):
        _images(source)


def test_an_address_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="expected an address that fsspec knows"):
        _images("nothing-known://a/*.png")


def test_shards_follow_each_other() -> None:
    shards = list(shards_of(["a", "b", "c"], 2))
    assert [(one.index, one.images) for one in shards] == [(0, ("a", "b")), (1, ("c",))]
    assert shard_count(["a", "b", "c"], 2) == 2
    with pytest.raises(UsageError, match="ask for 3 or more"):
        shard_count(["a"] * 200_001, 1)


JOB = Job("x.engine", "0" * 64, "parquet", None, (), None, None, False, None, 100)


@pytest.mark.parametrize(
    "other",
    [
        JOB.fingerprint(["a", "c"], 2),
        JOB.fingerprint(["a", "b"], 1),
        JOB.fingerprint(["b", "a"], 2),
        Job("x.engine", "1" * 64, *(getattr(JOB, n) for n in list(vars(JOB))[2:])).fingerprint(
            ["a", "b"], 2
        ),
    ],
)
def test_another_job_has_another_fingerprint(other: str) -> None:
    assert other != JOB.fingerprint(["a", "b"], 2)


def test_the_place_of_the_engine_is_not_part_of_the_job() -> None:
    moved = Job("/elsewhere/y.engine", *(getattr(JOB, n) for n in list(vars(JOB))[1:]))
    assert moved.fingerprint(["a"], 2) == JOB.fingerprint(["a"], 2)


def test_ids_are_the_numbers_in_names_where_each_has_its_own() -> None:
    assert ids_of_names(["x/0012.png", "y/7.jpg"]) == {"x/0012.png": 12, "y/7.jpg": 7}
    assert ids_of_names(["x/7.png", "y/7.jpg"]) == {"x/7.png": 1, "y/7.jpg": 2}
    assert ids_of_names(["a.png", "b.png", "a.png"]) == {"a.png": 1, "b.png": 2}
