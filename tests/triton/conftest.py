"""Tests with a real Triton server, which ``make test-triton`` installs.

It names the server's environment in ``SSD_SMALL_TRITON`` and a folder of ONNX files in
``SSD_SMALL_TRITON_ONNX``; elsewhere the tests are not collected. The server listens on loopback
only; its backends of networks are a double (``doubles/network_backend.py``), all else is its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from triton_server import TritonServer

ASKED = {"SSD_SMALL_TRITON", "SSD_SMALL_TRITON_ONNX"} <= set(os.environ)
collect_ignore_glob = [] if ASKED else ["test_*.py"]


def pytest_report_header() -> str | None:
    """Why nothing is collected, where this folder is asked for by name."""
    if ASKED:
        return None
    return "tests/triton needs what make test-triton installs: SSD_SMALL_TRITON"


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with every kind of model, as the command writes it."""
    from triton_server import written_repository

    return written_repository(tmp_path_factory.mktemp("written") / "models")


@pytest.fixture(scope="session")
def start(
    written: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., TritonServer]]:
    """Function: start a server on the repository with options; all are ended, and gone."""
    from triton_server import TritonServer

    servers: list[TritonServer] = []

    def run(*options: str) -> TritonServer:
        folder = tmp_path_factory.mktemp("server")
        servers.append(TritonServer(written, folder, options))
        servers[-1].wait_until_ready()
        return servers[-1]

    yield run
    for server in servers:
        server.end()
        assert server.processes() == []


@pytest.fixture(scope="session")
def server(start: Callable[..., TritonServer]) -> TritonServer:
    """One with all models."""
    return start()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Real pictures of several sizes."""
    import cv2

    from ssd_small.serving.triton.warmup import PICTURE

    folder = tmp_path_factory.mktemp("pictures")
    image = cv2.imread(str(PICTURE))
    parts = [image, image[:, ::-1], image[40:, 20:], image[:200, 60:], image[::-1], image[10:280]]
    paths = [folder / f"{number}.png" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        assert cv2.imwrite(str(path), part)
    return paths
