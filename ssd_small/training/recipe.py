"""Hyper-parameters of training, with the published values per network.

Source: configurations of the implementation published with Mudassar & Mukhopadhyay (BMVC 2019).
"""

from __future__ import annotations

import math
from dataclasses import Field, asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from ..artefacts.record import Fields
from ..errors import UsageError, quoted
from ..models.registry import get_spec

Precision = Literal["fp32", "amp"]
Optimizer = Literal["sgd", "rmsprop", "adam"]
Schedule = Literal["cosine", "sgdr", "step", "multi_step", "exponential"]
PRECISIONS, OPTIMIZERS, SCHEDULES = map(get_args, (Precision, Optimizer, Schedule))
_CHOICES = {"precision": PRECISIONS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}
#: schedules that count epochs whatever the budget
_BY_EPOCH = ("step", "multi_step", "exponential")
#: fields of which exactly one is set
BUDGETS = ("epochs", "iterations", "minutes")
#: upper limit of rates, norms and ratios
_MOST = 1e6


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of a training run; the defaults are those of ``vgg16``.

    Exactly one of ``epochs``, ``iterations`` and ``minutes`` is the budget; the others are None.

    Attributes:
        epochs: passes over the data; the rate then changes from epoch to epoch.
        iterations: updates; a cosine schedule changes the rate at each update.
        minutes: wall time; a cosine follows the clock, so such a run cannot be repeated exactly.
        batch: images per update, over all processes.
        lr: highest learning rate.
        head_lr: the same for the heads, which have no batch norm; None for ``lr``.
        optimizer: PyTorch's optimizer: "sgd", "rmsprop" or "adam".
        momentum: momentum of SGD and RMSprop; for Adam, decay of the mean of the gradients.
        momentum_2: for RMSprop and Adam, decay of the mean of the squared gradients.
        eps: for RMSprop and Adam, term added to the root of that mean.
        weight_decay: factor of each parameter in the term that is added to its gradient.
        schedule: how the rate changes after ``warm_up``; see :mod:`ssd_small.training.schedule`.
        schedule_steps: epochs, counted from the end of ``warm_up``: with "step", the first is the
            interval at which the rate is multiplied by ``gamma``; with "multi_step", the epochs at
            which it is.
        gamma: factor of "step", "multi_step" and "exponential".
        trainable_scope: names of the parts of the network that learn ("base", "norm", "extras",
            "loc", "conf", ...); the others keep their weights, but their batch norms continue to
            update their running statistics, as published. None for all.
        warm_up: fraction of the budget during which the rate is constant before the schedule
            begins; the published configurations call this warm-up.
        ramp: fraction of the budget, at its start, in which the rate rises linearly from a
            twentieth; not published, for networks that start from random weights.
        clip_norm: largest norm of the gradient; None for no limit, as published.
        ema_decay: decay of an averaged copy of the weights, which is then evaluated and written;
            None for no such copy, as published.
        negative_ratio: hard negatives per positive prior.
        match_iou: minimum overlap of a positive prior.
        expand: probability that a picture is placed on a larger canvas.
        norm_scale: initial value of L2Norm.
        background: initial background probability of priors; None for that of random biases, as
            published.
        repeat_threshold: classes in a smaller fraction of the images than this are shown more
            often (repeat factor of LVIS); 0 shows every image once, as published.
        precision: "fp32" or "amp" (bfloat16 on the CPU, float16 with a scaled loss on a GPU).
        channels_last: memory layout; faster and mathematically equivalent.
        seed: seed of the random weights, the order of the images and their augmentation.
    """

    epochs: int | None = 60
    iterations: int | None = None
    minutes: float | None = None
    batch: int = 32
    lr: float = 0.004
    head_lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warm_up: float = 5 / 60
    ramp: float = 0.0
    clip_norm: float | None = None
    ema_decay: float | None = None
    negative_ratio: float = 3.0
    match_iou: float = 0.5
    expand: float = 0.6
    norm_scale: float = 20.0
    background: float | None = None
    repeat_threshold: float = 0.0
    precision: Precision = "fp32"
    channels_last: bool = True
    seed: int = 0
    optimizer: Optimizer = "sgd"
    momentum_2: float = 0.99
    eps: float = 1e-8
    schedule: Schedule = "cosine"
    schedule_steps: tuple[int, ...] = (1,)
    gamma: float = 0.98
    trainable_scope: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        budgets = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(budgets) != 1:
            raise UsageError(
                f"{' and '.join(budgets) or 'no budget'}: expected exactly one of "
                f"{', '.join(BUDGETS)}"
            )
        for name, fits, expected in self._rules():
            if not fits:
                raise UsageError(f"{name} {_shown(getattr(self, name))}: expected {expected}")
        if self.minutes is not None and self.warm_up and self.schedule in _BY_EPOCH:
            raise UsageError(
                f"warm_up {self.warm_up:g} with minutes and schedule {self.schedule}, which counts "
                "epochs: how many the warm-up takes is not known before; expected warm_up 0, or "
                "another budget"
            )

    def _rules(self) -> list[tuple[str, bool, str]]:
        """For each field: its name, whether its value is valid, and which values are."""
        positive, share = f"a positive number up to {_MOST:g}", "a number from 0 to 1"
        return [
            *((name, _spendable(getattr(self, name)), "a positive number") for name in BUDGETS),
            ("batch", self.batch >= 1, "1 or more"),
            ("lr", _above(self.lr), positive),
            ("head_lr", _above(self.head_lr), positive),
            ("momentum", 0 <= self.momentum < 1, "a number in [0, 1)"),
            ("weight_decay", 0 <= self.weight_decay <= _MOST, f"0 to {_MOST:g}"),
            *((n, 0 <= getattr(self, n) <= 1, share) for n in ("warm_up", "ramp", "expand")),
            ("clip_norm", _above(self.clip_norm), positive),
            ("ema_decay", _inside(self.ema_decay), "a number between 0 and 1"),
            ("negative_ratio", _above(self.negative_ratio), positive),
            ("match_iou", 0 < self.match_iou <= 1, "a number in (0, 1]"),
            ("norm_scale", _above(self.norm_scale), positive),
            ("background", _inside(self.background), "a number between 0 and 1"),
            ("repeat_threshold", 0 <= self.repeat_threshold <= 1, share),
            ("precision", self.precision in PRECISIONS, "fp32 or amp"),
            ("seed", 0 <= self.seed < 2**63, "0 to 2**63 - 1"),
            ("optimizer", self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}"),
            ("momentum_2", 0 <= self.momentum_2 < 1, "a number in [0, 1)"),
            ("eps", _above(self.eps), positive),
            ("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            ("schedule_steps", _epochs(self.schedule_steps), "epochs, such as 10,20"),
            ("gamma", 0 < self.gamma <= 1, "a number in (0, 1]"),
            ("trainable_scope", _names(self.trainable_scope), "names of parts, such as loc,conf"),
        ]

    @property
    def needs_format_2(self) -> bool:
        """Whether a version that reads only format 1 would train with other values."""
        return any(getattr(self, one.name) != one.default for one in _since_format_2())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def with_changes(self, **given: Any) -> Recipe:
        """A copy with the given fields changed, except to None; a budget replaces the old one.

        Raises:
            UsageError: a value is out of range, or two budgets are given.
        """
        given = {key: value for key, value in given.items() if value is not None}
        if any(name in given for name in BUDGETS):
            given = dict.fromkeys(BUDGETS) | given
        return replace(self, **given)


def _spendable(value: float | None) -> bool:
    """Whether a budget is positive and finite; None passes."""
    return value is None or 0 < value < math.inf


def _above(value: float | None) -> bool:
    """Whether a number is positive and not too large for single precision; None passes."""
    return value is None or 0 < value <= _MOST


def _inside(value: float | None) -> bool:
    return value is None or 0 < value < 1


def _epochs(steps: tuple[int, ...]) -> bool:
    return len(steps) > 0 and all(1 <= step < 2**31 for step in steps)


def _names(scope: tuple[str, ...] | None) -> bool:
    return scope is None or (len(scope) > 0 and all(name.isidentifier() for name in scope))


def _shown(value: object) -> str:
    """A value roughly as a user would type it, on one line."""
    return quoted(",".join(map(str, value)) if isinstance(value, tuple) else value)


def _since_format_2() -> list[Field[Any]]:
    """Fields that records of format 1 lack; its readers train with the defaults of these."""
    names = [one.name for one in fields(Recipe)]
    return list(fields(Recipe))[names.index("optimizer") :]


#: published recipes; a dual-path network has the recipe of its single-path sibling
_PUBLISHED = {
    "vgg16": Recipe(),
    "vgg16_s1l2": Recipe(batch=16),
    "vgg16_s1l2_dual": Recipe(batch=16),
    "mobilenet_v1": Recipe(epochs=100, lr=0.001, warm_up=0.0),
    "mobilenet_v1_s1l0": Recipe(epochs=100, batch=24, lr=0.001, warm_up=0.0),
    "mobilenet_v1_s1l0_dual": Recipe(epochs=100, batch=24, lr=0.001, warm_up=0.0),
    "mobilenet_v1_s1l0_fmap2": Recipe(epochs=100, batch=24, lr=0.001, warm_up=0.0),
}


def recipe_names() -> tuple[str, ...]:
    """Names of all hyper-parameters."""
    return tuple(one.name for one in fields(Recipe))


def published_recipe(model: str) -> Recipe:
    """The published hyper-parameters of a network in the registry.

    The schedule is ``cosine``, an epoch behind the published ``sgdr``
    (:mod:`ssd_small.training.schedule`), so that the network still learns in the last epoch, and
    in a run of a single epoch.

    Raises:
        UsageError: no network has that name.
    """
    return _PUBLISHED[get_spec(model).name]


def changed_for_random_weights(recipe: Recipe) -> bool:
    """Whether a recipe changes any field that helps when the backbone is not pretrained."""
    helps = ("norm_scale", "background", "clip_norm", "ramp")
    return any(getattr(recipe, name) != getattr(Recipe, name) for name in helps)


def recipe_from_fields(values: Fields, record_format: int = 2) -> Recipe:
    """Read the result of :meth:`Recipe.to_dict`; raise ValueError if it is not a recipe.

    Args:
        values: fields of the recipe.
        record_format: format of the record that contains them; 1 may lack later fields.
    """
    later = {one.name for one in _since_format_2()} if record_format < 2 else set[str]()
    return Recipe(
        **{
            one.name: _value_of(one, values)
            for one in fields(Recipe)
            if one.name not in later or one.name in values
        }
    )


def _value_of(one: Field[Any], values: Fields) -> Any:
    name, kind = one.name, str(one.type)
    if kind.endswith("| None") and name not in values:
        return None
    if kind.startswith("int"):
        return values.integer(name, 0, 2**63 - 1)
    if kind.startswith("float"):
        return values.number(name)
    if kind.startswith("tuple[int"):
        return values.integers(name, 1, 2**31 - 1)
    if kind.startswith("tuple[str"):
        return values.texts(name)
    return values.flag(name) if kind == "bool" else values.text(name, _CHOICES[name])


def recipe_differences(ours: Recipe, theirs: dict[str, Any]) -> list[str]:
    """Differences from another run's values (:meth:`Recipe.to_dict`), a phrase per field."""
    own = ours.to_dict()
    before = {one.name: one.default for one in _since_format_2()}
    was = {name: theirs.get(name, before.get(name)) for name in own}
    was = {name: list(value) if isinstance(value, tuple) else value for name, value in was.items()}
    return [
        f"{name} is {value!r}, was {quoted(was[name])}"
        for name, value in own.items()
        if value != was[name]
    ]
