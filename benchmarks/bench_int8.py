"""Compare INT8 engines of the shipped networks with fp32: mAP, time and convolutions.

    python benchmarks/bench_int8.py --bccd FOLDER [--output benchmarks/results/int8.json]

FOLDER holds ``train.json``, ``val.json`` and ``images`` of the blood cells; the digits are
generated. Ranges come from training pictures, mAP from the others, under the deployment protocol.
Each runtime has its own form of the network (``export/quantise.py``). ONNX Runtime's is executed by
ONNX Runtime, OpenVINO's by OpenVINO with float32 between its INT8 layers; TensorRT-RTX's is built
on the CPU, and its ONNX file scored in ONNX Runtime. Times are without decode + NMS, with two
threads and one picture; all contenders of one network take turns.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, load_model
from parity_shipped import ROOT, run
from ssd_small.export.build_engine import build_engine
from ssd_small.export.int8_target import int8_build
from ssd_small.export.prepare import prepare

from ssd_small.artefacts.build_options import BuildOptions, Target
from ssd_small.artefacts.int8_options import Int8Options
from ssd_small.datasets.coco import read_annotations
from ssd_small.detection.detector import Detector
from ssd_small.evaluation.evaluate import evaluate
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.models.shipped import shipped_checkpoints
from ssd_small.requirements import require
from ssd_small.runtimes.base import BatchingRuntime, HeadOutputs

Network = Callable[[np.ndarray], list[np.ndarray]]
THREADS, COUNT, TURNS = 2, 64, 40


class Executed(BatchingRuntime):
    """A function as a runtime."""

    def __init__(self, network: Network, description: Any, precision: str) -> None:
        self.name, self.precision, self.max_batch = "benchmark", precision, 8
        self.description, self._network = description, network

    def infer_batch(self, images: np.ndarray) -> HeadOutputs:
        """The heads of a batch."""
        return HeadOutputs(*self._network(images))


def in_onnxruntime(model: ModelProto, left_out: tuple[str, ...] = ()) -> Network:
    """The network in ONNX Runtime."""
    ort = require("onnxruntime", "this benchmark")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = THREADS
    settings.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(),
        settings,
        ["CPUExecutionProvider"],
        disabled_optimizers=list(left_out),
    )
    return lambda images: session.run(None, {"images": images})


def in_openvino(model: ModelProto) -> Network:
    """The network in OpenVINO, float32 where it is not INT8."""
    openvino = require("openvino", "this benchmark")
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": THREADS,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda images: [np.array(v) for v in request.infer({0: images}).values()]


def milliseconds(networks: dict[str, Network], size: tuple[int, int]) -> dict[str, float]:
    """Median of one picture, the networks in turns."""
    images = np.random.default_rng(0).normal(size=(1, 3, *size)).astype(np.float32)
    taken: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(TURNS + 3):
        for name, network in networks.items():
            started = time.perf_counter()
            network(images)
            if turn >= 3:
                taken[name].append(time.perf_counter() - started)
    return {name: round(1e3 * statistics.median(values), 3) for name, values in taken.items()}


def main() -> None:
    """Network by network: build, score, and at the end time them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bccd", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/int8.json")
    parser.add_argument("--models", type=Path, help="Keep the models here, and time those.")
    parser.add_argument("--time-only", action="store_true", help="Time what --models holds.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
        kept = arguments.models or Path(temporary) / "models"
        kept.mkdir(exist_ok=True)
        if not arguments.time_only:
            score_all(Path(temporary), arguments.bccd, kept)
        timed = with_times(json.loads((kept / "rows.json").read_text()), kept)
    report = {
        "machine": describe_machine(),
        "commit": commit_of(ROOT),
        "threads": THREADS,
        "calibration": {"count": COUNT, "method": Int8Options.method},
        "rows": timed,
    }
    write_json(arguments.output, report)


def score_all(folder: Path, bccd: Path, kept: Path) -> None:
    """Write rows.json, a row for each shipped network and runtime, without times.

    Networks that it has already are passed over: a run that was ended goes on.
    """
    run("digits", folder / "digits")
    calibration = folder / "bccd"
    calibration.mkdir()
    for image in read_annotations(bccd / "train.json").images:
        shutil.copy(bccd / "images" / image["file_name"], calibration)
    data = {
        "digits": (folder / "digits/train", folder / "digits/val.json", folder / "digits/val"),
        "bccd": (calibration, bccd / "val.json", bccd / "images"),
    }
    written = kept / "rows.json"
    rows = json.loads(written.read_text()) if written.exists() else []
    done = {row["network"] for row in rows}
    for shipped in shipped_checkpoints():
        if shipped.name in done:
            continue
        source = folder / "x.onnx"
        run("export", "--weights", shipped.name, "-o", source)
        rows += rows_of(shipped.name, source, data[shipped.name.partition("/")[0]], kept)
        write_json(written, rows)
        print(json.dumps(rows[-3:]), flush=True)


def rows_of(
    name: str, source: Path, data: tuple[Path, Path, Path], kept: Path
) -> list[dict[str, Any]]:
    """The three runtimes' rows of one network."""
    pictures, annotations, images = data
    truth = read_annotations(annotations)

    def score(network: Network, description: Any, precision: str) -> float:
        with Detector(Executed(network, description, precision)) as detector:
            return round(float(evaluate(detector, truth, images).metrics["AP"] or 0.0), 4)

    single = prepare(source, "fp32", heads=True, for_plugin=False)
    stem = name.replace("/", "_")
    (kept / f"{stem}.fp32.onnx").write_bytes(single.model.SerializeToString())
    reference = {
        "onnxruntime": score(in_onnxruntime(single.model), single.description, "fp32"),
        "openvino": score(in_openvino(single.model), single.description, "fp32"),
    }
    rows = []
    targets: tuple[Target, ...] = ("onnxruntime", "openvino", "tensorrt-rtx")
    for target in targets:
        # a target's network does not depend on whether its runtime is at hand
        options = BuildOptions("onnxruntime", "int8", int8=Int8Options(pictures, COUNT))
        object.__setattr__(options, "target", target)
        build = int8_build(options, lambda phase, share: None)
        started = time.perf_counter()
        made = prepare(source, "int8", heads=True, for_plugin=False, int8=build)
        seconds = time.perf_counter() - started
        assert made.quantised is not None
        (kept / f"{stem}.{target}.onnx").write_bytes(made.model.SerializeToString())
        left_out = ("QDQPropagationTransformer",) if target == "tensorrt-rtx" else ()
        own = in_openvino(made.model) if target == "openvino" else None
        network = own or in_onnxruntime(made.model, left_out)
        row: dict[str, Any] = {
            "network": name,
            "target": target,
            "map_fp32": reference["openvino" if target == "openvino" else "onnxruntime"],
            "map_int8": score(network, made.description, "int8"),
            "quantised": made.quantised.quantised,
            "kept": made.quantised.kept,
            "seconds": round(seconds, 1),
        }
        if target == "tensorrt-rtx":
            row |= plans(source, Int8Options(pictures, 4))
        rows.append(row)
    return rows


def plans(source: Path, int8: Int8Options) -> dict[str, int]:
    """Sizes of TensorRT-RTX's plans, and the INT8 tensors that the second one lists."""
    plan = source.with_name("x.engine")
    single = build_engine(source, plan, BuildOptions("tensorrt-rtx", heads=True))
    low = build_engine(source, plan, BuildOptions("tensorrt-rtx", "int8", heads=True, int8=int8))
    return {
        "plan_bytes_fp32": single.engine.bytes,
        "plan_bytes_int8": low.engine.bytes,
        "plan_int8_tensors": (low.receipt.plan_tensors or {}).get("INT8", 0),
    }


def with_times(rows: list[dict[str, Any]], kept: Path) -> list[dict[str, Any]]:
    """The rows with the times of each network's contenders, in turns."""
    for name in dict.fromkeys(row["network"] for row in rows):
        stem = name.replace("/", "_")
        single, ort, vino = (
            load_model(kept / f"{stem}.{which}.onnx")
            for which in ("fp32", "onnxruntime", "openvino")
        )
        contenders = {
            "onnxruntime fp32": in_onnxruntime(single),
            "onnxruntime int8": in_onnxruntime(ort),
            "openvino fp32": in_openvino(single),
            "openvino int8": in_openvino(vino),
        }
        shape = single.graph.input[0].type.tensor_type.shape.dim
        taken = milliseconds(contenders, (shape[2].dim_value, shape[3].dim_value))
        for row in rows:
            if row["network"] == name and row["target"] != "tensorrt-rtx":
                row["ms_fp32"] = taken[f"{row['target']} fp32"]
                row["ms_int8"] = taken[f"{row['target']} int8"]
    return rows


if __name__ == "__main__":
    main()
