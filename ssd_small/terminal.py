"""Text that is safe to show on a terminal: control characters escaped, on one line, cut."""

from __future__ import annotations

import re
import sys
from typing import TextIO

#: characters that move a terminal's cursor, set colours, end lines or change the writing direction:
#: C0, DEL, C1, bidirectional marks, line and paragraph separators; and surrogates, which stand for
#: undecodable bytes that some encodings pass on unchanged (0x9B starts a control sequence)
_UNSEEN = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: Linux's limits for a file name and for a path; a longer word is neither
_LONGEST_NAME, _LONGEST_PATH = 255, 4096
#: characters of a line not counting long paths, and the most long paths that a message holds
_LONGEST_LINE, _MOST_PATHS = 1000, 3


def shown(text: str, *, keep: str = "") -> str:
    """Text from a file, a name or a library, made safe to show on a terminal.

    Control characters and line ends are escaped, except those in ``keep``. The escapes are JSON's,
    so JSON text keeps its meaning.
    """
    return _UNSEEN.sub(
        lambda found: (
            found[0] if found[0] in keep else _ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04x}"
        ),
        text,
    )


def one_line(text: str) -> str:
    """A message as one line of bounded length for a terminal; paths stay whole.

    Words longer than a file name or path can be are cut in the middle.
    """
    words = [_cut_word(word) for word in re.split("(\\s+)", shown(text, keep="\t"))]
    line = "".join(words)
    paths = sum(len(word) for word in words if len(word) > _LONGEST_NAME)
    return cut(line, _LONGEST_LINE + min(paths, _MOST_PATHS * _LONGEST_PATH))


def _cut_word(word: str) -> str:
    # a byte of a name takes at most six characters when escaped
    is_path = "/" in word and all(len(name) <= 6 * _LONGEST_NAME for name in word.split("/"))
    return cut(word, _LONGEST_PATH if is_path else _LONGEST_NAME)


def cut(text: str, most: int) -> str:
    """A text shortened to at most ``most`` characters by leaving out its middle."""
    half = (most - 5) // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def drawing_stream() -> TextIO:
    """Standard error for code that moves the cursor; only our own text may be drawn there.

    It bypasses the command line's guard (:mod:`ssd_small.cli.streams`), which blocks control
    characters.
    """
    return getattr(sys.stderr, "unguarded", sys.stderr)
