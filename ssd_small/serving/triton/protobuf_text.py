"""Protocol buffers as text, as in ``config.pbtxt``, with comments, which no library can write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Name:
    """A value of an enumeration, such as ``TYPE_FP32``, which is written without quotes."""

    value: str


@dataclass(frozen=True)
class Message:
    """A message within a message.

    Attributes:
        fields: the fields, in the order in which they are written.
    """

    fields: tuple[Field, ...]


Value = str | int | bool | Name | Message | Sequence[int]


@dataclass(frozen=True)
class Field:
    """A field of a message; use one ``Field`` for each value of a repeated field.

    Attributes:
        name: name of the field.
        value: its value.
        comment: comment, written on separate lines before the field.
    """

    name: str
    value: Value
    comment: str = ""


def message(**fields: Value) -> Message:
    """Make a message without comments."""
    return Message(tuple(Field(name, value) for name, value in fields.items()))


def text_from_fields(fields: Iterable[Field]) -> str:
    """The text of a message's fields, one line each, except for nested messages."""
    return "\n".join(_lines(fields, "")) + "\n"


def _lines(fields: Iterable[Field], indent: str) -> Iterable[str]:
    for field in fields:
        for line in field.comment.splitlines():
            yield f"{indent}# {line}"
        value = field.value
        if isinstance(value, Message):
            yield f"{indent}{field.name} {{"
            yield from _lines(value.fields, indent + "  ")
            yield f"{indent}}}"
        else:
            yield f"{indent}{field.name}: {_scalar(value)}"


def _scalar(value: str | int | bool | Name | Sequence[int]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Name):
        return value.value
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):
        return str(value)
    return f"[{', '.join(map(str, value))}]"


def _quoted(text: str) -> str:
    """A quoted string; all but printable ASCII is written as octal bytes, for any parser."""
    written = []
    for byte in text.encode():
        sign = chr(byte)
        if sign in '"\\':
            written.append("\\" + sign)
        else:
            written.append(sign if 32 <= byte < 127 else f"\\{byte:03o}")
    return f'"{"".join(written)}"'
