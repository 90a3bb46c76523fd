"""``ssd-small inspect``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from .options import FILE, json_option, print_json, print_table


@click.command()
@click.argument("engine", type=FILE)
@json_option
def command(engine: Path, as_json: bool) -> None:
    """Show the sidecar of ENGINE, its inputs and outputs, layers and types where they are told."""
    from ..doctor.inspection import inspect_engine

    found = inspect_engine(engine)
    if as_json:
        print_json(found)
        return
    for name, value in _summary(found["sidecar"]):
        click.echo(f"{name}: {value}")
    rows = [
        [t["name"], t["mode"], t["type"], " ".join(map(str, t["shape"]))] for t in found["tensors"]
    ]
    print_table(rows, ["tensor", "mode", "type", "shape"])
    layers = found["layers"]
    if layers is None:
        click.echo(f"layers: not known here: {found['unknown']}")
        return
    if isinstance(layers, list):
        kinds = (v.get("LayerType", "?") if isinstance(v, dict) else "not told" for v in layers)
        layers = dict(Counter(kinds).most_common())
    print_table([[kind, str(count)] for kind, count in layers.items()], ["layer", "count"])


def _summary(sidecar: dict[str, Any]) -> list[tuple[str, str]]:
    description, batch, receipt = sidecar["description"], sidecar["batch"], sidecar["receipt"]
    lines = [
        (
            "network",
            f"{description['model']}, {description['num_classes']} classes, "
            f"width {description['width']:g}, weights {description['weights']}",
        ),
        ("built for", f"{sidecar['target']} {sidecar['target_version']}, {sidecar['precision']}"),
        ("batch", f"{batch['min']} to {batch['max']}, tuned for {batch['opt']}"),
        ("precision receipt", f"{receipt['half_share']:.0%} Half, {receipt['tensors']}"),
        ("tensors in the plan", str(receipt.get("plan_tensors") or "not listed")),
        ("post-processing", str(description["postprocess"])),
        ("from", f"{sidecar['onnx']['file']}, sha256 {sidecar['onnx']['sha256']}"),
        ("engine", f"{sidecar['engine']['bytes']} bytes, sha256 {sidecar['engine']['sha256']}"),
    ]
    if sidecar["compute_capabilities"]:
        lines.insert(2, ("compute capabilities", ", ".join(sidecar["compute_capabilities"])))
    if sidecar["plugin"]:
        lines.append(("plugin", f"version {sidecar['plugin']['version']}"))
    return lines
