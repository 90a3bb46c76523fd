"""How a network is trained: the published hyper-parameters per network, each of which can be set.

Source: configurations of the implementation published with Mudassar & Mukhopadhyay (BMVC 2019).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from ..artefacts.record import Fields
from ..artefacts.strict_json import quoted
from ..errors import UsageError
from ..models.registry import get_spec

Precision = Literal["fp32", "amp"]
PRECISIONS = get_args(Precision)
#: fields that only one of may be set
BUDGETS = ("epochs", "iterations", "minutes")
#: of rates, norms and ratios
_MOST = 1e6


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of a training run; the defaults are those of ``vgg16``.

    Exactly one of ``epochs``, ``iterations`` and ``minutes`` is the budget, the others are None.

    Attributes:
        epochs: passes over the data; the rate then changes from epoch to epoch, as published.
        iterations: updates; the rate changes with each of them.
        minutes: wall time; the rate follows the clock, so such a run cannot be repeated exactly.
        batch: images per update, over all processes.
        lr: highest learning rate.
        head_lr: that of the heads, which have no batch norm; None for the same.
        momentum, weight_decay: of SGD; the decay applies to every parameter.
        warm_up: part of the budget during which the rate is constant before the cosine begins:
            what the published configurations call warm-up.
        ramp: part of the budget, at its begin, in which the rate climbs linearly from a twentieth;
            not published, for networks that start from random weights.
        clip_norm: largest norm of the gradient; None for no limit, as published.
        ema_decay: decay of an averaged copy of the weights, which is then what is evaluated and
            written; None for none, as published.
        negative_ratio: hard negatives per positive prior.
        match_iou: least overlap of a positive prior.
        expand: probability that a picture is placed on a larger canvas.
        norm_scale: start value of L2Norm.
        background: probability of background that priors start with; None for what random biases
            give, as published.
        repeat_threshold: classes in a smaller part of the images than this are shown more often
            (repeat factor of LVIS); 0 shows every image once, as published.
        precision: "fp32" or "amp" (bfloat16 on the CPU, float16 with a scaled loss on a GPU).
        channels_last: memory layout; faster, same mathematics.
        seed: of the random weights, the order of the images and their augmentation.
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

    def __post_init__(self) -> None:
        budgets = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(budgets) != 1:
            raise UsageError(
                f"{' and '.join(budgets) or 'no budget'}: expected exactly one of "
                f"{', '.join(BUDGETS)}"
            )
        for name, fits, expected in self._rules():
            if not fits:
                raise UsageError(f"{name} {getattr(self, name)!r}: expected {expected}")

    def _rules(self) -> list[tuple[str, bool, str]]:
        """Field, whether its value is possible, and what is."""
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
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self)

    def with_changes(self, **given: Any) -> Recipe:
        """A copy with the fields that are not None set; a budget takes the place of the old one.

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
    """Whether a number is positive and of a size that single precision computes with."""
    return value is None or 0 < value <= _MOST


def _inside(value: float | None) -> bool:
    return value is None or 0 < value < 1


#: published per network; those of the dual path are those of its single-path sibling
_PUBLISHED = {
    "vgg16": Recipe(),
    "vgg16_s1l2": Recipe(batch=16),
    "vgg16_s1l2_dual": Recipe(batch=16),
    "mobilenet_v1": Recipe(epochs=100, lr=0.001, warm_up=0.0),
    "mobilenet_v1_s1l0": Recipe(epochs=100, batch=24, lr=0.001, warm_up=0.0),
    "mobilenet_v1_s1l0_dual": Recipe(epochs=100, batch=24, lr=0.001, warm_up=0.0),
    "mobilenet_v1_s1l0_fmap2": Recipe(epochs=100, batch=24, lr=0.001, warm_up=0.0),
}


def published_recipe(model: str) -> Recipe:
    """The published hyper-parameters of a network of the registry.

    Raises:
        UsageError: there is no network of that name.
    """
    return _PUBLISHED[get_spec(model).name]


def changed_for_random_weights(model: str, recipe: Recipe) -> bool:
    """Whether a recipe has any of what helps without a trained backbone."""
    published = published_recipe(model)
    helps = ("norm_scale", "background", "clip_norm", "ramp")
    return any(getattr(recipe, name) != getattr(published, name) for name in helps)


def recipe_from_fields(values: Fields) -> Recipe:
    """Read what :meth:`Recipe.to_dict` gave; a ValueError for what is no recipe."""
    given: dict[str, Any] = {}
    for one in fields(Recipe):
        name, kind = one.name, str(one.type)
        if "None" in kind and name not in values:
            given[name] = None
        elif kind.startswith("int"):
            given[name] = values.integer(name, 0, 2**63 - 1)
        elif kind.startswith("float"):
            given[name] = values.number(name)
        elif kind == "bool":
            given[name] = values.flag(name)
        else:
            given[name] = values.text(name, PRECISIONS)
    return Recipe(**given)


def recipe_differences(ours: Recipe, theirs: dict[str, Any]) -> list[str]:
    """What another run's values (:meth:`Recipe.to_dict`) differ in, a phrase per field."""
    return [
        f"{field.name} is {getattr(ours, field.name)!r}, was {quoted(theirs.get(field.name))}"
        for field in fields(Recipe)
        if getattr(ours, field.name) != theirs.get(field.name)
    ]
