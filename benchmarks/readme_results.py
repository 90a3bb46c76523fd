"""README blocks about what the networks find, and whether an engine finds the same."""

from __future__ import annotations

import statistics

from readme_tables import machine_line, result, table

from ssd_small.cli.models import model_rows
from ssd_small.models.registry import get_spec, list_models


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


#: what is looked for, and the network for it; every figure beside it comes from elsewhere
CHOICES = (
    ("large objects, least time", "mobilenet_v1"),
    ("small objects on a CPU or an embedded board", "mobilenet_v1_s1l0"),
    ("small and large ones, on the same", "mobilenet_v1_s1l0_dual"),
    ("large and middle-sized ones, accuracy first", "vgg16"),
    ("all sizes, accuracy first", "vgg16_s1l2_dual"),
)


def which_network() -> str:
    """Which network for which size of objects and which budget."""
    full, quarter = (
        {row["name"]: row for row in model_rows(num_classes=81, width=width)}
        for width in (1.0, 0.25)
    )
    report = result("bench_cpu")
    times = {
        row["model"]: row["total_ms"]["median"]
        for row in report["results"]
        if row["runtime"].startswith("onnxruntime")
    }
    rows = [
        [
            told,
            f"`{name}`",
            *(f"{get_spec(name).levels[0].step:.0f}", f"{get_spec(name).levels[0].sizes[0]:.0f}"),
            *(f"{full[name]['published_map'][size]:.1f}" for size in ("small", "large", "all")),
            *(f"{full[name]['macs'] / 1e9:.1f}", f"{quarter[name]['macs'] / 1e9:.1f}"),
            f"{times[name]:.0f}",
        ]
        for told, name in CHOICES
    ]
    headers = (
        "objects|network|cell, px|smallest prior, px|AP small|large|all|GMAC|at width 0.25"
        "|ms, ONNX Runtime"
    )
    said = (
        "px: at the network's input, for its finest map. AP: published, COCO val2017, percent. ms: "
        "per picture at width 1, including decode + NMS. `vgg16_s1l2` is left out, since the dual "
        "path finds more of every size. "
    )
    return f"{table(rows, headers)}\n\n{said}{machine_line(report['machine'], report['threads'])}"


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
        "network|precision|AP|engine - PyTorch|95 % interval|matched|by rounding|by more|loc|conf"
        "|verdict"
    )
    threads = report["machine"]["cores"]
    return f"{table(rows, headers)}\n\n{machine_line(report['machine'], threads)}"


def int8() -> str:
    """INT8 of the trained networks in the package: benchmarks/bench_int8.py."""
    report = result("int8")
    rows = []
    for row in report["rows"]:
        plan = ""
        if "plan_bytes_fp32" in row:
            plan = f"{row['plan_bytes_fp32'] / 1e6:.1f} -> {row['plan_bytes_int8'] / 1e6:.1f}"
        rows.append(
            [
                f"`{row['network']}`",
                row["target"],
                f"{row['map_fp32']:.4f}",
                f"{row['map_int8']:.4f}",
                f"{row['quantised']}/{row['kept']}",
                plan,
            ]
        )
    headers = "network|target|AP fp32|AP int8|quantised/kept|plan MB"
    return f"{table(rows, headers)}\n\n{machine_line(report['machine'], report['threads'])}"


def full_width() -> str:
    """Parity of the six networks at full width: benchmarks/parity_full_width.py."""
    report = result("full_width")
    rows = [
        [
            f"`{row['network']}`",
            row["precision"],
            *(row["detections"][key] for key in ("matched", "explained", "unexplained")),
            *(f"{row['heads'][key]:.1e}" for key in ("loc_max", "loc_p999")),
            *(f"{row['heads'][key]:.1e}" for key in ("conf_max", "conf_p999")),
            row["verdict"],
        ]
        for row in report["rows"]
    ]
    headers = "network|precision|matched|by rounding|by more|loc|99.9 %|conf|99.9 %|verdict"
    said = f"{report['pictures']} pictures of digits, 81 classes."
    return f"{table(rows, headers)}\n\n{said} {machine_line(report['machine'], report['threads'])}"


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
        f"{', '.join(means)}. {batch} pictures per update. ms: PyTorch, fp32. Minutes: "
        "wall time on one core, with another run on the other. "
        f"{machine_line(report['timed_on'], report['threads'])}"
    )


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


def real_networks() -> str:
    """`benchmarks/real_networks.py`."""
    report = result("real_networks")
    names = {
        "real_tfod_ssd_mobilenetv2_oidv4": "SSD MobileNetV2, Open Images (npm, TFLite)",
        "real_tfod_ssdlite_mobilenetv2_pedestrian": "SSDLite MobileNetV2, people (PyPI, frozen)",
    }
    rows = [
        [
            *(names[one["network"]], one["picture"], one["theirs"], one["found"]),
            *(f"{one[what]:.1e}" if one["found"] else "-" for what in ("corner", "score")),
        ]
        for one in report["rows"]
    ]
    headers = "network|picture|theirs|ours|corner off by (unit square)|score off by"
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
