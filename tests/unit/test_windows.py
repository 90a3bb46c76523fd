"""Windows of pictures, those of large TIFF files above all: the pixels of the whole picture."""

from __future__ import annotations

import copy
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
tifffile = pytest.importorskip("tifffile", reason="needs tifffile")
imagecodecs = pytest.importorskip("imagecodecs", reason="needs imagecodecs")

from ssd_small.errors import BadFile, MissingRequirement, UsageError  # noqa: E402
from ssd_small.pictures import tiff_windows, windows  # noqa: E402
from ssd_small.pictures.annotated import AnnotatedPicture, OtherPicture  # noqa: E402
from ssd_small.pictures.pixels import pixels_from_picture  # noqa: E402
from ssd_small.pictures.tiles import Tiling, Window  # noqa: E402
from ssd_small.pictures.windows import PictureInMemory, open_windows  # noqa: E402

#: no multiples of the segments' sides
HEIGHT, WIDTH = 150, 230
TILES = Tiling(70, 40, 0.25)
_noise = np.random.default_rng(0).integers(0, 256, (12, 16, 4), np.uint8)
RGBA = cv2.resize(_noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
RGB = np.ascontiguousarray(RGBA[:, :, :3])
WIDE = RGBA.astype(np.uint16) << 8 | np.arange(WIDTH, dtype=np.uint16)[:, None]
STRIPS, TILED = {"rowsperstrip": 16}, {"tile": (64, 48)}
BANDS = {"planarconfig": "separate"}


def kinds() -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Pictures with the options of tifffile that write them, by name."""
    found: dict[str, tuple[np.ndarray, dict[str, Any]]] = {}
    for cut, sides in (("strips", STRIPS), ("tiles", TILED), ("one strip", {})):
        for compression in (None, "lzw", "deflate", "packbits"):
            own = {"compression": compression, **sides}
            name = f"{compression} {cut}"
            found[f"{name} rgb"] = RGB, own
            found[f"{name} rgb 16"] = WIDE[:, :, :3], own
        own = {"compression": "lzw", **sides}
        found[f"{cut} grey"] = RGB[:, :, 0], own
        found[f"{cut} grey 16"] = WIDE[:, :, 0], own
        found[f"{cut} white is zero"] = RGB[:, :, 0], own | {"photometric": "miniswhite"}
        for alpha in ("unassalpha", "assocalpha", "unspecified"):
            found[f"{cut} {alpha}"] = RGBA, own | {"extrasamples": [alpha]}
            found[f"{cut} {alpha} 16"] = WIDE, own | {"extrasamples": [alpha]}
        found[f"{cut} predictor"] = RGB, own | {"predictor": True}
        found[f"{cut} predictor 16"] = WIDE[:, :, :3], own | {"predictor": True}
        found[f"{cut} bands"] = np.moveaxis(RGB, -1, 0), own | BANDS
        found[f"{cut} bands, alpha"] = (
            np.moveaxis(RGBA, -1, 0),
            own | BANDS | {"extrasamples": ["unassalpha"]},
        )
        found[f"{cut} BigTIFF"] = RGB, own | {"bigtiff": True}
        found[f"{cut} big endian"] = WIDE[:, :, :3], own | {"byteorder": ">"}
        jpeg = {"compression": "jpeg", "compressionargs": {"level": 90}, **sides}
        found[f"{cut} jpeg"] = RGB, jpeg | {"photometric": "rgb"}
        found[f"{cut} jpeg grey"] = RGB[:, :, 0], jpeg
        for sampling in ((1, 1), (2, 1), (2, 2)):
            ycbcr = {"photometric": "ycbcr", "subsampling": sampling}
            found[f"{cut} jpeg {sampling}"] = RGB, jpeg | ycbcr
    found["strips grey and alpha"] = RGBA[:, :, ::3], STRIPS | {"extrasamples": ["unassalpha"]}
    return found


KINDS = kinds()


def written(path: Path, array: np.ndarray, **options: Any) -> Path:
    grey = array.ndim == 2 or array.shape[2] == 2
    usual = {"photometric": "minisblack" if grey else "rgb", "metadata": None}
    # it changes what it is given
    tifffile.imwrite(path, np.ascontiguousarray(array), **copy.deepcopy(usual | options))
    return path


@pytest.fixture(autouse=True)
def by_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a TIFF is; blocks of rows are small too."""
    monkeypatch.setattr(tiff_windows, "WINDOWED_FROM", 1)
    monkeypatch.setattr(tiff_windows, "_BLOCK_BYTES", 5000)


def assembled(source: windows.WindowSource, tiling: Tiling = TILES) -> np.ndarray:
    """The picture put together from its windows, which must agree where they overlap."""
    image = np.zeros((*source.size, 3), np.uint8)
    written_to = np.zeros(source.size, bool)
    for window in tiling.windows(*source.size):
        pixels = source.pixels(window)
        assert pixels.shape == (window.height, window.width, 3)
        assert pixels.dtype == np.uint8
        part = np.s_[window.y : window.y + window.height, window.x : window.x + window.width]
        before = written_to[part]
        assert np.array_equal(image[part][before], pixels[before])
        image[part], written_to[part] = pixels, True
    assert written_to.all()
    return image


@pytest.mark.parametrize("name", KINDS)
def test_a_tiff_has_the_pixels_of_the_picture_decoded_whole(name: str, tmp_path: Path) -> None:
    array, options = KINDS[name]
    path = written(tmp_path / "x.tif", array, **options)
    with open_windows(path) as source:
        assert isinstance(source, tiff_windows.TiffWindows)
        assert np.array_equal(assembled(source), pixels_from_picture(path))


TURNED = {
    1: RGB,
    2: RGB[:, ::-1],
    3: RGB[::-1, ::-1],
    4: RGB[::-1],
    5: RGB.transpose(1, 0, 2),
    6: np.rot90(RGB, -1),
    7: RGB[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(RGB, 1),
}


@pytest.mark.parametrize("sides", [STRIPS, TILED], ids=["strips", "tiles"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_tiff_is_turned_by_its_orientation(
    orientation: int, sides: dict[str, Any], tmp_path: Path
) -> None:
    tag = [(274, 3, 1, orientation, True)]
    path = written(tmp_path / "x.tif", RGB, extratags=tag, **sides)
    with open_windows(path) as source:
        # written as RGB, read as BGR
        assert np.array_equal(assembled(source)[:, :, ::-1], TURNED[orientation])
    # the frame that its annotations are of
    for size in {(HEIGHT, WIDTH), TURNED[orientation].shape[:2]}:
        with open_windows(AnnotatedPicture(path, size)) as source:
            assert source.size == size
    with (
        pytest.raises(OtherPicture, match="annotated as 999x10"),
        open_windows(AnnotatedPicture(path, (10, 999))),
    ):
        pass


@pytest.mark.parametrize(
    "picture", [RGB, RGB[:, :, 0], WIDE[:, :, :3]], ids=["array", "grey", "wide"]
)
def test_what_is_in_memory_and_other_files_are_decoded_whole(
    picture: np.ndarray, tmp_path: Path
) -> None:
    file = tmp_path / "x.png"
    assert cv2.imwrite(str(file), picture)
    for one in (picture, file):
        with open_windows(one) as source:
            assert isinstance(source, PictureInMemory)
            assert np.array_equal(assembled(source), pixels_from_picture(one))


def test_a_small_tiff_or_one_of_an_odd_kind_is_decoded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "palette.tif"
    palette = np.random.default_rng(0).integers(0, 1 << 16, (3, 256), np.uint16)
    tifffile.imwrite(path, RGB[:, :, 0], photometric="palette", colormap=palette)
    with open_windows(path) as source:
        assert np.array_equal(assembled(source), pixels_from_picture(path))
    with (
        pytest.raises(BadFile, match="TIFF with colours of kind 3; convert it"),
        open_windows(path, max_pixels=1000),
    ):
        pass
    monkeypatch.undo()
    path = written(tmp_path / "small.tif", RGB)
    with open_windows(path) as source:
        assert isinstance(source, PictureInMemory)


def test_more_pixels_than_may_be_decoded_go_by_windows(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tif", RGB, compression="lzw", tile=(16, 16))
    with open_windows(path, max_pixels=5000) as source:
        assert assembled(source).shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(BadFile, match="too many pixels"):
            source.pixels(Window(0, 0, WIDTH, HEIGHT))
    strip = written(tmp_path / "strip.tif", RGB, compression="lzw")
    with pytest.raises(BadFile, match="too many pixels"), open_windows(strip, max_pixels=5000):
        pass
    # rows of a strip that is not compressed are read as they are wanted
    strip = written(tmp_path / "plain.tif", RGB)
    with open_windows(strip, max_pixels=5000) as source:
        assert np.array_equal(assembled(source)[:, :, ::-1], RGB)


def test_without_its_reader_a_tiff_is_decoded_whole_or_the_extra_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "x.tif", RGB)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with open_windows(path) as source:
        assert isinstance(source, PictureInMemory)
    with (
        pytest.raises(MissingRequirement, match=r"\.\[tiles\]"),
        open_windows(path, max_pixels=1000),
    ):
        pass


def test_16_bits_of_which_few_are_in_use_are_refused_once_all_was_seen(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tif", WIDE[:, :, :3] >> 5, **TILED)
    with pytest.raises(BadFile, match="uint16 picture with values up to"):
        pixels_from_picture(path)
    with (
        pytest.raises(BadFile, match="uint16 picture with values up to"),
        open_windows(path) as source,
    ):
        assembled(source)
    # of a part nothing can be said
    with open_windows(path) as source:
        source.pixels(Window(0, 0, 10, 10))


def test_a_file_that_was_cut_off_is_refused_at_once(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tif", RGB, compression="lzw", rowsperstrip=16)
    content = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        end = file.pages[0].dataoffsets[-1] + 10
    path.write_bytes(content[:end])
    with pytest.raises(BadFile, match="cut off before the picture ends"), open_windows(path):
        pass


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "jpeg"])
def test_every_damage_is_told_in_a_line_or_leaves_pixels(
    compression: str | None, tmp_path: Path
) -> None:
    content = written(tmp_path / "x.tif", RGB, compression=compression, **TILED).read_bytes()
    draw = np.random.default_rng(1)
    said: list[str] = []
    for _ in range(40):
        damaged = bytearray(content)
        # the head and the directory first, where most of what can go wrong stands
        places = (*draw.integers(4, 300, 3), *draw.integers(4, len(content), 8))
        for at in places:
            damaged[at] = draw.integers(256)
        (tmp_path / "y.tif").write_bytes(damaged)
        try:
            with open_windows(tmp_path / "y.tif") as source:
                if source.size[0] * source.size[1] < 1 << 22:
                    assembled(source, Tiling(500, 500))
        except BadFile as error:
            said.append(str(error))
    assert len(said) > 5
    assert not [line for line in said if "\n" in line or len(line) > 600]


def test_a_bomb_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    def made(
        shape: tuple[int, int], tile: tuple[int, int], segment: bytes, compression: str
    ) -> Path:
        count = -(-shape[0] // tile[0]) * -(-shape[1] // tile[1])
        path = tmp_path / "bomb.tif"
        options = {"photometric": "rgb", "metadata": None, "compression": compression}
        segments = iter([segment] * count)
        tifffile.imwrite(path, segments, shape=(*shape, 3), dtype="uint8", tile=tile, **options)
        return path

    zeros = imagecodecs.zlib_encode(bytes(1 << 20))
    # a tile of 3 gigabytes
    path = made((1 << 15, 1 << 15), (1 << 15, 1 << 15), zeros, "deflate")
    with pytest.raises(BadFile, match="too many pixels"), open_windows(path):
        pass
    # more pixels than there are in any picture
    path = made((1 << 18, 1 << 18), (1 << 14, 1 << 14), zeros, "deflate")
    with pytest.raises(BadFile, match="too many pixels"), open_windows(path):
        pass
    # a JPEG that is larger than its tile
    jpeg = imagecodecs.jpeg_encode(np.zeros((4000, 4000, 3), np.uint8))
    path = made((256, 256), (256, 256), jpeg, "jpeg")
    with open_windows(path) as source, pytest.raises(BadFile, match="a JPEG of 4000x4000 inside"):
        source.pixels(Window(0, 0, 10, 10))
    # more data than pixels
    path = made((256, 256), (256, 256), bytes(1 << 20), "deflate")
    with pytest.raises(BadFile, match="more data than it has pixels"), open_windows(path):
        pass
    # data that inflates to more than its tile
    path = made((256, 256), (256, 256), zeros, "deflate")
    with open_windows(path) as source, pytest.raises(BadFile, match="damaged"):
        source.pixels(Window(0, 0, 256, 256))


def test_a_pipe_is_read_once_and_nothing_is_left_behind(tmp_path: Path) -> None:
    """As ``detect --tiles <(...)`` has it: the first bytes of a pipe are not there twice."""
    file = tmp_path / "x.png"
    assert cv2.imwrite(str(file), RGB)
    reader, writer = os.pipe()
    os.write(writer, file.read_bytes()[:60_000])
    os.close(writer)
    try:
        assert tiff_windows.large_tiff_extent(f"/dev/fd/{reader}") is None
        assert os.read(reader, 4) == b"\x89PNG"
    finally:
        os.close(reader)
    path = written(tmp_path / "x.tif", RGB)
    for _ in range(3):
        with open_windows(path):
            pass
    assert len(logging.getLogger("tifffile").handlers) <= 1


def test_wrong_colors_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tif", RGB)
    with pytest.raises(UsageError, match="expected 'BGR' or 'RGB'"), open_windows(path, "HSV"):  # type: ignore[arg-type]
        pass


WALK = """
import resource, sys
from ssd_small.pictures.tiles import Tiling
from ssd_small.pictures.windows import open_windows
total = count = 0
with open_windows(sys.argv[1]) as source:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for window in Tiling(300, 300).windows(*source.size):
        count += 1
        total += int(source.pixels(window)[0, 0, 0])
print(count, total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
SIDE = 20_000
#: bytes beside what is kept: a window, a segment with its samples, and the allocator's rest
BESIDE = 64 << 20


@pytest.mark.slow
@pytest.mark.parametrize("cut", ["tiles", "strips"])
def test_walking_a_huge_tiff_takes_little_memory(cut: str, tmp_path: Path) -> None:
    """1.2 GB of pixels, in segments that are all alike: they are made once."""
    down, across = (512, 512) if cut == "tiles" else (32, SIDE)
    count = -(-SIDE // down) * -(-SIDE // across)
    segment = np.full((down, across, 3), 7, np.uint8)
    encoded = imagecodecs.zlib_encode(segment.tobytes())
    sides = {"tile": (down, across)} if cut == "tiles" else {"rowsperstrip": down}
    path = tmp_path / "huge.tif"
    tifffile.imwrite(
        path,
        iter([encoded] * count),
        shape=(SIDE, SIDE, 3),
        dtype="uint8",
        compression="deflate",
        photometric="rgb",
        metadata=None,
        **sides,
    )
    done = subprocess.run(
        [sys.executable, "-c", WALK, str(path)], capture_output=True, text=True, check=True
    )
    windows_read, total, grown = map(int, done.stdout.split())
    # a stride of 240: 84 by 84
    assert (windows_read, total) == (84 * 84, 7 * 84 * 84)
    assert grown << 10 < tiff_windows.KEPT_BYTES + BESIDE  # KiB, on Linux
    assert {entry.name for entry in tmp_path.iterdir()} == {"huge.tif"}
