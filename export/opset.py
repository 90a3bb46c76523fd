"""The ONNX operator sets that an export can be written in."""

from __future__ import annotations

from ..errors import UsageError

#: torch's exporter supports operator sets from 18 on; the newest tried is 25
OLDEST_OPSET, NEWEST_OPSET = 18, 25
#: the networks need no newer operators, and an older set is read by more releases of more
#: runtimes; not 18, with which ONNX Runtime rounds more often in half precision
DEFAULT_OPSET = 19


def check_opset(opset: int) -> None:
    """Refuse an operator set that cannot be written.

    Raises:
        UsageError: the set is older or newer than the supported ones.
    """
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise UsageError(f"opset {opset}: expected {OLDEST_OPSET} to {NEWEST_OPSET}")
