"""README blocks about how long things take."""

from __future__ import annotations

from typing import Any

from readme_tables import machine_line, result, table

from ssd_small.models.registry import list_models


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


def beside_torchvision() -> str:
    """What `benchmarks/bench_torchvision.py` measured."""
    report = result("torchvision_cpu")
    first = report["results"][0]["total_ms"]
    rows = [
        [
            row["runtime"],
            *(f"{row[part]['median']:.1f}" for part in ("network_ms", "decode_nms_ms")),
            f"{row['total_ms']:.1f}",
            f"{row['total_ms'] / first:.2f}",
            str(row["detections"]),
        ]
        for row in report["results"]
    ]
    headers = "run by|net ms|decode+NMS ms|total ms|relative to torchvision|detections"
    said = f"{report['results'][0]['candidates']} candidates. "
    if (others := report["disturbance"]["others"]) is not None:
        cores = report["machine"]["cores"]
        said += f"Meanwhile other processes used {others:.1f} of {cores} cores. "
    return f"{table(rows, headers)}\n\n{said}{machine_line(report['machine'], report['threads'])}"


def cpu_engines() -> str:
    """`benchmarks/bench_cpu_engines.py`."""
    report = result("cpu_engines")
    kinds = list(report["results"][0]["engines"])
    rows = []
    for row in report["results"]:
        ms = {kind: row["engines"][kind]["network_ms"]["median"] for kind in kinds}
        errors = [f"{row['engines'][kind]['heads_error']:.1g}" for kind in kinds]
        rows.append(
            [
                f"`{row['model']}`",
                *(f"{ms[kind]:.1f}" for kind in kinds),
                *(f"{ms[kinds[0]] / ms[kind]:.2f}" for kind in kinds[1:]),
                ", ".join(errors),
            ]
        )
    headers = ["network", *(f"{kind} ms" for kind in kinds)]
    headers += [f"{kind}, times as fast" for kind in kinds[1:]]
    said = f"{table(rows, '|'.join([*headers, 'heads differ by']))}\n\n"
    if (others := report["disturbance"]["others"]) is not None:
        said += (
            f"Meanwhile other processes used {others:.1f} of {report['machine']['cores']} cores. "
        )
    return said + machine_line(report["machine"], report["threads"])


def beside_imported() -> str:
    """What `benchmarks/bench_import.py` measured, from picture file to detections."""
    report = result("import")
    stages = report["stages"]
    post = {"theirs": "priors and NMS", "ours": "decode and NMS"}
    rows = []
    for name, whole in report["milliseconds"].items():
        side = "theirs" if name == "torchvision" else "ours"
        known = name != "onnxruntime"
        rows.append(
            [
                name,
                *(
                    f"{stages[f'{side} {stage}']:.1f}" if known else ""
                    for stage in ("read", "input", "network", post[side])
                ),
                f"{whole:.1f}",
                f"{whole / report['milliseconds']['torchvision']:.2f}",
            ]
        )
    headers = "run by|read ms|input ms|network ms|decode+NMS ms|total ms|relative to torchvision"
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


def training() -> str:
    """`benchmarks/bench_training.py`."""
    report = result("training_cpu")
    single = [row for row in report["rows"] if row.get("precision", "fp32") == "fp32"]
    rates = {(row["name"], row["layout"]): row for row in single}
    lower = {row["name"]: row for row in report["rows"] if row not in single}
    rows = [
        [
            f"`{name}`" if name in list_models() else name,
            rates[name, "contiguous"]["width"],
            *(
                f"{rates[name, v]['images_per_second']:.2f}"
                for v in ("contiguous", "channels_last")
            ),
            *((_rate(lower.get(name)),) if lower else ()),
            _percent(rates[name, "contiguous"]["cells_with_gradient"]),
        ]
        for name in dict.fromkeys(row["name"] for row in report["rows"])
    ]
    headers = "network|width|images/s|channels-last images/s|"
    headers += "channels-last, bf16 images/s|" * bool(lower) + "cells with a gradient"
    ratios = report["vgg16_times_torchvision"]
    against = (
        f"`vgg16` against torchvision's network, images/s: {ratios['contiguous']:.2f} times in the "
        f"default layout, {ratios['channels_last']:.2f} times in channels-last, "
        f"{ratios['better']:.2f} times with the better layout of either."
    )
    batch = f"Batch {report['batch']}, {report['classes']} classes, fp32 where nothing is said."
    where = machine_line(report["machine"], report["threads"])
    return f"{table(rows, headers)}\n\n{against} {batch} {where}"


def _rate(row: dict[str, Any] | None) -> str:
    return "-" if row is None else f"{row['images_per_second']:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


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
