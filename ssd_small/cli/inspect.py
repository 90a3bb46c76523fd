"""``ssd-small inspect``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from ..artefacts.build_options import ONNX_TARGETS
from ..errors import MissingRequirement
from .options import FILE, counted, json_option, print_json, print_table, say


@click.command()
@click.argument("file", type=FILE)
@json_option
def command(file: Path, as_json: bool) -> None:
    """Show what FILE records: a checkpoint, an ONNX file, an engine or its sidecar.

    Network, class names, preprocessing, post-processing, inputs and outputs; for an engine also how
    it was built, and its layers where they can be read.
    """
    from ..doctor.inspection import inspect_file

    found = inspect_file(file)
    if as_json:
        print_json(found)
        return
    lines = list(_lines(found))
    width = max(len(name) for name, _ in lines) + 2
    for name, value in lines:
        say(f"{name + ':':<{width}}{value}")
    if found["tensors"]:
        rows = [
            [t["name"], t["mode"], t["type"], " ".join(map(str, t["shape"]))]
            for t in found["tensors"]
        ]
        print_table(rows, ["tensor", "mode", "type", "shape"])
    if found["kind"] in ("engine", "onnx"):
        _print_layers(found)


def _print_layers(found: dict[str, Any]) -> None:
    layers = found["layers"]
    if layers is None:
        say(f"layers: not known here: {found['unknown']}")
        return
    if isinstance(layers, list):
        kinds = (v.get("LayerType", "?") if isinstance(v, dict) else "not told" for v in layers)
        layers = dict(Counter(kinds).most_common())
    print_table([[kind, str(count)] for kind, count in layers.items()], ["layer", "count"])
    executed = found.get("executed")
    if executed is not None:
        rows = [
            [kind, precision, str(count)]
            for kind, counts in executed["layers"].items()
            for precision, count in counts.items()
        ]
        print_table(rows, ["executed here", "precision", "count"])


def _lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is told in a line each."""
    from ..postprocess import PostprocessParams
    from ..postprocess.protocol import text_from_params

    if found["model"] is None:
        yield "checkpoint", "without a record of its network: pass --model where it is used"
    else:
        yield (
            "network",
            f"{found['model']}, {found['num_classes']} classes, width {found['width']:g}",
        )
        yield "classes", _shortened(found["labels"])
        yield "input", _input(found)
        if (tiles := found.get("tiles")) is not None:
            yield "tiles", _tiles(tiles)
        inside = "inside" if found["has_decode_nms"] else "outside"
        # a newer version may have added parameters
        known = {one.name for one in fields(PostprocessParams)}
        told = {name: value for name, value in found["postprocess"].items() if name in known}
        params = PostprocessParams.from_dict(told)
        yield "decode + NMS", f"{inside}; {params.activation}, {text_from_params(params)}"
        if (point := found.get("operating_point")) is not None:
            yield "in use", f"score > {point['score_threshold']:g}, F1 {point['f1']:.3f} at IoU 0.5"
        if (size := found.get("object_size")) is not None:
            yield "trained on", _object_size(size)
    yield "weights", found["weights"]
    if found["kind"] == "checkpoint":
        yield "state dict", f"{found['state_dict']} tensors, {found['parameters']:,} values"
    if found["kind"] in ("engine", "sidecar"):
        yield from _build_lines(found)
    if found["model"] is not None:
        yield "written by", f"ssd-small {found['tool_version']}, format {found['format']}"


def _build_lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    batch, receipt = found["batch"], found["receipt"]
    yield "built for", f"{found['target']} {found['target_version']}, {found['precision']}"
    if found["compute_capabilities"]:
        yield "compute capabilities", ", ".join(found["compute_capabilities"])
    yield "batch", f"{batch['min']} to {batch['max']}, tuned for {batch['opt']}"
    yield "precision receipt", f"{receipt['half_share']:.0%} Half ({counted(receipt['tensors'])})"
    listed = receipt.get("plan_tensors")
    if found["target"] not in ONNX_TARGETS:
        yield "tensors in the plan", counted(listed) if listed else "not listed"
    if "quantised" in receipt:
        convolutions = receipt["quantised"] + receipt["kept"]
        types = counted(receipt["types"])
        yield "INT8", f"{receipt['quantised']} of {convolutions} convolutions ({types})"
    if calibration := found.get("calibration"):
        yield (
            "calibrated on",
            (
                f"{calibration['count']} pictures by {calibration['method']}, sha256 "
                f"{calibration['digest']}"
            ),
        )
    if "executed" in receipt:
        yield "executed when built", counted(receipt["executed"])
    if found.get("executed"):
        yield "executed here", counted(found["executed"]["precisions"])
    elif "executed_unknown" in found:
        yield "executed here", f"not known: {found['executed_unknown']}"
    yield "from", f"{found['onnx']['file']}, sha256 {found['onnx']['sha256']}"
    yield "engine", f"{found['engine']['bytes']:,} bytes, sha256 {found['engine']['sha256']}"
    if found["plugin"]:
        yield "plugin", f"version {found['plugin']['version']}"
        if found["target"] == "tensorrt":
            yield from _lines_for_tools()


def _lines_for_tools() -> Iterator[tuple[str, str]]:
    """How other tools load the plugin that this engine needs, if it is installed here."""
    from ..runtimes.plugin_library import find_plugin
    from ..runtimes.plugin_tools import lines_for_tools

    try:
        plugin = find_plugin()
    except MissingRequirement:
        return
    for tool, line in lines_for_tools(plugin).items():
        yield f"plugin in {tool}", line


def _object_size(size: dict[str, float]) -> str:
    return (
        f"objects of {size['picture']:.1f} px (median side), {size['network']:.1f} px at the "
        "network's input"
    )


def _shortened(names: list[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown}, ... ({len(names)})" if len(names) > 12 else shown


def _tiles(tiles: dict[str, Any]) -> str:
    return (
        f"{tiles['columns']}x{tiles['rows']} of {tiles['width']}x{tiles['height']} pixels, overlap "
        f"{tiles['overlap']:g}, cut inside"
    )


def _resizing(values: dict[str, Any]) -> str:
    """How pictures come to the input's size: linear, float32, letterbox on (0, 0, 0)."""
    words = [values["interpolation"]]
    if "resize" in values:
        words.append(values["resize"])
    if values.get("antialias"):
        words.append("antialias")
    if "fit" in values:
        pad = ", ".join(str(level) for level in values.get("pad", (0, 0, 0)))
        words.append(values["fit"] + (f" on ({pad})" if values["fit"] == "letterbox" else ""))
    if values.get("reduced_decoding"):
        words.append("large JPEG decoded at a fraction")
    return ", ".join(words)


def _input(found: dict[str, Any]) -> str:
    """What the network takes, and what is made of it before it or inside."""
    taken, values = found.get("input"), found["preprocessing"]
    mean, std = (", ".join(f"{v:g}" for v in values[name]) for name in ("mean", "std"))
    made = (
        f"{values['width']}x{values['height']} pixels ({_resizing(values)}), "
        f"{values['color_order']}, minus ({mean}), divided by ({std})"
    )
    if taken is None:
        return made
    size = f"{taken['width']}x{taken['height']} pixels" if taken["width"] else "any size"
    return (
        f"pictures as they are, {taken['type']} {taken['layout']} {taken['color_order']}, {size}; "
        f"inside made to {made}"
    )
