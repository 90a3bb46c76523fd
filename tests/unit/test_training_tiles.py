"""Training on tiles: the very tiles that ``ssd-small tile`` writes, cut when they are wanted."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

from ssd_small.datasets.coco import read_annotations  # noqa: E402
from ssd_small.datasets.picture_files import image_paths  # noqa: E402
from ssd_small.datasets.tile_set import TileRules, write_tile_set  # noqa: E402
from ssd_small.errors import BadFile, UsageError  # noqa: E402
from ssd_small.pictures.tiles import Tiling  # noqa: E402
from ssd_small.training.dataset import DetectionDataset  # noqa: E402
from ssd_small.training.job import TrainingJob  # noqa: E402
from ssd_small.training.recipe import Recipe  # noqa: E402
from ssd_small.training.tiles import TiledDataset, tiling_from_job  # noqa: E402

TILING = Tiling(64, 48, 0.25)
SIZES = ((200, 130), (60, 40), (150, 90))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, the last of which was scaled up after it was annotated."""
    draw = np.random.default_rng(3)
    content: dict = {
        "images": [],
        "categories": [{"id": 4, "name": "cat"}, {"id": 9, "name": "dog"}],
    }
    content["annotations"] = []
    for number, (width, height) in enumerate(SIZES, 1):
        scale = 2 if number == 3 else 1
        picture = draw.integers(0, 256, (height * scale, width * scale, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
        size = {"width": width, "height": height}
        content["images"].append({"id": number, "file_name": f"{number}.png", **size})
        for _ in range(12):
            w, h = draw.integers(6, 40, 2).tolist()
            x, y = draw.integers(-3, width - 5), draw.integers(-3, height - 5)
            content["annotations"].append(
                {
                    "id": len(content["annotations"]),
                    "image_id": number,
                    "category_id": int(draw.choice([4, 9])),
                    "bbox": [int(x), int(y), w, h],
                    "iscrowd": 0,
                }
            )
    (tmp_path / "gt.json").write_text(json.dumps(content))
    return tmp_path


def whole(folder: Path, **options: int) -> DetectionDataset:
    return DetectionDataset.from_coco(folder / "gt.json", folder, **options)


@pytest.mark.parametrize("cache", [1 << 28, 0], ids=["kept", "read anew"])
def test_tiles_are_those_that_the_command_writes(folder: Path, cache: int) -> None:
    truth = read_annotations(folder / "gt.json")
    (folder / "out").mkdir()
    paths = image_paths(truth, folder)
    report = write_tile_set(truth, paths, folder / "out", TileRules(TILING, empty=0))
    out = folder / "out"
    written = DetectionDataset.from_coco(out / "annotations.json", out / "images")
    data = TiledDataset(whole(folder, cache_bytes=cache), TILING)
    assert len(data) == len(written) == report.tiles
    assert (data.report.boxes, data.cut, data.nowhere) == (report.kept, report.cut, report.nowhere)
    assert (data.empty, data.rests) == (report.empty_left_out, data.rests)
    for index in range(len(data)):
        one, other = data[index], written[index]
        assert np.array_equal(one.image, other.image)
        assert np.allclose(one.boxes_xyxy, other.boxes_xyxy, atol=1e-4)
        assert np.array_equal(one.labels, other.labels)
        assert np.array_equal(data.labels_of(index), one.labels)
        assert data.paths[index].stem == written.paths[index].stem.partition("_")[0]
    # of the picture that was scaled, the file's tiles are twice as large as the annotated ones
    assert data.object_size(300, 300).network == pytest.approx(
        written.object_size(300, 300).network
    )
    assert ("read anew for each tile" in "\n".join(data.notes())) == (cache == 0)


def test_workers_that_inherit_no_memory_cut_the_same(folder: Path) -> None:
    data = TiledDataset(whole(folder), TILING)
    first = data[0]
    again = pickle.loads(pickle.dumps(data))[0]
    assert np.array_equal(first.image, again.image)


def test_a_class_that_no_tile_has_enough_of_is_told(folder: Path) -> None:
    content = json.loads((folder / "gt.json").read_text())
    content["annotations"] = [
        {"id": 1, "image_id": 1, "category_id": 4, "bbox": [0, 0, 150, 120], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 9, "bbox": [0, 0, 20, 20], "iscrowd": 0},
    ]
    (folder / "gt.json").write_text(json.dumps(content))
    data = TiledDataset(whole(folder), TILING)
    assert data.report.labels_without_objects == ("cat",)
    assert data.nowhere == 1
    del content["annotations"][1]
    (folder / "gt.json").write_text(json.dumps(content))
    with pytest.raises(BadFile, match="no tile of 64x48 has enough of any object"):
        TiledDataset(whole(folder), TILING)


def test_auto_is_the_tile_in_which_objects_are_as_large_as_they_were_learned(folder: Path) -> None:
    def job(weights: str | None) -> TrainingJob:
        recipe = Recipe(epochs=1)
        places = (folder / "gt.json", folder, folder / "out")
        return TrainingJob("mobilenet_v1_s1l0", recipe, *places, tiles="auto", weights=weights)

    data = whole(folder)
    assert tiling_from_job(job(None), data) == Tiling(300, 300)
    # the shipped digits have learned objects of 12.44 pixels at an input of 300
    tiling = tiling_from_job(job("digits/mobilenet_v1_s1l0"), data)
    side = round(300 * data.object_size(300, 300).picture / 12.44)
    assert tiling == Tiling(side, side)
    network = np.median(whole(folder).object_sides(300, 300))
    assert network > 0


def test_a_job_whose_tiles_cannot_be_is_refused(folder: Path) -> None:
    def job(**options: object) -> TrainingJob:
        return TrainingJob("mobilenet_v1", Recipe(), folder, folder, folder, **options)  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="overlap goes with tiles"):
        job(overlap=0.3)
    with pytest.raises(UsageError, match="leaves no step"):
        job(tiles=(2, 2), overlap=0.9)
    with pytest.raises(UsageError, match="at least 1 pixel"):
        job(tiles=(0, 2))
    assert job(tiles=[30, 20]).tiles == (30, 20)
