"""Small networks and made-up batches, so that the trainer can be tested in seconds."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssd_small.models.network import SsdNetwork
from ssd_small.models.registry import get_spec
from ssd_small.models.spec import ModelSpec
from ssd_small.pictures.preprocessing import Preprocessing
from ssd_small.training.distributed import Processes
from ssd_small.training.initialise import initial_network
from ssd_small.training.matching import Targets, match
from ssd_small.training.overlaps import GroupedPriors
from ssd_small.training.recipe import Recipe
from ssd_small.training.reporter import Reporter
from ssd_small.training.run import Run
from ssd_small.training.step import Learner
from ssd_small.training.stopping import StopRequest
from ssd_small.training.trainer import LoopOptions, train

MODEL, CLASSES, WIDTH = "mobilenet_v1", 3, 0.1
SIZE = 128
#: the network with a small input, which costs a fifth
SPEC = replace(get_spec(MODEL), preprocessing=Preprocessing(height=SIZE, width=SIZE))
CPU = Processes(torch.device("cpu"))
ABOUT = {"model": MODEL}


@dataclass
class NoiseBatches:
    """Noise with two objects a picture; ``at`` is called with the number of each batch."""

    net: SsdNetwork
    per_epoch: int = 3
    size: int = 2
    side: int = SIZE
    at: Callable[[int], None] = field(default=lambda iteration: None)
    damage: Callable[[int, Tensor], Tensor] = field(default=lambda iteration, images: images)

    def starting_at(self, iteration: int) -> Generator[tuple[Tensor, Targets], None, None]:
        while True:
            self.at(iteration)
            yield self.batch(iteration)
            iteration += 1

    def names(self, iteration: int) -> list[str]:
        return [f"{iteration}-{i}.png" for i in range(self.size)]

    def batch(self, iteration: int) -> tuple[Tensor, Targets]:
        random = torch.Generator().manual_seed(iteration)
        images = torch.randn(self.size, 3, self.side, self.side, generator=random) * 50
        low = torch.rand(self.size, 2, 2, generator=random) * 0.6
        sides = 0.1 + torch.rand(self.size, 2, 2, generator=random) * 0.3
        labels, priors = torch.tensor([1, 2]), GroupedPriors.of(self.net.priors)
        targets = [
            match(torch.cat([a, a + b], dim=1), labels, priors)
            for a, b in zip(low, sides, strict=True)
        ]
        return self.damage(iteration, images), Targets.stack(targets)


def small_recipe(**given: Any) -> Recipe:
    """Two epochs with momentum, an averaged copy, a clipped gradient and a moving rate."""
    values: dict[str, Any] = {
        "epochs": 2,
        "batch": 2,
        "lr": 0.01,
        "head_lr": 0.002,
        "warm_up": 0.0,
        "ramp": 0.2,
        "clip_norm": 10.0,
        "ema_decay": 0.99,
        "norm_scale": 8.0,
    }
    return Recipe(**values).with_changes(**given)


def learner_of(
    recipe: Recipe,
    processes: Processes = CPU,
    dtype: torch.dtype = torch.float32,
    spec: ModelSpec = SPEC,
) -> Learner:
    """A small network about to learn."""
    net = initial_network(spec, CLASSES, WIDTH, recipe).to(dtype)
    return Learner.of(net, recipe, processes)


def train_noise(
    folder: Path,
    recipe: Recipe | None = None,
    *,
    stop_at: int | None = None,
    resume: bool = False,
    evaluate: Callable[[SsdNetwork], dict[str, float | None]] | None = None,
    options: LoopOptions | None = None,
    damage: Callable[[int, Tensor], Tensor] | None = None,
) -> Run:
    """Train on noise; with ``stop_at`` a signal arrives during that update.

    Raises:
        Stopped: as asked for.
    """
    learner = learner_of(recipe or small_recipe())
    request = StopRequest()

    def signal_at(iteration: int) -> None:
        if iteration == stop_at:
            request.signal = 2

    batches = NoiseBatches(learner.net, at=signal_at)
    if damage is not None:
        batches.damage = damage
    run = (Run.resumed if resume else Run.fresh)(learner, batches, ABOUT, folder)
    train(
        run,
        evaluate,
        Reporter(run.folder.log, speaks=False),
        options or LoopOptions(log_every=2, eval_every=1),
        request,
    )
    return run
