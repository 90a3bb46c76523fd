"""Check parity of the six networks at full width, in single and half precision.

    python benchmarks/parity_full_width.py [--pictures 8] [--threads 1]

Random weights, heads with the same spread on every level, COCO's 81 classes, the deploy preset, and
generated pictures of digits. Engines are ONNX Runtime's, ending in their heads, and each detection
is proven as by ``ssd-small parity``. Results are written after each engine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from ssd_small.export.build_engine import build_engine
from ssd_small.export.onnx_file import write_onnx
from ssd_small.export.to_onnx import onnx_from_network

from ssd_small.artefacts.build_options import BuildOptions, Precision
from ssd_small.artefacts.description import Description
from ssd_small.artefacts.network import random_network
from ssd_small.datasets.digits import make_digits
from ssd_small.detection.load import torch_runtime
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.models.network import SsdNetwork
from ssd_small.models.registry import list_models
from ssd_small.parity.opening import Running, open_engine_side
from ssd_small.parity.parity import parity_of_sides
from ssd_small.parity.pictures import Pictures, pictures_of_folder
from ssd_small.parity.side import Side
from ssd_small.pictures.pixels import pixels_from_picture
from ssd_small.pictures.preprocessing import input_from_image

ROOT = Path(__file__).resolve().parents[1]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")


def main() -> None:
    """Compare engine by engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/full_width.json")
    arguments = parser.parse_args()
    running = Running(batch=1, threads=arguments.threads)
    rows: list[dict[str, Any]] = []
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
        folder = Path(temporary)
        data = make_digits(folder / "digits", train_images=0, val_images=arguments.pictures)
        pictures = pictures_of_folder(data.val_images)
        for name in list_models():
            net, description = random_network(name)
            spread_weights(net, description, pictures)
            reference = reference_side(net, description, running)
            onnx_file = folder / "x.onnx"
            write_onnx(onnx_from_network(net, description), onnx_file)
            for precision in PRECISIONS:
                started = time.perf_counter()
                row = row_of(onnx_file, precision, reference, pictures, running)
                rows.append({"network": name, "precision": precision, **row})
                write_json(
                    arguments.output,
                    {
                        "machine": machine,
                        "threads": arguments.threads or machine["cores"],
                        "commit": commit_of(ROOT),
                        "pictures": len(pictures),
                        "rows": rows,
                    },
                )
                print(f"{name} {precision}: {time.perf_counter() - started:.0f} s", rows[-1])
            reference.detector.close()


def spread_weights(net: SsdNetwork, description: Description, pictures: Pictures) -> None:
    """Random weights with which every level finds something.

    As they are made, activations shrink from layer to layer, and the finest level alone, which is
    normalised, would be compared. Here no layer changes their size (He et al. 2015), and of each
    level logits deviate by 2 and offsets by 1 on the first picture.
    """
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    pixels = pixels_from_picture(pictures.given[0])
    images = torch.from_numpy(input_from_image(pixels, description.preprocessing))[None]
    sizes = [rows * columns * level.num_anchors for level, (rows, columns) in description.levels]
    with torch.no_grad():
        for heads, outputs, deviation in zip(
            (net.loc, net.conf), net.eval()(images), (1.0, 2.0), strict=True
        ):
            for head, output in zip(heads, torch.split(outputs[0], sizes), strict=True):
                for parameter in head.parameters():
                    parameter *= deviation / output.std()


def reference_side(net: object, description: Description, running: Running) -> Side:
    """The network in PyTorch."""
    heads = description.with_decode_nms(False)
    runtime = torch_runtime(net, heads, threads=running.threads, max_batch=1)
    detector = running.detector(runtime, description.postprocess)
    return Side(detector, heads, "random weights", "checkpoint", description.postprocess)


def row_of(
    onnx_file: Path, precision: Precision, reference: Side, pictures: Pictures, running: Running
) -> dict[str, Any]:
    """What is found of one engine."""
    engine = onnx_file.with_suffix(".engine")
    options = BuildOptions(target="onnxruntime", precision=precision, max_batch=1, heads=True)
    build_engine(onnx_file, engine, options)
    side = open_engine_side(engine, None, running)
    try:
        found = parity_of_sides(reference, side, pictures, max_difference=0.001)
    finally:
        side.detector.close()
    counts = dict(found.detections)
    del counts["examples"]
    heads = found.heads or []
    return {
        "priors": len(side.description.priors),
        "detections": counts,
        "heads": {
            key: max((level[key] for level in heads), default=None)
            for key in ("loc_max", "loc_p999", "conf_max", "conf_p999")
        },
        "verdict": found.verdict,
    }


if __name__ == "__main__":
    main()
