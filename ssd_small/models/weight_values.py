"""Refusing tensors that fit a network in shape but whose types or values cannot be weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import BadFile
from .containers import StateDict

#: types whose values can become float32 weights; types of 8 bits or fewer represent other numbers,
#: by scales that are stored elsewhere
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INTEGERS = (
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64),
)
_DENSE = (Tensor, nn.Parameter, nn.Buffer)


def check_types(own: Mapping[str, Tensor], state: StateDict, path: str | Path) -> None:
    """Refuse tensors of a type that weights cannot have.

    Raises:
        BadFile: a tensor has such a type; the message names its key and type.
    """
    for key, value in state.items():
        if key not in own:
            continue
        if type(value) not in _DENSE or value.is_nested:
            kind = "nested tensor" if value.is_nested else type(value).__name__
            raise BadFile(f"checkpoint {path}: {key} is a {kind}; expected a plain tensor")
        if value.layout != torch.strided or value.is_meta or value.is_complex():
            raise BadFile(
                f"checkpoint {path}: {key} is a {'meta' if value.is_meta else value.layout} tensor "
                f"of {value.dtype}; expected dense real numbers"
            )
        allowed = _FLOATS if own[key].is_floating_point() else (*_FLOATS, *_INTEGERS)
        if value.dtype not in allowed:
            quantised = value.is_quantized or value.dtype.itemsize == 1
            advice = "take the weights from before the quantisation" if quantised else _SAVE
            raise BadFile(
                f"checkpoint {path}: {key} is a tensor of {value.dtype}; expected floating point "
                f"of 16 bits or more: {advice}"
            )


_SAVE = "save the state dict of the network in float32"


def weights_in_float32(own: Mapping[str, Tensor], state: StateDict, path: str | Path) -> StateDict:
    """Convert tensors to float32: float16 and bfloat16 exactly, float64 rounded.

    Batch norms' counters that are not finite, as after a conversion to half precision, are left
    out: nothing depends on them.

    Raises:
        BadFile: a tensor holds NaN or infinite values, or a variance is negative; for infinite
            values the message names the conversion that may have caused them.
    """
    taken: StateDict = {}
    for key, value in state.items():
        if not own[key].is_floating_point():
            if not value.is_floating_point() or bool(torch.isfinite(value).all()):
                taken[key] = value
            continue
        converted = value.to(torch.float32)
        if not bool(torch.isfinite(converted).all()):
            raise BadFile(f"checkpoint {path}: {key} {_fault(value, converted)}")
        if key.endswith("running_var") and bool((converted < 0).any()):
            raise BadFile(
                f"checkpoint {path}: {key} holds negative variances (least "
                f"{float(converted.min()):.3g}); it is damaged: take an undamaged copy"
            )
        taken[key] = converted
    return taken


def _fault(value: Tensor, converted: Tensor) -> str:
    """Say which values of a tensor are not finite, and what may have caused them."""
    nan, infinite = int(converted.isnan().sum()), int(converted.isinf().sum())
    if not nan and value.dtype == torch.float16:
        return (
            f"holds {infinite} infinite values in float16, whose largest is 65504: the conversion "
            "to half precision overflowed; take the float32 checkpoint"
        )
    if not nan and bool(torch.isfinite(value).all()):
        return (
            f"holds {infinite} values of {value.dtype} beyond float32, whose largest is 3.4e38; "
            "expected weights of a network in float32"
        )
    counts = [f"{nan} NaN"] * bool(nan) + [f"{infinite} infinite"] * bool(infinite)
    return (
        f"holds NaN or infinite values ({', '.join(counts)} of {value.numel()}); expected finite "
        "weights: take a checkpoint from before the training diverged"
    )
