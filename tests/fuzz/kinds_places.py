"""Odd surroundings of good files: configurations, names, outputs, numbers, environments."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import click
from fuzz_case import GOOD, NOTHING, Case, Place
from fuzz_values import ODD_TEXTS, ODD_WORDS, damaged, damaged_text
from kinds_data import VOC, train_once

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


def names(rng: random.Random, place: Place) -> Case:
    """Good files under odd names, and names of nothing."""
    odd = (
        *("-x", "--json", "a b", "a\nb", "a\tb", "\x1b[31mred", "\u202egnp.x", "☃", "é", "e\u0301"),
        *(
            "\udcff\udcfe",
            "a\udcff",
            "x" * 240,
            "é" * 115,
            "%s%d",
            "$(id)",
            "a;b",
            "*",
            "~",
            " ",
            "'",
        ),
        *('"', "\\", "a\rb", "\x7f", "\x9b2J", "a:b", "#x", "x?y", "[a]", "{0}", "con", "\u2028"),
    )
    name = rng.choice(odd)
    absent = rng.random() < 0.3
    empty = rng.choice(["", ".", "/", "/dev/null/x", "in/x/../../..", "a" * 5000, "/proc/self/mem"])
    form = rng.randrange(9)
    suffix, good = [
        (".png", GOOD / "picture.png"),
        (".onnx", GOOD / "detections.onnx"),
        (".pth", GOOD / "record.pth"),
        (".engine", GOOD / "detections.fp32.engine"),
        (".json", GOOD / "run" / "truth.json"),
        (".txt", None),
        (".yml", None),
        ("", GOOD / "run"),
        (".csv", None),
    ][form]
    if absent:
        path = rng.choice([empty, f"in/{name}{suffix}"])
    elif good is None:
        path = place.write(f"{name}{suffix}", "cat\ndog\n")
    else:
        path = place.copy(good, f"{name}{suffix}")
    engine = place.copy(GOOD / "detections.fp32.engine", "e.engine")
    place.copy(GOOD / "detections.fp32.engine.json", "e.engine.json")
    if form == 3 and not absent:
        place.copy(GOOD / "detections.fp32.engine.json", f"{name}{suffix}.json")
    picture = place.copy(GOOD / "picture.png", "good.png")
    place.copy(GOOD / "run" / "truth.json")
    commands: list[tuple[str, ...]] = [
        ("detect", "--engine", engine, path, *rng.choice([(), ("-o", "out/p"), ("--json",)])),
        rng.choice(
            [
                ("build-engine", path, "--target", "onnxruntime", "-o", "out/e.engine"),
                ("inspect", path),
            ]
        ),
        rng.choice([("detect", "--weights", path, picture), ("inspect", path)]),
        rng.choice([("detect", "--engine", path, picture), ("doctor", path), ("inspect", path)]),
        ("check-data", path, "--images", "in"),
        ("detect", "--engine", engine, "--labels", path, picture),
        ("models", "--config", path),
        rng.choice(
            [
                ("detect", "--engine", engine, path),
                ("check-data", "in/truth.json", "--images", path),
                ("train", "--resume", "-o", path),
            ]
        ),
        ("convert", "--from", "csv", path, "-o", f"out/{name}.json"),
    ]
    command = commands[form]
    if form == 7 and command[0] == "train":
        command = ("check-data", "in/truth.json", "--images", path)
    return Case(f"{'nothing' if absent else 'a file'} called {name!r:.60}", command)


def outputs(rng: random.Random, place: Place) -> Case:
    """Outputs that are something else, or cannot be."""
    where, what = _output(rng, place)
    engine = place.copy(GOOD / "detections.fp32.engine", "e.engine")
    place.copy(GOOD / "detections.fp32.engine.json", "e.engine.json")
    picture = place.copy(GOOD / "picture.png")
    onnx_file = place.copy(GOOD / "heads.onnx")
    data = place.copy(GOOD / "run", "d")
    csv = place.write("b.csv", "0.png,1,2,30,40,cat\n")
    truth = f"{data}/truth.json"
    scored = ("eval", "--engine", engine, "--annotations", truth, "--images", data)
    command = rng.choice(
        [
            ("detect", "--engine", engine, picture, "-o", where),
            ("convert", "--from", "csv", csv, "--images", data, "-o", where),
            ("build-engine", onnx_file, "--target", "onnxruntime", "-o", where),
            ("check-data", truth, "--images", data, "--fix", where),
            (*scored, "--save-detections", where),
            ("digits", where, "--train-images", "0", "--val-images", "1"),
            train_once(truth, data, "-o", where),
            ("export", "--weights", place.copy(GOOD / "record.pth"), "--heads", "-o", where),
            ("demo", "-o", where)
            if "refused" in what
            else ("check-data", truth, "--images", data, "--fix", where),
        ]
    )
    return Case(f"output: {what}", command)


def _output(rng: random.Random, place: Place) -> tuple[str, str]:
    out = place.folder / "out"
    (out / "folder").mkdir()
    (out / "full").mkdir()
    (out / "full" / "x").write_text("kept")
    (out / "file").write_text("kept")
    (out / "locked").write_text("kept")
    (out / "locked").chmod(0o400)
    os.symlink("nowhere", out / "dangling")
    os.symlink("loop", out / "loop")
    os.symlink("file", out / "link")
    os.mkfifo(out / "pipe")
    there = rng.choice(["folder", "full", "file", "locked", "dangling", "loop", "link", "pipe"])
    if rng.random() < 0.5:
        return f"out/{there}", there
    where = rng.choice(
        [
            *("/dev/null", "/dev/full", "/dev/stdout", "/dev/fd/1", "/proc/x", "/proc/self/mem"),
            *("out/file/x", "in/d/truth.json", "in/d", "in", "in/e.engine", "in/b.csv", "", "."),
            *("out/new/deep/er", "out/" + "x" * 255, "out/" + "x" * 300, "out/\udcff\udcfe", "-"),
            *(
                "out/\x1b[31m",
                "out/a\nb",
                "out/\u202ex",
                "out/☃",
                "/dev/stdin",
                "out/ ",
            ),
        ]
    )
    return where, f"{where!r:.60}, refused" if where.startswith(("/", "in")) else f"{where!r:.60}"


#: options that ask for as much work as they say
_LONG = {"--iterations", "--epochs", "--minutes", "--seconds", "--train-images", "--val-images"}
#: a command line of each command, to which an option is put
_BASES: dict[str, tuple[str, ...]] = {
    "models": ("models",),
    "detect": ("detect", "--engine", "in/e.engine", "in/picture.png"),
    "eval": ("eval", "--annotations", "in/d/truth.json", "--detections", "in/found.json"),
    "export": ("export", "--weights", "in/record.pth", "--heads", "-o", "out/x.onnx"),
    "build-engine": (
        "build-engine",
        "in/heads.onnx",
        "--target",
        "onnxruntime",
        "-o",
        "out/e.engine",
    ),
    "train": train_once("in/d/truth.json", "in/d"),
    "bench": ("bench", "--engine", "in/e.engine", "--seconds", "0", "--threads", "1"),
    "check-data": ("check-data", "in/d/truth.json", "--images", "in/d"),
    "convert": ("convert", "--from", "csv", "in/b.csv", "--images", "in/d", "-o", "out/c.json"),
    "convert-voc": ("convert-voc", "--folder", "in/VOC", "-o", "out/c.json"),
    "digits": ("digits", "out/digits", "--train-images", "0", "--val-images", "1"),
    "inspect": ("inspect", "in/e.engine"),
    "doctor": ("doctor", "in/e.engine"),
    "demo": ("demo", "-o", "in/picture.png"),
}


def _good(place: Place) -> None:
    """The inputs of ``_BASES``."""
    place.copy(GOOD / "detections.fp32.engine", "e.engine")
    place.copy(GOOD / "detections.fp32.engine.json", "e.engine.json")
    for name in ("picture.png", "record.pth", "heads.onnx", "detections.onnx"):
        place.copy(GOOD / name)
    place.copy(GOOD / "run", "d")
    place.write("b.csv", "0.png,1,2,30,40,cat\n")
    place.write("VOC/Annotations/0.xml", VOC)
    place.copy(GOOD / "run" / "0.png", "VOC/JPEGImages/0.png")
    box = {"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}
    place.write("found.json", json.dumps([box]))


def undamaged(rng: random.Random, place: Place) -> Case:
    """Good files and options: what the others damage is accepted."""
    _good(place)
    more = [
        ("detect", "--engine", "in/detections.onnx", "in/picture.png", "--json"),
        ("detect", "--weights", "in/record.pth", "in/picture.png", "-o", "out/p"),
        ("inspect", "in/heads.onnx", "--json"),
        ("inspect", "in/record.pth"),
    ]
    commands = [*(base for name, base in _BASES.items() if name != "demo"), *more]
    return Case(NOTHING, rng.choice(commands))


def option_values(rng: random.Random, place: Place) -> Case:
    """Any option of any command, numbers above all, with a value that it does not expect."""
    from ssd_small.cli import cli

    _good(place)
    group = click.Context(cli)
    name = rng.choice(cli.list_commands(group))
    command = cli.get_command(group, name)
    assert command is not None
    options = [one for one in command.params if isinstance(one, click.Option)]
    numbers = [
        one
        for one in options
        if isinstance(one.type, (click.types.FloatParamType, click.types.IntParamType))
    ]
    option = rng.choice(numbers if numbers and rng.random() < 0.7 else options)
    word = rng.choice(ODD_WORDS if option in numbers else (*ODD_WORDS, *ODD_TEXTS[:40]))
    word = word.replace("\x00", "").replace("\ud800", "\udcff")[:4000]
    # what takes hours as asked is not started: it is the reading of options that is tried
    if option.opts[0] in _LONG and word.isdecimal() and float(word) > 3:
        word = "nan"
    if isinstance(option.type, click.Path):
        word = f"{rng.choice(['in', 'out'])}/{word}"
    value = () if option.is_flag else (f"{option.opts[0]}={word}",)
    if option.is_flag:
        value = (option.opts[0],) * 2
    if name == "doctor" and "--self-test" in option.opts:
        value = ()
    if name == "demo":  # the last output counts, and is a file
        return Case(f"demo {option.opts[0]} {word!r:.60}", (name, *value, *_BASES[name][1:]))
    return Case(f"{name} {option.opts[0]} {word!r:.60}", (*_BASES[name], *value))


def environment(rng: random.Random, place: Place) -> Case:
    """Good files where variables lead nowhere, or the terminal knows ASCII alone."""
    place.copy(GOOD / "detections.fp32.engine", "e.engine")
    place.copy(GOOD / "detections.fp32.engine.json", "e.engine.json")
    for name in ("picture.png", "record.pth", "plain.pth", "heads.onnx"):
        place.copy(GOOD / name)
    data = place.copy(GOOD / "run", "d")
    place.write("label.txt", "☃\nhund\n")
    nowhere = place.write("file", "x")
    what, value = rng.choice(
        [
            ("TMPDIR", "/nowhere"),
            ("TMPDIR", nowhere),
            ("TMPDIR", ""),
            ("TMPDIR", "/proc"),
            ("HOME", None),
            ("HOME", "/nowhere"),
            ("HOME", "/proc"),
            ("LANG", "C"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("COLUMNS", "x"),
            ("COLUMNS", "1"),
            ("COLUMNS", "-5"),
            ("TERM", "dumb"),
            ("NO_COLOR", "1"),
            ("FORCE_COLOR", "1"),
            ("XDG_CACHE_HOME", "/proc"),
            ("CUDA_VISIBLE_DEVICES", "9,x"),
            ("OMP_NUM_THREADS", "x"),
            ("MPLCONFIGDIR", "/proc/x"),
            ("RANK", "x"),
            ("WORLD_SIZE", "2"),
            ("PATH", None),
            ("USER", None),
            ("encoding", "ascii"),
            ("encoding", "latin-1"),
        ]
    )
    labels = ("--model", "mobilenet_v1", "--weights", "in/plain.pth", "--labels", "in/label.txt")
    command = rng.choice(
        [
            ("detect", "--engine", "in/e.engine", "in/picture.png", "-o", "out/p"),
            ("detect", *labels, "in/picture.png"),
            ("build-engine", "in/heads.onnx", "--target", "onnxruntime", "-o", "out/e.engine"),
            ("inspect", "in/heads.onnx"),
            ("doctor", "in/e.engine"),
            ("models",),
            train_once(f"{data}/truth.json", data),
            ("check-data", f"{data}/truth.json", "--images", data),
            ("export", "--help"),
            ("digits", "out/d", "--train-images", "0", "--val-images", "1"),
            ("bench", "--engine", "in/e.engine", "--seconds", "0", "--threads", "1"),
            (
                "eval",
                "--engine",
                "in/e.engine",
                "--annotations",
                f"{data}/truth.json",
                "--images",
                data,
            ),
        ]
    )
    if what == "encoding":
        return Case(f"streams of {value}", command, encoding=str(value))
    return Case(f"{what}={value}", command, environment={what: value})
