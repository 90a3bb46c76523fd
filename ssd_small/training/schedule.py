"""The learning rate over a run: constant, then half a cosine to zero (Loshchilov & Hutter 2017)."""

from __future__ import annotations

import math

from .recipe import Recipe


def progress_of(recipe: Recipe, iteration: int, per_epoch: int, seconds: float) -> float:
    """How much of the budget is spent, from 0; a run ends at 1.

    Args:
        recipe: gives the budget.
        iteration: updates done.
        per_epoch: updates of an epoch.
        seconds: training time so far.
    """
    if recipe.epochs is not None:
        return iteration / (recipe.epochs * per_epoch)
    if recipe.iterations is not None:
        return iteration / recipe.iterations
    assert recipe.minutes is not None
    return seconds / (60 * recipe.minutes)


def lr_factor(recipe: Recipe, progress: float) -> float:
    """What the highest rate is multiplied with, 0 to 1.

    ``1`` until ``warm_up``, then ``(1 + cos(pi * t)) / 2`` where t goes from 0 to 1 over the rest;
    both times ``0.05`` to ``1`` during ``ramp``. With a budget of epochs the cosine moves from
    epoch to epoch (the last one has t < 1), else from update to update.

    Args:
        recipe: gives ``warm_up``, ``ramp`` and the kind of budget.
        progress: see :func:`progress_of`.
    """
    climbed = min(1.0, 0.05 + 0.95 * progress / recipe.ramp) if recipe.ramp else 1.0
    if recipe.epochs is not None:
        # half a millionth: iterations / (epochs * per_epoch) may lie a rounding below a whole epoch
        progress = math.floor(progress * recipe.epochs + 5e-7) / recipe.epochs
    if progress < recipe.warm_up or recipe.warm_up >= 1:
        return climbed
    t = min(1.0, (progress - recipe.warm_up) / (1 - recipe.warm_up))
    return climbed * 0.5 * (1 + math.cos(math.pi * t))
