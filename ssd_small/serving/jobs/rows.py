"""Rows of detections as files, parquet or JSON lines: the same bytes from the same rows."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import BadFile, reason_from_exception
from ...files import open_file
from ...json_files import json_text
from ...requirements import require

#: rows held in memory at once when a file is read
_ROWS_AT_ONCE = 4096


@dataclass(eq=False)
class Rows:
    """Detections as columns.

    Attributes:
        image: path or address of the picture.
        width, height: size of the picture in pixels.
        box: (x1, y1, x2, y2) in pixels.
        label: class index, counting the background.
        name: name of the class.
        score: score after the activation.
    """

    image: list[str] = field(default_factory=list)
    width: list[int] = field(default_factory=list)
    height: list[int] = field(default_factory=list)
    box: list[list[float]] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    name: list[str] = field(default_factory=list)
    score: list[float] = field(default_factory=list)

    def add(self, image: str, entry: dict[str, Any]) -> None:
        """Append the detections of a picture, given as by ``ssd-small detect --json``."""
        for one in entry["detections"]:
            self.image.append(as_text(image))
            self.width.append(entry["width"])
            self.height.append(entry["height"])
            self.box.append(one["box"])
            self.label.append(one["label"])
            self.name.append(as_text(one["name"]))
            self.score.append(one["score"])

    def __len__(self) -> int:
        return len(self.score)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names = tuple(vars(self))
        for values in zip(*vars(self).values(), strict=True):
            yield dict(zip(names, values, strict=True))


def check_format(rows: str) -> None:
    """Check early that files of a format can be written.

    Raises:
        MissingRequirement: a package is not installed.
    """
    if rows == "parquet":
        require("pyarrow", "--format parquet")


def bytes_from_rows(rows: Rows, form: str) -> bytes:
    """Encode rows as a file in the format of this name."""
    return _WRITERS[form](rows)


def rows_from_file(path: Path, form: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file one by one, in bounded memory.

    Raises:
        BadFile: the file cannot be read, or does not have this format.
    """
    try:
        yield from _READERS[form](path)
    except OSError as error:
        reason = error.strerror or reason_from_exception(error)
        raise BadFile(f"cannot read {path}: {reason}; remove it and --resume") from error
    except ValueError as error:  # pyarrow's errors are subclasses
        raise BadFile(
            f"{path} is damaged ({reason_from_exception(error)}); remove it and --resume"
        ) from error


def _jsonl(rows: Rows) -> bytes:
    return "".join(f"{json_text(row)}\n" for row in rows).encode()


def _rows_of_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with open_file(path) as stream:
        for line in stream:
            yield json.loads(line)


def _parquet(rows: Rows) -> bytes:
    arrow = require("pyarrow", "--format parquet")
    parquet = require("pyarrow.parquet", "--format parquet")
    flat = arrow.array([side for box in rows.box for side in box], arrow.float64())
    columns = {
        "image": arrow.array(rows.image, arrow.string()),
        "width": arrow.array(rows.width, arrow.int32()),
        "height": arrow.array(rows.height, arrow.int32()),
        "box": arrow.FixedSizeListArray.from_arrays(flat, 4),
        "label": arrow.array(rows.label, arrow.int32()),
        "name": arrow.array(rows.name, arrow.string()),
        "score": arrow.array(rows.score, arrow.float64()),
    }
    out = io.BytesIO()
    # the defaults differ between releases
    parquet.write_table(arrow.table(columns), out, compression="zstd", version="2.6")
    return out.getvalue()


def _rows_of_parquet(path: Path) -> Iterator[dict[str, Any]]:
    parquet = require("pyarrow.parquet", "reading rows")
    with open_file(path) as stream, parquet.ParquetFile(stream) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            yield from batch.to_pylist()


def as_text(text: str) -> str:
    """A name as Unicode text, for rows; bytes of a file name that are not UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


_WRITERS: dict[str, Callable[[Rows], bytes]] = {"parquet": _parquet, "jsonl": _jsonl}
_READERS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    "parquet": _rows_of_parquet,
    "jsonl": _rows_of_jsonl,
}
