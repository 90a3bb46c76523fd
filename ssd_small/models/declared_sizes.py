"""Comparing what a checkpoint file declares with what it holds, before anything is allocated.

A zip archive can hold members that unpack to any size; a pickle can declare tensors larger than the
file, or values that take practically forever to look up or traverse. Real weights do none of this.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

#: bytes of a checkpoint; the largest network here has 0.3 GB, and trainers store several copies
MOST_BYTES = 4 << 30
#: bytes of a safetensors header, and of the pickle in a checkpoint: a thousand tensors take 0.2 MB
MOST_HEADER = 16 << 20
#: bytes of a zip archive's directory: 40 000 members
_MOST_DIRECTORY = 4 << 20
#: unpacked size of the members: a multiple of the file's size plus bytes; weights do not compress
_MOST_UNFOLDED, _SPARE = 8, 1 << 20
#: operations of the pickle in a checkpoint; a tensor takes about 40
_MOST_OPERATIONS = 1_000_000
#: values in a tuple, nested ones and repetitions included: hashing it visits them all
_MOST_IN_TUPLE = 1 << 16

_END, _END_64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
#: bytes of the end of a zip archive: its record and a comment, whose length has 16 bits
_TAIL = 22 + (1 << 16)
#: operations that put values into the object below them on the stack
_INTO = frozenset(("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"))
_TUPLES = frozenset(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE"))
_PUTS, _GETS = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")
#: bytes per number of a torch storage, by the start of its class name; one byte for all others
_ITEM_BYTES = {"Double": 8, "Long": 8, "Float": 4, "Int": 4, "Half": 2, "BFloat16": 2, "Short": 2}


class Oversized(ValueError):
    """A file declares the impossible, or more than a checkpoint needs; the message says what."""


def check_checkpoint(stream: BinaryIO, size: int) -> None:
    """Refuse a ``torch.save`` file, in either format, that declares more than it holds.

    Args:
        stream: the open file; its final position is unspecified.
        size: size of the file in bytes.

    Raises:
        Oversized: the file declares too much.
        ValueError, IndexError, KeyError, zipfile.BadZipFile, ...: the file is damaged.
    """
    if size > MOST_BYTES:
        raise Oversized(f"it has {size} bytes, and at most {MOST_BYTES} are read")
    stream.seek(0)
    if stream.read(4) == b"PK\x03\x04":
        with check_archive(stream, size) as archive:
            parts = archive.infolist()
            unfolded = max(sum(part.file_size for part in parts), size)
            for part in parts:
                if part.filename.endswith("/data.pkl"):
                    check_pickle(archive.read(part), unfolded)
        return
    # magic number, protocol and machine come first, each as a pickle of its own
    stream.seek(0)
    content = stream.read(MOST_HEADER)
    for _ in range(4):
        content = content[check_pickle(content, size) :]


def check_archive(stream: BinaryIO, size: int) -> zipfile.ZipFile:
    """Open a zip archive, refusing one that unpacks to far more or has an oversized directory.

    Args:
        stream: the open file; its final position is unspecified.
        size: size of the file in bytes.

    Raises:
        Oversized: the archive declares too much.
        zipfile.BadZipFile: the file is not a zip archive.
    """
    stream.seek(max(size - _TAIL, 0))
    tail = stream.read(_TAIL)
    at = tail.rfind(_END)
    if at < 0 or at + 16 > len(tail):
        raise zipfile.BadZipFile("no end of an archive")
    (directory,) = struct.unpack_from("<I", tail, at + 12)
    locator = tail.rfind(_LOCATOR, 0, at)
    if locator >= 0 and locator + 16 <= len(tail):
        stream.seek(min(struct.unpack_from("<Q", tail, locator + 8)[0], size))
        record = stream.read(48)
        if record.startswith(_END_64) and len(record) == 48:
            directory = max(directory % 0xFFFFFFFF, struct.unpack_from("<Q", record, 40)[0])
    if directory > _MOST_DIRECTORY:
        raise Oversized(
            f"its list of members has {directory} bytes, and at most {_MOST_DIRECTORY} are read"
        )
    archive = zipfile.ZipFile(stream)
    parts = archive.infolist()
    for part in parts:
        stored = part.compress_type == zipfile.ZIP_STORED
        if part.compress_size > size or (stored and part.compress_size != part.file_size):
            raise Oversized(f"a member declares {part.file_size} bytes in a file of {size}")
    unfolded = sum(part.file_size for part in parts)
    if unfolded > _MOST_UNFOLDED * size + _SPARE or unfolded > MOST_BYTES:
        raise Oversized(f"its members declare {unfolded} bytes in a file of {size}")
    for part in parts:
        if part.filename.endswith("data.pkl") and part.file_size > MOST_HEADER:
            raise Oversized(
                f"the pickle in it has {part.file_size} bytes, and at most {MOST_HEADER} are read"
            )
    return archive


#: characters of a class's name, module included
_MOST_NAME = 1000


@dataclass(frozen=True)
class _Value:
    """A value on the pickle's stack: a tuple's items, or the literal it was written as."""

    weight: int = 1
    items: tuple[_Value, ...] | None = None
    literal: object = None


def check_pickle(content: bytes, size: int) -> int:
    """Refuse a pickle that declares more bytes than the file has, or takes too long to process.

    The stack is followed without creating any of the objects.

    Args:
        content: bytes that begin with a pickle.
        size: size of the whole file in bytes.

    Returns:
        The offset in ``content`` at which the pickle ends.

    Raises:
        Oversized: the pickle declares too much.
        ValueError, IndexError, KeyError: the pickle is damaged or truncated.
    """
    stack: list[Any] = []
    memo: dict[Any, _Value] = {}
    storages: dict[object, int] = {}
    for count, (operation, argument, place) in enumerate(pickletools.genops(io.BytesIO(content))):
        if count > _MOST_OPERATIONS:
            raise Oversized(f"the pickle in it has more than {_MOST_OPERATIONS} operations")
        name = operation.name
        if name in ("GLOBAL", "INST"):
            _check_class_name(argument)
        if name == "STOP":
            if (declared := sum(storages.values())) > size:
                raise Oversized(f"its tensors declare {declared} bytes in a file of {size}")
            return int(place or 0) + 1
        if name in _PUTS:
            memo[argument] = stack[-1]
            continue
        if name == "MEMOIZE":  # from later protocols, which torch itself refuses
            memo[len(memo)] = stack[-1]
            continue
        if name in _GETS:
            stack.append(memo[argument])
            continue
        taken = _taken(stack, operation.stack_before)
        if name == "BINPERSID":
            _count_storage(taken[0], storages)
        elif name == "STACK_GLOBAL":
            for one in taken:
                _check_class_name(one.literal)
        elif name in ("REDUCE", "NEWOBJ"):
            _check_call(taken[0].literal, taken[1], size)
        if name in _INTO:
            stack.append(taken[0])
        elif name == "MARK":
            stack.append(None)
        elif name in _TUPLES or name == "REDUCE":
            made = _Value(1 + sum(one.weight for one in taken), tuple(taken))
            if made.weight > _MOST_IN_TUPLE:
                raise Oversized(f"a tuple in it unfolds to more than {_MOST_IN_TUPLE} values")
            stack.append(made)
        else:
            stack.extend(_Value(literal=argument) for _ in operation.stack_after)
    raise ValueError("the pickle has no end")


def _check_class_name(name: object) -> None:
    """Refuse an implausibly long class name: torch's search takes time quadratic in its length."""
    if len(str(name)) > _MOST_NAME:
        raise Oversized(f"it names a class by more than {_MOST_NAME} letters")


def _taken(stack: list[Any], before: Sequence[object]) -> list[_Value]:
    """Pop what an operation takes off the stack, and return it without the mark."""
    above: list[_Value] = []
    count = len(before)
    if pickletools.markobject in before:
        count = list(before).index(pickletools.markobject)
        while (one := stack.pop()) is not None:
            above.append(one)
    below = [stack.pop() for _ in range(count)]
    return [*reversed(below), *reversed(above)]


def _count_storage(key: _Value, storages: dict[object, int]) -> None:
    """Count ``("storage", class, key, device, numbers)`` once, however many views refer to it."""
    items = key.items or ()
    count = items[4].literal if len(items) > 4 else None
    if isinstance(count, int) and items[2].literal not in storages:
        kind = str(items[1].literal).rpartition(" ")[2].removesuffix("Storage")
        storages[items[2].literal] = max(count, 0) * _ITEM_BYTES.get(kind, 1)


def _check_call(function: object, arguments: _Value, size: int) -> None:
    """Refuse oversized objects made without data, as ``bytearray(n)`` or ``FloatTensor(n, m)``."""
    name = str(function).replace(" ", ".")
    items = arguments.items or ()
    if name.endswith("_rebuild_qtensor") and len(items) > 2:
        items = items[2].items or ()
    elif not name.endswith(("bytearray", "Tensor", "Storage")):
        return
    if _product(one.literal for one in items) > size:
        raise Oversized(f"it makes a {name.rpartition('.')[2]} of more bytes than the file has")


def _product(values: Iterable[object]) -> int:
    return math.prod(abs(one) for one in values if isinstance(one, int))
