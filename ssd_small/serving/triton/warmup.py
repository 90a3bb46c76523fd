"""Input for warming up models: a real picture, in the form that they take."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...artefacts.tensors import input_of
from ...pictures.preprocessing import Preprocessing, input_from_image, resized_from_image
from ...pictures.reading import bytes_of_image, image_from_bytes
from .source import ServedNetwork

#: digits on a photograph, from the demo's data set
PICTURE = Path(__file__).resolve().parents[2] / "assets" / "digits" / "picture.jpg"


def input_for_warmup(network: ServedNetwork, picture: Path) -> npt.NDArray[np.generic]:
    """Make the input of a network from a picture, without the batch dimension.

    Raises:
        BadFile: the file is not a picture.
    """
    description, how = network.description, network.description.preprocessing
    image = image_from_bytes(bytes_of_image(picture), picture)
    if description.pictures is None:
        return input_from_image(image, how)
    sides = input_of(description).shape[1:3]
    fixed = (sides[0], sides[1]) if isinstance(sides[0], int) else network.picture_size
    height, width = fixed or image.shape[:2]
    return resized_from_image(image, Preprocessing(height=int(height), width=int(width)))


def text_for_warmup(picture: Path) -> bytes:
    """An encoded picture as a string element in Triton's files: preceded by its length."""
    content = bytes_of_image(picture)
    return struct.pack("<I", len(content)) + content
