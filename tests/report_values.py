"""What eval, bench and parity print as JSON, small and by hand, to make pages of."""

from __future__ import annotations

from typing import Any

MACHINE = {
    "cpu": "A processor",
    "cores": 2,
    "gpus": [{"name": "A GPU", "capability": "9.0"}],
    "driver": "13.0",
    "system": "Linux x86_64",
    "python": "3.12.0",
    "packages": {"numpy": "2.0.0"},
}
_PARAMS = {
    "score_threshold": 0.01,
    "iou_threshold": 0.6,
    "variances": [0.1, 0.2],
    "activation": "softmax",
    "background_label": 0,
    "pre_nms_topk": 0,
    "keep_topk_per_class": 100,
    "keep_topk": 0,
    "pixel_offset": 1 / 300,
}


def evaluation(names: tuple[str, ...] = ("cat", "dog")) -> dict[str, Any]:
    """What ``eval --json`` prints of a result file."""
    classes = [
        {"name": name, "ap": 0.5, "ap50": 0.75, "boxes": 3, "detections": 4} for name in names
    ]
    sizes = [(0, 8, 0.123), (8, 16, None), (16, None, 0.789)]
    metrics = {"AP": 0.456, "AP50": 0.7, "AP_small": 0.321, "AP_medium": 0.4, "AP_large": None}
    return {
        "metric": "coco",
        "annotations": "truth.json",
        "images": 2,
        "boxes": 6,
        "source": "found.json",
        "protocol": None,
        "unreadable": [],
        "skipped": [],
        "metrics": metrics,
        "detections": 8,
        "classes": classes,
        "by_size": [
            {"from_px": a, "to_px": b, "at": "picture", "ap": ap, "recall": 0.5, "boxes": 2}
            for a, b, ap in sizes
        ],
        "by_level": [
            {
                "level": level,
                "rows": side,
                "columns": side,
                "boxes": boxes,
                "median_px": median,
                "ap": ap,
                "recall": ap,
            }
            for level, (side, boxes, median, ap) in enumerate(
                [(38, 3, 17.3, 0.234), (19, 0, None, None)]
            )
        ],
        "curves": [{"size": "small", "precision": [0.9] * 101}],
        "operating_point": {
            "score_threshold": 0.3,
            "precision": 0.8,
            "recall": 0.6,
            "f1": 0.686,
            "iou": 0.5,
            "by": "best F1",
            "classes": dict.fromkeys(names, 0.25),
        },
    }


def evaluation_of(engine: str, small: float, model: str = "mobilenet_v1") -> dict[str, Any]:
    """The same of an engine with an AP of small objects."""
    report = evaluation()
    about = {
        "source": engine,
        "model": model,
        "runtime": "onnxruntime 1.20.0",
        "precision": "fp32",
        "box_convention": "exclusive",
        "protocol": {"name": "coco", **_PARAMS},
        "postprocess": _PARAMS,
        "seconds": {"total": 0.1, "network": 0.06, "decode_nms": 0.02},
    }
    return report | about | {"metrics": report["metrics"] | {"AP_small": small}}


def timing(median: float) -> dict[str, Any]:
    return {
        "median": median,
        "p90": median * 1.1,
        "p99": median * 1.2,
        "p999": median * 1.3,
        "spread": 0.02,
        "runs": 5,
    }


def measurement(
    engine: str | None, median: float, batch: int = 1, model: str = "mobilenet_v1"
) -> dict[str, Any]:
    return {
        "model": model,
        "runtime": "onnxruntime 1.20.0",
        "precision": "fp32",
        "batch": batch,
        "engine": engine,
        "network_ms": timing(median),
        "decode_nms_ms": None,
        "total_ms": timing(median),
        "images_per_second": 1e3 / median,
        "postprocess": _PARAMS,
        "published_ms": None,
        "ledger": {
            "stages": {
                name: timing(median / 3) | {"share": 0.3333}
                for name in ("read", "network", "decode_nms")
            },
            "total_ms": timing(median),
            "images_per_second": 1e3 / median,
            "images_per_second_overlapped": 2e3 / median,
            "workers": 2,
            "pictures": 4,
            "batch": batch,
        },
        "samples_ms": [median * (1 + step / 20) for step in range(5)],
    }


def bench(*rows: dict[str, Any]) -> dict[str, Any]:
    """What ``bench --json`` prints."""
    return {"machine": MACHINE, "threads": 2, "results": list(rows)}


def parity(verdict: str = "different", engine: str = "x.engine") -> dict[str, Any]:
    """What ``parity --json`` prints of an engine with a wrong mean."""

    def row(before: float, after: float) -> dict[str, Any]:
        difference = after - before
        return {
            "reference": before,
            "engine": after,
            "difference": difference,
            "interval": [difference - 0.001, difference + 0.001],
        }

    def side(path: str) -> dict[str, Any]:
        return {
            "path": path,
            "source": "engine",
            "runtime": "onnxruntime 1.20.0",
            "precision": "fp32",
            "model": "mobilenet_v1",
        }

    stages = [("mean", -0.0312, 40), ("nms", 0.0011, 3), ("network", 0.0, 0)]
    example = {
        "picture": "2.png",
        "class": "cat",
        "box": [10.0, 10.0, 20.0, 20.0],
        "score": 0.8765,
        "side": "reference",
        "explained": False,
        "reason": "the engine has no detection near it",
    }
    return {
        "verdict": verdict,
        "why": ["AP differs by -0.03000, more than 0.001"] if verdict == "different" else [],
        "protocol": {"name": "coco", **_PARAMS},
        "reference": side("w.pth"),
        "engine": side(engine),
        "images": 2,
        "map": row(0.5, 0.47)
        | {name: row(0.4, 0.39) for name in ("small", "medium", "large")}
        | {"classes": [{"name": "cat", **row(0.5, 0.47)}]},
        "detections": {
            "reference": 9,
            "engine": 8,
            "matched": 7,
            "explained": 1,
            "unexplained": 2,
            "examples": [example],
        },
        "heads": [
            {"level": 0, "loc_max": 0.1, "loc_p999": 0.05, "conf_max": None, "conf_p999": 0.01}
        ],
        "attribution": [
            {
                "stage": name,
                "map_cost": abs(change),
                "map_change": change,
                "detections_changed": count,
                "reason": None,
            }
            for name, change, count in stages
        ],
        "first_layer": {"name": "conv1", "operator": "Conv", "error": 0.25, "growth": None},
        "self_consistency": [{"check": "rows", "largest": 0.0}],
        "notes": [],
        "unreadable": [],
    }
