"""Damaged configurations: the published layout and our own."""

from __future__ import annotations

import random
from typing import Any

from fuzz_case import GOOD, Case, Place
from fuzz_values import damaged, damaged_text

_CONFIG: dict[str, Any] = {
    "MODEL": {
        "SSDS": "ssd_lite",
        "NETS": "mobilenet_v1",
        "IMAGE_SIZE": [300, 300],
        "NUM_CLASSES": 3,
        "FEATURE_LAYER": [
            [11, 13, "S", "S", "", ""],
            [512, 1024, 512, 256, 256, 128],
        ],
        "STEPS": [[16, 16], [32, 32], [64, 64], [100, 100], [150, 150], [300, 300]],
        "SIZES": [[45, 45], [90, 90], [135, 135], [180, 180], [225, 225], [270, 270], [315, 315]],
        "ASPECT_RATIOS": [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2], [1, 2]],
    },
    "TRAIN": {
        "MAX_EPOCHS": 1,
        "BATCH_SIZE": 2,
        "TRAINABLE_SCOPE": "base,norm,extras,loc,conf",
        "OPTIMIZER": {"OPTIMIZER": "sgd", "LEARNING_RATE": 0.001, "MOMENTUM": 0.9},
        "LR_SCHEDULER": {"SCHEDULER": "SGDR", "WARM_UP_EPOCHS": 0},
    },
    "MATCHER": {"MATCHED_THRESHOLD": 0.5, "NEGPOS_RATIO": 3},
    "POST_PROCESS": {"SCORE_THRESHOLD": 0.01, "IOU_THRESHOLD": 0.6, "MAX_DETECTIONS": 100},
    "DATASET": {
        "DATASET": "coco",
        "DATASET_DIR": "in/d",
        "TRAIN_SETS": [["2017", "train"]],
        "TEST_SETS": [["2017", "val"]],
        "PROB": 0.6,
    },
}
_RUN_CONFIG: dict[str, Any] = {
    "model": "mobilenet_v1",
    "width": 0.03,
    "annotations": "in/d/truth.json",
    "images": "in/d",
    "iterations": 1,
    "batch": 2,
    "optimizer": "sgd",
    "lr": 0.004,
    "momentum": 0.9,
    "seed": 0,
    "schedule": "multi_step",
    "schedule_steps": [1, 2],
    "gamma": 0.9,
    "warm_up": 0.0,
    "ramp": 0.0,
    "negative_ratio": 3.0,
    "match_iou": 0.5,
    "expand": 0.6,
    "trainable_scope": ["base", "loc"],
    "precision": "fp32",
    "device": "cpu",
    "workers": 0,
    "threads": 1,
    "output": "out/run",
}
_YAML_TEXTS = (
    *("a: &a [*a]\n", "!!python/object/apply:os.system ['true']\n", "? [a]\n: b\n", "a: 1\na: 2\n"),
    *("[" * 5000, "a: {" * 300, "- - - 1\n", "\t\n", "%YAML 9.9\n---\n", "---\na: 1\n---\nb: 2\n"),
    "x: &x [a,a,a,a,a,a,a,a,a]\ny: &y [*x,*x,*x,*x,*x,*x,*x,*x]\nz: &z [*y,*y,*y,*y,*y,*y,*y]\n"
    "u: &u [*z,*z,*z,*z,*z,*z]\nv: [*u,*u,*u,*u,*u,*u,*u]\n",
    *(
        "d: 2020-99-99\n",
        "d: 2020-01-01\n",
        "n: 0x\n",
        "n: 1:2:3:4\n",
        "b: !!binary '*'\n",
        "<<: 1\n",
    ),
    *(
        "t: 99999-01-01\n",
        "s: !!set {a, b}\n",
        "s: !!timestamp 'x'\n",
        "i: !!int 'x'\n",
        "\ufeffa: 1\n",
    ),
)


def config(rng: random.Random, place: Place) -> Case:
    """Configurations: the published layout and our own."""
    import yaml

    good = rng.choice([_CONFIG, _RUN_CONFIG])
    place.copy(GOOD / "run", "d")
    if rng.random() < 0.8:
        value, what = damaged(rng, good)
        try:
            text = yaml.dump(value)
        except (yaml.YAMLError, ValueError):
            text = "nothing"
    elif rng.random() < 0.5:
        text, what = rng.choice(_YAML_TEXTS), "odd YAML"
        if rng.random() < 0.5:
            text += yaml.dump(good)
    else:
        text, what = damaged_text(rng, yaml.dump(good))
    path = place.write("c.yml", text)
    picture = place.copy(GOOD / "picture.png")
    weights = place.copy(GOOD / "plain.pth")
    short = ("--workers", "0", "--threads", "1", "--device", "cpu", "--iterations", "1")
    command = rng.choice(
        [
            ("models", "--config", path),
            ("models", "--config", path, "--json"),
            ("train", "--config", path, "--print-config"),
            ("train", "--config", path, "--print-config"),
            ("detect", "--config", path, "--weights", weights, picture, "--threads", "1"),
            ("eval", "--config", path, "--weights", weights, "--threads", "1"),
            ("train", "--config", path, *short, "--width", "0.03", "--batch", "2"),
        ]
    )
    return Case(what, command)
