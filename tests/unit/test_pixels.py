"""Whatever Python holds a picture in gives the same pixels, or is refused in a sentence."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
torch = pytest.importorskip("torch")
PilImage = pytest.importorskip("PIL.Image")

from PIL import ImageOps  # noqa: E402

from ssd_small.errors import BadFile, UsageError  # noqa: E402
from ssd_small.pictures.pixels import each_picture, like_picture, pixels_from_picture  # noqa: E402
from ssd_small.pictures.preprocessing import Preprocessing, input_from_image  # noqa: E402

#: ``[6, 8, 3]`` uint8 BGR
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
GREY = PIXELS[:, :, 0]
#: what OpenCV and everybody else shows of it
REPEATED = np.repeat(GREY[:, :, None], 3, axis=2)
ALPHA = np.full((6, 8, 1), 7, np.uint8)


def _pil(array: np.ndarray = PIXELS) -> Any:
    return PilImage.fromarray(np.ascontiguousarray(array[:, :, ::-1]))


def _tensor(array: np.ndarray = PIXELS) -> Any:
    return torch.from_numpy(np.ascontiguousarray(array[:, :, ::-1].transpose(2, 0, 1)))


def _read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "plain": lambda a: a,
    "read-only": _read_only,
    "negative strides": lambda a: np.ascontiguousarray(a[::-1, ::-1, ::-1])[::-1, ::-1, ::-1],
    "every other column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "by columns": np.asfortranarray,
    "by channels": lambda a: np.ascontiguousarray(a.transpose(2, 0, 1)).transpose(1, 2, 0),
    "with alpha": lambda a: np.dstack([a, ALPHA]),
    "16 bits": lambda a: a.astype(np.uint16) * 257,
    "16 bits, the lower ones anything": lambda a: a.astype(np.uint16) * 256 + 99,
    "16 bits, big-endian": lambda a: (a.astype(np.uint16) * 257).astype(">u2"),
    "16 bits with alpha": lambda a: np.dstack([a, ALPHA]).astype(np.uint16) * 257,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_an_array_of_any_layout_gives_its_pixels_in_both_orders(
    layout: Callable[[np.ndarray], np.ndarray],
) -> None:
    given = layout(PIXELS)
    before = given.copy()
    found = pixels_from_picture(given)
    assert np.array_equal(found, PIXELS)
    assert (type(found), found.dtype, found.flags.c_contiguous) == (np.ndarray, np.uint8, True)
    assert np.array_equal(pixels_from_picture(layout(PIXELS[:, :, ::-1]), "RGB"), PIXELS)
    assert np.array_equal(given, before)


def test_grey_is_repeated(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "grey", np.uint8, "w+", shape=GREY.shape)
    mapped[:] = GREY
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # numpy's, of its own class
        matrix = np.matrix(GREY)
    for given in (GREY, GREY[:, :, None], GREY.astype(np.uint16) * 257, mapped, matrix):
        assert np.array_equal(pixels_from_picture(given), REPEATED)
        assert np.array_equal(pixels_from_picture(given, "RGB"), REPEATED)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_few_bits_in_sixteen_are_refused_wherever_they_come_from(bits: int, tmp_path: Path) -> None:
    dark = (PIXELS >> 1).astype(np.uint16) << (bits - 8)
    dark[0, 0] = (1 << bits) - 1
    files = {suffix: tmp_path / f"dark.{suffix}" for suffix in ("png", "tif")}
    for file in files.values():
        assert cv2.imwrite(str(file), dark)
    grey = PilImage.new("I;16", (4, 4), (1 << bits) - 1)
    for given in (dark, dark.astype(">u2"), dark[:, :, 0], grey):
        with pytest.raises(UsageError, match=f"up to {(1 << bits) - 1}: expected the full range"):
            pixels_from_picture(given)
    for file in files.values():
        with pytest.raises(BadFile, match=rf"{file.name}: uint16 picture with values up to \d+"):
            pixels_from_picture(file)


def test_sixteen_bits_in_a_file_are_those_of_the_array(tmp_path: Path) -> None:
    wide = PIXELS.astype(np.uint16) * 256 + 200
    for name in ("wide.png", "wide.tif"):
        assert cv2.imwrite(str(tmp_path / name), wide)
        assert np.array_equal(pixels_from_picture(str(tmp_path / name)), PIXELS)
    black = np.zeros((2, 2), np.uint16)
    assert not pixels_from_picture(black).any()


FOREIGN = (bool, "int8", "int16", "uint32", "int64", "float16", "float32", "float64", "complex64")


@pytest.mark.parametrize("kind", [*FOREIGN, "object", "S3", [("red", "u1")]])
def test_another_type_is_refused_by_name(kind: Any) -> None:
    given = np.zeros((4, 4, 3), kind)
    with pytest.raises(
        UsageError, match=r"picture.*: expected uint8, 0 to 255; scale it"
    ) as caught:
        pixels_from_picture(given)
    assert str(given.dtype) in str(caught.value)


def test_a_float_picture_is_refused_with_its_range(tmp_path: Path) -> None:
    share = PIXELS.astype(np.float32) / 255
    share.flat[:2] = 0, 1
    assert cv2.imwrite(str(tmp_path / "share.tif"), share)
    with pytest.raises(UsageError, match="float32 picture with values 0 to 1"):
        pixels_from_picture(share)
    with pytest.raises(
        BadFile, match=r"share\.tif: it has 32-bit float samples \(float32, 0 to 1\)"
    ):
        pixels_from_picture(tmp_path / "share.tif")
    share[0, 0, 0] = np.nan
    with pytest.raises(UsageError, match="float32 picture with values nan"):
        pixels_from_picture(share)


def test_a_masked_array_is_refused_until_it_is_filled() -> None:
    masked = np.ma.masked_array(PIXELS, PIXELS > 100)
    with pytest.raises(UsageError, match=r"masked array.*\.filled\(\)"):
        pixels_from_picture(masked)
    assert np.array_equal(pixels_from_picture(masked.filled(0)), np.where(PIXELS > 100, 0, PIXELS))


@pytest.mark.parametrize("shape", [(), (5,), (0, 5, 3), (5, 0), (5, 5, 2), (5, 5, 5)])
def test_another_shape_is_refused_by_name(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        pixels_from_picture(np.zeros(shape, np.uint8))
    assert f"shape {list(shape)}: expected [H, W, 3]" in str(caught.value)


def test_a_batch_among_pictures_is_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match=r"\[2, 5, 5, 3\]: a batch among single pictures; pass"):
        pixels_from_picture(np.zeros((2, 5, 5, 3), np.uint8))


def test_channels_in_front_are_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match="transpose it, the channels come last"):
        pixels_from_picture(PIXELS.transpose(2, 0, 1))
    with pytest.raises(UsageError, match="permute it, the channels come first"):
        pixels_from_picture(_tensor().permute(1, 2, 0))


@pytest.mark.parametrize("size", [(1, 1), (1, 10000), (10000, 1)])
def test_extreme_sizes_become_network_input(size: tuple[int, int]) -> None:
    found = pixels_from_picture(np.full((*size, 3), 9, np.uint8))
    assert found.shape == (*size, 3)
    made = input_from_image(found, Preprocessing(4, 5, mean=(0.0, 0.0, 0.0)))
    assert made.shape == (3, 4, 5)
    assert (made == 9).all()


#: what converting there and back may change per channel: nothing; or an error of 1 in Y and one of
#: 1 in Cb, which counts 1.77 times in blue; or that of hue and saturation, which are coarse
TOLERANCE = {"RGB": 0, "RGBA": 0, "RGBa": 0, "RGBX": 0, "CMYK": 0, "P": 0, "YCbCr": 4, "HSV": 4}


def _in_mode(mode: str) -> Any:
    four = np.array([[10, 60, 110], [200, 150, 90], [30, 30, 30], [128, 64, 250]], np.uint8)
    picture = _pil(four.reshape(2, 2, 3))
    if mode == "P":
        return picture.quantize(4)
    return picture.convert("RGBA").convert(mode) if mode == "RGBa" else picture.convert(mode)


@pytest.mark.parametrize("mode", TOLERANCE)
def test_a_pil_image_of_any_colour_mode_gives_its_pixels(mode: str) -> None:
    found = pixels_from_picture(_in_mode(mode)).astype(int)
    assert np.abs(found - pixels_from_picture(_in_mode("RGB"))).max() <= TOLERANCE[mode]


def test_a_grey_pil_image_is_repeated() -> None:
    grey = PilImage.fromarray(GREY)
    for mode in ("L", "LA"):
        assert np.array_equal(pixels_from_picture(grey.convert(mode)), REPEATED)
    bits = pixels_from_picture(PilImage.fromarray(GREY > 127))
    assert np.array_equal(bits, np.where(REPEATED > 127, 255, 0))
    for mode in ("I;16", "I;16B"):
        assert (pixels_from_picture(PilImage.new(mode, (3, 2), 40000)) == 40000 >> 8).all()


@pytest.mark.parametrize("transparency", [bytes(range(4)), 1])
def test_transparent_colours_of_a_palette_are_kept_without_a_warning(transparency: Any) -> None:
    palette = _in_mode("P")
    palette.info["transparency"] = transparency
    assert np.array_equal(pixels_from_picture(palette), pixels_from_picture(_in_mode("RGB")))


@pytest.mark.parametrize(("mode", "kind"), [("I", "int32"), ("F", "float32")])
def test_a_wide_pil_image_is_refused_and_nobody_is_told_to_clip_it(mode: str, kind: str) -> None:
    with pytest.raises(UsageError, match=f"{kind} picture with values 300 to 300") as caught:
        pixels_from_picture(PilImage.new(mode, (3, 2), 300))
    assert "RGB" not in str(caught.value)


def test_a_damaged_pil_image_is_a_bad_file() -> None:
    for kind in ("PNG", "JPEG", "BMP"):
        stream = io.BytesIO()
        _pil(np.tile(PIXELS, (20, 20, 1))).save(stream, kind)
        half = PilImage.open(io.BytesIO(stream.getvalue()[: len(stream.getvalue()) // 2]))
        with pytest.raises(BadFile, match="cannot decode picture"):
            pixels_from_picture(half)


def test_one_lazy_pil_image_is_decoded_once_however_many_threads_want_it(tmp_path: Path) -> None:
    pixels = np.tile(PIXELS, (100, 100, 1))
    for name in ("a.png", "a.tif"):
        _pil(pixels).save(tmp_path / name)
        with PilImage.open(tmp_path / name) as lazy, ThreadPoolExecutor(8) as pool:
            found = list(pool.map(pixels_from_picture, [lazy] * 8))
        assert all(np.array_equal(one, pixels) for one in found)


def test_a_path_is_turned_as_its_file_says_and_a_pil_image_is_not(tmp_path: Path) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:, :16] = 255
    exif = PilImage.Exif()
    exif[0x0112] = 6  # to view it, turn it clockwise by 90 degrees
    path = tmp_path / "turned.jpg"
    _pil(upright).save(path, exif=exif)
    turned = pixels_from_picture(path)
    assert turned.shape == (32, 16, 3)
    assert turned[:16].mean() > 250 > 5 > turned[16:].mean()
    with PilImage.open(path) as opened:
        assert pixels_from_picture(opened).shape == (16, 32, 3)
        again = pixels_from_picture(ImageOps.exif_transpose(opened)).astype(int)
    assert np.abs(again - turned).max() <= 2  # of two decoders


def test_a_tensor_gives_its_pixels() -> None:
    for given in (
        _tensor(),
        _tensor(PIXELS[:, ::-1]).flip(2),
        torch.cat([_tensor(), _tensor()[:1]]),
    ):
        assert np.array_equal(pixels_from_picture(given), PIXELS)
    assert np.array_equal(pixels_from_picture(torch.from_numpy(GREY.copy())[None]), REPEATED)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bool, torch.int64])
def test_a_tensor_of_another_type_is_refused_by_name(kind: Any) -> None:
    with pytest.raises(UsageError, match=rf"^{kind} picture: expected torch\.uint8"):
        pixels_from_picture(_tensor().to(kind))


@pytest.mark.parametrize("shape", [(), (5, 5), (2, 5, 5), (1, 3, 5, 5), (3, 0, 5)])
def test_a_tensor_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="picture of shape"):
        pixels_from_picture(torch.zeros(shape, dtype=torch.uint8))


def test_the_order_of_channels_is_that_of_arrays_only() -> None:
    for given in (_pil(), _tensor()):
        assert np.array_equal(pixels_from_picture(given, "RGB"), PIXELS)
    with pytest.raises(UsageError, match="color 'rgb': expected 'BGR' or 'RGB'"):
        pixels_from_picture(PIXELS, "rgb")  # type: ignore[arg-type]


def test_pixels_go_back_into_the_form_they_came_in() -> None:
    assert np.array_equal(like_picture(PIXELS, PIXELS), PIXELS)
    assert np.array_equal(like_picture(PIXELS, "a.png", "RGB"), PIXELS[:, :, ::-1])
    assert np.array_equal(np.asarray(like_picture(PIXELS, _pil())), PIXELS[:, :, ::-1])
    assert torch.equal(like_picture(PIXELS, _tensor()), _tensor())
    assert not np.shares_memory(like_picture(PIXELS, PIXELS), PIXELS)


def test_one_picture_several_and_a_batch_are_told_apart() -> None:
    for one in ("a.png", Path("a.png"), PIXELS, GREY, _pil(), _tensor()):
        assert [id(item) for item in each_picture(one)] == [id(one)]
    batches = (np.stack([PIXELS] * 3), torch.stack([_tensor()] * 3))
    for several in ([PIXELS] * 3, ("a.png", GREY, _pil()), *batches):
        assert len(list(each_picture(several))) == 3
    pulled = map(pytest.fail, ["pulled"])
    assert each_picture(pulled) is pulled


@pytest.mark.parametrize("thing", [None, 5, 1.5, b"a.png", bytearray(3), {"a": PIXELS}, object()])
def test_what_is_neither_picture_nor_iterable_is_refused(thing: Any) -> None:
    with pytest.raises(
        UsageError, match=rf"^pictures: got {type(thing).__name__} .*expected a path"
    ):
        each_picture(thing)
    with pytest.raises(
        UsageError, match=rf"^picture: got {type(thing).__name__} .*expected a path"
    ):
        pixels_from_picture(thing)
