"""Inference time per network: PyTorch beside the engine, network and decode + NMS apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artefacts.description import Description, description_from_spec, spec_from_description
from ..artefacts.network import random_network
from ..detection.inference import Inference
from ..detection.load import open_built, torch_runtime
from ..errors import MissingRequirement, UsageError
from ..models.registry import get_spec, list_models
from ..models.spec import ModelSpec
from ..postprocess import PostprocessParams
from ..runtimes import HeadOutputs, open_engine
from ..runtimes.base import check_batch
from .synthetic import detector_heads, network_input
from .timing import Timing, measure

if TYPE_CHECKING:
    from ..artefacts.build_options import Precision
    from ..runtimes.torch import TorchRuntime


@dataclass(frozen=True)
class Measurement:
    """Times of one runtime on one network, milliseconds per image.

    Attributes:
        network: forward pass, with decode + NMS where they are inside the engine.
        decode_nms: post-processing of the heads; None where it is inside the engine.
        total: both, run one after the other.
        detections: per image, what the timed post-processing kept.
        params: of that post-processing.
    """

    model: str
    runtime: str
    precision: str
    batch: int
    network: Timing
    decode_nms: Timing | None
    total: Timing
    detections: float
    params: PostprocessParams

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the published milliseconds beside ours."""
        known = self.model in list_models()
        published = get_spec(self.model).published if known else None
        return {
            "model": self.model,
            "runtime": self.runtime,
            "precision": self.precision,
            "batch": self.batch,
            "network_ms": self.network.to_dict(),
            "decode_nms_ms": self.decode_nms.to_dict() if self.decode_nms else None,
            "total_ms": self.total.to_dict(),
            "images_per_second": round(1e3 / self.total.median, 3),
            "detections_per_image": self.detections,
            "postprocess": self.params.to_dict(),
            "published_ms": published.milliseconds if published else None,
        }


def bench_inference(inference: Inference, batch: int, seconds: float) -> Measurement:
    """Time a network or engine.

    A network without decode + NMS inside is followed by decode + NMS of synthetic heads of the
    same size (see :mod:`ssd_small.bench.synthetic`): with random weights the network's own would
    say nothing about their cost.

    Args:
        inference: network or engine with its post-processing.
        batch: images per call.
        seconds: how long to measure after the warm-up.
    """
    runtime = inference.runtime
    description = runtime.description
    images = network_input(description, batch)
    if inference.is_bound:
        kept = [len(found) for found in inference(images)]
        network, total = measure([lambda: runtime.infer(images)], seconds)
        decode = None
    else:
        heads = HeadOutputs(*detector_heads(description.priors, description.num_classes, batch))
        stages = [lambda: runtime.infer(images), lambda: inference.postprocess(heads)]
        network, decode, total = measure(stages, seconds)
        kept = [len(found) for found in inference.postprocess(heads)]
    return Measurement(
        model=description.model,
        runtime=runtime.name,
        precision=runtime.precision,
        batch=batch,
        network=network.per(batch),
        decode_nms=decode.per(batch) if decode else None,
        total=total.per(batch),
        detections=float(np.mean(kept)),
        params=inference.params,
    )


def reference_runtime(description: Description, threads: int = 0) -> TorchRuntime:
    """PyTorch with random weights for the network that ``description`` names.

    Raises:
        UsageError: it is not one of this package's networks.
        MissingRequirement: torch is not installed.
    """
    spec = replace(spec_from_description(description), preprocessing=description.preprocessing)
    net, _ = random_network(spec, num_classes=description.num_classes, width=description.width)
    plain = replace(description.with_decode_nms(False), pictures=None)
    return torch_runtime(net, plain, threads=threads, max_batch=64)


def bench_engine(
    path: str | Path, batch: int, seconds: float, threads: int = 0, *, cuda_graph: bool = True
) -> Iterator[Measurement]:
    """Time an engine, and PyTorch on a network of the same size before it, where that is here.

    Args:
        path: engine, or ONNX file of ``ssd-small export``.
        batch: images per call.
        seconds: for both together.
        threads: CPU threads; 0 for one per core.
        cuda_graph: replay captured graphs (TensorRT).
    """
    opened = open_built(Path(path), threads=threads, cuda_graph=cuda_graph, max_batch=batch)
    with opened as engine:
        check_batch(batch, engine.max_batch)
        params = engine.description.postprocess
        try:
            reference = reference_runtime(engine.description, threads)
        except (UsageError, MissingRequirement):
            yield bench_inference(Inference(engine, params, threads), batch, seconds)
            return
        with reference:
            yield bench_inference(Inference(reference, params, threads), batch, seconds / 2)
        yield bench_inference(Inference(engine, params, threads), batch, seconds / 2)


def bench_model(
    network: str | ModelSpec,
    params: PostprocessParams,
    folder: str | Path,
    *,
    precision: Precision = "fp32",
    batch: int = 1,
    seconds: float = 10.0,
    threads: int = 0,
    num_classes: int = 81,
    width: float = 1.0,
) -> Iterator[Measurement]:
    """Time a network with random weights in PyTorch, then as the embedded default's engine.

    Args:
        network: name of the network, or its spec.
        params: post-processing.
        folder: where the ONNX file and engine are written.
        precision: of the engine; PyTorch is fp32.
        batch: images per call.
        seconds: for both together.
        threads: CPU threads; 0 for one per core.
        num_classes: classes including background.
        width: channel multiplier.
    """
    from ..artefacts.build_options import BuildOptions
    from ..export.build_engine import build_engine
    from ..export.onnx_file import write_onnx
    from ..export.to_onnx import onnx_from_network

    spec = get_spec(network) if isinstance(network, str) else network
    description = description_from_spec(spec, num_classes, width, params=params)
    with reference_runtime(description, threads) as reference:
        onnx_path, engine_path = (
            Path(folder) / f"{spec.name}.{kind}" for kind in ("onnx", "engine")
        )
        write_onnx(onnx_from_network(reference.net, description), onnx_path)
        yield bench_inference(Inference(reference, params, threads), batch, seconds / 2)
    options = BuildOptions(target="onnxruntime", precision=precision, max_batch=batch, heads=True)
    build_engine(onnx_path, engine_path, options)
    with open_engine(engine_path, threads) as engine:
        yield bench_inference(Inference(engine, params, threads), batch, seconds / 2)
