"""One update of the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..errors import Diverged, UsageError
from ..models.network import SsdNetwork
from .distributed import Processes
from .loss import multibox_loss
from .matching import Targets
from .optimizers import optimizer_from_recipe
from .recipe import Recipe
from .scope import freeze_outside


@dataclass(eq=False)
class Learner:
    """A network with all the state that changes during training.

    Attributes:
        net: the network itself, in training mode.
        recipe: the hyper-parameters.
        processes: the processes that take part.
        forward: module to call in place of ``net`` (:meth:`Processes.parallel`).
        optimizer: optimizer with two groups of trainable parameters: all but the heads', and the
            heads'.
        scaler: scales the loss, for float16 on a GPU; otherwise it does nothing.
        ema: averaged copy of the network, or None.
    """

    net: SsdNetwork
    recipe: Recipe
    processes: Processes
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: AveragedModel | None

    @classmethod
    def of(cls, net: SsdNetwork, recipe: Recipe, processes: Processes) -> Learner:
        """Create a learner before its first update; ``net`` is moved to this process' device.

        Raises:
            UsageError: the network has batch norms, which cannot normalise over one picture, and
                the batch is too small; or no part of it is in the recipe's ``trainable_scope``.
        """
        normalizes = any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
        together = 1 if processes.device.type == "cuda" else processes.world
        if normalizes and recipe.batch < 2 * together:
            raise UsageError(
                f"batch {recipe.batch} for {processes.world} processes: {net.spec.name} has batch "
                f"norm, which needs two images a process; pass --batch {2 * together} or more"
            )
        net.to(processes.device)
        # before parallel(), so that it does not wait for gradients of frozen parameters
        freeze_outside(net, recipe.trainable_scope)
        forward = processes.parallel(net)
        heads = [*net.loc.parameters(), *net.conf.parameters()]
        others = {id(parameter) for parameter in heads}
        rest = [parameter for parameter in net.parameters() if id(parameter) not in others]
        optimizer = optimizer_from_recipe(
            recipe,
            (parameter for parameter in rest if parameter.requires_grad),
            (parameter for parameter in heads if parameter.requires_grad),
        )
        scales_loss = recipe.precision == "amp" and processes.device.type == "cuda"
        return cls(
            net,
            recipe,
            processes,
            forward,
            optimizer,
            torch.amp.GradScaler(processes.device.type, enabled=scales_loss),
            averaged_copy(net, recipe.ema_decay) if recipe.ema_decay else None,
        )

    @property
    def result(self) -> SsdNetwork:
        """The network to evaluate and to save: the averaged copy if there is one."""
        return self.net if self.ema is None else cast(SsdNetwork, self.ema.module)

    def set_lr(self, factor: float) -> float:
        """Set the rates to ``factor`` times the highest ones; return the one not of the heads."""
        rest, heads = self.optimizer.param_groups
        rest["lr"] = self.recipe.lr * factor
        heads["lr"] = (self.recipe.head_lr or self.recipe.lr) * factor
        return float(rest["lr"])


def all_finite(net: nn.Module) -> bool:
    """Whether all weights and statistics of a network are finite."""
    return all(bool(value.isfinite().all()) for value in net.state_dict().values())


def averaged_copy(net: SsdNetwork, decay: float) -> AveragedModel:
    """Create an exponential moving average of the weights and of the batch norms' statistics.

    The decay rises, ``min(decay, (1 + n) / (10 + n))`` after n updates, so that random initial
    weights are soon forgotten.
    """

    def average(old: tuple[Tensor, ...] | list[Tensor], new: tuple[Tensor, ...] | list[Tensor],
                count: Tensor | int) -> None:  # fmt: skip
        n = int(count)
        if old[0].is_floating_point():
            torch._foreach_lerp_(old, new, 1 - min(decay, (1 + n) / (10 + n)))
        else:  # the number of batches that a batch norm has seen
            for target, value in zip(old, new, strict=True):
                target.copy_(value)

    return AveragedModel(net, multi_avg_fn=average, use_buffers=True)


@dataclass(frozen=True)
class StepReport:
    """Results of an update, over all processes.

    Attributes:
        loc, conf: the two parts of the loss (:class:`~ssd_small.training.loss.LossParts`).
        positives: number of positive priors.
        extras: sums over the processes of the caller's numbers.
    """

    loc: float
    conf: float
    positives: float
    extras: tuple[float, ...]


def update(
    learner: Learner,
    images: Tensor,
    targets: Targets,
    names: Callable[[], list[str]],
    extras: tuple[float, ...] = (),
) -> StepReport:
    """Perform one update; each process calls this with its slice of the batch.

    Args:
        learner: the learner to update.
        images: ``[N, 3, H, W]`` float32, preprocessed.
        targets: targets of these images.
        names: returns the images' names, in case a message needs them.
        extras: numbers to sum over the processes along with the losses.

    Raises:
        Diverged: the loss or its gradient is not finite; the parameters are unchanged.
    """
    recipe, processes, device = learner.recipe, learner.processes, learner.processes.device
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    images = images.to(device, non_blocking=True).contiguous(memory_format=layout)
    targets = Targets(targets.loc.to(device), targets.labels.to(device))
    (positives,) = processes.total([float((targets.labels > 0).sum())])
    amp = recipe.precision == "amp"
    with torch.autocast(device.type, _half(device), enabled=amp):
        loc, conf = learner.forward(images)
    if amp:
        loc, conf = loc.float(), conf.float()
    # gradients are averaged over the processes, hence the division by their number
    parts = multibox_loss(
        loc,
        conf,
        targets,
        negative_ratio=recipe.negative_ratio,
        divisor=max(positives, 1.0) / processes.world,
    )
    local = [float(parts.loc.detach()), float(parts.conf.detach())]
    loss_loc, loss_conf, *others = processes.total([*local, *extras])
    report = StepReport(
        loss_loc / processes.world, loss_conf / processes.world, positives, tuple(others)
    )
    if not abs(report.loc + report.conf) < float("inf"):
        guilty = names() if not abs(sum(local)) < float("inf") else []
        found = f"loss is not finite (loc {report.loc:g}, conf {report.conf:g})"
        raise _diverged(found, processes, guilty)
    learner.optimizer.zero_grad(set_to_none=True)
    learner.scaler.scale(parts.total).backward()  # type: ignore[no-untyped-call]
    norm = _limit_gradient(learner)
    # the scaler itself skips such an update and tries a smaller scale
    if not (norm < float("inf") or learner.scaler.is_enabled()):
        raise _diverged(f"gradient is not finite (norm {norm:g})", processes, names())
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    if learner.ema is not None:
        learner.ema.update_parameters(learner.net)
    return report


def _half(device: torch.device) -> torch.dtype:
    return torch.float16 if device.type == "cuda" else torch.bfloat16


def _limit_gradient(learner: Learner) -> float:
    """Clip the gradient to the recipe's ``clip_norm``; return its norm before clipping."""
    recipe = learner.recipe
    if recipe.clip_norm is not None:
        learner.scaler.unscale_(learner.optimizer)
    gradients = [p.grad for p in learner.net.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if recipe.clip_norm is not None:
        nn.utils.clip_grads_with_norm_(learner.net.parameters(), recipe.clip_norm, norm)
    return float(norm)


def _diverged(found: str, processes: Processes, guilty: list[str]) -> Diverged:
    """The error, naming the images of all processes that caused it."""
    images = [name for part in processes.gathered(guilty) for name in part]
    return Diverged(
        f"the {found} on the images {', '.join(images)}; expected a finite one: lower --lr, limit "
        "the gradient with --clip-norm, or look at these images"
    )
