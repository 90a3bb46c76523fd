"""What can be read from a plan without a GPU."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence


def batches_of_plan(plan: bytes, image: Sequence[int] = (3, 300, 300)) -> list[int]:
    """Smallest, optimal and largest batch of the optimization profile inside a plan.

    A plan of TensorRT-RTX 1.7 holds the three shapes of an input, in this order, as 64-bit
    integers. That is not a documented format; where it changes, this finds nothing.
    """
    rest = re.escape(struct.pack(f"<{len(image)}q", *image))
    found = [struct.unpack("<q", m.group(1))[0] for m in re.finditer(b"(?s)(.{8})" + rest, plan)]
    return [batch for batch in found if 0 < batch < 2**31]
