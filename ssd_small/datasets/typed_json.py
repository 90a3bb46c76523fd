"""Read JSON with typed fields by msgspec, which skips unwanted fields without building them.

Import after ``require("msgspec", ...)``. The reader is strict about types; a file that is less
plain than it expects is left to Python's own reader, with everything that repairs and refuses.
"""

from __future__ import annotations

import codecs
from typing import TypeVar

import msgspec

T = TypeVar("T")

#: number of bytes examined at a time
_BLOCK = 1 << 20
#: most digits of a number that Python reads (sys.int_info.default_max_str_digits)
_MOST_DIGITS = 4300
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)


def typed_from_json(content: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """Decode JSON; None if it is not of the decoder's type, or if Python would refuse it."""
    try:
        value = decoder.decode(content)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return None if _has_what_python_refuses(content) else value


def _has_what_python_refuses(content: bytes) -> bool:
    """Whether skipped fields may be invalid: msgspec does not check their texts and numbers."""
    text = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), _BLOCK):
        # extended so that a number which begins in this block is seen to its end
        block = content[start : start + _BLOCK + _MOST_DIGITS]
        try:
            text.decode(block[:_BLOCK], final=start + _BLOCK >= len(content))
        except UnicodeDecodeError:
            return True
        if b"0" * (_MOST_DIGITS + 1) in block.translate(_DIGITS):
            return True
    return False
