"""What a terminal is shown: text that it does not obey, on one line, cut."""

from __future__ import annotations

import re
import sys
from typing import TextIO

#: characters that move a terminal's cursor, colour it, end lines or turn the direction of writing:
#: C0, DEL, C1, bidirectional marks, line and paragraph separators; and bytes that are no text,
#: which some encodings hand on as they came (0x9B starts a sequence)
_UNSEEN = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: longest names that Linux has for a file and for a path; longer words are no names
_LONGEST_NAME, _LONGEST_PATH = 255, 4096
#: characters of a line on the terminal apart from its long paths, of which no message has more
_LONGEST_LINE, _MOST_PATHS = 1000, 3


def shown(text: str, *, keep: str = "") -> str:
    """A text from a file, a name or a library as a terminal may show it.

    Characters that a terminal obeys instead of showing them are escaped, those that end a line as
    well; ``keep`` are exceptions. The escapes are JSON's, so JSON stays the same JSON.
    """
    return _UNSEEN.sub(
        lambda found: (
            found[0] if found[0] in keep else _ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04x}"
        ),
        text,
    )


def one_line(text: str) -> str:
    """A message as one line of bounded length for a terminal; paths stay whole.

    Words that are longer than a name or path can be are cut in their middle.
    """
    words = [_cut_word(word) for word in re.split("(\\s+)", shown(text, keep="\t"))]
    line = "".join(words)
    paths = sum(len(word) for word in words if len(word) > _LONGEST_NAME)
    return cut(line, _LONGEST_LINE + min(paths, _MOST_PATHS * _LONGEST_PATH))


def _cut_word(word: str) -> str:
    # a byte of a name is shown by six characters at most
    is_path = "/" in word and all(len(name) <= 6 * _LONGEST_NAME for name in word.split("/"))
    return cut(word, _LONGEST_PATH if is_path else _LONGEST_NAME)


def cut(text: str, most: int) -> str:
    """A text of at most ``most`` characters: its begin and end."""
    half = (most - 5) // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def drawing_stream() -> TextIO:
    """Standard error for who moves its cursor; what is drawn there must be our own words.

    It is behind the guard of the command line (:mod:`ssd_small.cli.streams`), which lets no such
    characters pass.
    """
    return getattr(sys.stderr, "unguarded", sys.stderr)
