"""Times on a GPU by CUDA events, over doubles of TensorRT and CUDA; no GPU, not executed here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

import tensorrt_double
from cuda_double import Cuda
from runner_stage import Stage, outputs_of
from tensorrt_double import SECONDS

from ssd_small.bench.ledger import ledger_of_pictures
from ssd_small.bench.synthetic import picture_input
from ssd_small.detection.inference import Inference
from ssd_small.runtimes.cuda_device import GpuError
from ssd_small.runtimes.tensorrt import TensorRtRuntime

pytestmark = pytest.mark.slow

Open = Callable[..., TensorRtRuntime]
#: bytes of a picture at the input, float32
PICTURE = 3 * 300 * 300 * 4


@pytest.mark.parametrize("cuda_graph", [True, False])
def test_copies_and_network_are_told_apart_in_every_batch(
    open_it: Open, cuda: Cuda, cuda_graph: bool
) -> None:
    images = picture_input(4, 300, 300, seed=5)
    with open_it(cuda_graph=cuda_graph) as runner:
        engine = runner.engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        out = sum(
            int(np.prod(engine.get_tensor_shape(name)[1:]))
            * np.dtype(engine.module.nptype(engine.get_tensor_dtype(name))).itemsize
            for name in names
            if name != "images"
        )
        # a graph from before, without events
        runner.infer(images)
        with runner.watched() as times:
            for batches in (1, 2, 3):
                runner.infer(images)
                assert times.network == pytest.approx(batches * SECONDS)
                # a nanosecond a byte
                assert times.upload == pytest.approx(batches * 4 * PICTURE * 1e-9)
                assert times.download == pytest.approx(batches * 4 * out * 1e-9)
        assert cuda.calls.count("cudaGraphLaunch") == (2 if cuda_graph else 0)
        assert len(cuda.events) == 0
        cuda.calls.clear()
        runner.infer(images)
        runner.infer(images)
        assert not [name for name in cuda.calls if "Event" in name]
        assert times.network == pytest.approx(3 * SECONDS)
    assert cuda.live() == 0


def test_outputs_are_the_same_with_events(open_it: Open) -> None:
    images = picture_input(3, 300, 300, seed=6)
    with open_it() as runner:
        before = outputs_of(runner.infer(images))
        with runner.watched():
            runner.infer(images)
            replayed = outputs_of(runner.infer(images))
    for own, other in zip(replayed, before, strict=True):
        np.testing.assert_array_equal(own, other)


def test_a_gpu_that_is_lost_says_so_and_closing_is_harmless(open_it: Open, cuda: Cuda) -> None:
    images = picture_input(1, 300, 300)
    runner = open_it()
    with runner.watched():
        runner.infer(images)
        cuda.lost = True
        with pytest.raises(GpuError):
            runner.infer(images)
    runner.close()


def test_events_that_cannot_be_had_are_given_back(cuda: Cuda, open_it: Open) -> None:
    runner = open_it()
    create = cuda.cudaEventCreate
    made = iter(range(3))

    def few() -> tuple[Any, ...]:
        return create() if next(made, None) is not None else (cuda.cudaError_t(2), None)

    cuda.cudaEventCreate = few  # type: ignore[method-assign]
    with pytest.raises(GpuError, match="out of GPU memory"), runner.watched():
        pytest.fail("not to be reached")
    assert not cuda.events
    runner.infer(picture_input(1, 300, 300))
    runner.close()


def test_the_ledger_has_the_copies(
    open_it: Open, cuda: Cuda, stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # less than the double takes by the clock on the wall, as on a GPU
    monkeypatch.setattr(tensorrt_double, "SECONDS", 1e-5)
    cuda.per_byte = 1e-12
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for i, path in enumerate(paths):
        assert cv2.imwrite(str(path), np.full((60, 80, 3), 40 * i, np.uint8))
    with open_it() as runner:
        inference = Inference(runner, stage.sidecar.description.postprocess)
        ledger = ledger_of_pictures(inference, paths, 0, batch=2, workers=1)
    stages = ["read", "decode", "resize", "upload", "network", "download", "host"]
    if not inference.is_bound:
        stages.append("decode_nms")
    assert list(ledger.stages) == stages
    # per picture; each batch of two takes a hundredth of a millisecond
    assert ledger.stages["network"].median == pytest.approx(0.005)
    assert ledger.stages["upload"].median == pytest.approx(PICTURE * 1e-9)
    assert ledger.stages["host"].median > 0
