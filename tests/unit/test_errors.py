"""One message for two readers: options for who types them, argument names for who programs."""

from __future__ import annotations

import pickle

import pytest

from ssd_small.errors import BadFile, UsageError


@pytest.mark.parametrize(
    ("written", "in_python"),
    [
        ("it has 3 classes: pass --num-classes 3", "it has 3 classes: pass num_classes 3"),
        ("--heads does not go with --target x", "heads does not go with target x"),
        ("choose another --output", "choose another output"),
        ("lower --lr, or look", "lower lr, or look"),
        ("(--labels)", "(labels)"),
        # names of files and words are left as they are
        ("cannot read my--file.png", "cannot read my--file.png"),
        ("cannot read ./--odd.png: gone", "cannot read ./--odd.png: gone"),
        ("cannot read --odd.png: gone", "cannot read --odd.png: gone"),
        ("a -- b, --- and C--", "a -- b, --- and C--"),
    ],
)
def test_python_reads_argument_names_where_the_command_line_has_options(written, in_python):
    error = UsageError(written)
    assert str(error) == in_python
    assert error.command_line == written


def test_errors_survive_the_way_between_processes():
    error = pickle.loads(pickle.dumps(BadFile("pass --width 0.5")))
    assert error.command_line == "pass --width 0.5"
    assert str(error) == "pass width 0.5"
