"""Train the embedded detectors on handwritten digits; no picture is seen twice.

Every iteration draws new pictures from the digits and photographs of the train split, with the data
set's own generator, so there is nothing to overfit but 1437 digits and nine photographs. These
pictures hold one to four times as many digits as the data set's, since a picture costs the same
however much there is to learn from it. The val split is read once, at the end. One thread, bfloat16
autocast and channels-last: forty minutes of one CPU core per network.

The heads have no batch norm and see features of one sign and large norm, so they diverge at a
learning rate that suits the rest. They have a rate of their own, and L2Norm starts lower than the
published 20, as it has fewer channels.

    python benchmarks/train_digits.py --model mobilenet_v1_s1l0 --minutes 40 --output DIR

writes ``DIR/last.pth`` (a checkpoint that records its network), and the log, history and resume
file of ``ssd-small train``; ``--resume`` continues from there.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from torch import Tensor

from ssd_small.datasets.coco import Annotations
from ssd_small.datasets.digits import CATEGORIES, coco_from_scenes
from ssd_small.datasets.digits_scenes import Material, Scene, draw_scene, load_material
from ssd_small.models.network import SsdNetwork
from ssd_small.pictures.preprocessing import input_from_image
from ssd_small.training.cpu import prepare_cpu
from ssd_small.training.distributed import Processes
from ssd_small.training.evaluation import evaluate_network
from ssd_small.training.initialise import initial_network
from ssd_small.training.matching import Targets, match
from ssd_small.training.overlaps import GroupedPriors
from ssd_small.training.recipe import Recipe
from ssd_small.training.reporter import Reporter
from ssd_small.training.run import Run, Subject
from ssd_small.training.step import Learner
from ssd_small.training.stopping import Stopped, stop_on_signals
from ssd_small.training.trainer import LoopOptions, Metrics, train

NUM_CLASSES = 11
#: there is no end of pictures: what counts as an epoch
PICTURES_PER_EPOCH = 4000
WATCHED_PICTURES = 40
METRICS = ("AP", "AP50", "AP_small", "AP_medium", "AP_large")
#: streams of random numbers: training pictures, and those that watch progress (train split too)
_TRAINING, _WATCHING = 2, 3


def jittered(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with channels exchanged, inverted or blurred now and then.

    Ink has any colour, so none of this changes what a digit is; it makes nine photographs more.
    """
    if rng.random() < 0.5:
        image = image[:, :, rng.permutation(3)]
    if rng.random() < 0.2:
        image = 255 - image
    if rng.random() < 0.1:
        image = cv2.GaussianBlur(image, (3, 3), 0.6)
    return np.ascontiguousarray(image)


@dataclass(frozen=True, eq=False)
class DrawnBatches:
    """Pictures drawn on the spot: :class:`ssd_small.training.run.Batches`."""

    net: SsdNetwork
    material: Material
    recipe: Recipe

    @cached_property
    def _priors(self) -> GroupedPriors:
        return GroupedPriors.of(self.net.priors)

    @property
    def per_epoch(self) -> int:
        """Updates that count as an epoch."""
        return PICTURES_PER_EPOCH // self.recipe.batch

    def starting_at(self, iteration: int) -> Generator[tuple[Tensor, Targets], None, None]:
        """Batch after batch."""
        while True:
            yield self.batch(iteration)
            iteration += 1

    def names(self, iteration: int) -> list[str]:
        """Drawn pictures are known by their numbers."""
        return [f"picture {i} of iteration {iteration}" for i in range(self.recipe.batch)]

    def batch(self, iteration: int) -> tuple[Tensor, Targets]:
        """The batch of an iteration; the same iteration gives the same batch."""
        seeds = [[self.recipe.seed, _TRAINING, iteration, i] for i in range(self.recipe.batch)]
        rngs = [np.random.default_rng(seed) for seed in seeds]
        scenes = [draw_scene(self.material, rng, int(rng.integers(1, 5))) for rng in rngs]
        images = [
            input_from_image(jittered(scene.image, rng), self.net.spec.preprocessing)
            for scene, rng in zip(scenes, rngs, strict=True)
        ]
        targets = [self.targets(scene) for scene in scenes]
        return torch.from_numpy(np.stack(images)), Targets.stack(targets)

    def targets(self, scene: Scene) -> Targets:
        """What the heads are to give for a picture."""
        height, width = scene.image.shape[:2]
        boxes = torch.from_numpy(scene.boxes_xyxy / np.float32([width, height, width, height]))
        return match(
            boxes.float(),
            torch.from_numpy(scene.names + 1),
            self._priors,
            iou_threshold=self.recipe.match_iou,
            variances=self.net.spec.postprocess.variances,
        )


def precision(net: SsdNetwork, scenes: Sequence[Scene]) -> Metrics:
    """Average precisions on ``scenes``."""
    coco = coco_from_scenes([(str(i), scene) for i, scene in enumerate(scenes)], "scenes")
    lists = (tuple(coco[key]) for key in ("images", "categories", "annotations"))
    truth = Annotations(Path("scenes"), *lists, dropped=0)
    return evaluate_network(net, truth, (scene.image for scene in scenes), backend="numpy")


def watched_scenes(material: Material, seed: int) -> list[Scene]:
    """New pictures of the train split, to see how far training is."""
    return [
        draw_scene(material, np.random.default_rng([seed, _WATCHING, i]))
        for i in range(WATCHED_PICTURES)
    ]


@click.command()
@click.option("--model", default="mobilenet_v1_s1l0", show_default=True)
@click.option("--minutes", type=float, help="Time budget; the schedule follows the clock.")
@click.option("--iterations", type=int, help="Number of updates; repeatable exactly.")
@click.option("--batch", default=4, show_default=True)
@click.option("--lr", default=0.04, show_default=True, help="Of layers with batch norm.")
@click.option("--head-lr", default=0.0015, show_default=True, help="Of the heads, which have none.")
@click.option("--norm-scale", default=8.0, show_default=True, help="Start value of L2Norm.")
@click.option("--seed", default=0, show_default=True)
@click.option("--width", default=0.25, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--watch-epochs", default=1, show_default=True, help="Between interim mAPs.")
@click.option("--val-images", default=100, show_default=True)
@click.option("--resume", is_flag=True)
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True)
def main(
    model: str,
    width: float,
    threads: int,
    watch_epochs: int,
    val_images: int,
    resume: bool,
    output: Path,
    **settings: Any,
) -> None:
    """Train MODEL on generated pictures and report its mAP on the val split."""
    if (settings["minutes"] is None) == (settings["iterations"] is None):
        raise click.UsageError("give either --minutes or --iterations")
    recipe = Recipe(
        epochs=None, warm_up=0.0, ramp=0.03, clip_norm=10.0, background=0.9, precision="amp",
        **settings,
    )  # fmt: skip
    prepare_cpu(threads)
    net = initial_network(model, NUM_CLASSES, width, recipe)
    learner = Learner.of(net, recipe, Processes(torch.device("cpu")))
    batches = DrawnBatches(net, load_material("train"), recipe)
    begin = Run.resumed if resume else Run.fresh
    about = {"model": model, "width": width}
    run = begin(learner, batches, about, output, Subject(CATEGORIES))
    reporter = Reporter(run.folder.log)
    reporter.line(f"{model}, width {width:g}: {json.dumps(recipe.to_dict())}")
    watched = watched_scenes(batches.material, recipe.seed)
    options = LoopOptions(log_every=100, eval_every=watch_epochs)
    with stop_on_signals() as stop:
        try:
            train(run, lambda net: precision(net, watched), reporter, options, stop)
        except Stopped:
            raise click.Abort from None
    material = load_material("val")
    # the very pictures of make_digits(..., seed=0)
    scenes = [draw_scene(material, np.random.default_rng([0, 1, i])) for i in range(val_images)]
    scores = precision(net, scenes)
    texts = "  ".join(f"{name} {scores[name] or 0.0:.3f}" for name in METRICS)
    reporter.line(f"val, {val_images} pictures: {texts}")


if __name__ == "__main__":
    main()
