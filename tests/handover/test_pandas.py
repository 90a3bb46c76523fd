"""Results as pandas' DataFrame."""

from __future__ import annotations

import io

import numpy as np
import pandas
import pytest
from hand_made_results import BOXES, LABELS, NAMES, SCORES, many_found, none_found, two_found

COLUMNS = ["name", "label", "score", "x1", "y1", "x2", "y2"]


@pytest.mark.parametrize("background", sorted(LABELS))
def test_a_row_holds_a_detection(background):
    frame = two_found(background).to_pandas()
    assert frame.columns.tolist() == COLUMNS
    assert frame.index.tolist() == [0, 1]
    labels = (LABELS[background][2], LABELS[background][0])
    assert frame.to_numpy().tolist() == [
        [name, label, float(np.float32(score)), *box]
        for name, label, score, box in zip(NAMES, labels, SCORES, BOXES, strict=True)
    ]


def test_numbers_are_equal_to_the_bit():
    found = many_found()
    frame = found.to_pandas()
    assert np.array_equal(frame[["x1", "y1", "x2", "y2"]].to_numpy(), found.boxes)
    assert np.array_equal(frame["score"].to_numpy(), found.scores)
    assert np.array_equal(frame["label"].to_numpy(), found.labels)


@pytest.mark.parametrize("make", [two_found, none_found])
def test_columns_have_the_same_kinds_with_and_without_rows(make):
    frame = make().to_pandas()
    assert frame.columns.tolist() == COLUMNS
    assert frame["name"].dtype == pandas.Series(["a"], dtype="str").dtype
    kinds = {name: str(frame[name].dtype) for name in COLUMNS[1:]}
    assert kinds == {"label": "int32"} | dict.fromkeys(COLUMNS[2:], "float32")


def test_frames_of_pictures_are_joined_without_a_change_of_kind():
    whole = pandas.concat([none_found().to_pandas(), two_found().to_pandas()])
    pandas.testing.assert_frame_equal(whole, two_found().to_pandas())


def test_texts_are_compared_and_counted():
    frame = two_found().to_pandas()
    assert frame[frame["name"] == "cell, red"]["score"].tolist() == [0.5]
    assert frame["name"].str.contains(",").tolist() == [False, True]
    assert none_found().to_pandas()["name"].str.upper().tolist() == []


def test_a_frame_is_the_same_after_csv():
    found = many_found()
    assert "Blutplättchen" in found.names
    frame = found.to_pandas()
    read = pandas.read_csv(io.StringIO(frame.to_csv(index=False)), dtype=dict(frame.dtypes))
    pandas.testing.assert_frame_equal(read, frame, check_exact=True)


def test_a_frame_is_not_the_memory_of_the_result():
    found = two_found()
    frame = found.to_pandas()
    frame.loc[0, ["x1", "score"]] = 0
    assert found.boxes.tolist() == [list(box) for box in BOXES]
    assert found.scores[0] == np.float32(0.9)
