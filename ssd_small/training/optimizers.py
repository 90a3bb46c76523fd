"""PyTorch's optimizers according to a recipe, and loading their state from a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import SGD, Adam, Optimizer, RMSprop

from .recipe import Recipe

#: state that each optimizer keeps per parameter, in its shape; with a momentum, SGD and RMSprop
#: also keep a mean of gradients
_KEPT = {"sgd": set[str](), "rmsprop": {"square_avg"}, "adam": {"exp_avg", "exp_avg_sq"}}
#: keys of the number of updates, and of means of squares
_STEP, _SQUARES = "step", ("square_avg", "exp_avg_sq")


def optimizer_from_recipe(
    recipe: Recipe, rest: Iterable[Parameter], heads: Iterable[Parameter]
) -> Optimizer:
    """Create an optimizer with two parameter groups and weight decay on all parameters.

    Args:
        recipe: gives the kind of optimizer and its hyper-parameters.
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
    """Restore an optimizer from its ``state_dict``.

    Learning rates and other hyper-parameters stay those of the recipe; only the state of the
    parameters is restored.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: the state does not belong to this kind of
            optimizer and these parameters, or holds values that would corrupt them.
    """
    groups = optimizer.state_dict()["param_groups"]
    if [group["params"] for group in given["param_groups"]] != [g["params"] for g in groups]:
        raise ValueError("optimizer of other parameters")
    if not set(given["state"]) <= {number for group in groups for number in group["params"]}:
        raise ValueError("state of no parameter")
    optimizer.load_state_dict({"state": given["state"], "param_groups": groups})
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            # a parameter that never had a gradient has no state
            state = optimizer.state.get(parameter, {})
            if not isinstance(state, Mapping):
                raise TypeError(f"state of a parameter that is {type(state).__name__}")
            if state:
                _check_state(parameter, state, recipe)


def _check_state(parameter: Parameter, state: Mapping[str, Any], recipe: Recipe) -> None:
    """Check a parameter's state: the optimizer would write past the end of tensors too short.

    Raises:
        ValueError: it is not the state that the optimizer keeps for such a parameter.
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
