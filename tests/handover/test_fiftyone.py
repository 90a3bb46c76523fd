"""Results as fiftyone's Detections.

Its labels and samples are tested; its data sets are not, since they need a MongoDB that the
installation of fiftyone downloads from elsewhere than the package index.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hand_made_results import (
    HEIGHT,
    LABELS,
    NAMES,
    SCORES,
    WIDTH,
    many_found,
    none_found,
    two_found,
)

# fiftyone 1.22 defines scalars in a way that the strawberry it asks for deprecates
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Passing a class to strawberry\.scalar\(\) is deprecated:DeprecationWarning"
)
ROOT = Path(__file__).resolve().parents[2]

#: what a process does in the way of connections and other processes while it makes labels
WATCHED = """
import sys
seen = []
KINDS = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "subprocess.Popen", "os.system",
         "os.fork", "os.forkpty", "os.exec", "os.posix_spawn")
sys.addaudithook(lambda event, arguments: event in KINDS and seen.append(event))
from hand_made_results import two_found
print(two_found().to_fiftyone().detections[0].label, seen)
import socket
socket.socket().connect_ex(("127.0.0.1", 9))
print(seen)
"""


@pytest.fixture(scope="module", autouse=True)
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No usage tracking, and no settings or files of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIFTYONE_DO_NOT_TRACK", "true")
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.mark.parametrize("background", sorted(LABELS))
def test_boxes_are_parts_of_the_picture(background):
    import fiftyone

    given = two_found(background).to_fiftyone()
    assert isinstance(given, fiftyone.Detections)
    assert [one.label for one in given.detections] == list(NAMES)
    assert [one.confidence for one in given.detections] == [float(np.float32(s)) for s in SCORES]
    boxes = [one.bounding_box for one in given.detections]
    # the last of the numbers is a difference of two, each rounded to 2^-53 of at most 1
    assert boxes[0] == pytest.approx([0.05, 0.2, 0.25, 0.6], abs=2**-51)
    assert boxes[1] == pytest.approx([0.7525, 0.0, 0.2475, 0.255], abs=2**-51)
    assert {type(number) for box in boxes for number in box} == {float}


def test_pixels_come_back_to_the_bit_and_no_box_leaves_the_picture():
    found = many_found()
    edge = replace(found[:1], boxes=np.array([[199.99998, 1 / 3, 200, 100]], np.float32))
    for one in (found, edge):
        boxes = np.array([each.bounding_box for each in one.to_fiftyone().detections])
        corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
        assert corners.min() >= 0
        assert corners.max() <= 1
        pixels = (corners * [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(np.float32)
        assert np.array_equal(pixels, one.boxes)


def test_a_result_without_detections_is_empty():
    import fiftyone

    unreadable = replace(none_found(), width=0, height=0)
    for found in (none_found(), unreadable):
        given = found.to_fiftyone()
        assert isinstance(given, fiftyone.Detections)
        assert given.detections == []


def test_a_sample_holds_a_result_and_is_the_same_after_storing():
    import bson
    import fiftyone

    sample = fiftyone.Sample(filepath="a.png")
    sample["predictions"] = two_found().to_fiftyone()
    sample["nothing"] = none_found().to_fiftyone()
    stored = bson.decode(bson.encode(sample.to_dict()))
    again = fiftyone.Sample.from_dict(stored)
    assert again["predictions"] == sample["predictions"]
    assert [one.label for one in again["predictions"].detections] == list(NAMES)
    assert again["nothing"].detections == []


def test_fiftyone_finds_the_true_boxes_the_same():
    from fiftyone.utils.iou import compute_ious

    first, second = (two_found().to_fiftyone().detections for _ in range(2))
    # sides of at least 0.2 are differences with an error of 2^-52, an area has four such errors
    assert compute_ious(first, second) == pytest.approx(np.eye(2), abs=2**-46)


def test_making_labels_connects_to_nothing_and_starts_nothing():
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    done = subprocess.run(
        [sys.executable, "-c", WATCHED],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [f"{NAMES[0]} []", "['socket.connect']"], done.stderr
