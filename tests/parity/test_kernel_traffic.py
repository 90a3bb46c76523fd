"""Global memory traffic and launches of the decode+NMS kernels, counted by the executor."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from kernel_library import KernelLibrary, load
from test_kernels_vs_oracle import grid_priors

from ssd_small.postprocess import PostprocessParams, decode_nms

BUFFERS = ("loc", "conf", "priors", "workspace", "num_detections", "boxes", "scores", "labels",
           "prior_indices")  # fmt: skip


@pytest.fixture(scope="module")
def executor() -> KernelLibrary:
    library = load("executor")
    if library is None:
        pytest.skip("the executor library is not built (cmake -DSSD_SMALL_BUILD_TESTS=ON)")
    return library


def sparse_heads(
    num_priors: int, num_classes: int = 81
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """One image with the density of the golden generator: background dominates by 8, tails pass."""
    rng = np.random.default_rng(3)
    priors = grid_priors(num_priors)
    loc = rng.normal(0, 0.5, (1, num_priors, 4)).astype(np.float32)
    conf = rng.normal(0, 1, (1, num_priors, num_classes)).astype(np.float32)
    conf[..., 0] += 8
    for _ in range(24):
        near = np.argsort(np.abs(priors - priors[rng.integers(num_priors)]).sum(1))[:24]
        conf[0, near, rng.integers(1, num_classes)] += rng.uniform(6, 11, 24).astype(np.float32)
    return loc, conf, priors


@pytest.mark.parametrize("num_priors", [11620, 42754])
@pytest.mark.parametrize("preset", ["deployment", "coco"])
def test_conf_is_read_once_and_little_else_is_moved(
    executor: KernelLibrary, num_priors: int, preset: str
) -> None:
    loc, conf, priors = sparse_heads(num_priors)
    params = PostprocessParams() if preset == "deployment" else PostprocessParams.coco()
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
    loc, conf, priors = sparse_heads(11620)
    conf[..., 0] = 30
    executor(loc, conf, priors, PostprocessParams())
    assert executor.traffic("conf").bytes_read == conf.nbytes
    assert executor.traffic("loc").bytes_read == 0


def test_conf_off_its_alignment_is_still_read_once(executor: KernelLibrary) -> None:
    loc, conf, priors = sparse_heads(2000)
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
