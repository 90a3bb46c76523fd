"""YAML files as plain values: what is read, what is refused, and that both end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssd_small.configs.yaml_file import (
    MOST_BYTES,
    MOST_DEPTH,
    mapping_from_yaml,
    yaml_from_mapping,
)
from ssd_small.errors import BadFile


def read(folder: Path, content: str | bytes) -> dict[str, Any]:
    path = folder / "c.yml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return mapping_from_yaml(path, "a configuration")


def refused(path: Path) -> str:
    with pytest.raises(BadFile) as caught:
        mapping_from_yaml(path, "a configuration")
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 400
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        ("5.", 5.0),
        (".5", 0.5),
        ("-3", -3),
        ("0", 0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("yes", True),
        ("Off", False),
        ("yEs", "yEs"),
        ("~", None),
        ("", None),
        # what YAML 1.1 and 1.2 read differently, and what is no number of ours
        ("010", "010"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("2007-01-01", "2007-01-01"),
        ("2007:trainval", "2007:trainval"),
        ("'12'", "12"),
        ('"yes"', "yes"),
        ("9" * 41, "9" * 41),
    ],
)
def test_a_plain_value_is_what_people_mean(tmp_path: Path, written: str, meant: object) -> None:
    value = read(tmp_path, f"a: {written}\n")["a"]
    assert value == meant
    assert type(value) is type(meant)


def test_names_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    assert read(tmp_path, "on: 1\n2007: 2\n~: 3\n") == {"on": 1, "2007": 2, "~": 3}


def test_aliases_and_merged_mappings_are_read(tmp_path: Path) -> None:
    text = "x: &x {p: 1, q: 2}\ny: *x\nz: {q: 3, <<: *x}\nw: {<<: [{p: 8}, *x]}\n"
    assert read(tmp_path, text) == {
        "x": {"p": 1, "q": 2},
        "y": {"p": 1, "q": 2},
        "z": {"p": 1, "q": 3},
        "w": {"p": 8, "q": 2},
    }


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\n") == {"a": 1}


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
STAIRS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LAUGHS, "more than 20000 values"),
        (STAIRS, "more than 32 levels"),
        ("a: &a [*a]", r"alias \*a of what it stands in"),
        ("a: &a {b: {c: *a}}", r"alias \*a of what it stands in"),
        ("a: *b", r"alias \*b of nothing"),
        ("a: &a [1]\n? *a\n: 2", "place of a name"),
        ("? [1]\n: 2", "place of a name"),
        ("a: " + "[" * 100_000, "more than 32 levels"),
        ("- " * 100_000, "more than 32 levels"),
        ("{a: " * 20_000, "more than 32 levels"),
        ("a: [" + "1," * 20_001 + "]", "more than 20000 values"),
        ("a: !!python/object/apply:os.system [echo]", "line 1: a tag"),
        ("a: !!int 1", "a tag"),
        ("a: ! 1", "a tag"),
        ("a: !x {b: 1}", "a tag"),
        ("a: 1\nb: 2\na: 3", "line 3: 'a' stands twice"),
        ("a: {b: 1, b: 1}", "'b' stands twice"),
        ("<<: {a: 1}\n<<: {b: 1}", "'<<' stands twice"),
        ("<<: 5", "<< of what is no mapping"),
        ("a: 1\n---\nb: 2", "a second document"),
        ('a: "\\ud800"', "cannot be written"),
        ('a: "\\0"', "cannot be written"),
        ('a: "\\Uffffffff"', "is not YAML"),
        ("%YAML 9.9\n---\na: 1", "is not YAML"),
        ("a: 'x", "line 1"),
        ("a\tb:\t1", "line 1"),
        ("", "holds nothing"),
        ("# only a remark\n", "holds nothing"),
        ("{}", "holds nothing"),
        ("[1, 2]", "holds a list"),
        ("text", "holds a value"),
        (b"\xff\xfea\x00", "not UTF-8"),
        (b"PK\x03\x04\x00", "is not YAML"),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    path = tmp_path / "c.yml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadFile, match=words):
        mapping_from_yaml(path, "a configuration")
    refused(path)


def test_a_file_that_is_large_absent_or_a_folder_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.yml"
    large.write_bytes(b"a: 1\n" + b"#" * MOST_BYTES)
    assert f"of at most {MOST_BYTES}" in refused(large)
    assert "No such file" in refused(tmp_path / "absent.yml")
    assert "directory" in refused(tmp_path)


def test_what_is_just_allowed_is_read(tmp_path: Path) -> None:
    text = "a: " + "[" * (MOST_DEPTH - 1) + "]" * (MOST_DEPTH - 1)
    value = read(tmp_path, text)["a"]
    for _ in range(MOST_DEPTH - 2):
        (value,) = value
    assert value == []


def test_written_values_are_read_back_by_us_and_by_others(tmp_path: Path) -> None:
    values = {
        "numbers": [1, 2.5, 1e-8, 1e20, -3],
        "texts": ["", "yes", "010", "1e-4", "2007", "a: b", " x ", "#", "~", "a\nb", "ä", "'"],
        "pairs": [["2007", "trainval"], ["2012", "trainval"]],
        "flags": [True, False],
        "inner": {"a": {"b": [[1, 2], [3]]}},
    }
    text = yaml_from_mapping(values)
    assert read(tmp_path, text) == values
    assert "&" not in yaml_from_mapping({"a": values["numbers"], "b": values["numbers"]})
    # PyYAML takes 1e-08 and 1e+20 for text (YAML 1.1), and quotes of ours for what they are
    theirs = yaml.safe_load(text)
    assert {**theirs, "numbers": [float(one) for one in theirs["numbers"]]} == values


def test_names_of_files_that_are_no_utf_8_survive(tmp_path: Path) -> None:
    name = b"/pictures/\xff\xe4".decode("utf-8", "surrogateescape")
    assert read(tmp_path, yaml_from_mapping({"images": name})) == {"images": name}


def test_what_a_terminal_would_obey_is_written_escaped_and_read_back(tmp_path: Path) -> None:
    values = {"output": "a\u202eb\x1b[31m\n", "labels": ["größe\u2066"]}
    text = yaml_from_mapping(values)
    assert all(line.isprintable() for line in text.splitlines())
    (tmp_path / "x.yml").write_text(text)
    assert mapping_from_yaml(tmp_path / "x.yml", "a mapping") == values
