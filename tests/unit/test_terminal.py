"""What files and names contain is shown, not obeyed; C libraries that decode print nothing."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from ssd_small.cli.streams import ShownText, shown_streams
from ssd_small.errors import BadFile, quoted, reason_from_exception
from ssd_small.pictures import remarks
from ssd_small.pictures.remarks import without_remarks
from ssd_small.terminal import drawing_stream, one_line, shown

#: a colour, a title, C1, DEL, bidirectional marks, separators, a byte that is no text
HOSTILE = [
    *("\x1b[31m", "\x1b]0;t\x07", "\x9b2J", "\x7f", "\x00", "\r", "\x08"),
    *("\u202e", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c", "\u2028", "\u2029", "\udc9b"),
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_a_terminal_would_obey_is_escaped_as_json_does(text):
    assert shown(text).isprintable()
    assert json.loads(f'"{shown(text)}"') == text


def test_text_of_all_scripts_is_left_alone():
    text = "Größe 大きさ ไทย עברית 👩\u200d🔬 \\ \"'"
    assert shown(text) == text


def test_lines_end_where_we_end_them():
    assert shown("a\nb\tc") == r"a\nb\tc"
    assert one_line("a\nb\r\u2028c") == r"a\nb\r\u2028c"


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_everything_that_is_printed_passes_the_guard(text, monkeypatch):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with shown_streams():
        print(f"1{text}2\n3\t4")
        click.echo(f"5{text}6", err=True, color=True)
        assert drawing_stream() is err
    assert out.getvalue() == f"1{shown(text)}2\n3\t4\n"
    assert err.getvalue() == f"5{shown(text)}6\n"
    assert (sys.stdout, sys.stderr) == (out, err)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_json_says_the_same_behind_the_guard(text):
    stream = io.StringIO()
    ShownText(stream).write(json.dumps({text: [text]}))
    assert json.loads(stream.getvalue()) == {text: [text]}


def test_a_stream_of_another_encoding_is_guarded_too(monkeypatch):
    """click wraps the bytes of an ASCII stream anew, past the text stream."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", "backslashreplace"))
    with shown_streams():
        click.echo("\x1b[31mä", color=True)
    assert raw.getvalue() == b"\\u001b[31m\\xe4\n"


@pytest.mark.slow
def test_words_longer_than_names_are_cut_in_their_middle_and_paths_are_not():
    path = "/" + "/".join(["n" * 255] * 15)
    line = one_line(f"cannot read {path}: {'x' * 10**6} is no number")
    assert path in line
    assert line.endswith("x is no number")
    assert len(line) < len(path) + 400
    assert len(one_line("ab " * 10**6)) <= 1000
    assert len(one_line("/a" * 10**6)) <= 4096
    assert len(one_line(f"cannot write in/{'9' * 4000}: too long")) <= 255 + len(
        "cannot write: too long"
    )
    assert len(one_line(("/" + "a" * 1000 + " ") * 1000)) <= 1000 + 3 * 4096


@pytest.mark.parametrize(
    "value", ["\x1b" * 10**6, b"\xff" * 10**6, ["\u202e" * 10**6], {"a": "\n" * 99}]
)
def test_a_quoted_value_is_short_and_harmless(value):
    assert len(quoted(value)) <= 60
    assert quoted(value).isprintable()


def test_the_reason_of_an_exception_is_the_first_line_of_what_it_says():
    assert reason_from_exception(ValueError("\n a\x1bb \n c")) == r"a\u001bb"
    assert reason_from_exception(KeyError()) == "KeyError"
    assert len(reason_from_exception(ValueError("a" * 10**6))) <= 300


def _broken_png(tmp_path: Path) -> Path:
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    content = bytearray(cv2.imencode(".png", pixels)[1].tobytes())
    content[60] ^= 0xFF
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    return path


def test_no_remark_of_a_decoder_reaches_standard_error(tmp_path, monkeypatch, capfd):
    from ssd_small.pictures.reading import read_image

    path = _broken_png(tmp_path)
    # a command that ran in this process before has switched it on
    monkeypatch.setattr(remarks._c_standard_error, "may_be_muted", False)
    with pytest.raises(BadFile):
        read_image(path)
    if not capfd.readouterr().err:
        pytest.skip("not executed here: this OpenCV's decoders print nothing")
    monkeypatch.setattr(remarks._c_standard_error, "may_be_muted", True)
    with pytest.raises(BadFile):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_messages_beside_a_decoding_are_not_lost(monkeypatch, capfd):
    monkeypatch.setattr(remarks._c_standard_error, "may_be_muted", True)
    with without_remarks():
        with without_remarks():
            os.write(2, b"descriptor\n")
        print("python", file=sys.stderr, flush=True)
    assert capfd.readouterr().err == "descriptor\npython\n"
    assert remarks._c_standard_error._users == 0
    assert remarks._c_standard_error._own is None
