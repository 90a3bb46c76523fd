"""Values, texts and bytes that a file should not hold."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

#: texts that a terminal, a path or a parser could stumble on
ODD_TEXTS = (
    *("", " ", "0", "1", "-1", "nan", "inf", "1e400", "null", "true", "a" * 100_000),
    *("\x00", "a\x00b", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b2J", "\u202eabc", "\u2066x"),
    *(
        "line\nbreak",
        "tab\there",
        "\r\r",
        "\ud800",
        "\udcff",
        "\u2603",
        "\uff11\uff12",
        "٣",
        "é" * 300,
        "\ufeff",
    ),
    *(
        "../../../etc/passwd",
        "/dev/zero",
        "/",
        ".",
        "..",
        "~",
        "-o",
        "--help",
        "$(id)",
        "%s%n",
        "{}",
    ),
    *("C:\\x\\y.png", "file:///etc/passwd", "http://127.0.0.1:9/x", "\u2028", "background"),
)
#: numbers at and past the ends of what types hold
ODD_NUMBERS = (
    *(0, 1, -1, 2, 3, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1),
    *(
        2**63,
        2**64,
        -(2**64),
        10**30,
        -(10**30),
        10**400,
        10**5000,
        0.5,
        -0.5,
        -0.0,
        1e-300,
        5e-324,
    ),
    *(1e38, 3.5e38, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), 0.1, 1.5, 100_000),
)
_DEEP: Any = []
for _ in range(60):
    _DEEP = [_DEEP]
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, *ODD_NUMBERS, *ODD_TEXTS, [], {}, [[]], [None], [1], [0] * 5, ["a", "b"]),
    *([float("nan")] * 4, [1e308] * 4, [-1, -1, 0, 0], {"a": 1}, {"": None}, _DEEP, [[1, 2], [3]]),
    *([10**30] * 4, ["1", "2", "3", "4"], [True] * 4, [{}] * 3, list(range(2000))),
)
#: numbers on a command line
ODD_WORDS = (
    *("nan", "inf", "-inf", "1e400", "-1e400", "1e308", "1e-400", str(10**30), str(-(10**30))),
    *(
        "0",
        "-0",
        "-1",
        "1",
        "0.0",
        "1.5",
        "",
        " ",
        "\uff11\uff12",
        "٣",
        "1_000",
        "0x10",
        "1e3",
        "+1",
        "1,2",
    ),
    *(
        "9" * 5000,
        "a",
        "\x1b[31m",
        "\u202e1",
        "1\n2",
        "None",
        "--",
        "-",
        "NaN%",
        "1/2",
        "2147483648",
    ),
    *("9223372036854775807", "9223372036854775808", "0.9999999999999999999", "1e-310", "=", "a=b"),
    *("cat=0.5", "=0.5", "cat=nan", "1,", ",", "1,2,3", "\udcff", "∞", "½"),
)


def sites(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside, outermost first."""
    entries = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        entries = enumerate(value)
    for key, inner in entries:
        yield (*path, key)
        yield from sites(inner, (*path, key))


def chosen_site(rng: random.Random, value: Any) -> tuple[Any, ...]:
    """A path inside, each field as likely as the next, however long its list is."""
    by_field: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for path in sites(value):
        field = tuple("*" if isinstance(key, int) else key for key in path)
        by_field.setdefault(field, []).append(path)
    return rng.choice(by_field[rng.choice(list(by_field))]) if by_field else ()


def damaged(rng: random.Random, value: Any) -> tuple[Any, str]:
    """A copy with one to three places changed, and what was changed."""
    value = copy.deepcopy(value)
    words = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = chosen_site(rng, value)
        if not path:
            return rng.choice(ODD_VALUES), "everything"
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        name = ".".join(map(str, path))
        act = rng.randrange(10)
        if act == 0:
            del holder[path[-1]]
            words.append(f"{name} is gone")
        elif act == 1 and isinstance(holder, list):
            holder.extend(copy.deepcopy([holder[path[-1]]] * rng.choice((1, 2, 50))))
            words.append(f"{name} again and again")
        elif act == 1:
            holder[rng.choice(ODD_TEXTS)] = rng.choice(ODD_VALUES)
            words.append(f"one key more beside {name}")
        elif act == 2:
            holder[path[-1]] = _retyped(rng, holder[path[-1]])
            words.append(f"{name} is {holder[path[-1]]!r:.60}")
        else:
            holder[path[-1]] = copy.deepcopy(rng.choice(ODD_VALUES))
            words.append(f"{name} is {holder[path[-1]]!r:.60}")
    return value, "; ".join(words)


def _retyped(rng: random.Random, value: Any) -> Any:
    """The same, said otherwise."""
    forms = [[value], {"value": value}, str(value), [value, value]]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        forms += [float(value) + 0.5, -value, value * 10**20, f" {value} ", bool(value)]
    if isinstance(value, str):
        forms += [value.upper(), f"{value}\x1b[1m", f"{value}\n{value}", value * 1000]
    if isinstance(value, list):
        forms += [value[:-1], value[::-1], dict(enumerate(map(str, value))), value * 3]
    return rng.choice(forms)


def json_text(value: Any) -> bytes:
    """JSON with whatever Python can say, infinities and lone surrogates too."""
    return json.dumps(value).encode()


def damaged_json(rng: random.Random, value: Any) -> tuple[bytes, str]:
    """A JSON file with a field or the text changed, and what was changed."""
    if rng.random() < 0.85:
        changed, what = damaged(rng, value)
        return json_text(changed), what
    text = json_text(value)
    middle = text.find(b",", rng.randrange(len(text)))
    forms = {
        "UTF-16": text.decode().encode("utf-16"),
        "a byte order mark": b"\xef\xbb\xbf" + text,
        "a byte that is no text": text[:middle] + b"\xff" + text[middle:],
        "a number out of range": text[:middle] + b', "x": 1e400' + text[middle:],
        "nested deep": b"[" * 100_000 + b"]" * 100_000,
        "nested in itself": text[:-1] + b', "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        "twice": text + text,
        "a key twice": text[:-1] + b"," + text[1:] if text[:1] == b"{" else b"{}",
        "lines": b"\n".join([text] * 3),
        "NULs": b"\x00" * 1000,
        "empty": b"",
        "compressed": b"\x1f\x8b\x08\x00" + text,
    }
    name = rng.choice([*forms, "bytes"])
    if name == "bytes":
        return damaged_bytes(rng, text)
    return forms[name], name


def damaged_bytes(rng: random.Random, content: bytes, head: int = 0) -> tuple[bytes, str]:
    """Bytes cut, flipped, repeated, moved or put in; ``head``: how many at the start count most."""
    data = bytearray(content)
    words = []
    for _ in range(rng.choice((1, 1, 2, 4))):
        end = head if head and rng.random() < 0.6 else len(data)
        at = rng.randrange(max(1, min(end, len(data))))
        act = rng.choice(("cut", "flip", "fill", "insert", "remove", "number", "repeat"))
        length = rng.choice((1, 2, 4, 8, 100))
        if act == "cut":
            del data[at:]
        elif act == "flip" and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif act == "fill":
            data[at : at + length] = bytes([rng.choice((0, 0xFF, 0x7F, 0x80))]) * length
        elif act == "insert":
            data[at:at] = rng.randbytes(length)
        elif act == "remove":
            del data[at : at + length]
        elif act == "number":
            value = rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000))
            data[at : at + 4] = value.to_bytes(4, rng.choice(("little", "big")))
        else:
            data[at:at] = data[at : at + length * 10]
        words.append(f"{act} at byte {at}")
    return bytes(data), "; ".join(words)


def damaged_text(rng: random.Random, text: str) -> tuple[str, str]:
    """A text with a number or a line changed."""
    import re

    lines = text.split("\n")
    at = rng.randrange(len(lines))
    act = rng.randrange(6)
    numbers = list(re.finditer(r"-?\d+(\.\d+)?", text))
    if act <= 2 and numbers:
        found = rng.choice(numbers)
        word = rng.choice(ODD_WORDS)
        return f"{text[: found.start()]}{word}{text[found.end() :]}", f"{found[0]} is {word!r:.60}"
    if act == 3:
        lines[at] = rng.choice(ODD_TEXTS)
    elif act == 4:
        del lines[at]
    else:
        lines[at:at] = [lines[at]] * rng.choice((1, 2, 1000))
    return "\n".join(lines), f"line {at + 1} changed"
