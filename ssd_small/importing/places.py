"""Where the parts of a chain of layers have their keys, here and in other projects."""

from __future__ import annotations

from ..models.layers import Chain, ConvBn, SqueezeExcitation, Step


def places(steps: tuple[Step, ...]) -> list[int]:
    """The index of each step in the keys of its chain; its batch norm has the next index."""
    found, place = [], 0
    for step in steps:
        found.append(place)
        place += 1
        if not isinstance(step, SqueezeExcitation):
            place += isinstance(step, ConvBn) + (step.activation != "none")
    return found


def renames_of_chain(chain: Chain, theirs: str, ours: str, first: int = 0) -> dict[str, str]:
    """Key prefixes of a chain that torchvision builds from numbered blocks.

    Args:
        chain: the layers.
        theirs: prefix of the blocks' keys.
        ours: prefix of the chain's keys.
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
