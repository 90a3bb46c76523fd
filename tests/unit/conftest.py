"""What the tests of several files of this folder start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from detection_models import Models
    from plugin_driver import Library
    from traced import Traces

    from ssd_small.training.run import Run


@pytest.fixture
def library() -> Library:
    """The plugin's host build under the stand-in for TensorRT, with nothing said so far."""
    import plugin_driver

    return plugin_driver.library_of_version(1)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Six updates of a small network, two epochs, without interruption; do not write to it."""
    from training_doubles import train_noise

    return train_noise(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, traces: Traces) -> Models:
    """A small network in every form that a detector is opened from; do not write to the files."""
    for module in ("torch", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason=f"needs {module}")
    from detection_models import Models

    with traces():
        return Models(tmp_path_factory.mktemp("models"))
