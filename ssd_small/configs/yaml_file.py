"""Reading YAML files as plain values, such that the worst a file can do is to be refused.

Values are made from PyYAML's events, not by one of its loaders: no tag creates an object, a name
may occur only once in a mapping, and aliases count each time they are used. Numbers are read as
people mean them: ``1e-4``, a text in YAML 1.1, is a number, and ``010``, which is 8 there, is not.
Dates and times of day stay text. Yes, no, on and off are flags, as in the published reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import BadFile
from ..files import read_bytes
from ..terminal import shown

#: far more than a configuration needs, but few enough to be traversed and printed
MOST_BYTES, MOST_DEPTH, MOST_VALUES = 1 << 18, 32, 20_000
_FLAGS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,39})")
_NUMBER = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_CONSTANT = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
#: characters that no text may contain: NUL, and surrogates except those that stand for bytes in
#: file names
_UNWRITABLE = re.compile("[\ud800-\udc7f\udd00-\udfff\0]")


class _Fault(Exception):
    """An error in the file; the message names the line (``line`` counts from 0)."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line + 1}: {what}")


@dataclass
class _Built:
    """A value with its size: its number of nodes, and the levels below it."""

    value: Any
    nodes: int = 1
    height: int = 0


@dataclass
class _Open:
    """A list or mapping still being read."""

    built: _Built
    anchor: str | None
    key: str | None = None
    merged: dict[str, Any] | None = None


def mapping_from_yaml(path: Path, expected: str) -> dict[str, Any]:
    """Read the mapping in a YAML file: dicts, lists, texts, numbers, flags and None.

    Args:
        path: the file, in UTF-8, with at most :data:`MOST_BYTES` bytes.
        expected: what the file should be, for messages.

    Raises:
        BadFile: the file is absent, too large, not UTF-8, not YAML or not a mapping; it contains
            tags, duplicate names, aliases of what contains them, more than :data:`MOST_VALUES`
            values or more than :data:`MOST_DEPTH` levels, with aliases counted each time they
            are used.
    """
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise BadFile(
            f"{path} has {path.stat().st_size} bytes, expected {expected} of at most {MOST_BYTES}"
        )
    content = read_bytes(path, expected)
    try:
        # a byte-order mark is not content; PyYAML would also guess other encodings
        text = content.decode("utf-8-sig")
        value = _value_from_events(yaml.parse(text, Loader=yaml.SafeLoader))
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not UTF-8 text ({error.reason}); expected {expected}") from error
    except (_Fault, yaml.YAMLError, ValueError, OverflowError) as error:
        raise BadFile(f"{path} is not YAML ({_reason(error)}); expected {expected}") from error
    if not isinstance(value, dict) or not value:
        found = {type(None): "nothing", dict: "nothing", list: "a list"}.get(type(value), "a value")
        raise BadFile(f"{path} holds {found}; expected {expected}: names with values")
    return value


def yaml_from_mapping(values: Mapping[str, Any]) -> str:
    """Write plain values as YAML, with names in their order and each list on a line.

    :func:`mapping_from_yaml` reads the same values back.
    """
    options: dict[str, Any] = {"Dumper": _Dumper, "sort_keys": False, "width": 100}
    text: str = yaml.dump(dict(values), allow_unicode=True, **options)
    if shown(text, keep="\n") == text:
        return text
    # marks that change the writing direction count as printable in YAML
    return str(yaml.dump(dict(values), allow_unicode=False, **options))


class _Dumper(yaml.SafeDumper):
    """Quotes texts that our reader would take for something else, and never uses aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    plain = _scalar(text) == text and text == text.strip()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else "'")


def _list_node(dumper: _Dumper, values: Sequence[Any]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


_Dumper.add_representer(str, _text_node)
_Dumper.add_representer(list, _list_node)
_Dumper.add_representer(tuple, _list_node)


def _reason(error: Exception) -> str:
    """Return what is wrong with the YAML, in one line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    text = f"line {mark.line + 1}: {problem}" if mark and problem else str(error)
    return " ".join(text.split())[:160]


def _value_from_events(events: Iterator[yaml.Event]) -> Any:
    """Return the value of the single document; None if there is no document."""
    stack: list[_Open] = []
    anchors: dict[str, _Built] = {}
    root: _Built | None = None
    count = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent) and root is not None:
            raise _Fault(_line(event), "a second document")
        if not isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            continue
        line = _line(event)
        if isinstance(event, yaml.CollectionStartEvent):
            _check_plain(event, line)
            _check_key_is_text(stack, line)
            if len(stack) == MOST_DEPTH:
                raise _Fault(line, f"more than {MOST_DEPTH} levels")
            empty: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            stack.append(_Open(_Built(empty), event.anchor))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            done = stack.pop()
            built, anchor = _closed(done), done.anchor
        elif isinstance(event, yaml.AliasEvent):
            built, anchor = _aliased(event, anchors, stack), None
        else:
            assert isinstance(event, yaml.ScalarEvent)
            _check_plain(event, line)
            is_key = bool(stack) and _awaits_key(stack[-1])
            built, anchor = _Built(_scalar_of(event, line, is_key)), event.anchor
        # a collection's content has been counted already
        count += built.nodes if isinstance(event, yaml.AliasEvent) else 1
        if count > MOST_VALUES:
            raise _Fault(line, f"more than {MOST_VALUES} values")
        if anchor is not None:
            anchors[anchor] = built
        if not stack:
            root = built
        else:
            _add(stack[-1], built, line)
    return None if root is None else root.value


def _line(event: yaml.Event) -> int:
    return 0 if event.start_mark is None else event.start_mark.line


def _check_plain(event: Any, line: int) -> None:
    if event.tag is not None:
        raise _Fault(line, f"a tag ({' '.join(event.tag.split())[:40]}), which is not read")


def _awaits_key(holder: _Open) -> bool:
    return isinstance(holder.built.value, dict) and holder.key is None


def _check_key_is_text(stack: list[_Open], line: int) -> None:
    if stack and _awaits_key(stack[-1]):
        raise _Fault(line, "a list or mapping in the place of a name")


def _aliased(event: yaml.AliasEvent, anchors: dict[str, _Built], stack: list[_Open]) -> _Built:
    line, name = _line(event), event.anchor
    if any(one.anchor == name for one in stack):
        raise _Fault(line, f"alias *{name} of what it stands in")
    if name not in anchors:
        raise _Fault(line, f"alias *{name} of nothing")
    built = anchors[name]
    if stack and _awaits_key(stack[-1]) and not isinstance(built.value, str):
        raise _Fault(line, f"alias *{name} in the place of a name")
    if len(stack) + built.height > MOST_DEPTH:
        raise _Fault(line, f"more than {MOST_DEPTH} levels")
    return built


def _add(holder: _Open, built: _Built, line: int) -> None:
    """Add a value, or a name, to the list or mapping being read."""
    own = holder.built
    own.nodes += built.nodes
    own.height = max(own.height, built.height + 1)
    if isinstance(own.value, list):
        own.value.append(built.value)
    elif holder.key is None:
        if built.value in own.value or (built.value == "<<" and holder.merged is not None):
            raise _Fault(line, f"{built.value!r} stands twice in a mapping")
        holder.key = built.value
    elif holder.key == "<<":
        given = built.value if isinstance(built.value, list) else [built.value]
        if not all(isinstance(one, dict) for one in given):
            raise _Fault(line, "<< of what is no mapping")
        # of several mappings, the first takes precedence
        holder.merged = {k: v for one in reversed(given) for k, v in one.items()}
        holder.key = None
    else:
        own.value[holder.key] = built.value
        holder.key = None


def _closed(done: _Open) -> _Built:
    """Finish a list or mapping; its own names take precedence over those merged by ``<<``."""
    if done.merged is not None:
        own = done.built.value
        done.built.value = {**done.merged, **own}
    return done.built


def _scalar_of(event: yaml.ScalarEvent, line: int, is_key: bool) -> Any:
    text: str = event.value
    if _UNWRITABLE.search(text):
        raise _Fault(line, "a text that cannot be written")
    # names are text, whatever they look like: `on` is a name
    if is_key or event.style is not None:
        return text
    return _scalar(text)


def _scalar(text: str) -> Any:
    """Return the value of an unquoted scalar."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text.lower() in _FLAGS and text in (text.lower(), text.upper(), text.capitalize()):
        return _FLAGS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    constant = _CONSTANT.fullmatch(text)
    if constant:
        return float(constant[1] + "inf") if constant[2] else float("nan")
    return text
