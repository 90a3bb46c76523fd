"""Time decode + NMS on the CPU: the native library against the alternatives.

Every contender is validated against the numpy oracle before it is timed. Contenders:

* ``native``: the C++ library (bit-identical to the oracle);
* ``numpy_loop``: softmax and a loop over classes in numpy, written for speed;
* ``torchvision``: what its SSD does after the heads (per-class loop, one batched_nms);
* ``onnxruntime``: the DecodeNms function body.

Contenders of a case take turns. In the worst case, native must not be slower than the better of
torchvision and the function body, whatever the size, batch and threads; if it is, the exit code is
1 once the results are written.

Run ``python benchmarks/bench_decode_nms.py --help``; ``--quick`` takes some seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from decode_nms_contenders import Pairs, numpy_loop, onnxruntime_run, torchvision_run

from ssd_small.bench.synthetic import detector_heads
from ssd_small.bench.timing import Timing, measure
from ssd_small.machine import commit_of, describe_machine
from ssd_small.models.priors import priors_from_spec
from ssd_small.models.registry import get_spec, list_models
from ssd_small.postprocess import PostprocessParams, decode_nms, native

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
# how often the contenders of a case take turns
TURNS = 3


def make_heads(
    density: str, priors: np.ndarray, batch: int = 1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Heads without a candidate, of a busy scene, or with every prior a candidate everywhere."""
    loc, conf = detector_heads(priors, CLASSES, batch, seed=seed)
    if density == "empty":
        conf[..., 0] += 30
    elif density == "worst":
        # 1 / 81 each, give or take: all above 0.01; of a batch all images are the same, which no
        # contender can make use of and the oracle need look at once only
        conf = np.random.default_rng(1).normal(0, 0.04, conf.shape[1:]).astype(np.float32)
        loc, conf = (np.repeat(one[None], batch, 0) for one in (loc[0], conf))
    return loc, conf


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
    if threads == 1 and case["batch"] == 1 and case["preset"] == "coco":
        yield "numpy_loop", lambda: numpy_loop(loc, conf, priors, params), list


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


def read_milliseconds(confs: list[np.ndarray], threads: int, seconds: float) -> float:
    """Time to read conf once, the floor of any method: the maximum of its bits as integers.

    The arrays take turns, as they do in what is compared with it.
    """
    scenes = cycle([np.array_split(conf.reshape(-1).view(np.int32), threads) for conf in confs])
    if threads == 1:
        return measure([lambda: np.max(next(scenes)[0])], seconds)[-1].median
    with ThreadPoolExecutor(threads) as pool:
        return measure([lambda: list(pool.map(np.max, next(scenes)))], seconds)[-1].median


@lru_cache(maxsize=SCENES)
def heads_with_detections(
    model: str, preset: str, density: str, batch: int, seed: int
) -> tuple[np.ndarray, np.ndarray, list[Pairs]]:
    """Heads, and what the oracle finds in them; kept for the case with other threads."""
    priors = priors_from_spec(get_spec(model))
    loc, conf = make_heads(density, priors, batch, seed)
    images = slice(1) if density == "worst" else slice(batch)
    expected = [
        list(zip(d.labels.tolist(), d.prior_indices.tolist(), strict=True))
        for d in decode_nms(loc[images], conf[images], priors, PRESETS[preset], backend="numpy")
    ]
    return loc, conf, expected * (batch // len(expected))


def run_case(case: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Validate and time all contenders of one case."""
    priors = priors_from_spec(get_spec(case["model"]))
    params = PRESETS[case["preset"]]
    scenes = SCENES if case["density"] == "scene" and case["batch"] == 1 else 1
    runs: dict[str, list[Callable[[], Any]]] = {}
    shares: dict[str, float] = {}
    detections, confs = [], []
    for seed in range(scenes):
        loc, conf, expected = heads_with_detections(
            case["model"], case["preset"], case["density"], case["batch"], seed
        )
        confs.append(conf)
        detections.append(sum(map(len, expected)))
        for name, run, read_result in contenders(case, loc, conf, priors, params):
            share = check(name, read_result(run()), expected)
            shares[name] = min(share, shares.get(name, 1.0))
            runs.setdefault(name, []).append(run)
    read = read_milliseconds(confs, case["threads"], seconds / 4)
    result = case | {
        "priors": len(priors),
        "scenes": scenes,
        "detections": detections,
        "read_ms": round(read, 4),
        "contenders": {},
    }
    for name, timing in time_in_turns(runs, seconds).items():
        entry = timing.to_dict() | {"agreement": round(shares[name], 4)}
        if name == "native":
            native_ms = timing.median
            entry["share_of_read_bandwidth"] = round(read / native_ms, 3)
        else:
            entry["native_is_faster_by"] = round(timing.median / native_ms, 1)
        result["contenders"][name] = entry
    return result


def time_in_turns(runs: dict[str, list[Callable[[], Any]]], seconds: float) -> dict[str, Timing]:
    """Each contender for ``seconds`` in :data:`TURNS` parts, its scenes one after the other."""
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, of_scenes in runs.items():
            scene = cycle(of_scenes)
            part = measure(
                [lambda scene=scene: next(scene)()],
                seconds / TURNS,
                warm_up=0,  # all have been run when they were checked
                least=1,
            )[-1]
            samples[name] += [milliseconds / 1e3 for milliseconds in part.samples]
    return {name: Timing.from_seconds(of_name) for name, of_name in samples.items()}


def slower_in_the_worst_case(cases: list[dict[str, Any]]) -> list[str]:
    """A line for each worst case in which another contender is faster than native."""
    lines = []
    for case in cases:
        if case["density"] != "worst":
            continue
        times = {name: entry["median"] for name, entry in case["contenders"].items()}
        best = min(times, key=times.__getitem__)
        if best != "native":
            lines.append(
                f"{case['model']}, batch {case['batch']}, {case['threads']} threads: "
                f"native {times['native']:.1f} ms, {best} {times[best]:.1f} ms"
            )
    return lines


def all_cases(models: list[str], quick: bool) -> Iterator[dict[str, Any]]:
    """The matrix; the published protocol only for a scene of one image."""
    for model in models:
        for density in DENSITIES:
            for batch in (1,) if quick or density == "empty" else (1, 8):
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
    parser.add_argument(
        "--keep", action="store_true", help="networks not in --models stay as the output has them"
    )
    options = parser.parse_args()
    if not native.is_available():
        raise SystemExit("the native library is not built: pip install . with a C++ compiler")
    models = ["mobilenet_v1"] if options.quick else options.models
    cases = []
    for case in all_cases(models, options.quick):
        cases.append(run_case(case, 0.02 if options.quick else options.seconds))
        times = {k: v["median"] for k, v in cases[-1]["contenders"].items()}
        print(*case.values(), times, file=sys.stderr)
    slower = slower_in_the_worst_case(cases)
    if options.keep:
        kept = json.loads(options.output.read_text())["cases"]
        cases += [case for case in kept if case["model"] not in models]
        cases.sort(key=lambda case: list_models().index(case["model"]))
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
    else:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        partial = options.output.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(options.output)
    if slower:
        raise SystemExit("slower than others in the worst case:\n" + "\n".join(slower))


if __name__ == "__main__":
    main()
