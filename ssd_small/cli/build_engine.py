"""``ssd-small build-engine``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from .options import FILE, json_option, print_json


@click.command()
@click.argument("onnx_file", metavar="X.onnx", type=FILE)
@click.option(
    "--target",
    type=click.Choice(["auto", "tensorrt", "tensorrt-rtx", "onnxruntime"]),
    default="auto",
    show_default=True,
)
@click.option("--precision", type=click.Choice(["fp32", "fp16"]), default="fp32", show_default=True)
@click.option("--max-batch", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--heads", is_flag=True, help="Leave decode + NMS to the native library.")
@click.option("--output", "-o", type=FILE, help="Engine file; default: named after the ONNX file.")
@json_option
def command(onnx_file: Path, output: Path | None, as_json: bool, **options: Any) -> None:
    """Build an engine and its sidecar (X.engine.json) from an ONNX file of 'ssd-small export'."""
    from ..export.build_engine import BuildOptions, default_engine_path, resolve_target
    from ..files import check_writable

    target = resolve_target(options.pop("target"))
    build_options = BuildOptions(target=target, **options)
    output = output or default_engine_path(onnx_file, target, build_options.precision)
    if output.resolve() == onnx_file.resolve():
        raise UsageError(f"--output {output} would overwrite the ONNX file; name another file")
    check_writable(output)
    from ..requirements import require

    require("onnx", "building an engine")
    from ..export.build_engine import build_engine

    sidecar = build_engine(onnx_file, output, build_options)
    if as_json:
        print_json({"file": str(output), **sidecar.to_dict()})
        return
    receipt = sidecar.receipt
    click.echo(
        f"{output}: {sidecar.target} {sidecar.target_version}, {sidecar.precision}, "
        f"{sidecar.engine['bytes'] / 1e6:.1f} MB, built in {sidecar.seconds:.1f} s\n"
        f"precision receipt: {receipt['half_share']:.0%} of the floating-point tensors are Half "
        f"{receipt['tensors']}"
    )
