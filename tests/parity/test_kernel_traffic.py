"""Global memory traffic and launches of the decode+NMS kernels, counted by the executor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from kernel_library import KernelLibrary

from ssd_small.models.registry import get_spec, list_models
from ssd_small.postprocess import PostprocessParams, decode_nms
from ssd_small.priors import priors_from_spec
from ssd_small.synthetic import detector_heads

PRESETS = ("deployment", "coco")
BUFFERS = ("loc", "conf", "priors", "workspace", "num_detections", "boxes", "scores", "labels",
           "prior_indices")  # fmt: skip


@pytest.fixture(autouse=True)
def counted(executor: KernelLibrary) -> None:
    if not executor.traces:
        pytest.skip("this library counts nothing (it is compiled with AddressSanitizer)")


Heads = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]


def scene(model: str) -> Heads:
    """Heads of one image of a busy scene, and the priors of the network."""
    priors = priors_from_spec(get_spec(model))
    return *detector_heads(priors, 81), priors


@pytest.mark.parametrize("preset", [PostprocessParams(), PostprocessParams.coco()], ids=PRESETS)
@pytest.mark.parametrize("model", list_models())
def test_conf_is_read_once_and_little_else_is_moved(
    executor: KernelLibrary, model: str, preset: PostprocessParams
) -> None:
    check_traffic(executor, scene(model), preset)


@pytest.mark.parametrize("preset", [PostprocessParams(), PostprocessParams.coco()], ids=PRESETS)
def test_golden_heads_move_no_more(
    executor: KernelLibrary, golden: Path, golden_heads: Any, preset: PostprocessParams
) -> None:
    loc, scores = golden_heads("vgg16")
    priors = np.load(golden / "vgg16.npz")["priors"]
    # the logarithm of softmax scores are logits whose softmax they are
    check_traffic(executor, (loc[None], np.log(scores)[None], priors), preset)


def check_traffic(executor: KernelLibrary, heads: Heads, params: PostprocessParams) -> None:
    loc, conf, priors = heads
    padded = executor(loc, conf, priors, params, seed=1)
    expected = decode_nms(loc, conf, priors, params, backend="numpy")[0]
    assert np.array_equal(padded.detections()[0].priors, expected.priors)
    traffic = {name: executor.traffic(name) for name in BUFFERS}
    assert traffic["conf"].bytes_read <= 1.05 * conf.nbytes
    assert 32 * traffic["conf"].sectors_read <= 1.05 * conf.nbytes
    outputs = sum(value.nbytes for value in vars(padded).values())
    least = loc.nbytes + conf.nbytes + outputs
    moved = sum(t.bytes_read + t.bytes_written for t in traffic.values())
    sectors = sum(t.sectors_read + t.sectors_written for t in traffic.values())
    assert moved <= 1.3 * least
    assert 32 * sectors <= 1.3 * least  # whole 32-byte sectors, shared within a block only
    assert len(executor.launches()) <= 4


def test_an_empty_image_costs_one_read_of_conf(executor: KernelLibrary) -> None:
    loc, conf, priors = scene("vgg16")
    conf[..., 0] = 30
    executor(loc, conf, priors, PostprocessParams())
    assert executor.traffic("conf").bytes_read == conf.nbytes
    assert executor.traffic("loc").bytes_read == 0


def test_conf_off_its_alignment_is_still_read_once(executor: KernelLibrary) -> None:
    loc, conf, priors = scene("mobilenet_v1")
    for dtype, shift in ((np.float32, 3), (np.float16, 5)):
        executor(loc.astype(dtype), conf.astype(dtype), priors, PostprocessParams(), shift=shift)
        assert executor.traffic("conf").bytes_read == conf.astype(dtype).nbytes


@pytest.mark.parametrize("num_priors", [2990, 42754, 1 << 20])
def test_workspace_is_a_fraction_of_conf(executor: KernelLibrary, num_priors: int) -> None:
    heads = (
        np.broadcast_to(np.float32(0), (8, num_priors, 4)),
        np.broadcast_to(np.float32(0), (8, num_priors, 21)),
        np.broadcast_to(np.float32(0), (num_priors, 4)),
    )
    needed = executor.workspace_bytes(*heads, PostprocessParams())
    # lists of a quarter of conf, 8 bytes a row, kept keys; small images have room for 2048 a class
    assert 0 < needed <= (0.5 if num_priors > 16384 else 1.7) * 8 * num_priors * 21 * 4
