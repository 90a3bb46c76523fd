"""Pictures at a network's input with the numbers of torch, Pillow and the golden files."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional
from torchvision.transforms.v2 import CenterCrop, Resize
from torchvision.transforms.v2.functional import pil_to_tensor

from ssd_small.errors import UsageError
from ssd_small.pictures.preprocessing import Preprocessing, input_from_image, resized_from_image

PLAIN = Preprocessing(color_order="RGB", mean=(0.0, 0.0, 0.0))
#: grey levels: a float32 of up to 255 is off by 2**-17, its place by a weight's 2**-24 of 255, and
#: what is fused of the seven sums and products of a bilinear mean rounds once less
FLOAT32 = 7 * 2.0**-17


def _picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def _torch(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None].float().contiguous()
    resized = functional.interpolate(planes, size=size, mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0).numpy()


@settings(max_examples=60, deadline=None)
@given(*(st.integers(1, 700) for _ in range(2)), *(st.integers(1, 350) for _ in range(2)))
def test_resized_in_float32_it_is_what_torch_makes(
    height: int, width: int, high: int, wide: int
) -> None:
    picture = _picture(height, width)
    own = resized_from_image(picture, Preprocessing(high, wide, resize="float32"))
    assert own.dtype == np.float32
    # where a place falls between two pixels in either rounding, both weights are nearly 0
    np.testing.assert_allclose(own, _torch(picture, (high, wide)), rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("size", [(300, 451), (512, 512), (37, 200)])
def test_resized_with_antialias_it_is_what_torchvision_makes_of_a_pil_image(
    size: tuple[int, int],
) -> None:
    picture = _picture(*size)
    theirs = np.asarray(Resize((300, 300))(Image.fromarray(picture)))
    own = resized_from_image(picture, Preprocessing(antialias=True))
    assert np.array_equal(own, theirs)
    exact = resized_from_image(picture, Preprocessing(antialias=True, resize="float32"))
    assert exact.dtype == np.float32
    # rounded to whole levels once per direction, the first weighted
    assert 0 < np.abs(exact - theirs).max() <= 1


@pytest.mark.parametrize("size", [(300, 451), (640, 481), (200, 333), (300, 300)])
def test_the_middle_is_cut_out_as_torchvision_does(size: tuple[int, int]) -> None:
    picture = _picture(*size)
    image = Image.fromarray(picture)
    theirs = pil_to_tensor(CenterCrop(300)(Resize(300)(image))).permute(1, 2, 0).numpy()
    assert np.array_equal(
        resized_from_image(picture, Preprocessing(fit="crop", antialias=True)), theirs
    )


@pytest.mark.parametrize("resize", ["uint8", "float32"])
def test_a_crop_is_the_part_of_the_whole(resize: str) -> None:
    picture = _picture(200, 333)
    told = Preprocessing(fit="crop", resize=resize)  # type: ignore[arg-type]
    placed = told.placement(200, 333)
    assert (placed.height, placed.width, placed.top, placed.left) == (300, 499, 0, -100)
    whole = resized_from_image(picture, replace(told, fit="stretch", width=499))
    assert np.array_equal(resized_from_image(picture, told), whole[:, 100:400])


@pytest.mark.parametrize("resize", ["uint8", "float32"])
@pytest.mark.parametrize("antialias", [False, True])
def test_a_letterbox_has_its_frame_in_the_order_of_the_network(
    resize: str, antialias: bool
) -> None:
    picture = _picture(100, 201)
    told = Preprocessing(
        *(300, 300, "RGB"),
        mean=(0.0, 0.0, 0.0),
        resize=resize,  # type: ignore[arg-type]
        antialias=antialias,
        fit="letterbox",
        pad=(1, 2, 3),
    )
    placed = told.placement(100, 201)
    assert (placed.height, placed.width, placed.top, placed.left) == (149, 300, 75, 0)
    made = input_from_image(picture, told)
    whole = input_from_image(picture, replace(told, fit="stretch", pad=(0, 0, 0), height=149))
    assert np.array_equal(made[:, 75:224], whole)
    frame = np.concatenate([made[:, :75], made[:, 224:]], axis=1)
    assert np.array_equal(frame, np.broadcast_to(np.float32([1, 2, 3])[:, None, None], frame.shape))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["crop", "letterbox", "stretch"]),
    *(st.integers(1, 3000) for _ in range(2)),
    *(st.integers(1, 700) for _ in range(2)),
)
def test_boxes_come_back_from_the_input_to_the_picture(
    fit: str, height: int, width: int, high: int, wide: int
) -> None:
    told = Preprocessing(high, wide, fit=fit)  # type: ignore[arg-type]
    try:
        placed = told.placement(height, width)
    except UsageError as error:
        is_long = fit == "crop" and "cut it up first" in str(error)
        if not is_long:
            raise
        return
    boxes = np.random.RandomState(1).rand(50, 4)
    there = placed.input_from_picture(boxes)
    # float64, and a picture may be seen 3000 times as large, or moved by so much
    np.testing.assert_allclose(placed.picture_from_input(there), boxes, rtol=0, atol=1e-9)
    if fit == "stretch":
        assert placed.is_whole
        assert there is boxes


def test_a_box_lies_on_the_pixels_that_it_was_drawn_around() -> None:
    """A white rectangle at the input, mapped back, is the one in the picture."""
    picture = np.zeros((240, 480, 3), np.uint8)
    picture[60:180, 120:360] = 255
    unit = np.array([120 / 480, 60 / 240, 360 / 480, 180 / 240])
    for fit in ("stretch", "crop", "letterbox"):
        told = Preprocessing(100, 120, fit=fit)  # type: ignore[arg-type]
        seen = resized_from_image(picture, told)[:, :, 0] > 127
        rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
        corners = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        found = np.array(corners) / [120, 100, 120, 100]
        back = told.placement(240, 480).picture_from_input(found)
        # a crop sees no more than the middle; else to half a pixel of the input
        expected = unit.clip(0.2, 0.8) if fit == "crop" else unit
        np.testing.assert_allclose(back, expected, atol=0.5 / 60)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"resize": "float16"}, "resize 'float16'"),
        ({"antialias": 1}, "antialias 1"),
        ({"fit": "pad"}, "fit 'pad'"),
        ({"fit": "letterbox", "pad": (0, 0, 256)}, "256"),
        ({"pad": (1, 1, 1)}, "with letterbox"),
        ({"resize": "float32", "interpolation": "area"}, "expected linear"),
        ({"antialias": True, "interpolation": "cubic"}, "expected linear"),
    ],
)
def test_a_way_of_resizing_that_there_is_not_is_refused(
    fields: dict[str, object], told: str
) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        Preprocessing(**fields)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_picture_that_is_all_length_is_not_blown_up_to_be_cropped() -> None:
    with pytest.raises(UsageError, match="cut it up first"):
        resized_from_image(_picture(1, 400), Preprocessing(fit="crop"))
    # in a letterbox it is a line
    assert Preprocessing(fit="letterbox").placement(1, 60000).height == 1


def _golden(
    folder: Path, name: str
) -> tuple[dict[str, object], dict[str, np.ndarray], dict[str, np.ndarray]]:
    from skimage import data

    sys.path.insert(0, str(folder))
    try:
        import seeded
    finally:
        sys.path.remove(str(folder))
    astronaut = data.astronaut()
    pictures = {"synthetic": seeded.synthetic_picture(), "chelsea": data.chelsea()}
    pictures |= {"astronaut": astronaut, "mosaic": seeded.mosaic(astronaut)}
    told = json.loads((folder / f"{name}.json").read_text())["input"]
    return told, dict(np.load(folder / f"{name}.npz")), pictures


@pytest.mark.parametrize(
    "name",
    [
        "torchvision_ssd300_vgg16",
        "torchvision_ssdlite320_mobilenet_v3_large",
        "qfgaohao_mb1-ssd",
        "real_ultralight_RFB-320",
    ],
)
def test_input_is_that_of_the_golden_files(shared_imports: Path, name: str) -> None:
    told, stored, pictures = _golden(shared_imports, name)
    is_float = "float32" in str(told["resize"])
    scale = 255.0 if is_float else 1.0
    height, width = told["size"]  # type: ignore[misc]
    mean, std = (np.broadcast_to(told[key], 3).astype(float) * scale for key in ("mean", "std"))
    own = Preprocessing(
        *(height, width, "RGB"),
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        resize="float32" if is_float else "uint8",
    )
    names = [key.split("/")[0] for key in stored if key.endswith("/input")]
    assert names
    for picture in names:
        made = input_from_image(np.ascontiguousarray(pictures[picture][:, :, ::-1]), own)
        found = made.reshape(3, -1)[:, stored[f"{picture}/input_index"]]
        # they normalise before resizing, we after it: either rounds levels of up to 255 some
        # ten times, by 2**-17, and the division makes as much less of it
        limit = 10 * 2.0**-17 / std.min() if is_float else 2.0**-20
        np.testing.assert_allclose(found, stored[f"{picture}/input"], rtol=0, atol=limit)


def test_usual_preprocessing_is_written_as_it_always_was() -> None:
    assert list(Preprocessing().to_dict()) == [
        *("height", "width", "color_order", "mean", "std", "interpolation")
    ]
    assert cv2.resize(_picture(9, 7), (300, 300)).tobytes() == (
        resized_from_image(_picture(9, 7), Preprocessing()).tobytes()
    )
