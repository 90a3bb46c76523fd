"""Good files and odd surroundings: options, numbers above all, and variables of the environment."""

from __future__ import annotations

import json
import random

import click
from fuzz_case import GOOD, NOTHING, Case, Place
from fuzz_values import ODD_TEXTS, ODD_WORDS
from kinds_data import VOC, train_once

from ssd_small.postprocess import PostprocessParams

#: options that ask for as much work as they say
_LONG = {"--iterations", "--epochs", "--minutes", "--seconds", "--train-images", "--val-images"}
#: a command line of each command, to which an option is put
BASES: dict[str, tuple[str, ...]] = {
    "models": ("models",),
    "detect": ("detect", "--engine", "in/e.engine", "in/picture.png"),
    "batch": ("batch", "in/e.engine", "in/picture.png", "-o", "out/job"),
    "report": ("report", "in/run.json", "-o", "out/page"),
    "triton": ("triton", "in/detections.onnx", "-o", "out/models"),
    "triton-client": ("triton-client", "http://127.0.0.1:9", "in/picture.png"),
    # it would go on for ever with a host that is one
    "serve": ("serve", "in/e.engine", "--host", "no such host"),
    "explain": ("explain", "in/picture.png", "--engine", "in/e.engine", "--box", "4,4,20,20"),
    "eval": ("eval", "--annotations", "in/d/truth.json", "--detections", "in/found.json"),
    "parity": (
        *("parity", "in/e.engine", "--against", "in/e.engine", "--images", "in/picture.png"),
        *("--threads", "1"),
    ),
    "import": (
        *("import", "in/plain.pth", "--from", "published", "--model", "mobilenet_v1"),
        *("-o", "out/x.pth"),
    ),
    "export": ("export", "--weights", "in/record.pth", "--heads", "-o", "out/x.onnx"),
    "adopt": (
        *("adopt", "in/heads.onnx", "--loc", "loc", "--conf", "conf", "--priors", "from-spec"),
        *("--labels", "in/labels.txt", "-o", "out/x.onnx"),
    ),
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
    "tile": (
        *("tile", "in/d/truth.json", "--images", "in/d", "-o", "out/t"),
        *("--tiles", "100x100"),
    ),
    "digits": ("digits", "out/digits", "--train-images", "0", "--val-images", "1"),
    "inspect": ("inspect", "in/e.engine"),
    "doctor": ("doctor", "in/e.engine"),
    "demo": ("demo", "-o", "in/picture.png"),
}


def _good(place: Place) -> None:
    """The inputs of ``BASES``."""
    place.copy(GOOD / "detections.fp32.engine", "e.engine")
    place.copy(GOOD / "detections.fp32.engine.json", "e.engine.json")
    for name in ("picture.png", "record.pth", "heads.onnx", "detections.onnx"):
        place.copy(GOOD / name)
    place.copy(GOOD / "run", "d")
    place.write("labels.txt", "cat\ndog\n")
    place.write("b.csv", "0.png,1,2,30,40,cat\n")
    place.write("VOC/Annotations/0.xml", VOC)
    place.copy(GOOD / "run" / "0.png", "VOC/JPEGImages/0.png")
    timing = {"median": 1.0, "p90": 1.0, "p99": 1.0, "p999": 1.0, "spread": 0.0, "runs": 3}
    row = {"model": "m", "runtime": "r", "precision": "fp32", "batch": 1, "engine": "e"}
    row |= {"network_ms": timing, "decode_nms_ms": None, "total_ms": timing}
    row |= {"images_per_second": 1e3, "published_ms": None, "ledger": None, "samples_ms": [1.0]}
    row["postprocess"] = PostprocessParams().to_dict()
    machine = {"cpu": "c", "cores": 1, "python": "3", "packages": {}, "gpus": [], "driver": None}
    run = {"machine": machine, "threads": 1, "results": [row]}
    place.write("run.json", json.dumps(run))
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
    # a demo takes minutes, a server has no end, and there is none to ask
    left = ("demo", "serve", "triton-client")
    commands = [*(base for name, base in BASES.items() if name not in left), *more]
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
    if name in ("demo", "serve"):  # the last output counts, and is a file; the last host is none
        return Case(f"{name} {option.opts[0]} {word!r:.60}", (name, *value, *BASES[name][1:]))
    return Case(f"{name} {option.opts[0]} {word!r:.60}", (*BASES[name], *value))


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
            (
                *("build-engine", "in/heads.onnx", "--target", "onnxruntime", "-o", "out/e.engine"),
                *("--precision", "int8", "--calibration", data),
            ),
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
