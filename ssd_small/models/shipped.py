"""Checkpoints that come with the package."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_ASSETS = Path(__file__).resolve().parents[1] / "assets"
_INDEX = "checkpoints.json"


@dataclass(frozen=True)
class ShippedCheckpoint:
    """A trained network in ``ssd_small/assets``.

    Attributes:
        name: ``data/model``, what ``--weights`` takes in the place of a file.
        model: name of the network.
        width: its channel multiplier.
        path: the state dict.
        onnx_path: the same network as ``ssd-small export --heads`` writes it, for where there is no
            PyTorch.
        labels_path: class names, a line each, background left out.
        data: what it was trained on; the folder's README.md says where that is from.
        licence: of the weights.
        object_size: ``picture`` and ``network``: median side, in pixels, of the objects of its
            training pictures, and at the network's input.
        metrics: ``AP``, ``AP_small``, ``AP_medium``, ``AP_large`` on the val split, 0 to 1.
    """

    name: str
    model: str
    width: float
    path: Path
    onnx_path: Path
    labels_path: Path
    data: str
    licence: str
    object_size: dict[str, float]
    metrics: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name; files by name."""
        files = ("path", "onnx_path", "labels_path")
        return asdict(self) | {name: getattr(self, name).name for name in files}


@lru_cache(maxsize=1)
def shipped_checkpoints() -> tuple[ShippedCheckpoint, ...]:
    """All of them, by name."""
    found = []
    for index in sorted(_ASSETS.glob(f"*/{_INDEX}")):
        folder, content = index.parent, json.loads(index.read_text())
        for entry in content["checkpoints"]:
            found.append(
                ShippedCheckpoint(
                    name=f"{folder.name}/{entry['model']}",
                    model=entry["model"],
                    width=entry["width"],
                    path=folder / f"{entry['model']}.pth",
                    onnx_path=folder / f"{entry['model']}.onnx",
                    labels_path=folder / "labels.txt",
                    data=content["data"],
                    licence=content["licence"],
                    object_size=content["object_size"],
                    metrics=entry["metrics"],
                )
            )
    return tuple(found)


def find_shipped(weights: str | Path | None) -> ShippedCheckpoint | None:
    """The shipped checkpoint that ``weights`` names; None for an existing file or another name."""
    try:
        if weights is None or Path(weights).exists():
            return None
    except (OSError, ValueError):  # a folder that may not be read, a name that is too long
        return None
    named = Path(weights).as_posix()
    return next((one for one in shipped_checkpoints() if one.name == named), None)


def advice_on_missing(path: str | Path, expected: str = "a file written by torch.save") -> str:
    """What to do about weights that are not there: names like theirs, where they look like one."""
    names = {one.name.lower(): one.name for one in shipped_checkpoints()}
    given = Path(path).as_posix().lower()
    near = difflib.get_close_matches(given, names, 3, 0.75)
    near += [n for n in names if n.endswith(f"/{given}") and n not in near]
    folder, slash, rest = given.rpartition("/")
    known = slash and folder in {name.partition("/")[0] for name in names} and "." not in rest
    if not near and not known:
        return f"expected {expected}"
    meant = f"did you mean {' or '.join(names[n] for n in near)}? " if near else ""
    return f"{meant}the package has {', '.join(names.values())}"
