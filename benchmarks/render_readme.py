"""Write the measured figures into README.md, between its markers.

A block starts with ``<!-- figures: NAME -->`` and ends with ``<!-- end -->``. Figures come from
benchmarks/results/*.json only; a figure nobody measured has no block.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ssd_small.cli.models import model_rows
from ssd_small.models.registry import list_models

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.S)


def table(rows: list[list[Any]], headers: str) -> str:
    """A Markdown table; ``headers`` are separated by ``|``."""
    return tabulate(rows, headers.split("|"), tablefmt="github", disable_numparse=True)


def result(name: str) -> Any:
    """A result file."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def machine_line(machine: dict[str, Any], threads: Any) -> str:
    """Where a figure was measured."""
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items())
    return f"{machine['cpu']}, {threads} threads, Python {machine['python']}, {packages}."


def networks() -> str:
    """The table of networks with the published figures."""
    rows = []
    for row in model_rows(num_classes=81, width=1.0):
        figures = row["published_map"]
        maps = " ".join(str(height) for height, _ in row["feature_maps"])
        milliseconds = "-" if row["published_ms"] is None else f"{row['published_ms']:.1f}"
        rows.append(
            [
                f"`{row['name']}`",
                row["title"],
                maps,
                row["priors"],
                f"{row['parameters'] / 1e6:.2f}",
                f"{row['macs'] / 1e9:.2f}",
                *(f"{figures[k]:.1f}" for k in ("small", "medium", "large", "all")),
                milliseconds,
            ]
        )
    return table(rows, "name|published as|maps|priors|M params|GMAC|S|M|L|all|ms")


def demo() -> str:
    """What `make demo` ended with."""
    report = result("demo")
    rows = []
    for network in report["networks"]:
        for name in ("pytorch", "engine"):
            metrics, times = network["metrics"][name], network["times"][name]
            rows.append(
                [
                    f"`{network['model']}`",
                    times["runtime"],
                    *(f"{metrics[k]:.3f}" for k in ("AP_small", "AP_medium", "AP_large", "AP")),
                    f"{network['difference']:.5f}" if name == "engine" else "",
                    f"{times['network_ms']['median']:.1f}",
                    f"{times['decode_nms_ms']['median']:.2f}",
                ]
            )
    headers = "network, width 0.25|runtime|AP small|medium|large|AP|difference|net ms|decode+NMS ms"
    return f"{table(rows, headers)}\n\n{machine_line(report['machine'], report['threads'])}"


def parity() -> str:
    """Parity of the trained networks in the package: benchmarks/parity_shipped.py."""
    report = result("parity")
    rows = []
    for row in report["rows"]:
        precision, counts = row["map"], row["detections"]
        low, high = precision["interval"]
        worst = {
            name: max(level[f"{name}_max"] for level in row["heads"]) for name in ("loc", "conf")
        }
        rows.append(
            [
                f"`{row['network']}`",
                row["precision"],
                f"{precision['reference']:.4f}",
                f"{precision['difference']:+.5f}",
                f"{low:+.5f} .. {high:+.5f}",
                *(counts[key] for key in ("matched", "explained", "unexplained")),
                f"{worst['loc']:.1e}",
                f"{worst['conf']:.1e}",
                row["verdict"],
            ]
        )
    headers = (
        "network|precision|AP|engine's less|95 % of draws|matched|by rounding|by more|loc|conf"
        "|verdict"
    )
    threads = report["machine"]["cores"]
    return f"{table(rows, headers)}\n\n{machine_line(report['machine'], threads)}"


def bench() -> str:
    """`ssd-small bench --precision fp32`, all six networks."""
    report = result("bench_cpu")
    rows = [
        [
            f"`{row['model']}`",
            row["runtime"],
            *(f"{row['network_ms'][k]:.1f}" for k in ("median", "p90")),
            *(f"{row['decode_nms_ms'][k]:.2f}" for k in ("median", "p90")),
            f"{row['total_ms']['median']:.1f}",
            "-" if row["published_ms"] is None else f"{row['published_ms']:.1f}",
        ]
        for row in report["results"]
    ]
    headers = "network|runtime|net ms|p90|decode+NMS ms|p90|total ms|published ms (a GPU)"
    return f"{table(rows, headers)}\n\n{machine_line(report['machine'], report['threads'])}"


def engines() -> str:
    """`benchmarks/build_all_engines.py`."""
    report = result("engines")
    by_model: dict[str, dict[str, Any]] = {}
    for row in report["engines"]:
        by_model.setdefault(row["model"], {})[row["precision"]] = row
    rows = []
    for model, pair in by_model.items():
        single, half = pair["fp32"], pair["fp16"]
        rows.append(
            [
                f"`{model}`",
                *(f"{row['build_seconds']:.1f}" for row in (single, half)),
                *(f"{row['bytes'] / 1e6:.1f}" for row in (single, half)),
                f"{half['bytes'] / single['bytes']:.3f}",
                f"{half['receipt']['half_share']:.0%}",
                f"{max(row['peak_gib'] for row in (single, half)):.2f}",
            ]
        )
    headers = "network|fp32 s|fp16 s|fp32 MB|fp16 MB|ratio|Half tensors|peak GiB"
    version = report["engines"][0]["tensorrt_rtx"]
    return f"{table(rows, headers)}\n\nTensorRT-RTX {version}; s: the builder's step."


def tensorrt_versions() -> str:
    """`make test-lean`, recorded."""
    checks = result("tensorrt_versions")["checks"]
    versions = list(dict.fromkeys(version for by in checks.values() for version in by))
    words = {True: "yes", False: "NO", None: "-"}
    rows = [[check, *(words[by.get(v)] for v in versions)] for check, by in checks.items()]
    return table(rows, "|".join(["check", *versions]))


def experiments() -> str:
    """`benchmarks/bench_experiments.py`."""
    report = result("experiments")
    rows = []
    for row in report["experiments"]:
        name = f"`{row['config']}`"
        if "refused" in row:
            rows.append([name, "refused", *[""] * 8])
            continue
        single, half = row["tensorrt_rtx_fp32"], row["tensorrt_rtx_fp16"]
        maps = " ".join(str(height) for height, _ in row["feature_maps"])
        rows.append(
            [
                *(name, maps, f"{row['priors']:,}".replace(",", " ")),
                *(f"{row['macs'] / 1e9:.2f}", f"{row['export_seconds']:.1f}"),
                f"{row['onnxruntime_ms']['median']:.0f}",
                *(f"{one['build_seconds']:.1f}" for one in (single, half)),
                *(f"{one['bytes'] / 1e6:.1f}" for one in (single, half)),
            ]
        )
    headers = "configuration|maps|priors|GMAC|export s|ORT ms|fp32 s|fp16 s|fp32 MB|fp16 MB"
    machine = machine_line(report["machine"], report["machine"]["cores"])
    return f"{table(rows, headers)}\n\n{machine}"


def kernels() -> str:
    """`benchmarks/bench_decode_nms_kernels.py`."""
    gpus = ("H100", "A100", "L4", "T4", "Orin")
    rows = [
        [
            f"`{case['model']}`",
            f"{case['density']}, {case['preset']}",
            f"{case['conf_bytes_ratio']:.3f}",
            f"{case['bytes_ratio']:.3f}",
            f"{case['modelled_us']['H100']['graph_overlapping']:.0f}",
            *(f"{case['modelled_us'][gpu]['graph']:.0f}" for gpu in gpus),
        ]
        for case in result("decode_nms_kernels")["cases"]
        if case["density"] != "empty"
    ]
    columns = "network|heads, preset|conf read|all bytes / minimum|H100, overlapping: at least|"
    return table(rows, columns + "|".join(gpus))


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
        "network|priors|native|torchvision|faster than torchvision|than the ONNX function body|"
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
    return f"{table(rows, headers)}\n\n{scaling} {where}\n\n{_on_another_processor()}"


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
        "Processors differ: on another EPYC, of family 25, native is faster than torchvision "
        f"{faster(2)} on two threads, and {faster(1)} on one."
    )


def bccd() -> str:
    """`benchmarks/train_bccd.py`: every run, none left out."""
    report = result("bccd")
    runs = sorted(report["runs"], key=lambda run: (list_models().index(run["model"]), run["seed"]))
    rows = [
        [
            f"`{run['model']}`",
            run["width"],
            run["seed"],
            run["iterations"],
            *(f"{run['metrics'][k]:.3f}" for k in ("AP", "AP50")),
            *(f"{run['metrics'][f'AP_{k}']:.3f}" for k in ("small", "medium", "large")),
            f"{run['class_AP']['Platelets']:.3f}",
            f"{run['gmac']:.2f}",
            f"{run['network_ms']['median']:.1f}",
            f"{run['seconds'] / 60:.0f}",
        ]
        for run in runs
    ]
    headers = (
        "network|width|seed|updates|AP|AP50|small|medium|large|platelets|GMAC|net ms|training min"
    )
    means = []
    for model in dict.fromkeys(run["model"] for run in runs):
        scores = [run["class_AP"]["Platelets"] for run in runs if run["model"] == model]
        if len(scores) > 1:
            spread = f"{statistics.mean(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})"
            means.append(f"`{model}` {spread}")
    (batch,) = {run["recipe"]["batch"] for run in runs}
    return (
        f"{table(rows, headers)}\n\nAP of platelets, mean of the seeds (lowest to highest): "
        f"{', '.join(means)}. {batch} pictures an update. ms: PyTorch, fp32. Minutes: "
        "wall time of one core, beside a run on the other. "
        f"{machine_line(report['timed_on'], report['threads'])}"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def training() -> str:
    """`benchmarks/bench_training.py`."""
    report = result("training_cpu")
    rates = {(row["name"], row["layout"]): row for row in report["rows"]}
    rows = [
        [
            f"`{name}`" if name in list_models() else name,
            rates[name, "contiguous"]["width"],
            *(
                f"{rates[name, v]['images_per_second']:.2f}"
                for v in ("contiguous", "channels_last")
            ),
            _percent(rates[name, "contiguous"]["cells_with_gradient"]),
        ]
        for name in dict.fromkeys(row["name"] for row in report["rows"])
    ]
    headers = "network|width|images/s|channels-last images/s|cells with a gradient"
    ratios = report["vgg16_times_torchvision"]
    against = (
        f"`vgg16` against torchvision's network, images/s: {ratios['contiguous']:.2f} times in the "
        f"default layout, {ratios['channels_last']:.2f} times in channels-last, "
        f"{ratios['better']:.2f} times with the better layout of either."
    )
    batch = f"Batch {report['batch']}, fp32, {report['classes']} classes."
    where = machine_line(report["machine"], report["threads"])
    return f"{table(rows, headers)}\n\n{against} {batch} {where}"


def damaged_input() -> str:
    """`make fuzz-cli`."""
    report = result("fuzz_cli")
    names = ("tried", "fine", "check_failed", "refused_2", "refused_3", "refused_4", "failed")
    rows = [[kind["kind"], *(kind[name] for name in names)] for kind in report["kinds"]]
    rows.append(["all", *(sum(kind[name] for kind in report["kinds"]) for name in names)])
    headers = "kind|tried|exit 0|exit 1|exit 2|exit 3|exit 4|failed"
    distinct = sum(kind["distinct"] for kind in report["kinds"])
    said = (
        f"Seed {report['seed']}, {distinct} different commands and changes, "
        f"{report['seconds']:.0f} s."
    )
    return f"{table(rows, headers)}\n\n{said} {machine_line(report['machine'], 1)}"


def kill_table() -> str:
    """`make kill-table`."""
    report = result("kill_table")
    names = ("half_written", "inputs_changed", "processes_left", "left_behind", "wrong_exit")
    commands = report["commands"]
    rows = [[f"`{one['command']}`", one["kills"], *(one[n] for n in names)] for one in commands]
    rows.append(["all", *(sum(one[n] for one in commands) for n in ("kills", *names))])
    signals: Counter[str] = sum((Counter(one["signals"]) for one in commands), Counter())
    told = ", ".join(f"{count} {name}" for name, count in signals.most_common())
    headers = "command|kills|half-written|inputs changed|processes left|left behind|wrong exit"
    said = f"Seed {report['seed']}: {told}."
    return f"{table(rows, headers)}\n\n{said} {machine_line(report['machine'], 1)}"


def picture_input() -> str:
    """`benchmarks/bench_picture_input.py`."""
    report = result("picture_input")
    rows = []
    for one in report["sets"]:
        plain, pictures = one["AP"]
        times, upload = one["ms_per_picture"], one["upload_bytes"]
        rows.append(
            [
                *(one["set"], f"`{one['weights']}`", one["pictures"]),
                "x".join(map(str, one["picture_size"])),
                *(f"{one['scores']:,}".replace(",", " "), f"{one['within_0.02']:.1%}"),
                *(f"{one['median']:.4f}", f"{one['largest']:.4f}"),
                *(f"{plain:.4f}", f"{pictures - plain:+.5f}"),
                *(f"{size:,}".replace(",", " ") for size in upload),
                *(f"{times[k]:.1f}" for k in ("preprocess", "network", "network_of_pictures")),
            ]
        )
    headers = (
        "set|network|pictures|first is|scores > 0.01|within 0.02|median|largest|AP|difference|"
        "bytes float32|bytes uint8|preprocess ms|net ms|uint8 net ms"
    )
    return f"{table(rows, headers)}\n\n{machine_line(report['machine'], 1)}"


def attribution() -> str:
    """`benchmarks/attribution_table.py`."""
    report = result("attribution")
    rows = []
    for row in report["faults"]:
        named = [
            f"`{one['stage']}` {one['map_change']:+.4f}, {one['detections_changed']}"
            for one in row["named"]
        ]
        told = "; ".join(one["reason"] for one in row["named"] if one["reason"])
        rows.append([row["fault"], "; ".join(named) or "-", told])
    said = f"`{report['network']}` on {report['images']} pictures of digits."
    headers = "planted|named, AP, detections changed|in words"
    return f"{table(rows, headers)}\n\n{said} {machine_line(report['machine'], report['threads'])}"


def evaluation() -> str:
    """What `benchmarks/bench_evaluation.py` measured."""
    report = result("evaluation")
    names = {
        "pycocotools": "pycocotools: COCO, loadRes, COCOeval",
        "ours": "the same numbers with ssd_small",
        "command": "`ssd-small eval --detections`, its whole report",
    }
    first = report["pycocotools"]
    rows = [
        [
            name,
            f"{report[key]['cpu_seconds']:.1f}",
            f"{first['cpu_seconds'] / report[key]['cpu_seconds']:.0f}",
            report[key]["peak_mb"],
            f"{first['peak_mb'] / report[key]['peak_mb']:.1f}",
        ]
        for key, name in names.items()
    ]
    same = "all twelve numbers and AP of each class equal" if report["equal"] else "not equal"
    said = (
        f"{report['images']} pictures, {report['classes']} classes, {report['boxes']} boxes "
        f"({report['truth_mb']} MB), {report['detections']} detections ({report['found_mb']} MB), "
        f"made from a seed; {same}. {report['machine']['cpu']}, Python "
        f"{report['machine']['python']}, hotcoco {report['versions']['hotcoco']}, pycocotools "
        f"{report['versions']['pycocotools']}."
    )
    return f"{table(rows, 'from files to numbers|CPU s|times faster|MB|times less')}\n\n{said}"


BLOCKS: dict[str, Callable[[], str]] = {
    "networks": networks,
    "demo": demo,
    "parity": parity,
    "bench": bench,
    "engines": engines,
    "tensorrt_versions": tensorrt_versions,
    "kernels": kernels,
    "decode_nms": decode_nms,
    "bccd": bccd,
    "training": training,
    "experiments": experiments,
    "damaged_input": damaged_input,
    "kill_table": kill_table,
    "picture_input": picture_input,
    "attribution": attribution,
    "evaluation": evaluation,
}


def render(text: str) -> str:
    """The README with every block filled in."""
    return _BLOCK.sub(lambda m: f"{m[1]}{BLOCKS[m[2]]()}\n{m[3]}", text)


def main() -> None:
    """Rewrite README.md; with ``--check`` only say whether it is up to date."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    rendered = render(text)
    if "--check" in sys.argv[1:]:
        sys.exit(0 if rendered == text else "README.md differs from benchmarks/results: render it")
    readme.write_text(rendered)


if __name__ == "__main__":
    main()
