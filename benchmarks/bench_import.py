"""Compare torchvision's own ssd300_vgg16 with its import, from picture file to detections.

    python benchmarks/bench_import.py PICTURE... [--classes 91] [--rounds 5] [--threads 1]
        [--output benchmarks/results/import.json]

Weights are random, so NMS has another number of candidates than in a trained network. Before
timing, each picture's detections must be torchvision's: equal labels, boxes within 0.001 pixels for
a picture of 300 pixels (in proportion for larger ones), scores within 1e-5. Times are wall time in
milliseconds per picture, medians over pictures and rounds; the variants take turns in one process.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ssd_small.export.onnx_file import write_onnx
from ssd_small.export.to_onnx import onnx_from_network
from torchvision.io import ImageReadMode, decode_image

import ssd_small
from ssd_small.artefacts.network import network_from_checkpoint
from ssd_small.importing.checkpoint import imported_from_file
from ssd_small.json_files import json_text, write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.pictures.preprocessing import input_from_image
from ssd_small.pictures.reading import read_image
from ssd_small.postprocess import decode_nms

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from foreign_networks import torchvision_network, unmatched  # noqa: E402

Way = Callable[[Path], Any]


def theirs(net: Any) -> Way:
    """torchvision's reader and detector."""

    def detect(path: Path) -> Any:
        picture = decode_image(str(path), ImageReadMode.RGB)
        with torch.no_grad():
            return net([picture.float() / 255])[0]

    return detect


def check_equal(path: Path, reference: Any, found: Any) -> None:
    """Refuse to time what finds other things."""
    pixels = 1e-3 * max(found.height, found.width, 300) / 300
    held = {key: value.numpy() for key, value in reference.items()}
    if faults := unmatched(held, found, pixels, 1e-5):
        raise SystemExit(f"{path}: {len(faults)} detections differ, as {faults[0]}")


def stages(weights: Path, net: Any, path: Path) -> dict[str, float]:
    """Milliseconds of the parts of one picture, theirs and ours."""
    own, description = network_from_checkpoint(weights)
    own.eval()

    def timed(work: Callable[[], Any]) -> tuple[float, Any]:
        begin = time.perf_counter()
        result = work()
        return (time.perf_counter() - begin) * 1e3, result

    found: dict[str, float] = {}
    with torch.no_grad():
        found["theirs read"], picture = timed(
            lambda: decode_image(str(path), ImageReadMode.RGB).float() / 255
        )
        found["theirs input"], images = timed(lambda: net.transform([picture])[0])
        found["theirs network"], heads = timed(
            lambda: net.head(list(net.backbone(images.tensors).values()))
        )
        whole, _ = timed(lambda: net([picture]))
        found["theirs priors and NMS"] = whole - found["theirs input"] - found["theirs network"]
        found["ours read"], image = timed(lambda: read_image(path))
        found["ours input"], x = timed(lambda: input_from_image(image, description.preprocessing))
        found["ours network"], heads = timed(lambda: own(torch.from_numpy(x)[None]))
        loc, conf = (head.numpy() for head in heads)
        found["ours decode and NMS"], _ = timed(
            lambda: decode_nms(loc, conf, description.priors, description.postprocess)
        )
    return found


def main() -> None:
    """Measure and print; also write, if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--classes", type=int, default=91)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    net = torchvision_network("ssd300_vgg16", given.classes, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(net.state_dict(), folder / "theirs.pth")
        imported_from_file(folder / "theirs.pth").write(folder / "ours.pth")
        own, description = network_from_checkpoint(folder / "ours.pth")
        write_onnx(onnx_from_network(own, description), folder / "ours.onnx")
        openers = {"pytorch": folder / "ours.pth", "onnxruntime": folder / "ours.onnx"}
        detectors = {
            way: ssd_small.load(path, threads=given.threads) for way, path in openers.items()
        }
        ways: dict[str, Way] = {"torchvision": theirs(net)}
        least = description.postprocess.score_threshold
        for way, detector in detectors.items():
            ways[way] = lambda path, of=detector: of(path, score_threshold=least)[0]
        for path in given.pictures:
            reference = ways["torchvision"](path)
            for way in detectors:
                check_equal(path, reference, ways[way](path))
        times: dict[str, list[float]] = {way: [] for way in ways}
        parts: list[dict[str, float]] = []
        for _ in range(given.rounds):
            for path in given.pictures:
                for way, detect in ways.items():
                    begin = time.perf_counter()
                    detect(path)
                    times[way].append((time.perf_counter() - begin) * 1e3)
                parts.append(stages(folder / "ours.pth", net, path))
        for detector in detectors.values():
            detector.close()
    median = {way: statistics.median(values) for way, values in times.items()}
    result = {
        "commit": commit_of(ROOT),
        "machine": describe_machine(),
        "classes": given.classes,
        "pictures": len(given.pictures),
        "rounds": given.rounds,
        "threads": given.threads,
        "milliseconds": median,
        "ratio": {way: median["torchvision"] / median[way] for way in detectors},
        "stages": {part: statistics.median(one[part] for one in parts) for part in parts[0]},
    }
    print(json_text(result, indent=2))
    if given.output is not None:
        write_json(given.output, result)


if __name__ == "__main__":
    main()
