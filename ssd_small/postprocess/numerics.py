"""Single-precision exponential, softmax and sigmoid with a fixed sequence of operations.

Library exponentials differ in the last bit between numpy, libm and CUDA, and sums depend on their
order. Either is enough to swap two detections or to move one across a threshold. So the sequence is
defined once, here, in operations that IEEE 754 specifies completely (add, multiply, divide, round
to nearest; no fused multiply-add), and the C++ headers repeat it: all backends give the same bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_LOG2_E = np.float32(1.44269504)
# ln 2 in two parts: n * _LN2_HIGH is exact for |n| < 2**9 (its low 9+ mantissa bits are zero)
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
# outside these limits the result is 0 or infinity; exp(-87) is still a normal number, so no
# backend meets a subnormal, whatever its flush-to-zero mode
_SMALLEST = np.float32(-87.0)
_LARGEST = np.float32(88.72283)
# minimax coefficients of (exp(r) - 1 - r) / r**2 on |r| <= ln(2) / 2 (Cephes expf), highest first
_COEFFICIENTS = tuple(
    np.float32(c)
    for c in (1.9875691e-4, 1.3981999e-3, 8.3334519e-3, 4.1665796e-2, 1.6666665e-1, 5.0000001e-1)
)
#: partial sums of a softmax row: class c is added to partial sum c % SUM_LANES
SUM_LANES = 32


def exp_f32(x: npt.ArrayLike) -> FloatArray:
    """Exponential of float32 values, within 2 units in the last place.

    Values below -87 give 0, above 88.72283 infinity, NaN gives NaN; ``exp_f32(0) == 1``.
    """
    x = np.asarray(x, np.float32)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        inside = np.clip(x, _SMALLEST, _LARGEST)
        inside = np.where(np.isnan(inside), np.float32(0), inside)
        n = np.rint(inside * _LOG2_E)
        r = inside - n * _LN2_HIGH
        r = r - n * _LN2_LOW
        p = np.full_like(r, _COEFFICIENTS[0])
        for coefficient in _COEFFICIENTS[1:]:
            p = p * r + coefficient
        p = p * (r * r) + r + np.float32(1)
        # 2**n in two factors, since n can be 128
        half = np.floor_divide(n.astype(np.int32), 2)
        value = p * _power_of_two(half) * _power_of_two(n.astype(np.int32) - half)
    value = np.where(x < _SMALLEST, np.float32(0), value)
    value = np.where(x > _LARGEST, np.float32(np.inf), value)
    return np.where(np.isnan(x), x, value).astype(np.float32)


def _power_of_two(n: npt.NDArray[np.int32]) -> FloatArray:
    """``2**n`` by building the exponent bits, ``-126 <= n <= 127``."""
    return np.asarray((n + 127) << 23, np.int32).view(np.float32)


def softmax_f32(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis.

    The maximum of the row is subtracted; the sum is formed in :data:`SUM_LANES` partial sums
    (class c goes to partial sum c mod 32, ascending) that are folded to 16, 8, 4, 2, 1: the order
    of a warp-wide reduction. A row that holds NaN or +infinity, or only -infinity, becomes NaN.

    Args:
        logits: ``[..., C]`` float32.

    Returns:
        ``[..., C]`` float32.
    """
    logits = np.asarray(logits, np.float32)
    classes = logits.shape[-1]
    with np.errstate(invalid="ignore", over="ignore"):
        exponentials = exp_f32(logits - logits.max(-1, keepdims=True))
        padding = -classes % SUM_LANES
        padded = np.concatenate(
            [exponentials, np.zeros((*logits.shape[:-1], padding), np.float32)], axis=-1
        ).reshape(*logits.shape[:-1], -1, SUM_LANES)
        partial: FloatArray = np.zeros((*logits.shape[:-1], SUM_LANES), np.float32)
        for row in range(padded.shape[-2]):
            partial = partial + padded[..., row, :]
        lanes = SUM_LANES
        while lanes > 1:
            lanes //= 2
            partial = partial[..., :lanes] + partial[..., lanes : 2 * lanes]
        return np.asarray(exponentials / partial, np.float32)


def sigmoid_f32(logits: FloatArray) -> FloatArray:
    """``1 / (1 + exp(-x))`` element by element, float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        scores = np.float32(1) / (np.float32(1) + exp_f32(-np.asarray(logits, np.float32)))
        return np.asarray(scores, np.float32)
