"""Where the parts of a chain of layers have their keys, here and in other projects."""

from __future__ import annotations

from ..models.layers import Chain, ConvBn, SqueezeExcitation, Step


def places(steps: tuple[Step, ...]) -> list[int]:
    """The number of each step in the keys of its chain; a batch norm has the number after it."""
    found, place = [], 0
    for step in steps:
        found.append(place)
        place += 1
        if not isinstance(step, SqueezeExcitation):
            place += isinstance(step, ConvBn) + (step.activation != "none")
    return found


def renames_of_chain(chain: Chain, theirs: str, ours: str, first: int = 0) -> dict[str, str]:
    """Begins of keys of a chain that torchvision builds of blocks with a number each.

    Args:
        chain: the layers.
        theirs: begin of the blocks' keys.
        ours: begin of the chain's.
        first: number of the first block.
    """
    found = {}
    for number, (step, place) in enumerate(zip(chain.steps, places(chain.steps), strict=True)):
        block = f"{theirs}{first + number}."
        if isinstance(step, SqueezeExcitation):
            found[block] = f"{ours}{place}."
        else:
            found |= {f"{block}{i}.": f"{ours}{place + i}." for i in (0, 1)}
    return found
