"""Parsing a request: the picture in its body or form, the options in its query."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from ...errors import quoted
from ...requirements import require
from ...terminal import cut
from .batching import Threshold
from .refusals import Refusal

#: most fields of a form, and bytes in the head of each; a picture needs one field with a small head
_MOST_FIELDS, _MOST_HEAD = 16, 8 * 1024
_MOST_OPTIONS = 64
_LONGEST_NAME = 255


def threshold_from_query(query: str) -> Threshold | None:
    """Read ``score_threshold=0.3`` or ``score_threshold=NAME=0.2``, repeatable as in ``detect``.

    Raises:
        Refusal: 400, an unknown option, or a value that is not a number from 0 to 1.
    """
    try:
        given = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_OPTIONS)
    except ValueError as error:
        raise Refusal(400, f"the query cannot be read: {error}") from error
    found: dict[str | None, float] = {}
    for option, value in given:
        if option != "score_threshold":
            raise Refusal(
                400, f"unknown option {quoted(option)} in the query; expected score_threshold"
            )
        name, equals, number = value.rpartition("=")
        found[name if equals else None] = _number(number)
    return found or None


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if "_" in text or not 0 <= number <= 1:
        raise Refusal(
            400, f"score_threshold {quoted(text)}: expected a number from 0 to 1, or NAME=number"
        )
    return number


def boundary_from_type(content_type: str) -> bytes | None:
    """The boundary between the fields of a form; None if the body is the picture itself.

    Raises:
        Refusal: 400, a form without a boundary; 415, another kind of multipart.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not kind.startswith("multipart/"):
        return None
    if kind != "multipart/form-data":
        raise Refusal(415, f"{quoted(kind)}: expected multipart/form-data, or the picture as body")
    multipart = require("python_multipart.multipart", "serving")
    options = multipart.parse_options_header(content_type)[1]
    boundary: bytes = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise Refusal(400, "multipart/form-data without a boundary; let the client library set it")
    return boundary


@dataclass
class _Field:
    """A field of a form while it is being read."""

    head: dict[str, str] = field(default_factory=dict)
    size: int = 0
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    content: bytearray = field(default_factory=bytearray)


class _Reader:
    """Handles the callbacks of the parser; only the picture is kept."""

    def __init__(self) -> None:
        self.file: tuple[str | None, bytes] | None = None
        self.fields = 0
        self._now = _Field()
        self._ended = False

    def callbacks(self) -> dict[str, Any]:
        """Callbacks by the parser's names for them."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._head(data[start:end], "name"),
            "on_header_value": lambda data, start, end: self._head(data[start:end], "value"),
            "on_header_end": self._header,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all,
        }

    def _begin(self) -> None:
        self.fields += 1
        if self.fields > _MOST_FIELDS:
            raise Refusal(400, f"the form has more than {_MOST_FIELDS} fields; expected one, file")
        self._now = _Field()

    def _head(self, data: bytes, part: str) -> None:
        self._now.size += len(data)
        if self._now.size > _MOST_HEAD:
            raise Refusal(400, f"a field of the form has a head of more than {_MOST_HEAD} bytes")
        getattr(self._now, part).extend(data)

    def _header(self) -> None:
        now = self._now
        now.head[now.name.decode("latin-1").strip().lower()] = now.value.decode("latin-1")
        now.name, now.value = bytearray(), bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._now.content += memoryview(data)[start:end]

    def _end(self) -> None:
        parse = require("python_multipart.multipart", "serving").parse_options_header
        options = parse(self._now.head.get("content-disposition", ""))[1]
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name != "file":
            raise Refusal(
                400,
                f"the form has a field {quoted(name)}; expected file alone, options in the query",
            )
        if self.file is not None:
            raise Refusal(400, "the form has several fields file; send a picture at a time")
        said = options.get(b"filename", b"").decode("utf-8", "replace")
        self.file = cut(said, _LONGEST_NAME) or None, bytes(self._now.content)

    def _all(self) -> None:
        self._ended = True

    @property
    def is_whole(self) -> bool:
        """Whether the end of the form was reached."""
        return self._ended


def file_from_form(content: bytes, boundary: bytes) -> tuple[str | None, bytes]:
    """File name and content of the field ``file``.

    Raises:
        Refusal: 400, the field is missing, or the form is damaged.
    """
    multipart = require("python_multipart.multipart", "serving")
    reader = _Reader()
    try:
        parser = multipart.MultipartParser(boundary, reader.callbacks())
        parser.write(content)
        parser.finalize()
    except Refusal:
        raise
    except Exception as error:  # its own errors, and decoding errors
        raise Refusal(400, "the form is damaged; expected multipart/form-data") from error
    if reader.file is None or not reader.is_whole:
        state = "is cut off" if reader.fields else "is empty"
        raise Refusal(400, f"the form {state}; expected a field file with the picture")
    return reader.file
