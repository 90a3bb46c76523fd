"""Pictures as they are go to the network in batches of one size, and come back in their order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detection_doubles import MadeUpRuntime, number_of, picture

from ssd_small.detection import pipeline
from ssd_small.detection.detector import Detector
from ssd_small.errors import UsageError
from ssd_small.pictures.preprocessing import PictureInput
from ssd_small.postprocess import Detections
from ssd_small.runtimes.base import Images

#: heights and widths, and the batches that follow, at most four pictures each
A, B = (6, 5), (8, 9)
ORDERS = {
    "all alike": ([A] * 6, [4, 2]),
    "by turns": ([A, B, A, B], [1, 1, 1, 1]),
    "in runs": ([A, A, A, B, B, B, B, B, A], [3, 4, 1, 1]),
    "turned": ([(6, 5), (5, 6)], [1, 1]),
}


class _Pictures(MadeUpRuntime):
    """Takes pictures as they are, of any size or of one; remembers what it was given."""

    def __init__(self, *size: int) -> None:
        super().__init__()
        self.description = replace(self.description, pictures=PictureInput(*size))
        self.given: list[Images] = []

    def infer_batch(self, images: Images) -> list[Detections]:
        self.given.append(images)
        return super().infer_batch(images)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("order", ORDERS)
def test_batches_are_of_one_size_and_results_in_order(order: str, workers: int) -> None:
    sizes, batches = ORDERS[order]
    runtime = _Pictures()
    pictures = [picture(number, *size) for number, size in enumerate(sizes)]
    found = Detector(runtime, workers=workers)(pictures)
    assert [number_of(one) for one in found] == list(range(len(sizes)))
    assert [(one.height, one.width) for one in found] == sizes
    assert runtime.batches == batches
    given = [image for images in runtime.given for image in images]
    for own, image in zip(given, pictures, strict=True):
        assert own.dtype == np.uint8
        np.testing.assert_array_equal(own, image)


def test_colours_are_put_into_the_order_of_the_input() -> None:
    """Arrays of RGB are turned round: the input is BGR whatever the network was trained with."""
    runtime = _Pictures()
    Detector(runtime)(np.full((2, 2, 3), (1, 2, 3), np.uint8), color="RGB")
    assert runtime.given[0][0, 0, 0].tolist() == [3, 2, 1]


def test_a_batch_has_no_more_pixels_than_a_picture_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "MOST_INPUT_PIXELS", 2 * A[0] * A[1])
    runtime = _Pictures()
    Detector(runtime)([picture(number, *A) for number in range(5)])
    assert runtime.batches == [2, 2, 1]


def test_a_picture_that_does_not_fit_is_left_to_its_place() -> None:
    runtime = _Pictures(*A)
    detector = Detector(runtime)
    found: list[object] = []
    with pytest.raises(UsageError, match="a picture of 9x8 pixels; this network takes pictures of"):
        found.extend(detector.stream([picture(0, *A), picture(1, *B), picture(2, *A)]))
    assert len(found) == 1


def test_a_batch_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match=r"expected uint8 \[N, height, width, 3\]"):
        _Pictures().infer(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(UsageError, match=r"expected uint8 \[N, 6, 5, 3\]"):
        _Pictures(*A).infer(np.zeros((1, 5, 6, 3), np.uint8))
    with pytest.raises(UsageError, match=r"expected float32 \[N, 3, 8, 8\]"):
        MadeUpRuntime().infer(np.zeros((1, 8, 8, 3), np.uint8))


@pytest.mark.parametrize("size", [(), A])
def test_warming_up_takes_the_input_that_the_network_takes(size: tuple[int, ...]) -> None:
    runtime = _Pictures(*size)
    Detector(runtime).warmup()
    assert [images.shape for images in runtime.given] == [
        (number, *(size or (8, 8)), 3) for number in (1, 4)
    ]
