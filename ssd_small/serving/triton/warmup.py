"""What models are warmed up on: a real picture, as their input is."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...artefacts.tensors import input_of
from ...pictures.preprocessing import Preprocessing, input_from_image, resized_from_image
from ...pictures.reading import bytes_of_image, image_from_bytes
from .source import ServedNetwork

#: digits on a photograph, of the demo's data set
PICTURE = Path(__file__).resolve().parents[2] / "assets" / "digits" / "picture.jpg"


def input_for_warmup(network: ServedNetwork, picture: Path) -> npt.NDArray[np.generic]:
    """The input of a network made of a picture, without the batch.

    Raises:
        BadFile: no picture.
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
    """An encoded picture as Triton's files hold one element of text: its length before it."""
    content = bytes_of_image(picture)
    return struct.pack("<I", len(content)) + content
