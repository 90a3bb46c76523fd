"""Compare `detect` on a 1080p H.264 file with the bare engine and with decoding alone.

    python benchmarks/bench_video.py [--models mobilenet_v1 mobilenet_v1_s1l0 vgg16] [--turns 3]
        [--output benchmarks/results/video.json]

Debian's ffmpeg makes the clip from its moving test picture. Engines are ONNX Runtime's, at full
width with random weights, batch 4. Frames per second (medians; the variants take turns) of: the
network and decode + NMS on prepared input; decoding the file and nothing else; detecting on frames
of the file in memory; and the file itself, from bytes to detections.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from eval_contenders import write_engine

import ssd_small
from ssd_small.bench.disturbance import Watch
from ssd_small.detection.detector import Detector
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.runtimes.base import empty_input
from ssd_small.video.reading import FileFrames

ROOT = Path(__file__).resolve().parents[1]
SIZE, RATE, BATCH = "1920x1080", 25, 4
#: frames of the clip, and of those the first that are kept in memory
FRAMES, KEPT = 200, 16


def write_clip(path: Path, frames: int) -> Path:
    """A moving picture as H.264."""
    source = f"testsrc2=size={SIZE}:rate={RATE}"
    coded = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p")
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source]
    subprocess.run([*command, "-frames:v", str(frames), *coded, str(path)], check=True)
    return path


def pace(work: Callable[[], int]) -> tuple[float, float]:
    """Frames per second of what returns a number of frames, and its CPU milliseconds a frame."""
    began, spent = time.perf_counter(), time.process_time()
    count = work()
    seconds, used = time.perf_counter() - began, time.process_time() - spent
    return count / seconds, 1e3 * used / count


def through(detector: Detector, source: Any) -> int:
    """How many frames came out of a source with an end: what is begun for nothing counts."""
    return sum(1 for _ in detector.stream(source))


def bare(detector: Detector, images: Any, most: int) -> int:
    """The network and its decode + NMS alone."""
    for _ in range(most // BATCH):
        detector.inference(images)
    return most // BATCH * BATCH


def decoded(clip: Path) -> int:
    """The file and nothing else."""
    return sum(1 for frame in FileFrames(clip) if frame.taken() is not None)


def row_of(model: str, folder: Path, turns: int) -> dict[str, Any]:
    """Medians of a network."""
    with ssd_small.load(write_engine(model, folder, 1.0), max_batch=BATCH) as detector:
        images = empty_input(detector.description, BATCH)
        bare(detector, images, BATCH)
        # some three seconds each
        rate, _ = pace(lambda: bare(detector, images, 16))
        most = BATCH * min(FRAMES // BATCH, max(2, round(3 * rate / BATCH)))
        clip = write_clip(folder / "clip.mp4", most)
        kept = [frame.taken() for frame in islice(FileFrames(clip), KEPT)]
        works = {
            "bare": lambda: bare(detector, images, most),
            "decoding": lambda: decoded(clip),
            "memory": lambda: through(detector, islice(cycle(kept), most)),
            "video": lambda: through(detector, clip),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        for _ in range(turns):
            for name, work in works.items():
                found[name].append(pace(work))
    rates = {name: statistics.median(one for one, _ in values) for name, values in found.items()}
    used = {name: statistics.median(one for _, one in values) for name, values in found.items()}
    # the network has all cores: what else a frame takes of them is taken from it
    most_of_bare = used["bare"] / (used["bare"] + used["decoding"])
    return {
        "model": model,
        "frames": most,
        "frames_per_second": rates,
        "cpu_ms": used,
        "of_bare": {name: rates[name] / rates["bare"] for name in ("memory", "video")},
        "most_of_bare": most_of_bare,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = ["mobilenet_v1", "mobilenet_v1_s1l0", "vgg16"]
    parser.add_argument("--models", nargs="+", default=default)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/video.json")
    given = parser.parse_args()
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as name:
        folder = Path(name)
        rows = [row_of(model, folder, given.turns) for model in given.models]
    report = {
        "commit": commit_of(ROOT),
        "machine": describe_machine(),
        "disturbance": watch.seen().to_dict(),
        "threads": describe_machine()["cores"],
        "clip": f"H.264, {SIZE}, up to {FRAMES} frames",
        "results": rows,
    }
    write_json(given.output, report)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
