"""YAML files as plain values, read so that no file can do more than be refused.

Values are made from PyYAML's events, not by one of its loaders: no tag makes an object, a name
stands once in a mapping, and aliases count as often as they are used. Numbers are what people mean:
``1e-4``, which YAML 1.1 calls a text, is one, and ``010``, which is 8 there, is none. Dates and
times of day stay text. Yes, no, on and off are flags, as in the published reader.
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

#: far more than a configuration needs, few enough to be walked through and written out
MOST_BYTES, MOST_DEPTH, MOST_VALUES = 1 << 18, 32, 20_000
_FLAGS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,39})")
_NUMBER = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_CONSTANT = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
#: what no text of a configuration holds: the end of a C string, and half a UTF-16 pair, but for
#: those halves that stand for bytes in the name of a file
_UNWRITABLE = re.compile("[\ud800-\udc7f\udd00-\udfff\0]")


class _Fault(Exception):
    """What is wrong, and in which line (from 0)."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line + 1}: {what}")


@dataclass
class _Built:
    """A value with what it costs: its nodes, and the levels below it."""

    value: Any
    nodes: int = 1
    height: int = 0


@dataclass
class _Open:
    """A list or mapping that is being read."""

    built: _Built
    anchor: str | None
    key: str | None = None
    merged: dict[str, Any] | None = None


def mapping_from_yaml(path: Path, expected: str) -> dict[str, Any]:
    """The mapping that a YAML file holds: dicts, lists, texts, numbers, flags and None.

    Args:
        path: the file, UTF-8, of :data:`MOST_BYTES` at most.
        expected: what it should have been, for messages.

    Raises:
        BadFile: absent, too large, no UTF-8, no YAML, no mapping; tags, names that stand twice,
            aliases of what holds them, more than :data:`MOST_VALUES` values or
            :data:`MOST_DEPTH` levels, aliases counted as often as they are used.
    """
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise BadFile(
            f"{path} has {path.stat().st_size} bytes, expected {expected} of at most {MOST_BYTES}"
        )
    content = read_bytes(path, expected)
    try:
        # a byte-order mark is no content; PyYAML would guess at other encodings
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
    """YAML of plain values, names in their order; lists of numbers and texts on a line.

    :func:`mapping_from_yaml` gives the same values back.
    """
    options: dict[str, Any] = {"Dumper": _Dumper, "sort_keys": False, "width": 100}
    text: str = yaml.dump(dict(values), allow_unicode=True, **options)
    if shown(text, keep="\n") == text:
        return text
    # marks that turn the direction of writing count as printable in YAML
    return str(yaml.dump(dict(values), allow_unicode=False, **options))


class _Dumper(yaml.SafeDumper):
    """Texts that our reader would take for something else are quoted, and nothing is aliased."""

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
    """What is wrong, on one line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    text = f"line {mark.line + 1}: {problem}" if mark and problem else str(error)
    return " ".join(text.split())[:160]


def _value_from_events(events: Iterator[yaml.Event]) -> Any:
    """The value of the one document; None if there is none."""
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
        # a collection's own content was counted when it was added to it
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
    """Put a value, or a name, into what is being read."""
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
        # of several, the first wins
        holder.merged = {k: v for one in reversed(given) for k, v in one.items()}
        holder.key = None
    else:
        own.value[holder.key] = built.value
        holder.key = None


def _closed(done: _Open) -> _Built:
    """What was read; names of its own win over those that ``<<`` brings."""
    if done.merged is not None:
        own = done.built.value
        done.built.value = {**done.merged, **own}
    return done.built


def _scalar_of(event: yaml.ScalarEvent, line: int, is_key: bool) -> Any:
    text: str = event.value
    if _UNWRITABLE.search(text):
        raise _Fault(line, "a text that cannot be written")
    # names are text, whatever they look like: `on` is one
    if is_key or event.style is not None:
        return text
    return _scalar(text)


def _scalar(text: str) -> Any:
    """What a scalar without quotes means."""
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
