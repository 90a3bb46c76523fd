"""``ssd-small serve``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import CheckFailed
from ..terminal import shown
from .options import (
    FILE,
    Number,
    cuda_graph_option,
    note,
    say,
    score_threshold_option,
    served_pixels_option,
    threads_option,
    workers_option,
)
from .tiles_options import asked_of_tiles, check_tiles_of, tiles_options, tiling_of_detector

if TYPE_CHECKING:
    from ..detection.detector import Detector


@click.command()
@click.argument("engine", type=FILE)
@click.option("--model", metavar="NAME", help="Network of a checkpoint that does not record it.")
@click.option("--labels", type=FILE, help="Text file with a class name per line.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Name or address to listen on."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0: any free port.",
)
@click.option(
    "--token",
    envvar="SSD_SMALL_TOKEN",
    help="Answer only requests with 'Authorization: Bearer TOKEN'. SSD_SMALL_TOKEN in the "
    "environment sets it without showing it in the process list.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Copies of the engine that run at the same time.",
)
@click.option(
    "--max-batch",
    type=click.IntRange(min=1),
    help="Pictures per call of the engine. Default: its maximum; 1 on the CPU, where more are not "
    "faster and change the last digits.",
)
@click.option(
    "--max-wait-ms",
    type=Number(0, 10_000),
    default=0.0,
    show_default=True,
    help="Milliseconds that a picture waits for others to fill its batch; those that arrive while "
    "the engine is busy are batched anyway.",
)
@click.option(
    "--queue",
    type=click.IntRange(1, 100_000),
    default=64,
    show_default=True,
    help="Pictures that may wait; further ones are refused with 503 (try again).",
)
@score_threshold_option(
    "Show scores above, unless the request says otherwise",
    "what 'eval --save-operating-point' has saved, else 0.5, or the engine's own where that is "
    "larger.",
)
@tiles_options
@workers_option
@served_pixels_option
@cuda_graph_option
@threads_option
def command(
    engine: Path,
    model: str | None,
    labels: Path | None,
    host: str,
    port: int,
    token: str | None,
    replicas: int,
    max_batch: int | None,
    max_wait_ms: float,
    queue: int,
    thresholds: tuple[tuple[str | None, float], ...],
    workers: int | None,
    cuda_graph: bool,
    threads: int,
    **tiles: Any,
) -> None:
    """Answer pictures over HTTP with the objects that ENGINE finds in them.

    ENGINE is an engine, an ONNX file, a checkpoint or the name of a shipped one. POST /v1/detect
    takes a picture, as the body or as the field 'file' of a form, and answers one entry as 'detect
    --json' prints it; ?score_threshold=0.3 works as there. / is a page for dropping a picture on;
    /health and /metrics are for monitoring. SIGTERM ends the server once every accepted picture has
    its answer.
    """
    from ..requirements import require
    from ..serving.http.settings import ServeSettings

    asked = asked_of_tiles(tiles)
    ServeSettings(token=token)
    check_tiles_of(asked, engine)
    for package in ("cv2", "uvicorn", "python_multipart", "prometheus_client"):
        require(package, "serving")
    from ..serving.http.server import Server, bound_socket, is_loopback, url_of_socket

    with ExitStack() as stack:
        listening = stack.enter_context(bound_socket(host, port))
        if token is None and not is_loopback(listening):
            note(
                f"warning: {shown(host)} can be reached from other machines, and nobody is asked "
                "for anything: pass --token, or leave out --host"
            )
        how: dict[str, Any] = {"model": model, "labels": labels, "workers": workers}
        how |= {"cuda_graph": cuda_graph, "max_batch": max_batch}
        detectors = _opened(stack, engine, replicas, threads, how)
        first = detectors[0]
        usual = 1 if first.runtime.device == "cpu" else first.max_batch
        most = min(max_batch or usual, first.max_batch)
        settings = ServeSettings(host, port, most, max_wait_ms / 1000, queue, token)
        tiling = tiling_of_detector(first, asked)
        threshold = dict(thresholds) or None
        first.filter_from_threshold(threshold)
        if tiling is None:
            for one in detectors:
                one.warmup()
        server = Server(detectors, settings, listening, tiling=tiling, threshold=threshold)
        name = f"{first.description.model} on {first.runtime.name}"
        lost = server.run(lambda: say(f"serving {name} at {url_of_socket(listening)}"))
    if lost:
        raise CheckFailed(f"{lost} requests had no answer when the time for the end was over")
    note("ssd-small: the server has ended; every request has its answer")


def _opened(
    stack: ExitStack, engine: Path, replicas: int, threads: int, how: dict[str, Any]
) -> list[Detector]:
    """Copies of a detector, which share the cores."""
    from ..detection.load import load
    from ..runtimes.several import threads_of_each

    threads = threads_of_each(threads, replicas)
    return [stack.enter_context(load(engine, threads=threads, **how)) for _ in range(replicas)]
