"""The description of a training run: network, data, recipe and options."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..configs.network import NetworkConfig
from ..datasets.sets import Sets, checked_sets
from ..detection.tiling import Tiles
from ..errors import UsageError
from ..models.from_config import spec_from_network
from ..models.registry import get_spec
from ..models.spec import ModelSpec
from ..pictures.tiles import USUAL_OVERLAP, Tiling
from .initialise import substrings_from_scope
from .recipe import Recipe
from .trainer import LoopOptions


@dataclass(frozen=True)
class TrainingJob:
    """What to train, on which data, and where to write.

    Attributes:
        model: name of the network.
        network: definition of a network that is not in the registry: a configuration, or a spec
            whose layers are written out.
        recipe: hyper-parameters.
        annotations, images: COCO-format JSON and the folder of its image files; or, with ``sets``,
            the folder that holds the sets with their images, and None.
        output: folder for checkpoints, history and log.
        width: channel multiplier.
        val_annotations, val_images: the same for pictures to evaluate on; None for no evaluation.
        sets, val_sets: (year, split) pairs, see
            :func:`ssd_small.datasets.sets.read_ground_truth`.
        tiles: width and height of the tiles that pictures are cut into, in picture pixels; None for
            whole pictures; "auto": see :func:`~.tiles.tiling_from_job`.
        overlap: fraction of a tile that its neighbour also covers; None for the default.
        weights: checkpoint to start from; None for random weights.
        init_scope: which tensors to take from it; see :func:`~.initialise.initial_network`.
        resume: whether to continue the run in ``output``.
        device: "auto", "cpu" or "cuda".
        workers: processes that read and augment pictures, per training process.
        skip_unreadable: how many pictures may be unreadable, per process; each is replaced by the
            next one. As many pictures to evaluate on may be unreadable; they are not scored.
        threads: CPU threads; 0 for PyTorch's choice.
        options: how often to log, evaluate and save.
    """

    model: str
    recipe: Recipe
    annotations: Path
    images: Path | None
    output: Path
    network: NetworkConfig | ModelSpec | None = None
    width: float = 1.0
    val_annotations: Path | None = None
    val_images: Path | None = None
    sets: Sets = ()
    val_sets: Sets = ()
    tiles: Tiles | None = None
    overlap: float | None = None
    weights: Path | None = None
    init_scope: str = "fitting"
    resume: bool = False
    device: str = "auto"
    workers: int = 2
    threads: int = 0
    skip_unreadable: int = 0
    options: LoopOptions = field(default_factory=LoopOptions)

    def __post_init__(self) -> None:
        for name in ("annotations", "images", "output", "val_annotations", "val_images", "weights"):
            given = getattr(self, name)
            object.__setattr__(self, name, None if given is None else Path(given))
        substrings_from_scope(self.init_scope)
        self._check_tiles()
        for prefix in ("", "val_"):
            sets = getattr(self, f"{prefix}sets")
            object.__setattr__(self, f"{prefix}sets", checked_sets(sets) if sets else ())
            option = f"--{prefix.replace('_', '-')}"
            if sets and getattr(self, f"{prefix}annotations") is None:
                raise UsageError(
                    f"{option}sets goes with {option}annotations, the folder that holds them"
                )
            if sets and getattr(self, f"{prefix}images") is not None:
                raise UsageError(
                    f"{option}images does not go with {option}sets, whose folder holds the images"
                )

    def _check_tiles(self) -> None:
        if self.tiles is None and self.overlap is not None:
            raise UsageError("--overlap goes with --tiles, which cuts pictures into tiles")
        if self.tiles is not None and self.tiles != "auto":
            overlap = USUAL_OVERLAP if self.overlap is None else self.overlap
            object.__setattr__(self, "tiles", tuple(self.tiles))
            Tiling(*self.tiles, overlap)

    @property
    def spec(self) -> ModelSpec:
        """The spec of the network.

        Raises:
            UsageError, BadFile: no network has that name, or ``network`` does not define a valid
                one.
        """
        return get_spec(self.model) if self.network is None else spec_from_network(self.network)

    @property
    def images_root(self) -> Path:
        """The folder that file names are relative to."""
        return self.annotations if self.images is None else self.images

    @property
    def val_images_root(self) -> Path | None:
        """The same for the pictures to evaluate on."""
        return self.val_annotations if self.val_images is None else self.val_images
