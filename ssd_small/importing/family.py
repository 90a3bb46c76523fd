"""Families of detectors as data: what their files look like, and how their networks are built.

A family is one network of one project. Its spec consists of the same layers as those of the
networks here; the differences are numbers, some of which are derived from the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..models.spec import ModelSpec

#: shape of each tensor, by the key in the file
Shapes = Mapping[str, tuple[int, ...]]
#: prefix of a key in the file -> prefix of the key here
Renames = Mapping[str, str]
#: projects, as ``--from`` names them
PROJECTS = ("torchvision", "amdegroot", "qfgaohao", "nvidia", "ultralight")


@dataclass(frozen=True)
class Asked:
    """What determines a network besides its weights.

    Attributes:
        shapes: of the tensors of the file.
        num_classes: including background.
        input_size: height and width in pixels; None for the family's published size.
        priors: which of a family's tables of prior boxes, ``"voc"`` or ``"coco"``; None for the
            family's own choice.
    """

    shapes: Shapes
    num_classes: int
    input_size: tuple[int, int] | None = None
    priors: str | None = None


@dataclass(frozen=True)
class Family:
    """One network of one project.

    Attributes:
        project: its name in ``--from``.
        model: its name in ``--model`` and in the project.
        present: prefixes of keys that its files have.
        absent: prefixes of keys that its files do not have.
        head: prefix of the key of the first class head's last convolution.
        anchors: priors per cell of the first level.
        spec: builds the spec.
        renames: prefixes of keys, for a spec.
        class_major: whether the channels of heads are ordered by number before anchor.
        prior_tables: whether weights do not decide which table of prior boxes they learned.
        fits: checks shapes, where keys alone do not identify the network.
        notes: what is taken for granted because the weights do not show it.
        size_note: the same, for an input of another size than the published one.
    """

    project: str
    model: str
    present: tuple[str, ...]
    head: str
    anchors: int
    spec: Callable[[Asked], ModelSpec]
    renames: Callable[[ModelSpec], Renames]
    absent: tuple[str, ...] = ()
    class_major: bool = False
    prior_tables: bool = False
    fits: Callable[[Shapes], bool] = lambda shapes: True
    notes: tuple[str, ...] = ()
    size_note: str | None = None

    @property
    def name(self) -> str:
        """Name of the network in artefacts."""
        return f"{self.project}_{self.model}"
