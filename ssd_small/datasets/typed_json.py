"""JSON whose fields have types, read by msgspec: what is not asked for is passed over, not made.

Import after ``require("msgspec", ...)``. The reader is strict in the types, and where a file is not
as plain as it wants it, Python's own reads it, with all that this repairs and refuses.
"""

from __future__ import annotations

import codecs
from typing import TypeVar

import msgspec

T = TypeVar("T")

#: bytes that are looked at at once
_BLOCK = 1 << 20
#: digits of a number that Python refuses to read (sys.int_info.default_max_str_digits)
_MOST_DIGITS = 4300
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)


def typed_from_json(content: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """What a decoder makes of JSON; None where it is not of that type, or Python refuses it."""
    try:
        value = decoder.decode(content)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return None if _has_what_python_refuses(content) else value


def _has_what_python_refuses(content: bytes) -> bool:
    """Whether what was passed over may be none: msgspec looks into neither texts nor numbers."""
    text = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), _BLOCK):
        # a number that begins in this block is seen to its end
        block = content[start : start + _BLOCK + _MOST_DIGITS]
        try:
            text.decode(block[:_BLOCK], final=start + _BLOCK >= len(content))
        except UnicodeDecodeError:
            return True
        if b"0" * (_MOST_DIGITS + 1) in block.translate(_DIGITS):
            return True
    return False
