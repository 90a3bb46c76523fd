"""Compare `serve` under load with the same engine without HTTP: pictures per second, latency.

    python benchmarks/bench_serve.py [--clients 1 8 32] [--seconds 5] [--turns 3] [--threads 1]
        [--output benchmarks/results/serve.json]

The engine is the shipped digits network as ONNX. Without HTTP, encoded pictures in memory are
decoded and detected one by one with the same calls, in this process. With HTTP, `ssd-small serve`
is a process on loopback, to which clients (threads of this process) post the same pictures one
after the other; the processor time they use is missing to the server. The two take turns. First,
every picture's answer is compared with the detections without HTTP. At the end, the server is told
to stop while 16 clients are posting, each until it is refused: ``lost`` counts their requests that
got neither a complete answer nor a refusal.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import ssd_small
from ssd_small.bench.disturbance import Watch
from ssd_small.datasets.digits import make_digits
from ssd_small.detection.detector import Detector
from ssd_small.detection.entry import entry_from_outcome
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.pictures.reading import image_from_bytes

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "digits/mobilenet_v1_s1l0"
PICTURES, QUALITY, AT_END = 8, 92, 16
PATIENCE = 60


def write_engine(folder: Path) -> Path:
    """The network as ONNX."""
    path = folder / "digits.onnx"
    words = ["export", "--weights", WEIGHTS, "-o", str(path)]
    subprocess.run([sys.executable, "-m", "ssd_small", *words], check=True, capture_output=True)
    return path


def encoded_pictures(folder: Path) -> list[bytes]:
    """Photographs with digits on them, as JPEG."""
    digits = make_digits(folder / "digits", train_images=0, val_images=PICTURES)
    found = []
    for path in sorted(digits.val_images.iterdir()):
        quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        found.append(cv2.imencode(".jpg", cv2.imread(str(path)), quality)[1].tobytes())
    return found


@contextmanager
def server(engine: Path, threads: int, options: Sequence[str]) -> Iterator[tuple[Any, int]]:
    """The process, and the port that it listens on."""
    words = [sys.executable, "-m", "ssd_small", "serve", str(engine), "--port", "0"]
    words += ["--threads", str(threads), *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().rpartition(b":")[2])
        finally:
            if process.poll() is None:
                process.terminate()


def detected(detector: Detector, content: bytes) -> dict[str, Any]:
    """The entry of a picture, without HTTP."""
    pixels = image_from_bytes(content, "picture")
    outcome, found = next(iter(detector.outcomes([pixels], only_shown=True)))
    return entry_from_outcome(outcome, found)


def ask(connection: http.client.HTTPConnection, content: bytes) -> tuple[int, Any]:
    """Status and entry."""
    connection.request("POST", "/v1/detect", content)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def bare(detector: Detector, pictures: Sequence[bytes], seconds: float) -> dict[str, Any]:
    """Without HTTP, one picture after the other."""
    taken = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        started = time.perf_counter()
        detected(detector, pictures[len(taken) % len(pictures)])
        taken.append(time.perf_counter() - started)
    return {"seconds": time.perf_counter() - began, "taken": taken, "refused": 0, "lost": 0}


def load(
    port: int,
    pictures: Sequence[bytes],
    clients: int,
    is_over: Callable[[], bool],
    *,
    until_refused: bool = False,
) -> dict[str, Any]:
    """So many clients, each with one picture at a time."""
    taken: list[float] = []
    refused: list[int] = []
    lost: list[str] = []

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        while not is_over():
            number += 1
            started = time.perf_counter()
            try:
                status, _ = ask(connection, pictures[number % len(pictures)])
            except ConnectionRefusedError:  # the door is closed
                return
            except (OSError, ValueError, http.client.HTTPException) as error:
                lost.append(type(error).__name__)
                return
            (taken if status == 200 else refused).append(time.perf_counter() - started)
            if status != 200 and until_refused:
                return

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    began = time.perf_counter()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "taken": taken, "refused": len(refused), "lost": len(lost)}


def for_seconds(seconds: float) -> Callable[[], bool]:
    """Whether they are over."""
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() > end


def row(name: str, clients: int, turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the turns come to."""
    taken = np.concatenate([one["taken"] for one in turns])
    rates = [len(one["taken"]) / one["seconds"] for one in turns]
    return {
        "name": name,
        "clients": clients,
        "pictures": len(taken),
        "pictures_per_second": float(np.median(rates)),
        "range": [min(rates), max(rates)],
        "p50_ms": 1e3 * float(np.median(taken)),
        "p99_ms": 1e3 * float(np.percentile(taken, 99)),
        "refused": sum(one["refused"] for one in turns),
        "lost": sum(one["lost"] for one in turns),
    }


def at_end(process: Any, port: int, pictures: Sequence[bytes]) -> dict[str, Any]:
    """Told to end under load."""
    seen: list[dict[str, Any]] = []
    over = for_seconds(PATIENCE)

    def ask_until_refused() -> None:
        seen.append(load(port, pictures, AT_END, over, until_refused=True))

    thread = threading.Thread(target=ask_until_refused)
    thread.start()
    time.sleep(1.5)
    began = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    code = process.wait(PATIENCE)
    seconds = time.perf_counter() - began
    thread.join()
    one = seen[0]
    answers = {"answered": len(one["taken"]), "refused": one["refused"], "lost": one["lost"]}
    return {"clients": AT_END, "exit": code, "seconds": seconds, **answers}


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The report."""
    engine, pictures = write_engine(folder), encoded_pictures(folder)
    threads = arguments.threads
    with ssd_small.load(engine, threads=threads) as detector:
        began = time.perf_counter()
        with server(engine, threads, ["--queue", "64"]) as (process, port):
            start = time.perf_counter() - began
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            for content in pictures:
                answer = ask(connection, content)
                if answer != (200, detected(detector, content)):
                    raise SystemExit(f"another answer than without HTTP: {answer}")
            connection.close()
            watch = Watch()
            turns: dict[int, list[dict[str, Any]]] = {n: [] for n in (0, *arguments.clients)}
            for number in range(arguments.turns):
                for clients in list(turns)[:: -1 if number % 2 else 1]:
                    if clients:
                        over = for_seconds(arguments.seconds)
                        turns[clients].append(load(port, pictures, clients, over))
                    else:
                        turns[0].append(bare(detector, pictures, arguments.seconds))
            seen = watch.seen()
            end = at_end(process, port, pictures)
    rows = [row("serve" if n else "bare", n, each) for n, each in turns.items()]
    return {
        "machine": describe_machine(),
        "commit": commit_of(ROOT),
        "threads": threads,
        "network": WEIGHTS,
        "mean_bytes": float(np.mean([len(one) for one in pictures])),
        "start_seconds": start,
        "disturbance": seen.to_dict(),
        "results": rows,
        "end": end,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/serve.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        report = measure(arguments, Path(name))
    write_json(arguments.output, report)
    print(json.dumps(report["results"], indent=2), json.dumps(report["end"]))


if __name__ == "__main__":
    main()
