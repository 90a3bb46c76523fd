"""``ssd-small triton``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..artefacts.build_options import MOST_BATCH
from ..errors import UsageError, quoted
from ..export.opset import NEWEST_OPSET
from ..terminal import shown
from .options import FILE, FOLDER, json_option, note, print_json, say

if TYPE_CHECKING:
    from ..serving.triton.repository import WrittenRepository

#: below, converters lack operators of these networks; formats go with the operator sets
_OLDEST_OPSET, _OLDEST_IR, _NEWEST_IR = 13, 6, 13


@click.command()
@click.argument("source", metavar="ENGINE|ONNX", type=FILE)
@click.option(
    "--output", "-o", type=FOLDER, required=True, help="Model repository; created if missing."
)
@click.option("--name", help="Name of the model. Default: the file name without its extension.")
@click.option(
    "--max-batch",
    type=click.IntRange(1, MOST_BATCH),
    help="Pictures per call. Default: the engine's maximum; 8 for an ONNX file.",
)
@click.option(
    "--instances",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Copies that run at once.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "gpu"]),
    help="Device of the instances. Default: every GPU for a TensorRT plan, else cpu.",
)
@click.option(
    "--queue-delay",
    type=click.IntRange(0, 10_000_000),
    default=1000,
    show_default=True,
    metavar="US",
    help="Microseconds that a request waits for others to share its batch.",
)
@click.option(
    "--threads",
    type=click.IntRange(0, 1024),
    default=0,
    help="Of ONNX Runtime per instance; 0: one per core.",
)
@click.option(
    "--opset",
    type=click.IntRange(_OLDEST_OPSET, NEWEST_OPSET),
    help="Convert an ONNX file to this operator set, for an older container.",
)
@click.option(
    "--ir-version",
    type=click.IntRange(_OLDEST_IR, _NEWEST_IR),
    help="Write an ONNX file in this version of the format, for an older container.",
)
@click.option(
    "--inline",
    is_flag=True,
    help="Standard operators instead of a function in an ONNX file, for an older container.",
)
@click.option(
    "--warmup-image",
    type=FILE,
    help="Picture to run the model on before clients connect. Default: one in the package.",
)
@click.option(
    "--ensemble",
    is_flag=True,
    help="Also NAME_ensemble: encoded pictures in, detections in pixels out.",
)
@click.option(
    "--python-env",
    metavar="DIR",
    help="With --ensemble: the virtual environment on the server that holds ssd-small[images], or "
    "'' for the server's own Python. Default: the one that this command runs in.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1, 2**30),
    help="With --ensemble: most pixels of a picture that is decoded. Default: 67108864.",
)
@json_option
def command(
    source: Path,
    output: Path,
    name: str | None,
    max_batch: int | None,
    opset: int | None,
    ir_version: int | None,
    inline: bool,
    warmup_image: Path | None,
    ensemble: bool,
    python_env: str | None,
    max_pixels: int | None,
    as_json: bool,
    **serving: Any,
) -> None:
    """Write a model repository for NVIDIA's Triton Inference Server.

    ONNX files and engines of ONNX Runtime are run by its onnxruntime backend, TensorRT plans by its
    tensorrt backend, for which the plugin is placed in the model's folder. The repository may hold
    other models; a model of the same name is replaced if this command wrote it. The commands that
    start a server are printed, and saved in the model's README.md.
    """
    from ..requirements import require
    from ..serving.triton.configuration import ServingOptions
    from ..serving.triton.ensemble import USUAL_MAX_PIXELS, EnsembleOptions
    from ..serving.triton.repository import check_name, write_repository
    from ..serving.triton.source import SourceChanges, network_from_file
    from ..serving.triton.warmup import PICTURE

    for option, given in (("--python-env", python_env), ("--max-pixels", max_pixels)):
        if given is not None and not ensemble:
            raise UsageError(f"{option} goes with --ensemble; without it no step runs in Python")
    if name is not None:
        check_name(name)
    require("cv2", "the picture to warm up on")
    changes = SourceChanges(opset, ir_version, inline)
    network = network_from_file(source, changes, max_batch)
    steps = None
    if ensemble:
        own = sys.prefix if sys.prefix != sys.base_prefix else ""
        environment = own if python_env is None else python_env
        if not environment.isprintable():
            raise UsageError(f"--python-env {quoted(environment)}: expected a path that is text")
        steps = EnsembleOptions(environment, max_pixels or USUAL_MAX_PIXELS)
    from ..artefacts.outputs import engine_inputs

    written = write_repository(
        network,
        output,
        source.stem if name is None else name,
        ServingOptions(**serving),
        ensemble=steps,
        picture=warmup_image or PICTURE,
        inputs=(*engine_inputs(source), *([warmup_image] if warmup_image else ())),
    )
    if written.left is not None:
        note(
            f"note: {shown(written.left)} was written for the network before; write it again with "
            "--ensemble, or remove it"
        )
    if as_json:
        print_json(_values(output, network.backend, written))
        return
    for model in written.models:
        say(str(output / model))
    say("start it with one of:")
    for line in written.lines:
        say(f"  {line}")
    if steps is not None:
        where = shown(str(steps.environment or "the server's own Python"))
        note(f"note: the steps in Python import ssd-small of {where} (--python-env)")


def _values(output: Path, backend: str, written: WrittenRepository) -> dict[str, Any]:
    return {
        "repository": str(output),
        "backend": backend,
        "models": list(written.models),
        "entry": written.entry,
        "files": [str(path) for path in written.files],
        "start": list(written.lines),
    }
