"""PyTorch's optimizers as a recipe asks for them, and their state as it comes from a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import SGD, Adam, Optimizer, RMSprop

from .recipe import Recipe

#: what each keeps of a parameter, in its shape; SGD and RMSprop a mean of gradients only where
#: there is a momentum
_KEPT = {"sgd": set[str](), "rmsprop": {"square_avg"}, "adam": {"exp_avg", "exp_avg_sq"}}
#: the number of updates, and means of squares
_STEP, _SQUARES = "step", ("square_avg", "exp_avg_sq")


def optimizer_from_recipe(
    recipe: Recipe, rest: Iterable[Parameter], heads: Iterable[Parameter]
) -> Optimizer:
    """An optimizer with two groups, whose weight decay is on everything.

    Args:
        recipe: which one, and its numbers.
        rest, heads: parameters of the first and of the second group; one may be empty.
    """
    groups = [{"params": list(rest)}, {"params": list(heads)}]
    decay = recipe.weight_decay
    if recipe.optimizer == "rmsprop":
        return RMSprop(
            groups, recipe.lr, recipe.momentum_2, recipe.eps, decay, recipe.momentum, foreach=True
        )
    # fused: one pass over the weights instead of four
    if recipe.optimizer == "adam":
        betas = (recipe.momentum, recipe.momentum_2)
        return Adam(groups, recipe.lr, betas, recipe.eps, decay, fused=True)
    return SGD(groups, recipe.lr, recipe.momentum, weight_decay=decay, fused=True)


def load_optimizer_state(optimizer: Optimizer, recipe: Recipe, given: Mapping[str, Any]) -> None:
    """Set an optimizer back to what its ``state_dict`` was.

    Rates and other numbers stay those of the recipe: a state is only for the parameters.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is not of this optimizer and these
            parameters, or holds what would spoil them.
    """
    groups = optimizer.state_dict()["param_groups"]
    if [group["params"] for group in given["param_groups"]] != [g["params"] for g in groups]:
        raise ValueError("optimizer of other parameters")
    if not set(given["state"]) <= {number for group in groups for number in group["params"]}:
        raise ValueError("state of no parameter")
    optimizer.load_state_dict({"state": given["state"], "param_groups": groups})
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            # one that never had a gradient has no state
            state = optimizer.state.get(parameter, {})
            if not isinstance(state, Mapping):
                raise TypeError(f"state of a parameter that is {type(state).__name__}")
            if state:
                _check_state(parameter, state, recipe)


def _check_state(parameter: Parameter, state: Mapping[str, Any], recipe: Recipe) -> None:
    """The optimizer takes any state, and would write past the ends of tensors that are too short.

    Raises:
        ValueError: it is not what the optimizer keeps of such a parameter.
    """
    kept = set(_KEPT[recipe.optimizer])
    if recipe.momentum and recipe.optimizer != "adam":
        kept.add("momentum_buffer")
    found = {name for name, value in state.items() if value is not None and name != _STEP}
    if found != kept or (_STEP in state) != (recipe.optimizer != "sgd"):
        raise ValueError(f"state of another optimizer: {sorted(found)}")
    for name in kept:
        value = state[name]
        if not _is_finite(value) or value.shape != parameter.shape:
            raise ValueError(f"{name} of another shape, or not finite")
        if name in _SQUARES and bool((value < 0).any()):
            raise ValueError(f"{name} is negative")
    if _STEP in state:
        step = torch.as_tensor(state[_STEP])
        if step.ndim or not _is_finite(step) or float(step) < 0:
            raise ValueError("a number of updates below 0")


def _is_finite(value: object) -> bool:
    return isinstance(value, Tensor) and bool(torch.isfinite(value).all())
