"""What must hold of an engine on a GPU: heads and detections are PyTorch's.

test_gpu.py runs these on a GPU; test_gpu_checks.py runs them over the doubles, so that they are
executed where there is none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ssd_small.export.build_engine import build_engine, resolve_target
from ssd_small.export.onnx_file import write_onnx
from ssd_small.export.to_onnx import onnx_from_network

import ssd_small
from ssd_small.artefacts.build_options import BuildOptions, Precision
from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.bench.synthetic import picture_input
from ssd_small.evaluation.limits import HEAD_LIMITS
from ssd_small.evaluation.proof import faults_from_heads, heads_difference
from ssd_small.postprocess.detections import Detections
from ssd_small.runtimes import HeadOutputs, open_engine
from ssd_small.runtimes.torch import TorchRuntime


@dataclass(frozen=True)
class Network:
    """A network of random weights and its ONNX file."""

    net: ssd_small.models.network.SsdNetwork
    description: Description
    onnx_path: Path


def make_network(name: str, folder: Path, classes: int = 21, width: float = 1.0) -> Network:
    torch.manual_seed(3)
    net = ssd_small.create_model(name, classes, width).eval()
    description = description_from_spec(net.spec, classes, width, has_decode_nms=True)
    path = folder / f"{name}.onnx"
    write_onnx(onnx_from_network(net, description), path)
    return Network(net, description, path)


def built(network: Network, path: Path, precision: Precision = "fp32", heads: bool = False) -> Path:
    options = BuildOptions(resolve_target("auto"), precision, heads=heads)
    build_engine(network.onnx_path, path, options)
    return path


def check_against_torch(
    network: Network,
    precision: Precision,
    cuda_graph: bool,
    folder: Path,
    numbers: Iterable[int] = range(1, 9),
) -> int:
    """Heads within the limit, detections proven, for batches of these numbers of images.

    Returns:
        How many detections were proven.
    """
    images = picture_input(8, 300, 300, seed=2)
    expected = TorchRuntime(network.net).infer(images)
    for array in (expected.loc, expected.conf):
        # heads that hardly depend on the picture would hide a picture in the wrong place
        spread = np.ptp(array, axis=0).max()
        assert spread > 0.1 * np.abs(array).max(), "all pictures give the same heads"
    with (
        open_engine(
            built(network, folder / "heads.engine", precision, heads=True), cuda_graph=cuda_graph
        ) as heads_engine,
        open_engine(
            built(network, folder / "full.engine", precision), cuda_graph=cuda_graph
        ) as engine,
    ):
        proven = 0
        for number in numbers:
            for _ in range(3):  # warm-up, capture, replay
                heads = heads_engine.infer(images[:number])
                found = engine.infer(images[:number])
            assert isinstance(heads, HeadOutputs)
            assert isinstance(found, list)
            reference = HeadOutputs(expected.loc[:number], expected.conf[:number])
            check_heads(heads, reference, HEAD_LIMITS[precision])
            proven += check_detections(found, heads, reference, network.description)
    return proven


def check_heads(own: HeadOutputs, reference: HeadOutputs, limit: float) -> None:
    assert own.loc.shape == reference.loc.shape
    assert own.conf.shape == reference.conf.shape
    share = heads_difference((own.loc, own.conf), (reference.loc, reference.conf))
    assert share <= limit, f"heads are {share:.1e} of the largest value off, limit {limit:.0e}"


def check_detections(
    found: list[Detections], own: HeadOutputs, reference: HeadOutputs, description: Description
) -> int:
    """Every detection, and every one that is missing, is proven from PyTorch's heads.

    The engine with decode + NMS inside does not show its heads. It may be built from other
    kernels than the heads engine, with rounding as large the other way: twice the difference
    seen of that engine is allowed.
    """
    loc_error, conf_error = (
        2 * float(np.abs(mine - other).max())
        for mine, other in ((own.loc, reference.loc), (own.conf, reference.conf))
    )
    faults = faults_from_heads(
        found,
        reference.loc,
        reference.conf,
        description.priors,
        description.postprocess,
        loc_error=loc_error,
        conf_error=conf_error,
    )
    for of_image in faults:
        assert not of_image, [str(fault) for fault in of_image[:5]]
    return sum(map(len, found))


def check_identical_images(network: Network, folder: Path) -> None:
    """Results do not depend on the place in the batch."""
    images = np.repeat(picture_input(1, 300, 300, seed=9), 8, axis=0)
    with open_engine(built(network, folder / "x.engine")) as engine:
        found = engine.infer(images)
    assert len(found[0]) > 0
    for one in found[1:]:
        check_equal([one], found[:1])


def check_times(network: Network, cuda_graph: bool, folder: Path) -> None:
    """Copies and network take time, and together no more than the clock on the wall says."""
    images = picture_input(4, 300, 300, seed=2)
    with open_engine(built(network, folder / "x.engine"), cuda_graph=cuda_graph) as engine:
        with engine.watched() as times:
            assert times is not None
            engine.infer(images)
            before, started = replace(times), time.perf_counter()
            for _ in range(5):
                engine.infer(images)
            seconds = time.perf_counter() - started
        stages = {
            name: getattr(times, name) - getattr(before, name)
            for name in ("upload", "network", "download")
        }
        assert min(stages.values()) > 0, stages
        assert sum(stages.values()) <= seconds, (stages, seconds)


def check_threads(network: Network, cuda_graph: bool, folder: Path, threads: int = 3) -> None:
    """A runner for each thread: what each gives alone, it gives beside the others.

    The first batch of each thread's own size is captured while the others run.
    """
    path = built(network, folder / "x.engine")
    images = picture_input(threads, 300, 300, seed=6)
    alone = []
    for number in range(1, threads + 1):
        with open_engine(path, cuda_graph=cuda_graph) as engine:
            alone.append(engine.infer(images[:number]))
    runners = [open_engine(path, cuda_graph=cuda_graph) for _ in range(threads)]
    failures: list[BaseException] = []
    start = threading.Barrier(threads)

    def work(number: int) -> None:
        try:
            start.wait()
            for _ in range(4):
                check_equal(runners[number].infer(images[: number + 1]), alone[number])
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for runner in runners:
        runner.close()
    assert not failures, failures


def check_equal(found: list[Detections], expected: list[Detections]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name in ("prior_indices", "labels", "scores", "boxes"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
