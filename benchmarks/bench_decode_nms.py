"""Decode + NMS on the CPU: the native library against what else there is.

Every contender is validated against the numpy oracle before it is timed. Contenders:

* ``native``: the C++ library (bit for bit the oracle);
* ``oracle``: ssd_small's numpy implementation;
* ``numpy_loop``: softmax and a loop over classes in numpy, written for speed;
* ``torchvision``: what its SSD does after the heads (per-class loop, one batched_nms);
* ``onnxruntime``: the DecodeNms function body.

Run ``python benchmarks/bench_decode_nms.py --help``; ``--quick`` takes some seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from ssd_small.bench.synthetic import detector_heads
from ssd_small.bench.timing import measure
from ssd_small.machine import commit_of, describe_machine
from ssd_small.models.priors import priors_from_spec
from ssd_small.models.registry import get_spec, list_models
from ssd_small.postprocess import PostprocessParams, decode_nms, native
from ssd_small.postprocess.boxes import boxes_xyxy_from_loc, iou_one_to_many
from ssd_small.postprocess.oracle import iou_scale_and_offset

RESULT = Path(__file__).parent / "results" / "decode_nms_cpu.json"
CLASSES = 81
# the parameters that torchvision's SSD has, too, and the published evaluation protocol
PRESETS = {
    "torchvision": PostprocessParams(keep_topk_per_class=0),
    "coco": PostprocessParams.coco(),
}
DENSITIES = ("empty", "scene", "worst")
# single images are timed in turn: of one image again and again a processor learns every branch,
# which made 11620 priors 1.4 times as fast
SCENES = 4
Pairs = list[tuple[int, int]]  # (label, prior) in order


def make_heads(
    density: str, priors: np.ndarray, batch: int = 1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Heads without a candidate, of a busy scene, or with every prior a candidate everywhere."""
    loc, conf = detector_heads(priors, CLASSES, batch, seed=seed)
    if density == "empty":
        conf[..., 0] += 30
    elif density == "worst":
        # 1 / 81 each, give or take: all above 0.01
        conf = np.random.default_rng(1).normal(0, 0.04, conf.shape).astype(np.float32)
    return loc, conf


def numpy_loop(loc, conf, priors, params) -> list[Pairs]:
    """Softmax, then class after class: threshold, sort, greedy NMS."""
    scale, offset = iou_scale_and_offset(params.pixel_offset)
    found = []
    for image in range(len(loc)):
        scores = np.exp(conf[image] - conf[image].max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
        boxes = boxes_xyxy_from_loc(loc[image], priors, params.variances)
        rows = []
        for label in range(1, scores.shape[1]):
            index = np.flatnonzero(scores[:, label] > params.score_threshold)
            index = index[np.argsort(-scores[index, label], kind="stable")]
            index = index[: params.pre_nms_topk or None]
            kept = 0
            while len(index) and not (0 < params.keep_topk_per_class <= kept):
                rows.append((-scores[index[0], label], label, int(index[0])))
                kept += 1
                overlap = iou_one_to_many(
                    boxes[index[0]] * scale, boxes[index[1:]] * scale, float(offset)
                )
                index = index[1:][overlap <= params.iou_threshold]
        rows.sort()
        found.append([row[1:] for row in rows[: params.keep_topk or None]])
    return found


def torchvision_run(loc, conf, priors, params, threads) -> Callable[[], list[Pairs]]:
    """The steps of torchvision's SSD after its heads, without the clipping to the image."""
    import torch
    from torchvision.ops import batched_nms

    torch.set_num_threads(threads)
    loc, conf, priors = (torch.from_numpy(array) for array in (loc, conf, priors))
    centre_variance, size_variance = params.variances

    def one(loc, scores):
        centre = priors[:, :2] + loc[:, :2] * centre_variance * priors[:, 2:]
        size = priors[:, 2:] * torch.exp(loc[:, 2:] * size_variance)
        boxes = torch.cat([centre - size / 2, centre + size / 2], 1)
        parts = []
        for label in range(1, scores.shape[1]):
            score = scores[:, label]
            index = torch.where(score > params.score_threshold)[0]
            score, top = score[index].topk(min(params.pre_nms_topk, len(index)))
            parts.append((score, index[top], torch.full_like(top, label)))
        score, prior, label = (torch.cat(part) for part in zip(*parts, strict=True))
        kept = batched_nms(boxes[prior], score, label, params.iou_threshold)[: params.keep_topk]
        return score[kept], boxes[prior[kept]], label[kept], prior[kept]

    def run() -> list[Pairs]:
        with torch.inference_mode():
            scores = torch.softmax(conf, -1)
            images = [one(loc[i], scores[i]) for i in range(len(loc))]
        return [list(zip(label.tolist(), prior.tolist(), strict=True))
                for _, _, label, prior in images]  # fmt: skip

    return run


def onnxruntime_run(loc, conf, priors, params, threads) -> Callable[[], list[Pairs]]:
    """The function body in a model of its own."""
    import onnxruntime
    from onnx import TensorProto, helper
    from ssd_small.export.decode_nms_node import append_decode_nms

    shapes = {"loc": ["batch", len(priors), 4], "conf": ["batch", len(priors), conf.shape[2]]}
    inputs, outputs = (
        [helper.make_tensor_value_info(f"{prefix}{name}", TensorProto.FLOAT, shape)
         for name, shape in shapes.items()]
        for prefix in ("in_", "")
    )  # fmt: skip
    nodes = [helper.make_node("Identity", [f"in_{name}"], [name]) for name in shapes]
    graph = helper.make_graph(nodes, "heads", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    append_decode_nms(model, params, priors)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run() -> list[Pairs]:
        count, _, _, label, prior = session.run(None, {"in_loc": loc, "in_conf": conf})
        return [list(zip(label[i, :n].tolist(), prior[i, :n].tolist(), strict=True))
                for i, n in enumerate(count)]  # fmt: skip

    return run


def contenders(
    case: dict[str, Any], loc, conf, priors, params
) -> Iterator[tuple[str, Callable[[], Any], Callable[[Any], list[Pairs]]]]:
    """Name, what to time, and how to read its result; those that make sense for the case."""

    def pairs(found):
        return [list(zip(d.labels.tolist(), d.prior_indices.tolist(), strict=True)) for d in found]

    threads = case["threads"]
    yield "native", lambda: native.decode_nms(
        loc, conf, priors, params, num_threads=threads
    ), pairs  # fmt: skip
    if case["preset"] == "torchvision":
        for name, make in (
            ("torchvision", lambda: torchvision_run(loc, conf, priors, params, threads)),
            ("onnxruntime", lambda: onnxruntime_run(loc, conf, priors, params, threads)),
        ):
            try:
                yield name, make(), list
            except ImportError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
    if threads == 1 and case["batch"] == 1:
        yield "numpy_loop", lambda: numpy_loop(loc, conf, priors, params), list
        yield "oracle", lambda: decode_nms(loc, conf, priors, params, backend="numpy"), pairs


def check(name: str, found: list[Pairs], expected: list[Pairs]) -> float:
    """Share of the oracle's detections that were found; refuses less than 97 %.

    Native must be equal. The others round otherwise, so that a score or an IoU close to its
    threshold falls on the other side, and torchvision adds class offsets to boxes before NMS.
    """
    total = sum(map(len, expected))
    equal = sum(len(set(a) & set(b)) for a, b in zip(found, expected, strict=True))
    share = equal / total if total else float(not any(found))
    if share < (1 if name == "native" else 0.97) or (name == "native" and found != expected):
        raise SystemExit(f"{name} is wrong: {share:.1%} of the oracle's detections; not timed")
    return share


def read_milliseconds(conf: np.ndarray, threads: int, seconds: float) -> float:
    """Time to read conf once, the floor of any method: the maximum of its bits as integers."""
    parts = np.array_split(conf.reshape(-1).view(np.int32), threads)
    with ThreadPoolExecutor(threads) as pool:
        return measure([lambda: list(pool.map(np.max, parts))], seconds)[-1].median


def run_case(case: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Validate and time all contenders of one case."""
    priors = priors_from_spec(get_spec(case["model"]))
    params = PRESETS[case["preset"]]
    scenes = SCENES if case["density"] == "scene" and case["batch"] == 1 else 1
    runs: dict[str, list[Callable[[], Any]]] = {}
    shares: dict[str, float] = {}
    detections = []
    for seed in range(scenes):
        loc, conf = make_heads(case["density"], priors, case["batch"], seed)
        expected = [
            list(zip(d.labels.tolist(), d.prior_indices.tolist(), strict=True))
            for d in decode_nms(loc, conf, priors, params, backend="numpy")
        ]
        detections.append(sum(map(len, expected)))
        for name, run, read_result in contenders(case, loc, conf, priors, params):
            share = check(name, read_result(run()), expected)
            shares[name] = min(share, shares.get(name, 1.0))
            runs.setdefault(name, []).append(run)
    read = read_milliseconds(conf, case["threads"], seconds / 4)
    result = case | {
        "priors": len(priors),
        "scenes": scenes,
        "detections": detections,
        "read_ms": round(read, 4),
        "contenders": {},
    }
    for name, of_scenes in runs.items():
        turn = cycle(of_scenes)
        timing = measure([lambda turn=turn: next(turn)()], seconds, warm_up=scenes)[-1]
        entry = timing.to_dict() | {"agreement": round(shares[name], 4)}
        if name == "native":
            native_ms = timing.median
            entry["share_of_read_bandwidth"] = round(read / native_ms, 3)
        else:
            entry["native_is_faster_by"] = round(timing.median / native_ms, 1)
        result["contenders"][name] = entry
    return result


def all_cases(models: list[str], quick: bool) -> Iterator[dict[str, Any]]:
    """The matrix; the published protocol only for a scene of one image."""
    for model in models:
        for density in DENSITIES:
            for batch in (1,) if quick else (1, 8):
                for threads in (1,) if quick else (1, 2):
                    yield {"model": model, "preset": "torchvision", "density": density,
                           "batch": batch, "threads": threads}  # fmt: skip
        for threads in (1,) if quick else (1, 2):
            yield {"model": model, "preset": "coco", "density": "scene",
                   "batch": 1, "threads": threads}  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Time decode + NMS on the CPU.")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each contender of a case")
    parser.add_argument("--models", nargs="+", default=list_models(), choices=list_models())
    parser.add_argument(
        "--quick", action="store_true", help="the smallest network, batch 1, 1 thread"
    )
    parser.add_argument("--output", type=Path, default=RESULT, help="JSON file; - for stdout only")
    options = parser.parse_args()
    if not native.is_available():
        raise SystemExit("the native library is not built: pip install . with a C++ compiler")
    models = ["mobilenet_v1"] if options.quick else options.models
    cases = []
    for case in all_cases(models, options.quick):
        cases.append(run_case(case, 0.02 if options.quick else options.seconds))
        times = {k: v["median"] for k, v in cases[-1]["contenders"].items()}
        print(*case.values(), times, file=sys.stderr)
    report = {
        "machine": describe_machine(),
        "commit": commit_of(Path(__file__).parent),
        "classes": CLASSES,
        "presets": {name: params.to_dict() for name, params in PRESETS.items()},
        "unit": "milliseconds per batch",
        "cases": cases,
    }
    text = json.dumps(report, indent=1) + "\n"
    if str(options.output) == "-":
        print(text, end="")
        return
    options.output.parent.mkdir(parents=True, exist_ok=True)
    partial = options.output.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(options.output)


if __name__ == "__main__":
    main()
