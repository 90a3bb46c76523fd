"""What a family of detectors is, as data: how its files look, and what network they are of.

A family is one network of one project. Its spec is made of the same layers as those of the networks
here; what differs is said in numbers, and some numbers are read off the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..models.spec import ModelSpec

#: shape of each tensor, by the key in the file
Shapes = Mapping[str, tuple[int, ...]]
#: begin of a key in the file -> begin of the key here
Renames = Mapping[str, str]
#: projects, as ``--from`` names them
PROJECTS = ("torchvision", "amdegroot", "qfgaohao", "nvidia", "ultralight")


@dataclass(frozen=True)
class Asked:
    """What decides about a network beside its weights.

    Attributes:
        shapes: of the tensors of the file.
        num_classes: background among them.
        input_size: height and width in pixels; None for what the family is published with.
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
        project: as ``--from`` names it.
        model: as ``--model`` names it, and the project does.
        present: begins of keys which a file of it has.
        absent: begins of keys which it has not.
        head: begin of the key of the first class head's last convolution.
        anchors: priors per cell of the first level.
        spec: makes the spec.
        renames: begins of keys, for a spec.
        class_major: whether the channels of heads are ordered by number before anchor.
        prior_tables: whether weights cannot tell which table of prior boxes they learned.
        fits: looks at the shapes where keys do not tell one network from another.
        notes: what cannot be seen in the weights and was taken for granted.
        size_note: the same, of an input of another size than the published one.
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
        """What artefacts call the network."""
        return f"{self.project}_{self.model}"
