"""``ssd-small build-engine``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ..artefacts.build_options import (
    MOST_BATCH,
    MOST_OPTIMIZATION_LEVEL,
    BuildOptions,
    Precision,
    Target,
)
from ..artefacts.int8_options import MOST_PICTURES, Int8Options, Method
from ..errors import BadFile, UsageError
from ..terminal import drawing_stream, shown
from .options import FILE, FOLDER, PictureSize, counted, json_option, note, print_json, say

if TYPE_CHECKING:
    from ..artefacts.sidecar import Sidecar

BATCH = click.IntRange(1, MOST_BATCH)
LEVEL = click.IntRange(0, MOST_OPTIMIZATION_LEVEL)


class _SeveralValues(click.Command):
    """Lets ``--compute-capability 8.6 8.9`` name several, as well as one per option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        taking = False
        for argument in args:
            is_value = argument[:1].isdigit() and argument.replace(".", "", 1).isdigit()
            if taking and is_value:
                spread += ["--compute-capability", argument]
                continue
            spread.append(argument)
            # the value that belongs to the option itself comes next
            taking = len(spread) > 1 and spread[-2] == "--compute-capability" and is_value
        return super().parse_args(ctx, spread)


@click.command(cls=_SeveralValues)
@click.argument("onnx_file", metavar="X.onnx", type=FILE)
@click.option(
    "--target",
    type=click.Choice(get_args(Target)),
    default=BuildOptions.target,
    show_default=True,
    help="auto: tensorrt with a GPU, or tensorrt-rtx with --compute-capability, or onnxruntime. "
    "openvino: for the CPU; ends in its heads.",
)
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    default=BuildOptions.precision,
    show_default=True,
    help="bf16: openvino only, on a processor that supports it.",
)
@click.option("--min-batch", type=BATCH, default=BuildOptions.min_batch, show_default=True)
@click.option("--opt-batch", type=BATCH, help="Batch size to tune for; default: --max-batch.")
@click.option("--max-batch", type=BATCH, default=BuildOptions.max_batch, show_default=True)
@click.option(
    "--opt-picture",
    type=PictureSize(),
    help="Picture size to tune for, of a network made with export --input uint8.",
)
@click.option("--max-picture", type=PictureSize(), help="Largest width and height of its pictures.")
@click.option("--heads", is_flag=True, help="Leave decode + NMS to the native library.")
@click.option(
    "--keep-fp",
    multiple=True,
    metavar="NODE",
    help="Node of X.onnx to keep in fp32 with --precision fp16 or int8; repeatable.",
)
@click.option(
    "--calibration",
    type=FOLDER,
    help="For int8: pictures like those the network will see; annotations are not needed.",
)
@click.option(
    "--calibration-count",
    type=click.IntRange(1, MOST_PICTURES),
    help="Largest number of its pictures to use, spread evenly over the folder.  [default: 64]",
)
@click.option(
    "--method",
    type=click.Choice(get_args(Method)),
    help="Ranges for int8: without the rarest 0.001 % of values, or all values.  [default: "
    "percentile]",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    help="Largest loss of mAP by int8 on --annotations; layers return to fp32 until it holds.",
)
@click.option("--annotations", type=FILE, help="Ground truth (COCO format) of --calibration.")
@click.option(
    "--check-images",
    type=FOLDER,
    help="Check fp16 on up to 32 of these pictures; exit 1 if detections differ beyond rounding.",
)
@click.option(
    "--compute-capability",
    "compute_capabilities",
    multiple=True,
    metavar="8.6 [8.9 ...]",
    help="GPU architectures for a tensorrt-rtx engine; default: this GPU's, or 8.0 and newer.",
)
@click.option("--optimization-level", type=LEVEL, help="Effort of the builder.")
@click.option("--timing-cache", type=FILE, help="Kernel timings to read and write (tensorrt).")
@click.option(
    "--workspace", type=click.IntRange(min=1), metavar="MIB", help="Scratch memory in MiB."
)
@click.option("--version-compatible", is_flag=True, help="Let newer versions run it (tensorrt).")
@click.option("--tf32", is_flag=True, help="Allow TF32 in fp32 convolutions.")
@click.option(
    "--description",
    "described",
    type=FILE,
    metavar="X.json",
    help="Output of 'inspect --json' for X.onnx before another tool dropped its metadata.",
)
@click.option("--verbose", is_flag=True, help="Show the builder's log.")
@click.option("--output", "-o", type=FILE, help="Engine file; default: named after the ONNX file.")
@json_option
def command(
    onnx_file: Path, output: Path | None, described: Path | None, as_json: bool, **options: Any
) -> None:
    """Build an engine and its sidecar (X.engine.json) from an ONNX file by 'ssd-small export'.

    A tensorrt-rtx engine can be built without a GPU; a tensorrt engine is for the GPU it is
    built on.
    """
    from ..export.build_engine import (
        build_engine,
        check_built_files,
        default_engine_path,
        resolve_target,
    )
    from ..requirements import require

    target = resolve_target(options.pop("target"), options["compute_capabilities"])
    build_options = BuildOptions(target=target, int8=_int8_options(options), **options)
    output = output or default_engine_path(onnx_file, target, build_options.precision)
    check_built_files(output, build_options, [onnx_file, described])
    require("onnx", "building an engine")
    from ..artefacts.description_file import read_description

    description = read_description(described) if described else None
    with _ProgressLine() as progress:
        try:
            sidecar = build_engine(onnx_file, output, build_options, progress, description)
        except BadFile as error:
            if described is None:
                raise
            raise BadFile(f"with --description {described}: {error.command_line}") from error
    _note_executed(sidecar)
    if as_json:
        print_json({"file": str(output), **sidecar.to_dict()})
    else:
        for line in _lines(output, sidecar):
            say(line)


def _note_executed(sidecar: Sidecar) -> None:
    """Say of half precision that the processor has none, where that is so."""
    executed = sidecar.receipt.executed or {}
    if sidecar.precision == "fp16" and executed.get("fp32", 0) > executed.get("fp16", 0):
        note(
            f"note: {sidecar.target} executes {executed['fp32']} layers of this fp16 engine in "
            "fp32 on this processor, between casts: the file is smaller, and no picture takes less "
            "time than in fp32"
        )


def _int8_options(options: dict[str, Any]) -> Int8Options | None:
    """Take the options of INT8 out of all; those not given keep their defaults."""
    names = {
        "calibration": "calibration",
        "calibration_count": "count",
        "method": "method",
        "max_drop": "max_drop",
        "annotations": "annotations",
    }
    values = {own: options.pop(name) for name, own in names.items()}
    given = {own: value for own, value in values.items() if value is not None}
    if not given:
        return None
    if "calibration" not in given:
        first = next(name for name, own in names.items() if own in given)
        raise UsageError(
            f"--{first.replace('_', '-')} needs --calibration FOLDER, of the pictures that int8 "
            "is calibrated on"
        )
    return Int8Options(**given)


def _lines(output: Path, sidecar: Sidecar) -> list[str]:
    receipt = sidecar.receipt
    where = (
        f" for {', '.join(sidecar.compute_capabilities)}" if sidecar.compute_capabilities else ""
    )
    lines = [
        f"{output}: {sidecar.target} {sidecar.target_version}{where}, {sidecar.precision}, "
        f"{sidecar.engine.bytes / 1e6:.1f} MB, built in {sidecar.seconds:.1f} s",
        f"precision receipt: {receipt.half_share:.0%} of the floating-point tensors are Half "
        f"({counted(receipt.tensors)})",
    ]
    if receipt.int8:
        lines.append(
            f"int8: {receipt.int8.quantised} of {receipt.int8.quantised + receipt.int8.kept} "
            f"convolutions ({counted(receipt.int8.types)})"
        )
        lines += [f"kept in fp32: {name}: {why}" for name, why in receipt.int8.kept_layers.items()]
    calibration = sidecar.calibration
    if calibration:
        pictures = "picture" if calibration.count == 1 else "pictures"
        lines.append(
            f"calibrated on {calibration.count} {pictures} by {calibration.method}, SHA-256 "
            f"{calibration.digest[:16]}..."
            + "".join(f", mAP {value:.4f} in {name}" for name, value in calibration.map.items())
        )
    if receipt.executed:
        lines.append(f"layers as executed here: {counted(receipt.executed)}")
    if receipt.plan_tensors:
        lines.append(f"read from the plan: {counted(receipt.plan_tensors)}")
    check = sidecar.precision_check
    if check:
        loc, conf, found = check.loc, check.conf, check.detections
        lines.append(
            f"fp16 against fp32 on {check.pictures} {check.images} pictures (CPU): "
            f"loc max {loc.max_error:.2g}, mean {loc.mean_error:.2g}; "
            f"conf max {conf.max_error:.2g}, mean {conf.mean_error:.2g}; "
            f"{found.flipped} detections differ of {found.fp32}, "
            f"{found.unexplained} of them unexplained by the heads: {check.verdict}"
        )
        if check.kept_fp32:
            why = "against overflow" + (" or as asked" if sidecar.options.keep_fp else "")
            lines.append(f"kept in fp32 {why}: {', '.join(check.kept_fp32)}")
    return lines


class _ProgressLine:
    """One line on a terminal with phase and elapsed time, rewritten in place; else nothing."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._shown = sys.stderr.isatty()

    def __call__(self, phase: str, share: float) -> None:
        if self._shown:
            elapsed = time.monotonic() - self._started
            line = f"{elapsed:6.1f} s  {share:4.0%}  {shown(phase)}"
            click.echo(f"\r\x1b[K{line}", drawing_stream(), nl=False)

    def __enter__(self) -> _ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            click.echo("\r\x1b[K", drawing_stream(), nl=False)
