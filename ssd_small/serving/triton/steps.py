"""The ensemble's steps in Triton's Python backend, which runs each model in its own process.

The module ``triton_python_backend_utils`` exists only there.
"""

from __future__ import annotations

import ctypes
import importlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...artefacts.description import Description
from ...artefacts.tensors import INPUT
from ...detection.picture_detections import picture_detections
from ...errors import SsdSmallError
from ...pictures.decoded import Decoded, decoded_from_bytes
from ...pictures.preprocessing import Preprocessing, inputs_from_levels, resized_from_image
from ...postprocess import Detections
from ...terminal import one_line
from .ensemble import MAX_PIXELS, PICTURE, SIZE, UNIT_BOXES

_BACKEND = "triton_python_backend_utils"
#: name of a consumed capsule; the object must stay alive
_USED = b"used_dltensor"


def check_arrays(backend: Any) -> None:
    """Refuse a numpy whose arrays the server misreads: it would see other pictures, or crash.

    A Python backend built for numpy 1 (such as that of Triton 2.51) silently misinterprets arrays
    of numpy 2.
    """
    array = np.arange(3, dtype=np.float32)
    if np.__version__.startswith("1."):
        return
    capsule = array.__dlpack__()
    seen = backend.Tensor.from_dlpack("probe", capsule).as_numpy()
    # otherwise numpy complains about the backend's own name for the capsule
    ctypes.pythonapi.PyCapsule_SetName(ctypes.py_object(capsule), _USED)
    if not np.array_equal(array, seen):
        raise backend.TritonModelException(
            f"this server's Python backend was built for numpy 1 and cannot read numpy "
            f"{np.__version__}; install 'numpy<2' in the environment of EXECUTION_ENV_PATH"
        )


class _Step:
    """A model for the Python backend, which answers each request separately."""

    _description: Description
    _max_pixels: int

    def initialize(self, args: dict[str, str]) -> None:
        """Read the parameters of ``config.pbtxt``."""
        check_arrays(importlib.import_module(_BACKEND))
        told = {
            name: value["string_value"]
            for name, value in json.loads(args["model_config"])["parameters"].items()
        }
        self._description = Description.from_metadata(told, f"model {args['model_name']}")
        self._max_pixels = int(told[MAX_PIXELS])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Return a response for each request; an error affects only its own request."""
        backend = importlib.import_module(_BACKEND)
        responses = []
        for request in requests:
            given = {one.name(): one.as_numpy() for one in request.inputs()}
            try:
                outputs = self.outputs(given)
            except SsdSmallError as error:
                kind = backend.TritonError.INVALID_ARG
                fault = backend.TritonError(one_line(error.message), kind)
                responses.append(backend.InferenceResponse(error=fault))
                continue
            tensors = [
                backend.Tensor(name, np.ascontiguousarray(value)) for name, value in outputs.items()
            ]
            responses.append(backend.InferenceResponse(output_tensors=tensors))
        return responses

    def outputs(self, given: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Compute the outputs of one request, by name, from its inputs ``[N, ...]``, by name."""
        raise NotImplementedError


class Preprocess(_Step):
    """Converts encoded pictures ``[N, 1]`` to input ``[N, 3, H, W]`` and sizes ``[N, 2]``."""

    def outputs(self, given: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """See :class:`_Step`."""
        contents = [bytes(one) for one in given[PICTURE].reshape(-1)]
        how = self._description.preprocessing
        pictures = pictures_from_contents(contents, self._max_pixels, how)
        levels = [resized_from_image(one.pixels, how) for one in pictures]
        sizes = np.array([one.size for one in pictures], np.int32)
        return {INPUT: inputs_from_levels(levels, how), SIZE: sizes}


class Pixels(_Step):
    """Converts boxes ``[N, K, 4]`` in the unit square to pixels, for picture sizes ``[N, 2]``."""

    def outputs(self, given: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """See :class:`_Step`."""
        pairs = zip(given[UNIT_BOXES], given[SIZE].tolist(), strict=True)
        return {"boxes": np.stack([self._in_pixels(boxes, size) for boxes, size in pairs])}

    def _in_pixels(
        self, boxes: npt.NDArray[np.float32], size: Sequence[int]
    ) -> npt.NDArray[np.float32]:
        """Convert boxes to pixels as a detector does; padding rows stay zero."""
        height, width = size
        placed = self._description.preprocessing.placement(height, width)
        if not placed.is_whole:
            none = ~boxes.any(axis=1, keepdims=True)
            boxes = np.where(none, boxes, placed.picture_from_input(boxes))
        scores, whole = np.zeros(len(boxes), np.float32), np.zeros(len(boxes), np.int32)
        detections = Detections(boxes, scores, whole, whole)
        return picture_detections(detections, (height, width), None, self._description).boxes


def pictures_from_contents(
    contents: Sequence[bytes], max_pixels: int, preprocessing: Preprocessing
) -> list[Decoded]:
    """Decode pictures for a network's input, rotated according to their EXIF data.

    Raises:
        BadFile: a picture cannot be decoded, or has more than ``max_pixels``.
    """
    return [
        decoded_from_bytes(
            content, f"{number} of {len(contents)}", preprocessing, max_pixels=max_pixels
        )
        for number, content in enumerate(contents, 1)
    ]
