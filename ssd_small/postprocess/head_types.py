"""Types of head outputs: float32, float16 and bfloat16, accepted without a copy.

numpy has no bfloat16. Arrays of the package ``ml_dtypes`` (used by onnx and JAX) and torch tensors
are viewed in place; inside this package such values have the type :data:`BFLOAT16`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError

#: the bits of a bfloat16, which are the upper half of a float32
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])

_OF_NUMPY = frozenset({np.dtype(np.float32), np.dtype(np.float16)})
_EXPECTED = "float32, float16 or bfloat16"


def head_values(values: Any, name: str) -> npt.NDArray[Any]:
    """View head outputs as an array of float32, float16 or :data:`BFLOAT16` in the same memory.

    Args:
        values: an array, or a torch tensor on the CPU.
        name: their name in messages.

    Raises:
        UsageError: another type, a sparse tensor, or one that is not on the CPU.
    """
    if type(values) is np.ndarray and values.dtype in _OF_NUMPY:
        return values  # the usual case, without the microseconds of what follows
    if type(values).__module__.partition(".")[0] == "torch":
        values = _array_from_tensor(values, name)
    array = np.asarray(values)
    if array.dtype.name == "bfloat16" and array.dtype.itemsize == 2:
        array = array.view(BFLOAT16)
    if array.dtype not in (np.float32, np.float16, BFLOAT16):
        raise UsageError(f"{name} is {array.dtype}; expected {_EXPECTED}")
    return array


def float32_from_heads(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Convert head outputs exactly to float32, with which the contract of decode + NMS begins."""
    if array.dtype != BFLOAT16:
        return array.astype(np.float32, copy=False)
    bits: npt.NDArray[np.uint32] = array["bfloat16"].astype(np.uint32) << np.uint32(16)
    return bits.view(np.float32)


def _array_from_tensor(tensor: Any, name: str) -> Any:
    if tensor.device.type != "cpu":
        raise UsageError(f"{name} lies on {tensor.device}; expected a tensor on the CPU: .cpu()")
    if str(tensor.layout) != "torch.strided":
        raise UsageError(f"{name} is {tensor.layout}; expected torch.strided: .to_dense()")
    tensor = tensor.detach()
    if str(tensor.dtype) != "torch.bfloat16":
        return tensor.numpy()
    import torch

    return tensor.view(torch.int16).numpy().view(BFLOAT16)
