"""Global memory traffic and launches of the decode+NMS kernels, counted by the executor."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from golden_networks import golden_heads, golden_outputs
from hypothesis import given
from hypothesis import strategies as st
from kernel_library import KernelLibrary, Padded

from ssd_small.bench.synthetic import detector_heads
from ssd_small.models.priors import priors_from_spec
from ssd_small.models.registry import get_spec, list_models
from ssd_small.postprocess import PostprocessParams, decode_nms

pytestmark = pytest.mark.slow

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
def test_golden_heads_move_no_more(executor: KernelLibrary, preset: PostprocessParams) -> None:
    loc, scores = golden_heads("vgg16")
    priors = golden_outputs("vgg16")["priors"]
    # the logarithm of softmax scores are logits whose softmax they are
    check_traffic(executor, (loc[None], np.log(scores)[None], priors), preset)


def check_detections(executor: KernelLibrary, heads: Heads, params: PostprocessParams) -> Padded:
    padded = executor(*heads, params, seed=1)
    expected = decode_nms(*heads, params, backend="numpy")
    assert np.array_equal(padded.detections()[0].prior_indices, expected[0].prior_indices)
    return padded


def check_traffic(executor: KernelLibrary, heads: Heads, params: PostprocessParams) -> None:
    loc, conf, _priors = heads
    padded = check_detections(executor, heads, params)
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


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mobilenet_v1", "vgg16"])
@pytest.mark.parametrize("preset", [PostprocessParams(), PostprocessParams.coco()], ids=PRESETS)
def test_conf_is_read_once_where_every_prior_is_a_candidate_of_every_class(
    executor: KernelLibrary, model: str, preset: PostprocessParams
) -> None:
    loc, conf, priors = scene(model)
    conf = np.random.default_rng(1).normal(0, 0.04, conf.shape).astype(np.float32)
    check_detections(executor, (loc, conf, priors), preset)
    assert executor.traffic("conf").bytes_read <= 1.05 * conf.nbytes
    assert 32 * executor.traffic("conf").sectors_read <= 1.05 * conf.nbytes
    workspace = executor.traffic("workspace")
    # a key of 8 bytes for each of 80 classes of 81: written once, as sectors nearly so, and read
    # by a block that counts its digits twice, gathers, and finds most of it in its cache
    keys = 2 * conf.nbytes
    assert workspace.bytes_written <= 1.7 * keys  # with the counters: 4 bytes a key
    assert workspace.bytes_read <= 4.2 * keys
    assert 32 * workspace.sectors_read <= 1.4 * keys
    assert len(executor.launches()) <= 4


def workspace_bytes(
    executor: KernelLibrary, batch: int, num_priors: int, num_classes: int, **how: int
) -> int:
    heads = (
        np.broadcast_to(np.float32(0), (batch, num_priors, 4)),
        np.broadcast_to(np.float32(0), (batch, num_priors, num_classes)),
        np.broadcast_to(np.float32(0), (num_priors, 4)),
    )
    return executor.workspace_bytes(*heads, PostprocessParams(), **how)


def test_workspace_is_twice_conf_up_to_the_bound(executor: KernelLibrary) -> None:
    for model in list_models():
        num_priors = len(priors_from_spec(get_spec(model)))
        for batch in (1, 8):
            keys = 8 * batch * num_priors * 81
            assert keys < 256 << 20
            assert 0 <= workspace_bytes(executor, batch, num_priors, 81) - keys < 0.05 * keys
    # 128 images of 44 866 priors: lists of an eighth; 2 of a million: what fits in 256 MiB
    eighth = 128 * 8 * 81 * (44866 // 8 + 1)
    assert eighth > 256 << 20
    assert 0 <= workspace_bytes(executor, 128, 44866, 81) - eighth < 0.2 * eighth
    assert 0 <= workspace_bytes(executor, 2, 1 << 20, 21) - (256 << 20) < 32 << 20


SIZES = st.integers(1, 3000)


@given(small=st.tuples(SIZES, SIZES, SIZES), more=st.tuples(SIZES, SIZES, SIZES),
       list_bytes=st.sampled_from([1, 1 << 20, 1 << 24, 1 << 28]))  # fmt: skip
def test_a_workspace_for_the_largest_shape_does_for_all(
    executor: KernelLibrary,
    small: tuple[int, int, int],
    more: tuple[int, int, int],
    list_bytes: int,
) -> None:
    """A plugin is asked once, with the largest extents."""
    shapes = []
    for batch, num_priors, num_classes in (
        small,
        [a + b for a, b in zip(small, more, strict=True)],
    ):
        shapes.append((batch, 20 * num_priors, min(1024, 1 + num_classes)))
    sizes = [workspace_bytes(executor, *shape, list_bytes=list_bytes) for shape in shapes]
    assert 0 < sizes[0] <= sizes[1]
