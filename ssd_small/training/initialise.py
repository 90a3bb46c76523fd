"""The weights of a network before the first update."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from ..artefacts.labels import default_labels, read_labels
from ..artefacts.network import open_checkpoint
from ..errors import UsageError, quoted
from ..models.blocks import L2Norm
from ..models.checkpoint import load_checkpoint
from ..models.network import SsdNetwork, create_model
from ..models.partial_checkpoint import load_backbone, load_fitting, load_matching
from ..models.shipped import shipped_checkpoints
from ..models.spec import ModelSpec
from .recipe import Recipe

#: which tensors are taken from a checkpoint: exactly the backbone, all without exception, or those
#: that fit; any other scope is a list of key parts, RESUME_SCOPE in the published implementation
NAMED_SCOPES = ("base", "all", "fitting")


def initial_network(
    model: str | ModelSpec,
    num_classes: int,
    width: float,
    recipe: Recipe,
    weights: str | Path | None = None,
    scope: str = "fitting",
    say: Callable[[str], None] = lambda line: None,
) -> SsdNetwork:
    """Create a network that is ready for training, in training mode.

    Random weights are drawn by PyTorch's defaults with ``recipe.seed``; L2Norm starts at
    ``recipe.norm_scale``. The published runs took the backbone of a trained sibling (``base``).

    Args:
        model: name of the network, or its spec.
        num_classes: classes including background.
        width: channel multiplier.
        recipe: gives the seed, L2Norm's initial value and the probability of background.
        weights: checkpoint to start from; None for random weights.
        scope: which tensors to take from it: the whole backbone and nothing else (``base``), all
            tensors without exception (``all``), every tensor whose key and shape fit
            (``fitting``), or every tensor whose key contains one of the parts that
            :func:`substrings_from_scope` returns.
        say: called with a line on what was taken, unless that is clear from the scope.

    Raises:
        BadFile: the checkpoint cannot be read or does not fit; keys are listed, one per line.
        UsageError: the scope is ``all``, but the checkpoint says that it is of another network.
    """
    torch.manual_seed(recipe.seed)
    net = create_model(model, num_classes, width)
    if isinstance(net.norm, L2Norm):
        torch.nn.init.constant_(net.norm.weight, recipe.norm_scale)
    if recipe.background is not None:
        start_with_background(net, recipe.background)
    if weights is not None and scope == "fitting":
        say(load_fitting(net, weights).line(weights, net.spec.name))
    elif weights is not None and scope not in NAMED_SCOPES:
        taken = load_matching(net, weights, substrings_from_scope(scope))
        say(taken.line(weights, net.spec.name))
    elif weights is not None and scope == "base":
        of_classifier = load_backbone(net, weights)
        if of_classifier is not None:
            say(of_classifier.line(weights, net.spec.name))
    elif weights is not None:
        load_checkpoint(net, weights, advice="pass --init-scope base")
    net.train()
    if recipe.channels_last:
        net.to(memory_format=torch.channels_last)
    return net


def classes_line(weights: str | Path, labels: Sequence[str]) -> str | None:
    """A warning if the heads taken from a checkpoint were trained on other classes than the run's.

    None if the checkpoint has the same class names in the same order, has no class names, or has
    another number of classes, in which case its heads are not taken.
    """
    opened = open_checkpoint(weights)
    # in a job, the name of a shipped checkpoint has been replaced by its path
    shipped = next((one for one in shipped_checkpoints() if one.path == opened.path), None)
    if opened.record is not None:
        learned = opened.record.description.labels
    elif shipped is not None:
        learned = read_labels(shipped.labels_path)
    else:
        return None
    if len(learned) != len(labels) or learned == default_labels(len(learned)):
        return None
    pairs = enumerate(zip(learned, labels, strict=True), 1)
    other = next(((i, *pair) for i, pair in pairs if pair[0] != pair[1]), None)
    if other is None:
        return None
    number, theirs, ours = other
    return (
        f"class {number} of {weights} is {quoted(theirs)}, of this run {quoted(ours)}: its heads "
        "begin with what they learned of other classes; number the categories as it does, or take "
        "--init-scope base"
    )


def substrings_from_scope(scope: str) -> tuple[str, ...]:
    """Split a comma-separated list of key parts, such as ``"base,extras.0"``.

    Raises:
        UsageError: a part is empty (every key would contain it) or not printable.
    """
    parts = tuple(part.strip() for part in scope.split(","))
    if not all(parts) or not scope.isprintable():
        raise UsageError(
            f"--init-scope {scope!r}: expected {', '.join(NAMED_SCOPES)}, or parts of keys with "
            "commas between, such as base,norm,extras"
        )
    return parts


def start_with_background(net: SsdNetwork, probability: float) -> None:
    """Set the conf biases so that priors start out as background with this probability.

    All logits except that of background start near 0: ``p = e^b / (e^b + C - 1)``.
    """
    ratio = probability * (net.num_classes - 1) / (1 - probability)
    for head in net.conf:
        last = head[-1] if isinstance(head, nn.Sequential) else head
        values = cast(Tensor, last.bias).detach()
        bias = values.view(-1, net.num_classes)  # [anchors, C]
        bias.zero_()
        bias[:, 0] = math.log(ratio)
