"""The ONNX operator sets that an export can be written in."""

from __future__ import annotations

from ..errors import UsageError

#: torch's exporter knows its operators from 18 on; what has been tried ends at 25
OLDEST_OPSET, NEWEST_OPSET = 18, 25
#: the networks use no newer operator, and the older a file's set, the more releases of more
#: runtimes read it; not 18, where ONNX Runtime rounds more often in half precision
DEFAULT_OPSET = 19


def check_opset(opset: int) -> None:
    """Refuse an operator set that cannot be written.

    Raises:
        UsageError: older or newer than the ones known here.
    """
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise UsageError(f"opset {opset}: expected {OLDEST_OPSET} to {NEWEST_OPSET}")
