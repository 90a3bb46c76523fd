"""The learning rate over a run: constant during the warm-up, then set by one of five schedules.

``cosine``, half a cosine to zero (Loshchilov & Hutter 2017), is the schedule of our runs: it begins
at the highest rate and reaches 0 where the budget ends. With a budget of epochs it changes from
epoch to epoch, otherwise from update to update.

The others are those of the published implementation, which sets the rate once per epoch; ``e`` is
the number of epochs since the warm-up, including the current one: 1 in the first after it.

=============== ===========================================================================
``sgdr``        ``(1 + cos(pi * e / T)) / 2``, T = epochs left after the warm-up: one epoch ahead
                of ``cosine``, and 0 in the last one. (There is no restart, despite the name.)
``step``        ``gamma ** floor(e / schedule_steps[0])``
``multi_step``  ``gamma ** number of schedule_steps that are <= e``
``exponential`` ``gamma ** e``
=============== ===========================================================================

With a budget of updates or minutes, the last three still count epochs (passes over the data), and
``sgdr`` is replaced by ``cosine``: in a short run its T would be less than an epoch, and nothing
would be learned.
"""

from __future__ import annotations

import math

from .recipe import Recipe


def progress_of(recipe: Recipe, iteration: int, per_epoch: int, seconds: float) -> float:
    """The spent fraction of the budget, from 0; a run ends at 1.

    Args:
        recipe: gives the budget.
        iteration: number of updates done.
        per_epoch: number of updates per epoch.
        seconds: training time so far.
    """
    if recipe.epochs is not None:
        return iteration / (recipe.epochs * per_epoch)
    if recipe.iterations is not None:
        return iteration / recipe.iterations
    assert recipe.minutes is not None
    return seconds / (60 * recipe.minutes)


def lr_factor(recipe: Recipe, progress: float, epochs: float) -> float:
    """Factor by which the highest rate is multiplied, 0 to 1.

    It is ``1`` until ``warm_up``, then given by the schedule; during ``ramp``, it is also
    multiplied by a factor that rises from ``0.05`` to ``1``.

    Args:
        recipe: gives schedule, ``warm_up``, ``ramp`` and the kind of budget.
        progress: see :func:`progress_of`.
        epochs: passes over the data so far: updates done divided by updates per epoch.
    """
    climbed = min(1.0, 0.05 + 0.95 * progress / recipe.ramp) if recipe.ramp else 1.0
    if recipe.schedule == "cosine" or (recipe.schedule == "sgdr" and recipe.epochs is None):
        return climbed * _cosine(recipe, progress)
    return climbed * _by_epoch(recipe, progress, epochs)


def _cosine(recipe: Recipe, progress: float) -> float:
    """``(1 + cos(pi * t)) / 2`` where t goes from 0 to 1 after the warm-up."""
    if recipe.epochs is not None:
        # 5e-7: rounding may place iterations / (epochs * per_epoch) just below a whole epoch
        progress = math.floor(progress * recipe.epochs + 5e-7) / recipe.epochs
    if progress < recipe.warm_up or recipe.warm_up >= 1:
        return 1.0
    t = min(1.0, (progress - recipe.warm_up) / (1 - recipe.warm_up))
    return 0.5 * (1 + math.cos(math.pi * t))


def _by_epoch(recipe: Recipe, progress: float, epochs: float) -> float:
    """The factor of a published schedule in the current epoch, counted from 1."""
    held = _held_epochs(recipe, progress, epochs)
    epoch = math.floor(epochs) + 1
    if epoch <= held:
        return 1.0
    e = epoch - held
    if recipe.schedule == "step":
        return float(recipe.gamma ** math.floor(e / recipe.schedule_steps[0]))
    if recipe.schedule == "multi_step":
        return float(recipe.gamma ** sum(step <= e for step in recipe.schedule_steps))
    if recipe.schedule == "exponential":
        return float(recipe.gamma**e)
    assert recipe.epochs is not None
    return 0.5 * (1 + math.cos(math.pi * min(1.0, e / (recipe.epochs - held))))


def _held_epochs(recipe: Recipe, progress: float, epochs: float) -> float:
    """The warm-up in epochs."""
    if recipe.warm_up == 0:
        return 0.0
    if recipe.epochs is not None:
        total = float(recipe.epochs)
    elif progress > 0:
        total = epochs / progress  # a budget of updates; with minutes there is no warm-up
    else:
        return math.inf
    # 95 / 200 * 200 may differ from 95 by rounding
    return round(recipe.warm_up * total, 6)
