"""The files that ARCHITECTURE.md lists on the way of the data are those that calls enter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from architecture_checks import DOCUMENT, steps

import ssd_small
from ssd_small.postprocess import native

PACKAGE = Path(ssd_small.__file__).resolve().parent

pytest.importorskip("cv2")
pytest.importorskip("hotcoco")


def files_entered(work: Callable[[], object]) -> list[str]:
    """Files of the package in the order in which calls of ``work`` first enter them.

    What happens once per process (imports, caches) has happened before.
    """
    entered: dict[str, None] = {}

    def note(frame, event: str, argument: object) -> None:  # type: ignore[no-untyped-def]
        if event == "call":
            entered.setdefault(frame.f_code.co_filename)

    work()
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    paths = (Path(name).resolve() for name in entered)
    return [p.relative_to(PACKAGE.parent).as_posix() for p in paths if p.is_relative_to(PACKAGE)]


@pytest.fixture
def heads_engine(onnx_file: Path, tmp_path: Path) -> Path:
    """An engine that ends in the heads, as decode + NMS in the engine would shorten the way."""
    pytest.importorskip("onnxruntime")
    from ssd_small.export.build_engine import build_engine

    from ssd_small.artefacts.build_options import BuildOptions

    path = tmp_path / "x.engine"
    build_engine(onnx_file, path, BuildOptions("onnxruntime", heads=True))
    return path


def test_opening_an_engine_passes_the_files_listed(heads_engine: Path) -> None:
    from ssd_small.detection.load import load

    listed = steps(DOCUMENT.read_text(), "### Opening an engine")
    detectors: list[ssd_small.Detector] = []
    entered = files_entered(lambda: detectors.append(load(heads_engine)))
    assert "\n".join(entered) == "\n".join(listed)
    for detector in detectors:
        detector.close()


@pytest.mark.skipif(not native.is_available(), reason="the native library is not built")
def test_a_picture_passes_the_files_listed_on_its_way_to_map(
    heads_engine: Path,
    pictures: Path,
    truth: dict[str, list[dict[str, object]]],
    saved: Callable[[object], Path],
) -> None:
    from ssd_small.datasets.coco import read_annotations
    from ssd_small.evaluation.evaluate import evaluate

    # one picture is read without threads, in which the order would be chance
    annotations = saved(truth | {"images": truth["images"][:1]})
    with ssd_small.load(heads_engine) as detector:
        entered = files_entered(lambda: evaluate(detector, read_annotations(annotations), pictures))
    listed = steps(DOCUMENT.read_text(), "### From a picture file to mAP")
    assert "\n".join(entered) == "\n".join(listed)


def test_a_file_more_on_the_way_is_noticed() -> None:
    from ssd_small.postprocess.params import PostprocessParams

    assert files_entered(lambda: PostprocessParams().to_dict()) == [
        "ssd_small/postprocess/params.py"
    ]
    assert files_entered(lambda: (PostprocessParams(), native.library_path())) == [
        "ssd_small/postprocess/params.py",
        "ssd_small/postprocess/native.py",
    ]
