"""Tests with packages that results are handed over to or compared with, in their own environment.

Elsewhere they are not collected; where the packages are installed none of them is left out.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

PACKAGES = (
    *("fiftyone", "mean_average_precision", "onnx_graphsurgeon", "onnxruntime", "onnxslim"),
    *("openvino", "pandas", "polygraphy", "supervision"),
)
# OpenVINO reports its import, where not to do so is a file in the user's home; without this module
# it does nothing in its place
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
ABSENT = [name for name in PACKAGES if find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if ABSENT else []


def pytest_report_header() -> str | None:
    """Why nothing is collected, where this folder is asked for by name."""
    if not ABSENT:
        return None
    return (
        f"tests/handover needs the environment of make test-handover: no {', '.join(ABSENT)} here"
    )
