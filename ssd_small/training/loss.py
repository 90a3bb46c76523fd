"""The MultiBox loss (Liu et al. 2016, eq. 1) with hard negative mining."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .matching import Targets


@dataclass(frozen=True, eq=False)
class LossParts:
    """The two parts of the loss, each already divided by the number of positive priors.

    Attributes:
        loc: scalar, smooth L1 loss of the offsets of positive priors.
        conf: scalar, cross-entropy of positive and hard negative priors.
        num_positive: positive priors in the batch.
    """

    loc: Tensor
    conf: Tensor
    num_positive: int

    @property
    def total(self) -> Tensor:
        """The loss to minimise: the sum of both parts."""
        return self.loc + self.conf


def hard_negatives(cross_entropy: Tensor, positive: Tensor, ratio: float = 3.0) -> Tensor:
    """Select the negatives of highest loss: per image, ``ratio`` times as many as positives.

    Args:
        cross_entropy: ``[N, P]`` cross-entropy of each prior against its label.
        positive: ``[N, P]`` bool.
        ratio: negatives per positive.

    Returns:
        ``[N, P]`` bool, disjoint from ``positive``.
    """
    wanted = (positive.sum(dim=1) * ratio).long().minimum((~positive).sum(dim=1))  # [N]
    most = int(wanted.max()) if len(wanted) else 0
    ranked = cross_entropy.detach().masked_fill(positive, -torch.inf).topk(most, dim=1).indices
    within = torch.arange(most, device=ranked.device) < wanted[:, None]  # [N, most]
    return torch.zeros_like(positive).scatter_(1, ranked, within)


def multibox_loss(
    loc: Tensor,
    conf: Tensor,
    targets: Targets,
    *,
    negative_ratio: float = 3.0,
    divisor: float | None = None,
) -> LossParts:
    """Compute the loss of a batch.

    ``(sum smooth L1 + sum cross-entropy) / positives``, where the first sum is over positive
    priors, the second over these and the hard negatives. The loss of a batch without objects is 0.

    Args:
        loc: ``[N, P, 4]`` float32 predicted offsets.
        conf: ``[N, P, C]`` float32 logits; class 0 is the background.
        targets: from :func:`ssd_small.training.matching.match`.
        negative_ratio: hard negatives per positive.
        divisor: divisor of the sums if this is part of a larger batch; by default the number of
            positives in this batch, at least 1.
    """
    positive = targets.labels > 0
    num_positive = int(positive.sum())
    cross_entropy = F.cross_entropy(
        conf.reshape(-1, conf.shape[-1]), targets.labels.reshape(-1), reduction="none"
    ).reshape(positive.shape)
    counted = positive | hard_negatives(cross_entropy, positive, negative_ratio)
    scale = 1.0 / (max(num_positive, 1) if divisor is None else divisor)
    return LossParts(
        F.smooth_l1_loss(loc[positive], targets.loc[positive], reduction="sum") * scale,
        cross_entropy[counted].sum() * scale,
        num_positive,
    )
