"""How much results may differ when the same network runs elsewhere: all limits, with reasons.

Every check in the package or its tests that compares outputs, detections or scores takes its limit
from here. ``heads`` are the outputs loc and conf; ``rounding`` is the difference that single
precision allows between two implementations of decode + NMS given the same heads.
"""

from __future__ import annotations

from collections.abc import Iterable

#: largest difference of heads, as a fraction of the output's largest absolute value, by precision.
#: fp32: sums of up to 9216 products in another order are off by 96 * 2**-24 = 6e-6 by a random
#: walk, layer after layer, and folded batch norms round their weights; 1e-5 was observed.
#: fp16: about 30 layers, each with a relative error of 2**-11: 0.015 if all have one sign; doubled.
#: bf16: the same with 2**-8
#: int8: 2**-8 for inputs and again for weights: 0.23; doubled; 0.40 was observed
HEAD_LIMITS = {"fp32": 1e-4, "fp16": 0.03, "bf16": 0.24, "int8": 0.5}

#: largest difference of one layer's output in the same unit, given the same input. fp32: the random
#: walk above, once, and the rounding of folded weights. fp16: input, weights and output are rounded
#: by 2**-11 each, plus one more for values whose neighbours cancel; 1.2 of these were observed.
#: bf16: the same with 2**-8
#: int8: twice as many of 2**-8, since values beyond a range are clipped to it
LAYER_LIMITS = {"fp32": 1e-5, "fp16": 4 * 2.0**-11, "bf16": 4 * 2.0**-8, "int8": 8 * 2.0**-8}

#: relative rounding of one value, by precision; for int8, half a step as a fraction of the largest
UNIT_ROUNDING = {"fp32": 2.0**-24, "fp16": 2.0**-11, "bf16": 2.0**-8, "int8": 2.0**-8}

#: relative rounding of a score: exponential, sum and quotient, about ten roundings of 2**-24
SCORE_ROUNDING = 1e-6

#: rounding of a box corner in units of the picture, relative to the corner if it is outside:
#: centre, exponential, size and sum, about ten roundings of 2**-24
BOX_ROUNDING = 1e-6

#: rounding of an IoU: sides, areas, union and quotient, about ten roundings of 2**-24
IOU_ROUNDING = 1e-6

#: difference of a COCO metric between PyTorch and an fp32 engine: heads within their limit may
#: change a detection or two whose scores or IoU tie, and the third digit is the last one quoted
MAP_LIMIT = 0.001


def loosest(precisions: Iterable[str]) -> str:
    """The precision with the widest limit, which applies to a comparison of several."""
    return max(precisions, key=HEAD_LIMITS.__getitem__)
