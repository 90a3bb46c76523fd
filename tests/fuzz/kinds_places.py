"""Odd names of good files, and outputs that are something else or cannot be."""

from __future__ import annotations

import os
import random

from fuzz_case import GOOD, Case, Place
from kinds_data import train_once


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
    return where, f"{where!r:.60}"
