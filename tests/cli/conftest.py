"""A small network, its ONNX file and engine, a small data set, and the program as a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from command_line import Outcome

if TYPE_CHECKING:
    from traced import Traces

MODEL, CLASSES, WIDTH = "mobilenet_v1", 3, 0.1

_HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture(scope="session")
def spawn() -> Callable[..., Outcome]:
    """Call the command line in a process of its own."""

    def run(*arguments: object, env: dict[str, str] | None = None, **options: object) -> Outcome:
        done = subprocess.run(  # type: ignore[call-overload]
            [sys.executable, "-m", "ssd_small", *map(str, arguments)],
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **(env or {})},
            **options,
        )
        return Outcome(done.returncode, done.stdout or "", done.stderr)

    return run


@pytest.fixture
def without(spawn: Callable[..., Outcome], tmp_path: Path) -> Callable[..., Outcome]:
    """Call the program where packages are not installed."""

    def run(hidden: Sequence[str], *arguments: object) -> Outcome:
        code = _HIDE.format(hidden=set(hidden))
        (tmp_path / "sitecustomize.py").write_text(code)
        path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
        return spawn(*arguments, env={"PYTHONPATH": path})

    return run


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="session")
def checkpoint(session_folder: Path) -> Path:
    """State dict of a 3-class network of width 0.1."""
    torch = pytest.importorskip("torch")
    from ssd_small.models.network import create_model

    torch.manual_seed(0)
    path = session_folder / "m.pth"
    torch.save(create_model(MODEL, num_classes=CLASSES, width=WIDTH).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def onnx_file(session_folder: Path, checkpoint: Path, traces: Traces) -> Path:
    """The network as ONNX, decode + NMS inside."""
    pytest.importorskip("onnxscript")
    from ssd_small.export.onnx_file import write_onnx
    from ssd_small.export.to_onnx import onnx_from_network

    from ssd_small.artefacts.description import description_from_spec
    from ssd_small.models.checkpoint import model_from_checkpoint

    net = model_from_checkpoint(MODEL, checkpoint)
    description = description_from_spec(net.spec, CLASSES, net.width, labels=("cat", "dog"))
    path = session_folder / "m.onnx"
    with traces():
        write_onnx(onnx_from_network(net, description.with_decode_nms(True)), path)
    return path


@pytest.fixture(scope="session")
def engine(session_folder: Path, onnx_file: Path) -> Path:
    """An engine of ONNX Runtime with its sidecar; do not write to it."""
    pytest.importorskip("onnxruntime")
    from ssd_small.export.build_engine import build_engine

    from ssd_small.artefacts.build_options import BuildOptions

    path = session_folder / "m.engine"
    build_engine(onnx_file, path, BuildOptions("onnxruntime"))
    return path


@pytest.fixture
def own_engine(engine: Path, tmp_path: Path) -> Path:
    """A copy of the engine and its sidecar, to be damaged."""
    for file in (engine, engine.with_name("m.engine.json")):
        shutil.copy(file, tmp_path)
    return tmp_path / "m.engine"


@pytest.fixture(scope="session")
def pictures(session_folder: Path) -> Path:
    """A folder with two small pictures, a.jpg and b.png (80 x 60)."""
    cv2 = pytest.importorskip("cv2")
    folder = session_folder / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    for name in ("a.jpg", "b.png"):
        assert cv2.imwrite(str(folder / name), pixels)
    return folder


@pytest.fixture
def truth() -> dict[str, list[dict[str, object]]]:
    """COCO annotations of the pictures, to be changed."""
    size = {"width": 80, "height": 60}
    return {
        "images": [
            {"id": 1, "file_name": "a.jpg", **size},
            {"id": 2, "file_name": "b.png", **size},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [5, 5, 20, 20], "area": 400}
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
    }


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[object], Path]:
    """Write a value as JSON and give its path."""

    def save(value: object) -> Path:
        path = tmp_path / "value.json"
        path.write_text(json.dumps(value))
        return path

    return save


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of pictures to train on, and ``truth.json``."""
    from training_pictures import write_pictures

    folder = tmp_path_factory.mktemp("data")
    write_pictures(folder)
    return folder
