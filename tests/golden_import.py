"""The golden files of imported networks, where the shared ones are at hand.

Weights come from a seed by ``seeded.py`` beside them; heads and detections from the networks' own
projects.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "golden" / "import"
#: networks with seeded weights
SEEDED = (
    *("torchvision_ssd300_vgg16", "torchvision_ssdlite320_mobilenet_v3_large"),
    *("qfgaohao_mb1-ssd", "qfgaohao_mb1-ssd-lite", "qfgaohao_mb2-ssd-lite"),
)
Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Reference:
    """One network: what its json says, what its npz holds, and its weights."""

    said: dict[str, Any]
    held: dict[str, Array]
    state: dict[str, Tensor]
    seeded: ModuleType

    @property
    def pictures(self) -> list[str]:
        """Names of the pictures."""
        return list(self.said["pictures"])

    def of(self, picture: str, name: str) -> Array:
        """An array of a picture."""
        return self.held[f"{picture}/{name}"]

    def picture(self, name: str) -> Array:
        """``[H, W, 3]`` uint8 RGB."""
        if name == "synthetic":
            return np.asarray(self.seeded.synthetic_picture())
        from skimage import data

        return np.asarray(getattr(data, name)())

    def input(self, name: str) -> Tensor:
        """Network input ``[1, 3, H, W]``, made as the network's own project makes it."""
        recipe, picture = self.said["input"], self.picture(name)
        height, width = recipe["size"]
        mean, std = (np.asarray(recipe[key], np.float32) for key in ("mean", "std"))
        if "float32" in recipe["resize"]:
            levels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
            levels = (levels - torch.from_numpy(mean).view(-1, 1, 1)) / torch.from_numpy(
                std
            ).reshape(-1, 1, 1)
            return F.interpolate(
                levels[None], (height, width), mode="bilinear", align_corners=False
            )
        resized = cv2.resize(picture, (width, height)).astype(np.float32)
        return torch.from_numpy(((resized - mean) / std).transpose(2, 0, 1)[None].copy())

    def heads(self, net: torch.nn.Module, name: str) -> tuple[Array, Array]:
        """A network's heads at the rows that are kept, ``[R, 4]`` and ``[R, C]``."""
        rows = self.of(name, "rows")
        with torch.no_grad():
            loc, conf = net.eval()(self.input(name))
        return loc[0].numpy()[rows], conf[0].numpy()[rows]


def reference(name: str) -> Reference:
    """The reference of that name; skips where the shared files are not at hand."""
    if not (FOLDER / f"{name}.npz").exists():
        pytest.skip(f"not executed here: no shared data in {FOLDER}")
    spec = importlib.util.spec_from_file_location("seeded", FOLDER / "seeded.py")
    assert spec is not None
    assert spec.loader is not None
    seeded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(seeded)
    said = json.loads((FOLDER / f"{name}.json").read_text())
    biases = {f"{key}bias" for key in said["conf_keys"]}
    state = seeded.seeded_state(
        *(said["shapes"], said["seed"], [tuple(gain) for gain in said["gains"]]),
        *(said["background"], said["num_classes"], lambda key: key in biases),
        said["class_major"],
    )
    with np.load(Path(FOLDER) / f"{name}.npz") as archive:
        held = dict(archive)
    return Reference(said, held, {k: torch.from_numpy(v) for k, v in state.items()}, seeded)
