"""--max-pixels, in every command that reads pictures."""

from __future__ import annotations

import json
import os

import pytest


@pytest.fixture
def data(pictures, truth, saved):
    """Options that name annotations and their pictures, and the pixels of the largest picture."""
    return saved(truth), pictures


def test_detect_says_the_limit_and_how_to_raise_it(call, engine, pictures):
    run = ("detect", "--engine", engine, pictures / "a.jpg")
    line = call(*run, "--max-pixels", 100).fails(4, "too many pixels", "at most 100")
    raised = line.rpartition("--max-pixels ")[2]
    call(*run, "--max-pixels", raised).fits()
    call(*run).fits()
    assert "SSD_SMALL_MAX_PIXELS" not in os.environ


def test_eval_reports_pictures_beyond_the_limit(call, engine, data):
    annotations, images = data
    run = ("eval", "--engine", engine, "--annotations", annotations, "--images", images)
    call(*run, "--max-pixels", 100).fails(4)
    call(*run).fits()


def test_check_data_reports_pictures_beyond_the_limit(call, data):
    annotations, images = data
    run = ("check-data", annotations, "--images", images, "--json")
    assert "too many pixels" in json.dumps(call(*run, "--max-pixels", 100).json)
    assert "too many pixels" not in json.dumps(call(*run).json)


@pytest.mark.parametrize("command", ["convert", "convert-voc", "train"])
def test_the_others_have_the_option(call, command):
    assert "--max-pixels" in call(command, "--help").fits().out
