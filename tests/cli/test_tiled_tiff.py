"""Large TIFF files by ``--tiles``: found the same as in other files, and refused in a line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
tifffile = pytest.importorskip("tifffile", reason="needs tifffile")
pytest.importorskip("imagecodecs", reason="needs imagecodecs")

from ssd_small.pictures import tiff_windows  # noqa: E402

TILES = ("--tiles", "60x50", "--threads", 1)


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TIFF of 160 x 120 with strips, and a PNG of the same pixels beside it."""
    monkeypatch.setattr(tiff_windows, "WINDOWED_FROM", 1)
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    pixels = cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)
    assert cv2.imwrite(str(tmp_path / "x.png"), pixels)
    path = tmp_path / "x.tif"
    rgb = np.ascontiguousarray(pixels[:, :, ::-1])
    options = {"photometric": "rgb", "metadata": None, "compression": "lzw", "rowsperstrip": 20}
    tifffile.imwrite(path, rgb, **options)
    return path


def found(outcome) -> list:
    return json.loads(outcome.fits().out)["detections"]


def test_detections_are_those_of_the_same_pixels_in_png(call, engine, picture):
    detect = ("detect", "--engine", engine, "--json", *TILES)
    same = found(call(*detect, picture.with_suffix(".png")))
    assert same
    assert found(call(*detect, picture)) == same
    # more pixels than are decoded at once, for windows that are smaller
    few = ("--max-pixels", 8000)
    assert found(call(*detect, *few, picture)) == same
    call(*detect, *few, picture.with_suffix(".png")).fails(4, "too many pixels")


def test_a_part_that_is_damaged_or_cut_off_is_a_line(call, engine, picture):
    detect = ("detect", "--engine", engine, *TILES, picture)
    with tifffile.TiffFile(picture) as file:
        page = file.pages[0]
        offset, count = page.dataoffsets[-1], page.databytecounts[-1]
    content = bytearray(picture.read_bytes())
    picture.write_bytes(content[: offset + 5])
    call(*detect).fails(4, "x.tif", "cut off before the picture ends")
    content[offset : offset + count] = bytes([255, 7] * count)[:count]
    picture.write_bytes(content)
    call(*detect).fails(4, "x.tif", "damaged")


def test_a_data_set_of_tiff_files_is_cut_and_learned_from(call, picture, tmp_path):
    pytest.importorskip("torch")
    from ssd_small.datasets.coco import read_annotations
    from ssd_small.pictures.tiles import Tiling
    from ssd_small.training.dataset import DetectionDataset
    from ssd_small.training.tiles import TiledDataset

    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [30, 30, 20, 20], "iscrowd": 0}
    for name in ("x.tif", "x.png"):
        image = {"id": 1, "file_name": name, "width": 160, "height": 120}
        content = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "a"}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        where = ("--images", tmp_path, "-o", tmp_path / f"{name}-tiles", "--tiles", "60x50")
        call("tile", tmp_path / f"{name}.json", *where).fits()
    for path in (tmp_path / "x.png-tiles" / "images").iterdir():
        other = tmp_path / "x.tif-tiles" / "images" / path.name
        assert np.array_equal(cv2.imread(str(path)), cv2.imread(str(other)))
    truth = read_annotations(tmp_path / "x.tif.json")
    data = DetectionDataset(truth, [picture], cache_bytes=0)
    sample = TiledDataset(data, Tiling(60, 50))[0]
    whole = cv2.imread(str(picture.with_suffix(".png")))[:, :, ::-1]
    assert np.array_equal(sample.image, whole[:50, :60])
