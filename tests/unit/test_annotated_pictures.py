"""One frame for every command that reads annotated pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
PilImage = pytest.importorskip("PIL.Image", reason="needs Pillow")

from ssd_small.pictures.annotated import (  # noqa: E402
    AnnotatedPicture,
    OtherPicture,
    read_annotated,
)
from ssd_small.pictures.pixels import pixels_from_picture  # noqa: E402
from ssd_small.pictures.reading import read_image  # noqa: E402

ORIENTATION = 0x0112
WIDTH, HEIGHT = 40, 24


def tagged(path: Path, orientation: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """Noise of (width, height) ``size`` as stored, with an orientation for viewers."""
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    exif = PilImage.Exif()
    exif[ORIENTATION] = orientation
    PilImage.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("frame", ["stored", "turned"])
def test_training_evaluation_and_detection_see_the_same_array(
    tmp_path: Path, orientation: int, frame: str
) -> None:
    pytest.importorskip("torch", reason="needs torch")
    from ssd_small.training.dataset import DetectionDataset

    path = tagged(tmp_path / "a.png", orientation)
    stored = read_image(path, apply_orientation=False)
    turned = read_image(path)
    # 5 to 8 lie on their side: only there does the size tell the two frames apart
    assert (stored.shape == turned.shape) == (orientation <= 4)
    expected = stored if frame == "stored" and orientation > 4 else turned
    height, width = (stored if frame == "stored" else turned).shape[:2]
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "width": width, "height": height}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 8]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    sample = DetectionDataset.from_coco(tmp_path / "gt.json", tmp_path)[0]
    assert np.array_equal(sample.image[:, :, ::-1], expected)
    assert sample.boxes_xyxy.tolist() == [[1, 2, 11, 10]]
    assert np.array_equal(
        pixels_from_picture(AnnotatedPicture(path, (float(height), float(width)))), expected
    )


@pytest.mark.parametrize(("factor", "turned"), [(0.5, True), (0.5, False), (2, True), (2, False)])
def test_the_aspect_tells_the_frame_of_a_picture_that_was_scaled(
    tmp_path: Path, factor: float, turned: bool
) -> None:
    path = tagged(tmp_path / "a.png", 6)
    height, width = (WIDTH, HEIGHT) if turned else (HEIGHT, WIDTH)
    image = read_annotated(path, (height * factor, width * factor))
    assert image.shape[:2] == (height, width)


def test_a_square_is_turned_as_people_see_it(tmp_path: Path) -> None:
    path = tagged(tmp_path / "a.png", 6, (30, 30))
    assert np.array_equal(read_annotated(path, (30, 30)), read_image(path))


def test_another_picture_is_refused_with_both_sizes(tmp_path: Path) -> None:
    path = tagged(tmp_path / "a.png", 1)
    with pytest.raises(OtherPicture, match=r"a\.png is 40x24 but annotated as 31x30"):
        read_annotated(path, (30, 31))
