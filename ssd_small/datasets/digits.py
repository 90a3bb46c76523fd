"""Generate a small detection data set: handwritten digits on photographs.

Deterministic and offline: the digits come with scikit-learn, the photographs with scikit-learn
and scikit-image. It is in COCO format, so every command handles it like a user's own data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadFile, OutputError, UsageError
from ..files import behind_links
from ..json_files import write_json
from ..requirements import require
from ..system.temporary import temporary_folder
from .coco_file import write_annotations
from .digits_scenes import Scene, Split, draw_scene, load_material

#: category ids are 1..10 in this order, equal to the network's class index (0 is background)
CATEGORIES = tuple(str(digit) for digit in range(10))
_SPLITS: tuple[Split, ...] = ("train", "val")
#: increased whenever the same arguments give different pictures
_RECIPE = 1


@dataclass(frozen=True)
class DigitsDataset:
    """Paths of the parts of the data set.

    Attributes:
        train_annotations, val_annotations: COCO-format JSON files.
        train_images, val_images: folders that their file names are relative to.
    """

    train_annotations: Path
    train_images: Path
    val_annotations: Path
    val_images: Path

    @classmethod
    def at(cls, directory: str | Path) -> DigitsDataset:
        """The paths of a data set in ``directory``, whether it exists or not."""
        directory = Path(directory)
        return cls(
            directory / "train.json", directory / "train", directory / "val.json", directory / "val"
        )


def make_digits(
    directory: str | Path, *, train_images: int = 200, val_images: int = 100, seed: int = 0
) -> DigitsDataset:
    """Write the data set, or reuse it if it was written before with the same arguments.

    Train and val share no digit sample and no photograph. Everything is written to a temporary
    folder that is renamed at the end, so ``directory`` is complete or absent.

    Args:
        directory: folder to create; if it exists, it must be empty or hold this very data set.
        train_images, val_images: number of pictures, at least 0.
        seed: another seed gives other pictures of the same kind (and the same split).

    Raises:
        UsageError: a number is negative, or ``directory`` holds something else.
        OutputError: the data set cannot be written.
        MissingRequirement: scikit-learn, scikit-image, Pillow or OpenCV is missing.
    """
    counts: dict[Split, int] = {"train": train_images, "val": val_images}
    if min(*counts.values(), seed) < 0:
        raise UsageError(
            f"train_images {train_images}, val_images {val_images}, seed {seed}: "
            "expected numbers of at least 0"
        )
    directory = Path(directory)
    dataset = DigitsDataset.at(directory)
    made_from = {"recipe": _RECIPE, "seed": seed, **{f"{s}_images": counts[s] for s in _SPLITS}}
    if _already_there(dataset, directory, made_from):
        return dataset
    try:
        target = behind_links(directory)
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(target.parent) as temporary:
            for split in _SPLITS:
                _write_split(temporary, split, counts[split], seed, made_from)
            os.replace(temporary, target)
    except OSError as error:
        raise OutputError(f"cannot write {directory}: {error.strerror or error}") from error
    return dataset


def _already_there(dataset: DigitsDataset, directory: Path, made_from: dict[str, int]) -> bool:
    """Whether ``directory`` holds the wanted data set; raises if it holds anything else."""
    if not behind_links(directory).exists():
        return False
    if not directory.is_dir():
        raise OutputError(
            f"cannot write {directory}: it is a file; expected a folder to write the data set to"
        )
    if not any(directory.iterdir()):
        return False
    try:
        info = json.loads(dataset.val_annotations.read_text())["info"]
        found = {name: info.get(name) for name in made_from}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        found = {}
    if found != made_from:
        raise UsageError(
            f"{directory} is not empty and does not hold this data set; "
            "delete it or name another folder"
        )
    return True


def _write_split(
    directory: Path, split: Split, count: int, seed: int, made_from: dict[str, int]
) -> None:
    cv2 = require("cv2", "the digits data set")
    (directory / split).mkdir()
    material = load_material(split)
    scenes = []
    for index in range(count):
        rng = np.random.default_rng([seed, _SPLITS.index(split), index])
        scene = draw_scene(material, rng)
        path = directory / split / f"{index + 1:06d}.png"
        # light compression: three times as fast as the default, and files are hardly larger
        encoded, data = cv2.imencode(".png", scene.image, [cv2.IMWRITE_PNG_COMPRESSION, 2])
        if not encoded:
            raise BadFile(f"OpenCV cannot encode {path.name} as PNG")
        path.write_bytes(data.tobytes())
        scenes.append((path.name, scene))
    coco = coco_from_scenes(scenes, f"handwritten digits on photographs, {split}")
    coco["info"] |= made_from
    path = directory / f"{split}.json"
    if scenes:
        write_annotations(path, coco)
    else:  # no command accepts a set without pictures, and write_annotations refuses it
        write_json(path, coco)


def coco_from_scenes(scenes: Iterable[tuple[str, Scene]], description: str) -> dict[str, Any]:
    """Content of a COCO-format annotation file for named pictures.

    Image ids count from 1. The additional field ``sample`` of an annotation is the digit's index
    in scikit-learn's set.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (name, scene) in enumerate(scenes, 1):
        height, width = scene.image.shape[:2]
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for box, digit, sample in zip(
            scene.boxes_xyxy.tolist(), scene.names.tolist(), scene.samples.tolist(), strict=True
        ):
            w, h = box[2] - box[0], box[3] - box[1]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": digit + 1,
                    "bbox": [box[0], box[1], w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "sample": sample,
                }
            )
    return {
        "info": {"description": description},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(CATEGORIES, 1)],
    }
