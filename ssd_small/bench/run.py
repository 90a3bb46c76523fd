"""Inference time per network: PyTorch beside the engine, with separate network and decode + NMS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artefacts.described_spec import spec_from_description
from ..artefacts.description import Description, description_from_spec
from ..artefacts.network import random_network
from ..detection.detector import usual_workers
from ..detection.inference import Inference
from ..detection.load import open_built, torch_runtime
from ..errors import MissingRequirement, UsageError
from ..models.registry import get_spec, list_models
from ..models.spec import ModelSpec
from ..postprocess import PostprocessParams
from ..postprocess.oracle import candidates_of_image
from ..runtimes import HeadOutputs, Runtime, open_engine
from ..runtimes.base import check_batch
from ..runtimes.without_decode_nms import runtime_of_heads
from .ledger import Ledger, ledger_of_pictures
from .same_outputs import SameOutputs
from .synthetic import detector_heads, network_input
from .tiled import TiledPicture
from .timing import Timing, measure

if TYPE_CHECKING:
    from ..artefacts.build_options import Precision
    from ..runtimes.torch import TorchRuntime


#: COCO's 80 classes and background, as for the published times
FULL_CLASSES = 81


@dataclass(frozen=True)
class Measurement:
    """Times of one runtime on one network, in milliseconds per image.

    Attributes:
        network: forward pass, including decode + NMS if they are inside the engine.
        decode_nms: post-processing of the heads; None if it is inside the engine.
        total: both, run one after the other.
        detections: detections per image kept by the timed post-processing.
        candidates: (prior, class) pairs per image that entered NMS; None if it is inside the
            engine.
        params: parameters of that post-processing.
        compared: timed runs whose outputs were compared with, and bit-identical to, the untimed
            run's.
        engine: measured file; None for a network made for the measurement.
        ledger: where the time for real pictures goes; None without pictures.
        tiled: the picture in tiles that counts as one image, with ``batch`` tiles per call; None
            without tiles.
    """

    model: str
    runtime: str
    precision: str
    batch: int
    network: Timing
    decode_nms: Timing | None
    total: Timing
    detections: float
    candidates: float | None
    params: PostprocessParams
    published_ms: float | None
    compared: int
    engine: str | None = None
    ledger: Ledger | None = None
    tiled: TiledPicture | None = None

    @property
    def spread(self) -> float:
        """How far the parts of this measurement differ, see :class:`.timing.Timing`."""
        return self.total.spread

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, with individual durations for comparison with another run."""
        return {
            "model": self.model,
            "runtime": self.runtime,
            "precision": self.precision,
            "batch": self.batch,
            "engine": self.engine,
            "network_ms": self.network.to_dict(),
            "decode_nms_ms": self.decode_nms.to_dict() if self.decode_nms else None,
            "total_ms": self.total.to_dict(),
            "images_per_second": round(1e3 / self.total.median, 3),
            "detections_per_image": self.detections,
            "candidates_per_image": self.candidates,
            "postprocess": self.params.to_dict(),
            "published_ms": self.published_ms,
            "runs_compared": self.compared,
            "ledger": self.ledger.to_dict() if self.ledger else None,
            "tiled": self.tiled.to_dict() if self.tiled else None,
            "samples_ms": [round(value, 4) for value in self.total.samples],
        }


def bench_inference(
    inference: Inference,
    batch: int,
    seconds: float,
    *,
    engine: Path | None = None,
    pictures: Pictures | None = None,
    tiled: TiledPicture | None = None,
) -> Measurement:
    """Time a network or engine.

    If decode + NMS are not inside the network, they are timed after it on synthetic heads of the
    same size (see :mod:`ssd_small.bench.synthetic`): with random weights, the network's own heads
    would say nothing about their cost.

    Args:
        inference: network or engine with its post-processing.
        batch: images per call, or tiles.
        seconds: how long to measure after the warm-up; a ledger takes 1.5 times as long on top.
        engine: the file of the engine.
        pictures: pictures for the ledger; None for no ledger.
        tiled: a picture in tiles, to be timed as one image.

    Raises:
        CheckFailed: outputs of a timed run differ from those of the untimed run.
    """
    runtime = inference.runtime
    description = runtime.description
    images = network_input(description, batch)
    stages: list[Callable[[], object]] = [lambda: runtime.infer(images)]
    candidates = None
    per_run = batch if tiled is None else 1
    if tiled is not None:
        stages, candidates = tiled.stages(inference, batch), tiled.candidates(inference)
    elif not inference.is_bound:
        heads = HeadOutputs(*detector_heads(description.priors, description.num_classes, batch))
        stages.append(lambda: inference.postprocess(heads))
        pairs = zip(heads.loc, heads.conf, strict=True)
        counts = [candidates_of_image(loc, conf, inference.params) for loc, conf in pairs]
        candidates = float(np.mean(counts))
    untimed = [stage() for stage in stages]
    kept: Any = untimed[-1]
    check = SameOutputs(untimed, f"{description.model} ({runtime.name})")
    network, *decode, total = measure(stages, seconds, observe=check)
    if inference.is_bound:
        total = network
    return Measurement(
        model=description.model,
        runtime=runtime.name,
        precision=runtime.precision,
        batch=batch,
        network=network.per(per_run),
        decode_nms=decode[0].per(per_run) if decode else None,
        total=total.per(per_run),
        detections=float(np.mean([len(found) for found in kept])),
        candidates=candidates,
        params=inference.params,
        published_ms=_published_ms(description) if tiled is None else None,
        compared=check.compared,
        engine=None if engine is None else str(engine),
        ledger=pictures.ledger(inference, batch, seconds, tiled) if pictures else None,
        tiled=tiled,
    )


def _published_ms(description: Description) -> float | None:
    """Return the published milliseconds, which are for full width and COCO's classes only."""
    if description.model not in list_models() or description.width != 1:
        return None
    published = get_spec(description.model).published
    full = published is not None and description.num_classes == FULL_CLASSES
    return published.milliseconds if published and full else None


@dataclass(frozen=True)
class Pictures:
    """Real pictures for ledgers.

    Attributes:
        paths: the picture files.
        workers: threads that read ahead when stages overlap; None for as many as ``detect`` uses.
    """

    paths: tuple[Path, ...]
    workers: int | None

    def ledger(
        self, inference: Inference, batch: int, seconds: float, tiled: TiledPicture | None = None
    ) -> Ledger:
        """See :func:`.ledger.ledger_of_pictures`; pictures are cut as in ``tiled``."""
        running: dict[str, Any] = {"batch": batch}
        running["workers"] = self.workers or usual_workers(inference.runtime)
        if tiled is not None:
            running |= {"tiling": tiled.tiling, "caps_grow": tiled.caps_grow}
        return ledger_of_pictures(inference, self.paths, seconds, **running)


def reference_runtime(description: Description, threads: int = 0) -> TorchRuntime:
    """Open the described network in PyTorch with random weights, without decode + NMS.

    Raises:
        UsageError: it is not one of this package's networks.
        MissingRequirement: torch is not installed.
    """
    height, width = description.network_size
    preprocessing = replace(description.preprocessing, height=height, width=width)
    spec = replace(spec_from_description(description), preprocessing=preprocessing)
    net, _ = random_network(spec, num_classes=description.num_classes, width=description.width)
    plain = replace(description.with_decode_nms(False), pictures=None)
    return torch_runtime(net, plain, threads=threads, max_batch=64)


@dataclass(frozen=True)
class Plan:
    """How networks are measured.

    Attributes:
        batches: images per call; each gives one measurement.
        seconds: for PyTorch and the engine together, at each batch size.
        threads: CPU threads; 0 for one per core.
        pictures: pictures for ledgers; None for no ledgers.
        tiles: gives, for a network, the picture size and how it is cut; None for no tiles.
    """

    batches: tuple[int, ...] = (1,)
    seconds: float = 10.0
    threads: int = 0
    pictures: Pictures | None = None
    tiles: Callable[[Description], TiledPicture] | None = None

    def measurements(
        self, runtime: Runtime, params: PostprocessParams, engine: Path | None, share: float
    ) -> Iterator[Measurement]:
        """Measure each batch size, spending ``share`` of the seconds on this runtime."""
        tiled = None if self.tiles is None else self.tiles(runtime.description)
        inference = Inference(runtime, params, self.threads)
        for batch in self.batches:
            yield bench_inference(
                *(inference, batch, self.seconds * share),
                engine=engine,
                pictures=self.pictures,
                tiled=tiled,
            )


def bench_engine(path: str | Path, plan: Plan, *, cuda_graph: bool = True) -> Iterator[Measurement]:
    """Time an engine and, if possible, PyTorch before it on a network of the same size.

    Args:
        path: engine, or ONNX file written by ``ssd-small export``.
        plan: how to measure.
        cuda_graph: replay captured graphs (TensorRT).
    """
    path, most = Path(path), max(plan.batches)
    with ExitStack() as opened:
        engine = open_built(path, threads=plan.threads, cuda_graph=cuda_graph, max_batch=most)
        opened.enter_context(engine)
        check_batch(most, engine.max_batch)
        params = engine.description.postprocess
        if plan.tiles is not None:
            plan.tiles(engine.description)  # refused before anything is measured
            cut = runtime_of_heads(engine, plan.threads)
            if cut is not engine:
                engine.close()
                opened.enter_context(cut)
                engine = cut
        try:
            reference = reference_runtime(engine.description, plan.threads)
        except (UsageError, MissingRequirement):
            yield from plan.measurements(engine, params, path, 1)
            return
        with reference:
            # random weights find nothing in pictures, so only the engine gets a ledger
            yield from replace(plan, pictures=None).measurements(reference, params, None, 0.5)
        yield from plan.measurements(engine, params, path, 0.5)


def bench_model(
    network: str | ModelSpec,
    params: PostprocessParams,
    folder: str | Path,
    plan: Plan,
    *,
    precision: Precision = "fp32",
    num_classes: int = FULL_CLASSES,
    width: float = 1.0,
) -> Iterator[Measurement]:
    """Time a network with random weights in PyTorch, then as an engine for ONNX Runtime.

    Args:
        network: name of the network, or its spec.
        params: parameters of the post-processing.
        folder: where the ONNX file and engine are written.
        plan: how to measure.
        precision: precision of the engine; PyTorch is fp32.
        num_classes: classes including background.
        width: channel multiplier.
    """
    from ..artefacts.build_options import BuildOptions
    from ..export.build_engine import build_engine
    from ..export.onnx_file import write_onnx
    from ..export.to_onnx import onnx_from_network

    spec = get_spec(network) if isinstance(network, str) else network
    description = description_from_spec(spec, num_classes, width, params=params)
    with reference_runtime(description, plan.threads) as reference:
        onnx_path, engine_path = (
            Path(folder) / f"{spec.name}.{kind}" for kind in ("onnx", "engine")
        )
        write_onnx(onnx_from_network(reference.net, description), onnx_path)
        yield from plan.measurements(reference, params, None, 0.5)
    most = max(plan.batches)
    options = BuildOptions(target="onnxruntime", precision=precision, max_batch=most, heads=True)
    build_engine(onnx_path, engine_path, options)
    with open_engine(engine_path, plan.threads) as engine:
        yield from plan.measurements(engine, params, None, 0.5)
