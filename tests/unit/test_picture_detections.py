"""What a result says of itself, how it is selected from, drawn and cut up."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detection_doubles import CLASSES, SCORES, description, detector

cv2 = pytest.importorskip("cv2")
torch = pytest.importorskip("torch")
PilImage = pytest.importorskip("PIL.Image")

from ssd_small import PictureDetections  # noqa: E402
from ssd_small.detection.picture_detections import Detection, picture_detections  # noqa: E402
from ssd_small.errors import OutputError, UsageError  # noqa: E402
from ssd_small.postprocess import Detections  # noqa: E402

#: ``[60, 80, 3]`` uint8 BGR
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)


@pytest.fixture
def found() -> PictureDetections:
    """Five detections; one reaches past the picture, one has no area, one lies outside of it."""
    return detector()(PIXELS, score_threshold=0.25)[0]


@pytest.fixture
def none(found: PictureDetections) -> PictureDetections:
    return found[:0]


def test_boxes_are_pixels_of_the_picture_and_inside_it(found: PictureDetections) -> None:
    by_hand = [(8, 12, 40, 36), (0, 30, 24, 60), (40, 30, 40, 30), (0, 0, 80, 60), (80, 60, 80, 60)]
    # a product of two float32
    assert found.boxes == pytest.approx(np.array(by_hand), rel=2**-23)
    assert found.boxes.min() == 0
    assert found.boxes.max(axis=0).tolist() == [80, 60, 80, 60]
    assert (found.width, found.height, len(found)) == (80, 60, 5)


def test_every_column_has_its_type_also_when_there_is_nothing(
    found: PictureDetections, none: PictureDetections
) -> None:
    for result, number in ((found, 5), (none, 0)):
        assert (result.boxes.shape, result.boxes.dtype) == ((number, 4), np.float32)
        for name, kind in (("scores", "f"), ("labels", "i"), ("prior_indices", "i")):
            column = getattr(result, name)
            assert (column.shape, column.dtype.kind) == ((number,), kind)
        assert isinstance(result.names, list)
    assert found.names == ["cat", "dog", "dog", "cat", "dog"]
    assert none.names == list(none) == none.to_dict()["detections"] == []


def test_one_position_gives_one_detection(found: PictureDetections) -> None:
    for position in (0, 4, -1, -5, np.int64(2)):
        one = found[position]
        assert isinstance(one, Detection)
        assert np.array_equal(one.box, found.boxes[position])
        assert (one.score, one.label) == (found.scores[position], found.labels[position])
        assert (one.name, one.prior_index) == (
            found.names[position],
            found.prior_indices[position],
        )
        assert (type(one.score), type(one.label)) == (float, int)


def test_iterating_gives_one_item_per_detection(found: PictureDetections) -> None:
    items = list(found)
    assert [item.label for item in items] == list(CLASSES)
    assert [item.score for item in items] == pytest.approx(SCORES, rel=2**-23)
    assert [item.name for item in items] == found.names
    assert np.array_equal([item.box for item in items], found.boxes)


@pytest.mark.parametrize("position", [5, -6, 10**20])
def test_a_position_past_the_end_is_an_index_error(position: int, found: PictureDetections) -> None:
    with pytest.raises(IndexError, match=f"position {position}: there are 5 detections"):
        found[position]


class _Own(PictureDetections):
    """A user's own kind of result."""


SELECTIONS: dict[str, tuple[Any, list[int]]] = {
    "mask": (np.array([True, False, False, True, False]), [0, 3]),
    "list of bools": ([False, True, False, False, False], [1]),
    "no bool is true": (np.zeros(5, bool), []),
    "slice": (slice(1, None, 2), [1, 3]),
    "backwards": (slice(None, None, -1), [4, 3, 2, 1, 0]),
    "integers": (np.array([3, 0, 0]), [3, 0, 0]),
    "unsigned integers": (np.array([4, 1], np.uint64), [4, 1]),
    "list of integers": ([-1, 1], [4, 1]),
    "empty list": ([], []),
    "empty array": (np.zeros(0), []),
    "tensor": (torch.tensor([2, 1]), [2, 1]),
}


@pytest.mark.parametrize(("index", "rows"), SELECTIONS.values(), ids=SELECTIONS)
def test_a_selection_is_a_result_of_the_same_kind(
    index: Any, rows: list[int], found: PictureDetections
) -> None:
    own = _Own(**vars(found))
    chosen = own[index]
    assert type(chosen) is _Own
    assert chosen.boxes.shape == (len(rows), 4)
    for name in ("boxes", "scores", "labels", "prior_indices"):
        assert np.array_equal(getattr(chosen, name), getattr(found, name)[rows])
    assert chosen.names == [found.names[row] for row in rows]
    assert (chosen.width, chosen.height, len(own)) == (80, 60, 5)


@pytest.mark.parametrize(
    "index",
    [1.0, "cat", None, True, ..., [[0, 1]], [0.5], np.zeros((5, 1), bool), np.zeros((0, 4)), ["a"]],
)
def test_another_index_is_refused(index: Any, found: PictureDetections) -> None:
    with pytest.raises(UsageError, match=r"^index of type .*expected a position, a slice, a mask"):
        found[index]


@pytest.mark.parametrize("index", [[True], np.ones(6, bool), [0, 5], [-6]])
def test_a_mask_or_list_that_does_not_fit_is_an_index_error(
    index: Any, found: PictureDetections
) -> None:
    with pytest.raises(IndexError):
        found[index]


def test_a_result_is_pickled_and_copied_whole(found: PictureDetections) -> None:
    for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert type(again) is PictureDetections
        assert again.to_dict() == found.to_dict()
        assert np.array_equal(again.prior_indices, found.prior_indices)
    # no pixels: the arrays of five detections and some names
    assert len(pickle.dumps(found)) < 2000 < PIXELS.nbytes


def test_a_dictionary_is_json_and_says_everything(found: PictureDetections) -> None:
    entry = found.to_dict()
    assert json.loads(json.dumps(entry)) == entry
    assert list(entry) == ["image", "width", "height", "tiles", "detections"]
    assert (entry["image"], entry["width"], entry["height"]) == (None, 80, 60)
    first = {"box": [8.0, 12.0, 40.0, 36.0], "label": 1, "name": "cat", "score": 0.9}
    assert entry["detections"][0] == first
    assert len(entry["detections"]) == 5


def test_names_count_from_the_background_or_from_zero_where_there_is_none() -> None:
    rows = np.arange(2, dtype=np.int32)
    raw = Detections(np.zeros((2, 4), np.float32), np.float32([0.9, 0.8]), rows, rows)
    for background, names in ((-1, ["cat", "dog"]), (2, ["cat", "dog"])):
        about = description(replace(description().postprocess, background_label=background))
        assert picture_detections(raw, (5, 5), None, about).names == names


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image": "folder/a.png"},
        {"image": "x/" + "long" * 80 + ".png", "width": 100000, "height": 100000},
        {"image": "two\nlines.png", "classes": ("two\nlines", "\x1b[31m")},
        {"classes": ("name" * 50, "dog")},
        {"classes": ("name" * 50, "dog"), "image": "x/" + "long" * 80, "width": 10**6},
    ],
)
def test_a_result_shows_itself_in_a_line(changes: Any, found: PictureDetections) -> None:
    line = repr(replace(found, **changes))
    assert line.isprintable()
    assert len(line) <= 100
    assert line.startswith("PictureDetections(")
    assert "x60: 5 (" in line or "x100000: 5 (" in line
    assert line.endswith(", best 0.90)")


def test_a_result_shows_what_was_found(found: PictureDetections, none: PictureDetections) -> None:
    assert repr(found) == "PictureDetections(80x60: 5 (2 cat, 3 dog), best 0.90)"
    assert repr(none) == "PictureDetections(80x60: 0)"
    assert "a.png 80x60" in repr(replace(found, image="folder/a.png"))


def test_a_drawing_differs_near_the_boxes_only(found: PictureDetections) -> None:
    big = np.tile(PIXELS, (5, 5, 1))
    one = replace(found, width=400, height=300, boxes=np.float32([[100, 200, 140, 240]]))[0:1]
    one = replace(one, scores=found.scores[:1], labels=found.labels[:1])
    before = big.copy()
    drawn = one.draw(big)
    assert np.array_equal(big, before)
    assert (drawn.shape, drawn.dtype) == (big.shape, np.uint8)
    rows, columns = np.nonzero((drawn != big).any(axis=2))
    # the outline is 2 pixels wide, the caption 13 pixels high and some letters long
    assert (rows.min(), rows.max()) == (pytest.approx(180, abs=10), 240)
    assert (columns.min(), columns.max()) == (100, pytest.approx(160, abs=25))
    outline = drawn[230, 100]
    assert (outline == drawn[240, 120]).all()


def test_nothing_found_draws_nothing(none: PictureDetections) -> None:
    assert np.array_equal(none.draw(PIXELS), PIXELS)
    assert none.crops(PIXELS) == []


def test_a_drawing_has_the_form_of_the_picture(found: PictureDetections) -> None:
    plain = found.draw(PIXELS)
    rgb = np.ascontiguousarray(PIXELS[:, :, ::-1])
    assert np.array_equal(found.draw(rgb, color="RGB"), plain[:, :, ::-1])
    as_pil = found.draw(PilImage.fromarray(rgb))
    assert (as_pil.size, as_pil.mode) == ((80, 60), "RGB")
    assert np.array_equal(np.asarray(as_pil), plain[:, :, ::-1])
    as_tensor = found.draw(torch.from_numpy(rgb.transpose(2, 0, 1).copy()))
    assert np.array_equal(as_tensor.permute(1, 2, 0), plain[:, :, ::-1])


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_pictures_of_extreme_sizes_are_drawn_on(size: tuple[int, int]) -> None:
    thin = np.zeros((*size, 3), np.uint8)
    result = detector()(thin)[0]
    assert result.draw(thin).shape == thin.shape
    assert all(crop.size for crop in result.crops(thin))


def test_crops_hold_the_pixels_of_the_boxes(found: PictureDetections) -> None:
    crops = found.crops(PIXELS)
    assert [crop.shape[:2] for crop in crops] == [(24, 32), (30, 24), (1, 1), (60, 80), (1, 1)]
    assert np.array_equal(crops[0], PIXELS[12:36, 8:40])
    assert np.array_equal(crops[1], PIXELS[30:60, 0:24])
    # without area: the pixel it lies in; beyond the last pixel: that one
    assert np.array_equal(crops[2], PIXELS[30:31, 40:41])
    assert np.array_equal(crops[4], PIXELS[59:, 79:])
    crops[3][:] = 0
    assert PIXELS.any()


def test_a_box_between_pixels_is_cut_out_with_all_it_touches(found: PictureDetections) -> None:
    one = replace(found, boxes=np.float32([[3.2, 4.9, 6.1, 7.0]] * 5))[0:1]
    assert np.array_equal(one.crops(PIXELS)[0], PIXELS[4:7, 3:7])


def test_crops_are_in_the_order_of_the_picture_s_channels(found: PictureDetections) -> None:
    rgb = np.ascontiguousarray(PIXELS[:, :, ::-1])
    inside = rgb[12:36, 8:40]
    assert np.array_equal(found.crops(rgb, color="RGB")[0], inside)
    assert np.array_equal(found.crops(PilImage.fromarray(rgb))[0], inside)
    assert np.array_equal(found.crops(torch.from_numpy(rgb.transpose(2, 0, 1).copy()))[0], inside)


def test_another_picture_is_refused(found: PictureDetections, tmp_path: Path) -> None:
    for take in (found.draw, found.crops, lambda p: found.save(p, tmp_path / "x.png")):
        with pytest.raises(UsageError, match="80x59 pixels: these are detections in one of 80x60"):
            take(PIXELS[:59])
        with pytest.raises(UsageError, match="expected a path"):
            take(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".bmp", ".tif"])
def test_the_drawing_is_saved_as_the_suffix_says(
    suffix: str, found: PictureDetections, tmp_path: Path
) -> None:
    path = tmp_path / "new" / f"found{suffix}"
    found.save(PIXELS, str(path))
    with PilImage.open(path) as saved:
        assert saved.format == {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:].upper())
        assert saved.size == (80, 60)
    if suffix in (".png", ".bmp", ".tif"):
        assert np.array_equal(cv2.imread(str(path)), found.draw(PIXELS))
    found.save(PIXELS, path, enlarge=True)
    with PilImage.open(path) as saved:
        assert saved.size == (880, 660)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["found", "found.xyz", ".png", "found.blp", "found.png.part"])
def test_an_unknown_suffix_is_refused(name: str, found: PictureDetections, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"use \.png or \.jpg$"):
        found.save(PIXELS, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_picture_s_own_file_is_never_overwritten(tmp_path: Path) -> None:
    own, link = tmp_path / "own.png", tmp_path / "link.png"
    assert cv2.imwrite(str(own), PIXELS)
    link.symlink_to(own)
    result, content = detector()(str(own))[0], own.read_bytes()
    for picture, path in ((own, str(own)), (str(own), link), (PIXELS, own), (link, own)):
        with pytest.raises(UsageError, match="would overwrite an input"):
            result.save(picture, path)
    assert own.read_bytes() == content
    result.save(own, tmp_path / "other.png")


def test_a_drawing_that_cannot_be_written_leaves_nothing(
    found: PictureDetections, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match="cannot write"):
        found.save(PIXELS, tmp_path / "file" / "x.png")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_results_are_equal_to_their_like_only(found: PictureDetections) -> None:
    assert found == pickle.loads(pickle.dumps(found))
    assert found != found[:1]
    assert found != replace(found, image="other.png")
    assert found != "a text"
    with pytest.raises(TypeError, match="unhashable"):
        hash(found)
