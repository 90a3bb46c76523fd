"""Commands to kill, and a folder with everything they need: see kill_table.py."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ssd_small.datasets.digits import make_digits
from ssd_small.files import sha256_of

ROOT = Path(__file__).resolve().parents[1]
MARK = "SSD_SMALL_KILL_TABLE"


@dataclass(frozen=True)
class Case:
    """A command under test.

    Attributes:
        arguments: of ``ssd-small``; called for each run, for what they depend on what is there.
        outputs: names of what it writes, in the folder that it runs in.
        share: of the kills, relative to the others.
        code: exit code of a run that nobody kills.
        longest: seconds; kills come before, and none is repeated to its end. None: as long as a
            run takes.
        last_breath: seconds at its end in which it is done, or all but, and heeds nothing.
        fresh: nothing of it is there before any kill; else before every second one.
    """

    arguments: Callable[[Path], Sequence[str]]
    outputs: tuple[str, ...]
    share: int
    code: int = 0
    longest: float | None = None
    fresh: bool = False
    last_breath: float = 2.0


NETWORK = ("--model", "mobilenet_v1", "--weights", "digits/mobilenet_v1")
TRUTH = ("--annotations", "data/val.json", "--images", "data/val")


def _train(folder: Path) -> Sequence[str]:
    """Twelve updates that two processes read pictures for; goes on where there is a beginning."""
    if (folder / "run" / "resume.pth").exists():
        return ("train", "--resume", "--output", "run")
    data = ("--annotations", "data/train.json", "--images", "data/train")
    val = ("--val-annotations", "data/val.json", "--val-images", "data/val")
    options = ("--batch", "4", "--epochs", "6", "--workers", "2", "--width", "0.1")
    return ("train", "--model", "mobilenet_v1", *data, *val, *options, "--output", "run")


def cases() -> dict[str, Case]:
    """Name to command."""
    build = ("build-engine", "m.onnx", "--target")
    csv_to_coco = ("convert", "--from", "csv", "boxes.csv")
    found = {
        "detect -o": Case(
            lambda _: ("detect", "--engine", "m.engine", "data/train", "-o", "drawn"),
            ("drawn",),
            share=12,
        ),
        "build-engine onnxruntime": Case(
            lambda _: (*build, "onnxruntime", "-o", "built.engine"),
            ("built.engine", "built.engine.json"),
            share=14,
        ),
        "export": Case(lambda _: ("export", *NETWORK, "-o", "out.onnx"), ("out.onnx",), share=6),
        "export over its checkpoint": Case(
            lambda _: ("export", "--model", "mobilenet_v1", "--weights", "c.pth", "-o", "c.pth"),
            (),
            code=2,
            share=6,
        ),
        "digits": Case(
            lambda _: ("digits", "set", "--train-images", "30", "--val-images", "20"),
            ("set",),
            share=14,
        ),
        "eval --save-detections": Case(
            lambda _: ("eval", "--engine", "m.engine", *TRUTH, "--save-detections", "found.json"),
            ("found.json",),
            share=12,
        ),
        "train, resumed": Case(
            # the last update has an evaluation and files after it, which end the run
            _train,
            ("run",),
            fresh=True,
            share=8,
            last_breath=15.0,
        ),
        "convert": Case(
            lambda _: (*csv_to_coco, "--images", "data/train", "-o", "coco.json"),
            ("coco.json",),
            share=16,
        ),
        "demo": Case(lambda _: ("demo", "-o", "demo"), ("demo",), longest=15.0, share=2),
    }
    if find_spec("tensorrt_rtx") is not None:
        found["build-engine tensorrt-rtx"] = Case(
            lambda _: (*build, "tensorrt-rtx", "-o", "rtx.engine"),
            ("rtx.engine", "rtx.engine.json"),
            share=10,
        )
    return found


class Workplace:
    """A folder with the inputs, and one for temporary files."""

    def __init__(self, root: Path) -> None:
        self.folder, self.temporary = root / "work", root / "temporary"
        self._kept = root / "kept"
        for folder in (self.folder, self.temporary):
            folder.mkdir()
        self._mark = f"{MARK}={root}"
        self.environment = {
            **os.environ,
            MARK: str(root),
            "TMPDIR": str(self.temporary),
            "OMP_NUM_THREADS": "1",
        }
        data = make_digits(self.folder / "data", train_images=8, val_images=4)
        coco = json.loads(data.train_annotations.read_text())
        names = {image["id"]: image["file_name"] for image in coco["images"]}
        with (self.folder / "boxes.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            for one in coco["annotations"]:
                x, y, w, h = one["bbox"]
                name = coco["categories"][one["category_id"] - 1]["name"]
                rows.writerow((names[one["image_id"]], x, y, x + w, y + h, name))
        self.run("export", *NETWORK, "--preset", "coco", "-o", "m.onnx")
        self.run("build-engine", "m.onnx", "--target", "onnxruntime", "-o", "m.engine")
        shipped = ROOT / "ssd_small/assets/digits/mobilenet_v1.pth"
        shutil.copy(shipped, self.folder / "c.pth")
        self._inputs = self._hashes()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "ssd_small", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0) -> float:
        """Run a command to its end; seconds.

        Raises:
            SystemExit: it has not the exit code that is expected.
        """
        begun = time.monotonic()
        with self.start(*arguments) as process:
            _, err = process.communicate(timeout=600)
        if process.returncode != code:
            raise SystemExit(f"ssd-small {' '.join(arguments)}: exit {process.returncode}\n{err}")
        return time.monotonic() - begun

    def processes(self) -> list[int]:
        """What lives of the commands that were started here."""
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                environment = Path("/proc", entry, "environ").read_bytes()
                state = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[0]
                if self._mark.encode() in environment.split(b"\0") and state not in "ZX":
                    found.append(int(entry))
        return found

    def changed_inputs(self) -> list[str]:
        """Inputs that are not what they were."""
        now = self._hashes()
        return [name for name, digest in self._inputs.items() if now.get(name) != digest]

    def left_behind(self, case: Case) -> list[str]:
        """What is neither an input nor an output."""
        outside = [p.name for p in self.temporary.iterdir()]
        inputs = {name.partition("/")[0] for name in self._inputs}
        known = {*inputs, *case.outputs}
        inside = [p.name for p in self.folder.iterdir() if p.name not in known]
        hidden = [str(p) for p in self.folder.rglob(".*")]
        return [*outside, *inside, *hidden]

    def half_written(self, case: Case) -> list[str]:
        """Outputs that do not open, with why."""
        faults = []
        for output in case.outputs:
            path = self.folder / output
            files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            for file in files:
                if not file.exists() or file.name.startswith("."):
                    continue
                try:
                    _open(file)
                except Exception as error:  # of whatever reads it
                    faults.append(f"{file.relative_to(self.folder)}: {error}")
        if "set" in case.outputs and (self.folder / "set").exists():
            count = len(list((self.folder / "set").rglob("*.png")))
            faults += [] if count == 50 else [f"set: {count} of 50 pictures"]
        return faults

    def keep_outputs(self, case: Case) -> None:
        """Remember what a run that nobody killed has written."""
        shutil.rmtree(self._kept, ignore_errors=True)
        self._kept.mkdir()
        for output in case.outputs:
            path = self.folder / output
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, self._kept / output)

    def restore_outputs(self) -> None:
        """As after a run that nobody killed."""
        if self._kept.exists():
            shutil.copytree(self._kept, self.folder, dirs_exist_ok=True)

    def remove_outputs(self, case: Case) -> None:
        """As before the first run."""
        for output in case.outputs:
            path = self.folder / output
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)

    def _hashes(self) -> dict[str, str]:
        files = (p for p in self.folder.rglob("*") if p.is_file())
        known = getattr(self, "_inputs", None)
        named = ((str(p.relative_to(self.folder)), p) for p in files)
        return {name: sha256_of(path) for name, path in named if known is None or name in known}


def _open(path: Path) -> None:
    """Read a file to its end; raises if it is not whole."""
    if path.suffix == ".engine":
        from ssd_small.artefacts.sidecar import read_sidecar

        read_sidecar(path)
    elif path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix in (".png", ".jpg"):
        from PIL import Image

        with Image.open(path) as picture:
            picture.load()
    elif path.suffix == ".onnx":
        import onnx

        onnx.checker.check_model(str(path))
    elif path.suffix == ".pth":
        import torch

        torch.load(path, weights_only=True)
    elif path.name == "history.csv":
        with path.open(newline="") as stream:
            rows = list(csv.reader(stream))
        assert len({len(row) for row in rows}) == 1, "rows of different lengths"
