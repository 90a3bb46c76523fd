"""README block about decode + NMS on the CPU."""

from __future__ import annotations

from typing import Any

from readme_tables import machine_line, result, table


def decode_nms() -> str:
    """`benchmarks/bench_decode_nms.py`: a busy scene, one image."""
    report = result("decode_nms_cpu")
    chosen = {
        (case["model"], case["preset"], case["threads"]): case
        for case in report["cases"]
        if case["density"] == "scene" and case["batch"] == 1
    }
    rows = []
    for model in dict.fromkeys(model for model, _, _ in chosen):
        two, coco = chosen[model, "torchvision", 2], chosen[model, "coco", 1]
        own, other = two["contenders"]["native"], two["contenders"]["torchvision"]
        body, loop = two["contenders"]["onnxruntime"], coco["contenders"]["numpy_loop"]
        rows.append(
            [
                f"`{model}`",
                two["priors"],
                f"{own['median']:.2f}",
                f"{other['median']:.1f}",
                f"{other['native_is_faster_by']:.0f}x",
                f"{body['native_is_faster_by']:.0f}x",
                f"{own['share_of_read_bandwidth']:.0%}",
                f"{loop['native_is_faster_by']:.0f}x",
            ]
        )
    headers = (
        "network|priors|native ms|torchvision ms|faster than torchvision|than the ONNX body|"
        "share of read bandwidth|COCO preset, one thread: faster than a numpy loop"
    )
    few, many = "vgg16", "vgg16_s1l2_dual"

    def growth(preset: str, threads: int) -> float:
        """How many times the time of ``few`` ``many`` takes."""
        times = (
            chosen[name, preset, threads]["contenders"]["native"]["median"] for name in (many, few)
        )
        return float(next(times) / next(times))

    priors = [chosen[name, "coco", 1]["priors"] for name in (few, many)]
    scaling = (
        f"From {priors[0]} to {priors[1]} priors, {priors[1] / priors[0]:.1f} times as many, the "
        f"time grows {growth('torchvision', 2):.1f} times (two threads; COCO preset on one thread: "
        f"{growth('coco', 1):.1f} times)."
    )
    where = machine_line(report["machine"], 2)
    parts = (f"{scaling} {where}", _bounds(report["cases"]), _on_another_processor())
    return "\n\n".join((table(rows, headers), *parts))


def _bounds(cases: list[dict[str, Any]]) -> str:
    """What the pass over conf and the worst case cost beside the floor and the others."""

    def span(values: list[float], digits: int) -> str:
        low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
        return low if low == high else f"{low} to {high}"

    def median(case: dict[str, Any], name: str) -> float:
        return float(case["contenders"][name]["median"])

    def over_the_floor(density: str) -> list[float]:
        """Native over one read pass, single images on one thread."""
        return [
            median(case, "native") / case["read_ms"]
            for case in cases
            if (case["density"], case["preset"], case["batch"], case["threads"])
            == (density, "torchvision", 1, 1)
        ]

    worst = [
        min(time["median"] for name, time in case["contenders"].items() if name != "native")
        / median(case, "native")
        for case in cases
        if case["density"] == "worst"
    ]
    return (
        "What limits it: on one thread, a pass over conf in which no row holds a candidate "
        f"takes {span(over_the_floor('empty'), 1)} times as long as one read pass over the same "
        f"memory by numpy's maximum, a busy scene {span(over_the_floor('scene'), 1)} times. The "
        "rest of a scene is the softmax of the rows that may hold a candidate (most of it: 81 "
        "exponentials for each, of which none can be left out of the sum), their boxes, and the "
        "lists of candidates. In the worst case, every prior a candidate of every class, native "
        f"is {span(worst, 0)} times as fast as the faster one of torchvision and the function "
        f"body, in {len(worst)} combinations of network, batch (1, 8) and threads (1, 2); the "
        "benchmark fails where it is slower."
    )


def _on_another_processor() -> str:
    """The same script on an EPYC of family 25; the result files do not name the family."""
    cases = {
        (case["priors"], case["threads"]): case["contenders"]
        for case in result("decode_nms_family25")["cases"]
        if (case["density"], case["batch"], case["preset"]) == ("scene", 1, "torchvision")
    }

    def faster(threads: int) -> str:
        """How many times as fast as torchvision, by priors."""
        return ", ".join(
            f"{by['torchvision']['native_is_faster_by']:.0f} times ({priors} priors)"
            for (priors, used), by in sorted(cases.items())
            if used == threads
        )

    return (
        f"Processors differ: on another EPYC, of family 25, torchvision took {faster(2)} as long "
        f"as an earlier, slower version of native on two threads, and {faster(1)} on one."
    )
