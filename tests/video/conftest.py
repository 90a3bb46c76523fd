"""Clips that OpenCV writes, and a small engine whose detections are of no matter."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clips import Running, write_clip

MODEL, CLASSES, WIDTH = "mobilenet_v1", 3, 0.1


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("video")


@pytest.fixture(scope="session")
def engine(video_folder: Path) -> Path:
    """A 3-class network of random weights as an ONNX file."""
    pytest.importorskip("onnxruntime")
    torch = pytest.importorskip("torch")
    from ssd_small.export.onnx_file import write_onnx
    from ssd_small.export.to_onnx import onnx_from_network

    from ssd_small.artefacts.description import description_from_spec
    from ssd_small.models.network import create_model

    torch.manual_seed(0)
    net = create_model(MODEL, num_classes=CLASSES, width=WIDTH)
    description = description_from_spec(net.spec, CLASSES, net.width, labels=("cat", "dog"))
    path = video_folder / "m.onnx"
    write_onnx(onnx_from_network(net, description), path)
    return path


@pytest.fixture(scope="session")
def clip(video_folder: Path) -> Path:
    """MPEG-4 in MP4."""
    return write_clip(video_folder / "clip.mp4", "mp4v")


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., None]:
    """Debian's ffmpeg, which has encoders that OpenCV's packages lack."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("not executed here: no program ffmpeg (make video)")

    def run(*arguments: object) -> None:
        command = [program, "-y", "-loglevel", "error", *map(str, arguments)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start the command line; whatever still runs at the end of the test is ended."""
    started: list[Running] = []

    def run(*arguments: object) -> Running:
        folder = tmp_path / f"process-{len(started)}"
        folder.mkdir()
        started.append(Running(folder, *arguments))
        return started[-1]

    yield run
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture(scope="session")
def rtsp() -> Iterator[Callable[[int], subprocess.Popen[str]]]:
    """Starts GStreamer's RTSP server on a port, by the system's Python."""
    python = "/usr/bin/python3"
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if (
        not Path(python).exists()
        or subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode
    ):
        pytest.skip("not executed here: no RTSP server of GStreamer's (make video)")
    started: list[subprocess.Popen[str]] = []

    def run(port: int) -> subprocess.Popen[str]:
        program = Path(__file__).with_name("rtsp_server.py")
        server = subprocess.Popen(
            [python, program, str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        )
        started.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        return server

    yield run
    for one in started:
        one.kill()
        one.wait()
        assert one.stdout is not None
        one.stdout.close()
