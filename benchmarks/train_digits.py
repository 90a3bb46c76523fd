"""Train the embedded detectors on handwritten digits; no picture is seen twice.

Every iteration draws new pictures from the digits and photographs of the train split (the
generator of the data set itself), so there is nothing to overfit but 1437 digits and nine
photographs. They hold one to four times the digits of the data set's own, since a picture costs
the same however much there is to learn from it. The val split is read once, at the end. One
thread, bfloat16 autocast and channels-last: forty minutes of one CPU core per network.

The heads have no batch norm and see features of one sign and large norm, so they diverge at a
rate at which the rest learns well. They have a rate of their own, and L2Norm starts lower than
the published 20, its channels being fewer.

    python benchmarks/train_digits.py --model mobilenet_v1_s1l0 --minutes 40 --output DIR

writes ``DIR/MODEL.pth`` (a state dict with the published keys), ``DIR/MODEL.log`` and, while it
runs, ``DIR/MODEL.resume.pth``; ``--resume`` goes on from there.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from torch import Tensor

from ssd_small.coco import Annotations
from ssd_small.datasets.digits import coco_from_scenes
from ssd_small.datasets.digits_scenes import Material, Scene, draw_scene, load_material
from ssd_small.models.network import SsdNetwork, create_model
from ssd_small.preprocess import input_from_image
from ssd_small.training.evaluation import evaluate_network
from ssd_small.training.loss import LossParts, multibox_loss
from ssd_small.training.matching import Targets, match

NUM_CLASSES = 11
REPORT_EVERY = 100
WATCHED_PICTURES = 40
#: streams of random numbers: training pictures, and those that watch progress (train split too)
_TRAINING, _WATCHING = 2, 3


@dataclass(frozen=True)
class Settings:
    """What a run is made of; exactly one of ``minutes`` and ``iterations`` is set."""

    model: str
    minutes: float | None
    iterations: int | None
    batch: int
    lr: float
    head_lr: float
    norm_scale: float
    seed: int
    width: float
    threads: int

    def progress(self, iteration: int, seconds: float) -> float:
        """How much of the budget is spent, 0 to 1."""
        if self.iterations is not None:
            return iteration / self.iterations
        assert self.minutes is not None
        return seconds / (60 * self.minutes)


@dataclass(frozen=True)
class Log:
    """Lines to the terminal and to a file."""

    path: Path

    def __call__(self, line: str) -> None:
        """Write a line."""
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")


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


def targets_from_scene(scene: Scene, net: SsdNetwork) -> Targets:
    """What the heads are to give for a picture."""
    height, width = scene.image.shape[:2]
    boxes = torch.from_numpy(scene.boxes_xyxy / np.float32([width, height, width, height]))
    labels = torch.from_numpy(scene.names + 1)
    return match(boxes.float(), labels, net.priors, variances=net.spec.postprocess.variances)


def training_batch(
    net: SsdNetwork, material: Material, seed: int, iteration: int, size: int
) -> tuple[Tensor, Targets]:
    """The batch of an iteration; the same arguments give the same batch."""
    rngs = [np.random.default_rng([seed, _TRAINING, iteration, i]) for i in range(size)]
    scenes = [draw_scene(material, rng, int(rng.integers(1, 5))) for rng in rngs]
    images = [
        torch.from_numpy(input_from_image(jittered(scene.image, rng), net.spec.preprocessing))
        for scene, rng in zip(scenes, rngs, strict=True)
    ]
    batch = torch.stack(images).contiguous(memory_format=torch.channels_last)
    return batch, Targets.stack([targets_from_scene(scene, net) for scene in scenes])


def step(
    net: SsdNetwork, optimizer: torch.optim.Optimizer, images: Tensor, targets: Targets
) -> LossParts:
    """One update; raises where the loss is not finite."""
    with torch.autocast("cpu", torch.bfloat16):
        loc, conf = net(images)
    parts = multibox_loss(loc.float(), conf.float(), targets)
    if not torch.isfinite(parts.total):
        raise click.ClickException("the loss is not finite; lower --lr")
    optimizer.zero_grad(set_to_none=True)
    parts.total.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
    optimizer.step()
    return parts


def lr_factor(progress: float, warm_up: float = 0.03) -> float:
    """Linear warm-up, then half a cosine to 0; ``progress`` runs from 0 to 1."""
    if progress < warm_up:
        return 0.05 + 0.95 * progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))


def start_with_background(net: SsdNetwork, probability: float = 0.9) -> None:
    """Set the conf biases so that priors start out as background with this probability."""
    ratio = probability * (net.num_classes - 1) / (1 - probability)
    for head in net.conf:
        bias = head.bias.detach().view(-1, net.num_classes)
        bias.zero_()
        bias[:, 0] = math.log(ratio)


def save(path: Path, content: object) -> None:
    """``torch.save`` to a temporary name, then rename."""
    temporary = path.with_name(path.name + ".tmp")
    torch.save(content, temporary)
    os.replace(temporary, path)


def precision(net: SsdNetwork, scenes: Sequence[Scene]) -> str:
    """Average precisions on ``scenes``, as a line."""
    coco = coco_from_scenes([(str(i), scene) for i, scene in enumerate(scenes)], "scenes")
    lists = (tuple(coco[key]) for key in ("images", "categories", "annotations"))
    truth = Annotations(Path("scenes"), *lists, dropped=0)
    metrics = evaluate_network(net, (scene.image for scene in scenes), truth, backend="numpy")
    names = ("AP", "AP50", "AP_small", "AP_medium", "AP_large")
    return "  ".join(f"{name} {metrics[name] or 0.0:.3f}" for name in names)


@dataclass
class State:
    """A run under way."""

    net: SsdNetwork
    optimizer: torch.optim.Optimizer
    iteration: int = 0
    seconds: float = 0.0

    @classmethod
    def fresh(cls, settings: Settings) -> State:
        """Random weights, nothing done."""
        torch.manual_seed(settings.seed)
        net = create_model(settings.model, NUM_CLASSES, settings.width)
        start_with_background(net)
        if net.norm is not None:
            torch.nn.init.constant_(net.norm.weight, settings.norm_scale)
        net.train().to(memory_format=torch.channels_last)
        heads = [*net.loc.parameters(), *net.conf.parameters()]
        rest = [p for p in net.parameters() if all(p is not head for head in heads)]
        groups = [{"params": rest}, {"params": heads, "lr": settings.head_lr}]
        return cls(net, torch.optim.SGD(groups, settings.lr, momentum=0.9, weight_decay=1e-4))

    def save(self, path: Path) -> None:
        """Everything :meth:`load` needs."""
        content = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "seconds": self.seconds,
        }
        save(path, content)

    def load(self, path: Path) -> None:
        """Go back to where :meth:`save` was called."""
        content = torch.load(path, weights_only=True)
        self.net.load_state_dict(content["net"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.iteration, self.seconds = content["iteration"], content["seconds"]


def train(
    state: State, settings: Settings, log: Log, resume_path: Path, watch_minutes: float
) -> None:
    """Spend the budget; mAP on new pictures of the train split and a checkpoint now and then."""
    material = load_material("train")
    watched = [
        draw_scene(material, np.random.default_rng([settings.seed, _WATCHING, i]))
        for i in range(WATCHED_PICTURES)
    ]
    started, next_watch = time.monotonic() - state.seconds, state.seconds + 60 * watch_minutes
    sums, last_report = np.zeros(3), time.monotonic()
    while (progress := settings.progress(state.iteration, state.seconds)) < 1:
        factor = lr_factor(progress)
        for group, lr in zip(
            state.optimizer.param_groups, (settings.lr, settings.head_lr), strict=True
        ):
            group["lr"] = lr * factor
        images, targets = training_batch(
            state.net, material, settings.seed, state.iteration, settings.batch
        )
        parts = step(state.net, state.optimizer, images, targets)
        sums += [float(parts.loc.detach()), float(parts.conf.detach()), parts.num_positive]
        state.iteration += 1
        state.seconds = time.monotonic() - started
        if state.iteration % REPORT_EVERY == 0:
            loc, conf, positives = sums / REPORT_EVERY
            rate = REPORT_EVERY * settings.batch / (time.monotonic() - last_report)
            log(
                f"iteration {state.iteration:6d}  {state.seconds / 60:5.1f} min  "
                f"lr {settings.lr * factor:.5f}  loc {loc:.3f}  conf {conf:.3f}  "
                f"positives {positives:.0f}  {rate:.1f} images/s"
            )
            sums[:], last_report = 0, time.monotonic()
        if state.seconds > next_watch:
            next_watch = state.seconds + 60 * watch_minutes
            log(f"new pictures of the train split: {precision(state.net, watched)}")
            state.save(resume_path)


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
@click.option("--watch-minutes", default=10.0, show_default=True, help="Between interim mAPs.")
@click.option("--val-images", default=100, show_default=True)
@click.option("--resume", is_flag=True)
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True)
def main(watch_minutes: float, val_images: int, resume: bool, output: Path, **options: Any) -> None:
    """Train MODEL on generated pictures and report its mAP on the val split."""
    settings = Settings(**options)
    if (settings.minutes is None) == (settings.iterations is None):
        raise click.UsageError("give either --minutes or --iterations")
    torch.set_num_threads(settings.threads)
    cv2.setNumThreads(settings.threads)
    torch.set_flush_denormal(True)
    output.mkdir(parents=True, exist_ok=True)
    log = Log(output / f"{settings.model}.log")
    resume_path = output / f"{settings.model}.resume.pth"
    state = State.fresh(settings)
    if resume:
        state.load(resume_path)
    else:
        log.path.write_text("")
    log(f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())} {json.dumps(asdict(settings))}")
    log(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}")
    train(state, settings, log, resume_path, watch_minutes)
    log(f"{state.iteration} iterations of {settings.batch} pictures, {state.seconds / 60:.1f} min")
    net = state.net.to(memory_format=torch.contiguous_format)
    save(output / f"{settings.model}.pth", net.state_dict())
    material = load_material("val")
    # the very pictures of make_digits(..., seed=0)
    scenes = [draw_scene(material, np.random.default_rng([0, 1, i])) for i in range(val_images)]
    log(f"val, {val_images} pictures: {precision(net, scenes)}")
    resume_path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
