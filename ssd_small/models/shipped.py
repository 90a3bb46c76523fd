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
        name: ``data/model``, which ``--weights`` accepts instead of a file.
        model: name of the network.
        width: its channel multiplier.
        path: the state dict.
        onnx_path: the same network as written by ``ssd-small export --heads``, for use without
            PyTorch.
        labels_path: class names, one per line, without background.
        data: what it was trained on; the folder's README.md gives the source.
        licence: licence of the weights.
        object_size: median side of the training objects in pixels, in the ``picture`` and at the
            input of the ``network``.
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
        """Return JSON-ready values by field name, with files as bare names."""
        files = ("path", "onnx_path", "labels_path")
        return asdict(self) | {name: getattr(self, name).name for name in files}


@lru_cache(maxsize=1)
def shipped_checkpoints() -> tuple[ShippedCheckpoint, ...]:
    """Return all shipped checkpoints, folder by folder."""
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
    """Find the shipped checkpoint of that name; None for an existing file or any other name."""
    try:
        if weights is None or Path(weights).exists():
            return None
    except (OSError, ValueError):  # an unreadable folder, a name that is too long
        return None
    named = Path(weights).as_posix()
    return next((one for one in shipped_checkpoints() if one.name == named), None)


def advice_on_missing(path: str | Path, expected: str = "a file written by torch.save") -> str:
    """Advise on weights that do not exist: suggest shipped names if theirs resembles one."""
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
