"""PyTorch, the reference with which every engine is compared."""

from __future__ import annotations

import torch

from ..artefacts.description import Description, description_from_spec
from ..models.network import SsdNetwork
from .base import BatchingRuntime, HeadOutputs, Images


class TorchRuntime(BatchingRuntime):
    """Runs a network with PyTorch, on the device that holds it."""

    precision = "fp32"

    def __init__(
        self, net: SsdNetwork, description: Description | None = None, max_batch: int = 64
    ) -> None:
        self.net = net.eval()
        self.description = description or description_from_spec(
            net.spec, net.num_classes, net.width
        )
        self.name = f"torch {torch.__version__}"
        self.max_batch = max_batch
        self.device = str(net.priors.device)

    def infer_batch(self, images: Images) -> HeadOutputs:
        """See :class:`~ssd_small.runtimes.base.BatchingRuntime`."""
        number, tiles = len(images), self.description.tiles
        if tiles is not None:
            images = tiles.tiles_of(images)
        with torch.inference_mode():
            heads = self.net(torch.from_numpy(images).to(self.net.priors.device))
        loc, conf = (one.reshape(number, -1, one.shape[-1]).cpu().numpy() for one in heads)
        return HeadOutputs(loc, conf)
