"""The ONNX operator set of an export."""

from __future__ import annotations

from typing import Any

import pytest
from ssd_small.export.opset import DEFAULT_OPSET, NEWEST_OPSET, OLDEST_OPSET

from ssd_small.errors import UsageError


def test_the_default_is_one_that_can_be_asked_for() -> None:
    assert OLDEST_OPSET <= DEFAULT_OPSET <= NEWEST_OPSET


@pytest.mark.parametrize("opset", [OLDEST_OPSET - 1, NEWEST_OPSET + 1])
def test_another_one_is_refused_before_the_network_is_traced(opset: int) -> None:
    to_onnx = pytest.importorskip("ssd_small.export.to_onnx")
    untouched: Any = object()
    with pytest.raises(UsageError, match=f"opset {opset}: expected {OLDEST_OPSET} to"):
        to_onnx.onnx_from_network(untouched, untouched, opset)
