"""The ranges of a network's tensors on a user's pictures, with one picture in memory at a time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, save_model

from ..artefacts.int8_options import Calibration, Int8Options
from ..artefacts.tensors import INPUT
from ..errors import CheckFailed
from ..files import read_bytes
from ..pictures.listing import list_images
from ..pictures.pixels import decoded_from_picture
from ..pictures.preprocessing import Preprocessing, input_from_image
from ..requirements import require
from ..system.temporary import temporary_folder
from ..terminal import one_line
from .quantise import Form, check_ranges

if TYPE_CHECKING:
    from ..artefacts.build_options import BuildProgress

FloatArray = npt.NDArray[np.float32]


def calibration_files(options: Int8Options) -> list[Path]:
    """Choose the pictures for a calibration, evenly spaced in the list and in its order.

    Raises:
        BadFile: the folder holds no pictures.
    """
    files = list_images(options.calibration).files
    count = min(len(files), options.count)
    return [files[place * len(files) // count] for place in range(count)]


def ranges_from_pictures(
    model: ModelProto,
    preprocessing: Preprocessing,
    options: Int8Options,
    form: Form,
    progress: BuildProgress,
) -> tuple[Any, Calibration]:
    """Find the ranges of all tensors that a form quantises, and record how they were obtained.

    ONNX Runtime's calibrators keep all tensors of the pictures given in one call, so each call
    gives one picture: memory does not grow with their number.

    Args:
        model: the heads model to be quantised, with preprocessed float32 input.
        preprocessing: how a picture becomes its input.
        options: which pictures to use, and how their values become ranges.
        form: what is to be quantised.
        progress: called with the share of pictures done.

    Returns:
        ONNX Runtime's ``TensorsData``, and the record.

    Raises:
        BadFile: a picture cannot be read.
        CheckFailed: a value is not finite.
    """
    require("onnxruntime.quantization", "calibration")
    files = calibration_files(options)
    digest = sha256()
    with temporary_folder() as folder:
        calibrator = _calibrator(model, folder, options, form)
        for place, path in enumerate(files):
            progress("Calibrating", place / len(files))
            digest.update(read_bytes(path, "a picture to calibrate on"))
            pixels = decoded_from_picture(path, preprocessing=preprocessing).pixels
            images = input_from_image(pixels, preprocessing)[None]
            _collect(calibrator, images, path)
        with redirect_stdout(io.StringIO()):
            ranges = calibrator.compute_data()
    check_ranges(ranges)
    return ranges, Calibration(digest.hexdigest(), len(files), options.method, {})


def _calibrator(model: ModelProto, folder: Path, options: Int8Options, form: Form) -> Any:
    calibrate = require("onnxruntime.quantization.calibrate", "calibration")
    source, augmented = folder / "network.onnx", folder / "augmented.onnx"
    save_model(model, source)
    return calibrate.create_calibrator(
        str(source),
        list(form.operators),
        str(augmented),
        calibrate.CalibrationMethod.MinMax
        if options.method == "minmax"
        else calibrate.CalibrationMethod.Percentile,
        # percentile of absolute values; a tensor that is never negative still gets a range from 0
        extra_options={} if options.method == "minmax" else {"symmetric": True},
    )


def _collect(calibrator: Any, images: FloatArray, path: Path) -> None:
    """Pass one picture ``[1, 3, H, W]`` to a calibrator; ``path`` is for messages.

    Raises:
        CheckFailed: a value is not finite.
    """
    # it prints a line per picture, and warns of NaN, which is refused here or by check_ranges
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            calibrator.collect_data(_reader([images]))
        except ValueError as error:  # a histogram of values that are not finite
            raise CheckFailed(
                f"the network's values on {path} are not finite ({one_line(str(error))}), and INT8 "
                "needs finite ones; nothing was written: build with --precision fp32"
            ) from error


def _reader(batches: Sequence[FloatArray]) -> Any:
    """Make ONNX Runtime's reader for a few network inputs ``[N, 3, H, W]``."""
    base: Any = require("onnxruntime.quantization.calibrate", "calibration").CalibrationDataReader

    class Reader(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[FloatArray] = iter(batches)

        def get_next(self) -> dict[str, FloatArray] | None:
            batch = next(self._left, None)
            return None if batch is None else {INPUT: batch}

    return Reader()
