"""Heads of 16 bits: taken as they are, with the results of their values as float32."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from same_detections import assert_same

from ssd_small.bench.synthetic import detector_heads
from ssd_small.errors import UsageError
from ssd_small.models.priors import priors_from_spec
from ssd_small.models.registry import get_spec
from ssd_small.postprocess import decode_nms, native
from ssd_small.postprocess.head_types import BFLOAT16, float32_from_heads, head_values

torch = pytest.importorskip("torch")
ml_dtypes = pytest.importorskip("ml_dtypes")

BACKENDS = ["numpy", "native"] if native.is_available() else ["numpy"]


@pytest.fixture(scope="module")
def heads():
    priors = priors_from_spec(get_spec("mobilenet_v1"))
    return *detector_heads(priors, 21), priors


def test_every_bfloat16_becomes_its_float32():
    bits = np.arange(0x10000, dtype=np.uint16)
    expected = bits.view(ml_dtypes.bfloat16).astype(np.float32)
    found = float32_from_heads(bits.view(BFLOAT16))
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_arrays_and_tensors_give_what_their_values_give(heads, name, backend):
    *outputs, priors = heads
    tensors = [torch.from_numpy(one).to(getattr(torch, name)) for one in outputs]
    expected = decode_nms(*(one.float().numpy() for one in tensors), priors, backend="numpy")
    assert len(expected[0])
    assert_same(decode_nms(*tensors, priors, backend=backend), expected)
    dtype = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[name]
    arrays = [one.astype(dtype) for one in outputs]
    assert_same(decode_nms(*arrays, priors, backend=backend), expected)
    # loc and conf of different types
    mixed = decode_nms(tensors[0].float(), arrays[1], priors, backend=backend)
    assert_same(mixed, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_nothing_is_copied_on_the_way_to_the_library(heads, dtype):
    if not native.is_available():
        pytest.skip("the native library is not built")
    *outputs, priors = heads
    loc, conf = (torch.from_numpy(one).to(dtype) for one in outputs)
    decode_nms(loc, conf, priors, backend="native")
    tracemalloc.start()
    try:
        decode_nms(loc, conf, priors, backend="native")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < conf.numel()  # bytes: half of what conf takes in 16 bits


def test_other_types_are_refused():
    for values, received in (
        (np.zeros((1, 2, 4)), "float64"),
        (np.zeros((1, 2, 4), np.int16), "int16"),
        (torch.zeros(1, 2, 4, dtype=torch.float64), "float64"),
    ):
        with pytest.raises(UsageError, match=f"^loc is {received}; expected float32, float16 or b"):
            head_values(values, "loc")
    with pytest.raises(UsageError, match=r"^conf lies on meta; expected a tensor on the CPU"):
        head_values(torch.zeros(1, 2, 4, device="meta"), "conf")
    with pytest.raises(UsageError, match=r"^loc is torch\.sparse_coo; .*\.to_dense\(\)"):
        head_values(torch.zeros(1, 2, 4).to_sparse(), "loc")
