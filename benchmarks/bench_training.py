"""Compare training throughput per network with torchvision's own SSD300-VGG16, in one run.

A step is everything after the pictures are prepared: matching of priors and objects, forward pass,
loss, backward pass and the update by (fused) SGD with momentum. ``ssd-small train`` matches in its
loader processes; here the step does it, since torchvision's model does. The latter also normalises
the pictures and creates its anchors, about 5 ms per step. Our heads skip cells without a gradient
(``ssd_small.models.head``), so the time depends on the objects: here they are of all sizes, and the
share of cells that have a gradient is reported. All contenders, torchvision's network included, get
the same pictures and objects, full precision, and a process that keeps freed memory as
``ssd-small train`` does (``ssd_small.training.cpu``). The memory layouts of a network (and, with
VGG16, torchvision's network) are timed in turn, step by step. Our VGG16 has more arithmetic: six
priors on each cell of its finest map, where torchvision's has four.

Before timing, the loss is compared with torchvision's on the same matches.

    python benchmarks/bench_training.py --batch 4 --threads 2

``--amp`` also times ours in channels-last with bfloat16 autocast, as ``train --precision amp`` runs
on the CPU. ``--quick`` takes some seconds and only shows that it runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.ssd import SSD

from ssd_small.bench.timing import measure
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.models.priors import priors_from_spec
from ssd_small.models.registry import get_spec, list_models
from ssd_small.models.shapes import summarize
from ssd_small.training.cpu import prepare_cpu
from ssd_small.training.distributed import Processes
from ssd_small.training.initialise import initial_network
from ssd_small.training.loss import multibox_loss
from ssd_small.training.matching import Targets, match
from ssd_small.training.overlaps import GroupedPriors, boxes_xyxy_from_cxcywh
from ssd_small.training.recipe import Recipe
from ssd_small.training.step import Learner, update

RESULT = Path(__file__).parent / "results" / "training_cpu.json"
CLASSES, SIDE, OBJECTS = 91, 300, 8
#: so small that weights stay what they are: a step costs the same at the end as at the begin
LR = 1e-9
LAYOUTS = ("contiguous", "channels_last")
THEIRS = "torchvision ssd300_vgg16"
Scenes = list[tuple[Tensor, Tensor]]


def make_scenes(batch: int, seed: int = 0) -> tuple[Tensor, Scenes]:
    """Noise ``[N, 3, 300, 300]`` in 0..1, and boxes (unit square) with labels of each picture."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, 3, SIDE, SIDE, generator=random)
    scenes = []
    for _ in range(batch):
        # as many from 0.03 to 0.16 of the picture's side as from 0.16 to 0.9
        sides = 0.03 * 30 ** torch.rand(OBJECTS, 2, generator=random)
        low = torch.rand(OBJECTS, 2, generator=random) * (1 - sides)
        labels = torch.randperm(CLASSES - 1, generator=random)[:OBJECTS] + 1
        scenes.append((torch.cat([low, low + sides], dim=1), labels))
    return images, scenes


def loss_difference(batch: int = 3) -> float:
    """Largest relative difference of our loss and torchvision's on the same matches."""
    priors = torch.from_numpy(priors_from_spec(get_spec("mobilenet_v1")))
    _, scenes = make_scenes(batch, seed=1)
    grouped = GroupedPriors.of(priors)
    targets = [match(boxes, labels, grouped) for boxes, labels in scenes]
    random = torch.Generator().manual_seed(2)
    loc = torch.randn(batch, len(priors), 4, generator=random)
    conf = torch.randn(batch, len(priors), CLASSES, generator=random)
    ours = multibox_loss(loc, conf, Targets.stack(targets))
    # every object of a picture has a label of its own, which tells the object of a prior
    matched = [
        torch.where(t.labels > 0, (t.labels[:, None] == labels).int().argmax(dim=1), -1)
        for t, (_, labels) in zip(targets, scenes, strict=True)
    ]
    theirs = SSD.compute_loss(
        SimpleNamespace(box_coder=BoxCoder((10.0, 10.0, 5.0, 5.0)), neg_to_pos_ratio=3),
        [{"boxes": boxes, "labels": labels} for boxes, labels in scenes],
        {"bbox_regression": loc, "cls_logits": conf},
        [boxes_xyxy_from_cxcywh(priors)] * batch,
        matched,
    )
    pairs = ((ours.loc, theirs["bbox_regression"]), (ours.conf, theirs["classification"]))
    return max(float((a - b).abs() / b) for a, b in pairs)


def our_step(
    model: str, width: float, recipe: Recipe, images: Tensor, scenes: Scenes
) -> Callable[[], object]:
    """A step of this library's trainer."""
    net = initial_network(model, CLASSES, width, recipe)
    learner = Learner.of(net, recipe, Processes(torch.device("cpu")))
    pixels, priors = (images - 0.45) * 255, GroupedPriors.of(net.priors)

    def step() -> object:
        targets = [match(boxes, labels, priors) for boxes, labels in scenes]
        return update(learner, pixels, Targets.stack(targets), list)

    return step


def active_share(model: str, width: float, images: Tensor, scenes: Scenes) -> float:
    """Share of the cells of all maps whose classes have a gradient."""
    net = initial_network(model, CLASSES, width, Recipe(batch=len(images)))
    loc, conf = net((images - 0.45) * 255)
    conf = conf.detach().requires_grad_()
    grouped = GroupedPriors.of(net.priors)
    targets = [match(boxes, labels, grouped) for boxes, labels in scenes]
    multibox_loss(loc.detach(), conf, Targets.stack(targets)).total.backward()
    priors, cells, active = conf.grad.ne(0).any(dim=2), 0, 0
    for level, shape in zip(net.spec.levels, summarize(net.spec).levels, strict=True):
        size = shape.height * shape.width
        own, priors = priors.tensor_split([size * level.num_anchors], dim=1)
        cells += size * len(images)
        active += int(own.reshape(-1, level.num_anchors).any(dim=1).sum())
    return active / cells


def their_step(channels_last: bool, images: Tensor, scenes: Scenes) -> Callable[[], object]:
    """A step of torchvision's model as its references do it."""
    torch.manual_seed(0)
    model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=CLASSES).train()
    if channels_last:
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), LR, 0.9, weight_decay=1e-4, fused=True)
    targets = [{"boxes": boxes * SIDE, "labels": labels} for boxes, labels in scenes]

    def step() -> object:
        losses = model(list(images), targets)
        loss = sum(losses.values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss

    return step


def contenders(model: str, amp: bool) -> list[tuple[str, str, str]]:
    """Who is timed in turn with a network, in which layout and precision."""
    names = (model, THEIRS) if model == "vgg16" else (model,)
    plain = [(name, layout, "fp32") for name in names for layout in LAYOUTS]
    return [*plain, *([(model, "channels_last", "amp")] if amp else [])]


def run_child(model: str, options: argparse.Namespace) -> None:
    """Time the contenders of a network; a line of JSON on standard output."""
    prepare_cpu(options.threads)
    images, scenes = make_scenes(options.batch)
    steps = []
    for name, layout, precision in contenders(model, options.amp):
        last = layout == "channels_last"
        if name == THEIRS:
            steps.append(their_step(last, images, scenes))
        else:
            recipe = Recipe(options.batch, lr=LR, channels_last=last, precision=precision)
            steps.append(our_step(name, options.width, recipe, images, scenes))
    least = 3 if options.seconds else 1
    timings = measure(steps, options.seconds * len(steps), warm_up=1, least=least)
    share = active_share(model, options.width, images, scenes)
    steps_ms = [timing.to_dict() for timing in timings[:-1]]
    print(json.dumps({"steps_ms": steps_ms, "cells_with_gradient": round(share, 4)}))


def time_in_child(model: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each contender of a network, timed in a process of its own."""
    command = [sys.executable, __file__, "--child", model, "--width", options.width]
    command += ["--batch", options.batch, "--threads", options.threads]
    command += ["--amp"] if options.amp else []
    done = subprocess.run(
        [str(word) for word in (*command, "--seconds", options.seconds)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows, report = [], json.loads(done.stdout)
    timed = contenders(model, options.amp)
    for (name, layout, precision), timing in zip(timed, report["steps_ms"], strict=True):
        rate = 1e3 * options.batch / timing["median"]
        rows.append(
            {
                "name": name,
                "width": 1.0 if name == THEIRS else options.width,
                "priors": 8732 if name == THEIRS else summarize(get_spec(name)).num_priors,
                "layout": layout,
                "precision": precision,
                "step_ms": timing,
                "cells_with_gradient": None if name == THEIRS else report["cells_with_gradient"],
                "images_per_second": round(rate, 3),
            }
        )
        print(name, layout, precision, f"{rate:.2f} images/s", file=sys.stderr)
    return rows


def times_torchvision(rows: list[dict[str, Any]]) -> dict[str, float] | None:
    """How many times torchvision's images/s our VGG16 has, by layout and of the better ones."""
    rates = {
        (row["name"], row["layout"]): row["images_per_second"]
        for row in rows
        if row["precision"] == "fp32"
    }
    if (THEIRS, "contiguous") not in rates:
        return None
    by_layout = {v: round(rates["vgg16", v] / rates[THEIRS, v], 3) for v in LAYOUTS}
    ours, theirs = (max(rates[name, v] for v in LAYOUTS) for name in ("vgg16", THEIRS))
    return by_layout | {"better": round(ours / theirs, 3)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Time training steps on the CPU.")
    parser.add_argument("--models", nargs="+", default=list_models(), choices=list_models())
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--width", type=float, default=1.0, help="of our networks")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=40.0, help="for each contender")
    parser.add_argument("--amp", action="store_true", help="ours in bfloat16 autocast as well")
    parser.add_argument("--quick", action="store_true", help="one step of one small network")
    parser.add_argument("--output", type=Path, default=RESULT, help="JSON file; - for stdout only")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options.child, options)
        return
    difference = loss_difference()
    if difference > 1e-5:
        raise SystemExit(f"our loss differs from torchvision's by {difference:g}, relatively")
    if options.quick:
        options.models, options.width, options.batch = ["mobilenet_v1"], 0.25, 2
        options.seconds = 0.0
    rows = [row for model in options.models for row in time_in_child(model, options)]
    report = {
        "machine": describe_machine(),
        "commit": commit_of(Path(__file__).parent),
        "threads": options.threads,
        "batch": options.batch,
        "classes": CLASSES,
        "loss_difference": difference,
        "vgg16_times_torchvision": times_torchvision(rows),
        "rows": rows,
    }
    if str(options.output) == "-":
        print(json.dumps(report, indent=1))
    else:
        write_json(options.output, report)


if __name__ == "__main__":
    main()
