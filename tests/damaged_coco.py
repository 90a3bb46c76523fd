"""A small COCO-format data set with pictures, and each way in which such files are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ssd_small.datasets.check import DataCheck, check_data, content_from_check
from ssd_small.datasets.coco import read_annotations
from ssd_small.datasets.findings import Findings

Content = dict[str, Any]
WIDTH, HEIGHT = 160, 120
#: x, y, w, h of the boxes of each picture; the last one reaches where a height of 160 does not
BOXES = ([10, 10, 40, 30], [60, 20, 30, 60], [120, 70, 38, 45])
NAMES = ("cat", "dog", "bird")


def scene(seed: int, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    """A picture of soft and sharp structure, another one for each seed."""
    import cv2

    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (6, 8, 3), np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for x, y in rng.integers(10, 110, (12, 2)).tolist():
        cv2.circle(picture, (x, y), 7, rng.integers(0, 255, 3).tolist(), -1)
    return np.asarray(picture, np.uint8)


def write_good_set(folder: Path, pictures: int = 20) -> Content:
    """Pictures ``0.png`` and on in ``folder``, three boxes in each, of three categories."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    images, boxes = [], []
    for i in range(pictures):
        assert cv2.imwrite(str(folder / f"{i}.png"), scene(i))
        images.append(
            {"id": i + 1, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT, "mine": i}
        )
        for k, bbox in enumerate(BOXES):
            number = len(boxes) + 1
            one = {"id": number, "image_id": i + 1, "category_id": k + 1, "bbox": list(bbox)}
            boxes.append({**one, "area": bbox[2] * bbox[3], "iscrowd": 0, "score_of_mine": 0.5})
    categories = [{"id": k + 1, "name": name, "mine": k} for k, name in enumerate(NAMES)]
    info = {"description": "made here"}
    return {"info": info, "images": images, "annotations": boxes, "categories": categories}


def write(content: Content, path: Path) -> Path:
    path.write_text(json.dumps(content))
    return path


class Damage(NamedTuple):
    """A way to damage picture ``i`` or its boxes, which are annotations 3i to 3i + 2."""

    kind: str
    count: int
    change: Callable[[Content, Path, int], None]


def _missing(content: Content, folder: Path, i: int) -> None:
    (folder / f"{i}.png").unlink()


def _unreadable(content: Content, folder: Path, i: int) -> None:
    file = folder / f"{i}.png"
    file.write_bytes(file.read_bytes()[:60])


def _size(width: object, height: object) -> Callable[[Content, Path, int], None]:
    def change(content: Content, folder: Path, i: int) -> None:
        content["images"][i] |= {"width": width, "height": height}

    return change


def _no_size(content: Content, folder: Path, i: int) -> None:
    del content["images"][i]["width"]


def _other_picture(content: Content, folder: Path, i: int) -> None:
    """A picture that the boxes do not fit, of another shape."""
    import cv2

    assert cv2.imwrite(str(folder / f"{i}.png"), scene(100 + i, 90, 90))


def _field(name: str, value: object, box: int = 0) -> Callable[[Content, Path, int], None]:
    def change(content: Content, folder: Path, i: int) -> None:
        content["annotations"][3 * i + box][name] = value

    return change


def _image_id_as_text(content: Content, folder: Path, i: int) -> None:
    content["annotations"][3 * i]["image_id"] = str(i + 1)


def _same_annotation_id(content: Content, folder: Path, i: int) -> None:
    content["annotations"][3 * i]["id"] = content["annotations"][3 * i + 1]["id"]


def _box_again(content: Content, folder: Path, i: int) -> None:
    again = content["annotations"][3 * i + 1]
    content["annotations"] += [{**again, "id": again["id"] + 1000 * n} for n in (1, 2)]


def _picture_again(content: Content, folder: Path, i: int) -> None:
    """The boxes are split between two entries of a picture."""
    content["images"].append({**content["images"][i], "id": 500 + i})
    content["annotations"][3 * i + 2]["image_id"] = 500 + i


def _category_again(content: Content, folder: Path, i: int) -> None:
    content["categories"].append(dict(content["categories"][1]))


def _category_of_same_name(content: Content, folder: Path, i: int) -> None:
    content["categories"].append({"id": 9, "name": "dog"})
    content["annotations"][3 * i + 1]["category_id"] = 9


def _blanks(content: Content, folder: Path, i: int) -> None:
    content["categories"][0]["name"] = " cat "


#: by a name of its own; each leaves the other pictures alone
DAMAGES = {
    "missing": Damage("missing_picture", 1, _missing),
    "unreadable": Damage("unreadable_picture", 1, _unreadable),
    "swapped": Damage("size_mismatch", 1, _size(HEIGHT, WIDTH)),
    "wrong_size": Damage("size_mismatch", 1, _size(WIDTH + 60, HEIGHT)),
    "other_picture": Damage("size_mismatch", 1, _other_picture),
    "no_size": Damage("image_without_size", 1, _no_size),
    "null_size": Damage("image_without_size", 1, _size(None, None)),
    "size_as_text": Damage("number_as_text", 2, _size(str(WIDTH), str(HEIGHT))),
    "id_as_text": Damage("id_as_text", 1, _image_id_as_text),
    "repeated_annotation_id": Damage("repeated_annotation_id", 1, _same_annotation_id),
    "duplicate_box": Damage("duplicate_box", 2, _box_again),
    "picture_again": Damage("duplicate_picture_entry", 1, _picture_again),
    "category_again": Damage("repeated_category", 1, _category_again),
    "category_of_same_name": Damage("repeated_category_name", 1, _category_of_same_name),
    "blanks": Damage("blanks_around_name", 1, _blanks),
    "unknown_image": Damage("unknown_image", 1, _field("image_id", 7777)),
    "unknown_category": Damage("unknown_category", 1, _field("category_id", 77)),
    "without_area": Damage("box_without_area", 1, _field("bbox", [10, 10, 0, 30])),
    "hairline": Damage("box_without_area", 1, _field("bbox", [10, 10, 0.001, 30])),
    "outside": Damage("box_outside", 1, _field("bbox", [-50, 10, 40, 30])),
    "null_flag": Damage("null_field", 1, _field("iscrowd", None)),
    "bad_box": Damage("bad_box", 1, _field("bbox", [1, 2, 3])),
}


def copy_of(pictures: Path, folder: Path) -> tuple[Content, Path]:
    folder.mkdir()
    for file in pictures.glob("*.png"):
        (folder / file.name).write_bytes(file.read_bytes())
    return json.loads((pictures / "truth.json").read_text()), folder


def check(content: Content, folder: Path) -> DataCheck:
    path = write(content, folder.parent / f"{folder.name}.json")
    return check_data(read_annotations(path, Findings()), folder, compare=False)


def counts(found: Iterable[dict[str, Any]]) -> dict[str, int]:
    return {one["kind"]: one["count"] for one in found}


def problems(content: Content, folder: Path) -> dict[str, int]:
    return counts(check(content, folder).findings.problems)


def fixed(content: Content, folder: Path) -> Content:
    """The repaired file, as it is read back."""
    return json.loads(json.dumps(content_from_check(check(content, folder))))
