"""Tensors of every type in the place of weights: taken to the bit, or named with their type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import ssd_small
from ssd_small.errors import BadFile
from ssd_small.models.network import SsdNetwork

KEY, COUNTER = "base.3.conv.1.running_var", "base.3.conv.1.num_batches_tracked"
WEIGHT = "base.0.conv.0.weight"
Change = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def source() -> SsdNetwork:
    torch.manual_seed(2)
    net = ssd_small.create_model("mobilenet_v1", 4, 0.1)
    for value in net.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value))
    return net


def _load(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    torch.save(state, path)
    net = ssd_small.create_model("mobilenet_v1", 4, 0.1)
    ssd_small.load_checkpoint(net, path)
    return net.state_dict()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("counters", [True, False])
def test_other_floating_point_becomes_float32(
    dtype: torch.dtype, counters: bool, source: SsdNetwork, tmp_path: Path
) -> None:
    """Half precision exactly; double precision to the nearest float32."""
    state = {
        key: value.to(dtype) if counters or value.is_floating_point() else value
        for key, value in source.state_dict().items()
    }
    found = _load(state, tmp_path / "c.pth")
    for key, value in source.state_dict().items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value.to(dtype).to(value.dtype))


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.float32])
def test_counters_may_be_of_any_type_of_numbers(
    dtype: torch.dtype, source: SsdNetwork, tmp_path: Path
) -> None:
    state = source.state_dict() | {COUNTER: torch.tensor(7).to(dtype)}
    assert int(_load(state, tmp_path / "c.pth")[COUNTER]) == 7


def test_a_counter_that_overflowed_in_half_precision_is_left_out(
    source: SsdNetwork, tmp_path: Path
) -> None:
    state = source.state_dict() | {COUNTER: torch.tensor(70000).half()}
    assert int(_load(state, tmp_path / "c.pth")[COUNTER]) == 0


def _part_of_int8(value: Tensor) -> Tensor:
    return torch.ones(value.shape).to(torch.int8)


def _marked(value: Tensor, at: float) -> Tensor:
    value = value.clone()
    value.view(-1)[0] = at
    return value


REFUSED: dict[str, tuple[str, Change, str]] = {
    "int8": (WEIGHT, _part_of_int8, "is a tensor of torch.int8; expected floating point"),
    "int64": (WEIGHT, lambda v: v.long(), "is a tensor of torch.int64; expected floating point"),
    "bool": (WEIGHT, lambda v: v > 0, "is a tensor of torch.bool; expected floating point"),
    "fp8": (
        WEIGHT,
        lambda v: v.to(torch.float8_e4m3fn),
        "is a tensor of torch.float8_e4m3fn; expected floating point",
    ),
    "fp8, wide": (
        WEIGHT,
        lambda v: v.to(torch.float8_e5m2),
        "is a tensor of torch.float8_e5m2; expected floating point",
    ),
    "complex": (WEIGHT, lambda v: v + 0j, "torch.complex64; expected dense real numbers"),
    "sparse": (WEIGHT, lambda v: v.to_sparse(), "torch.sparse_coo tensor"),
    "meta": (WEIGHT, lambda v: v.to("meta"), "is a meta tensor"),
    "complex counter": (COUNTER, lambda v: v + 0j, "expected dense real numbers"),
    "bool counter": (COUNTER, lambda v: v > 0, "is a tensor of torch.bool"),
    "NaN": (
        WEIGHT,
        lambda v: _marked(v, float("nan")),
        "holds NaN or infinite values (1 NaN of 216); expected finite weights: take a checkpoint "
        "from before the training diverged",
    ),
    "infinite": (WEIGHT, lambda v: _marked(v, float("inf")), "(1 infinite of 216)"),
    "NaN in half": (WEIGHT, lambda v: _marked(v, float("nan")).half(), "the training diverged"),
    "half overflow": (
        KEY,
        # 65520 is the least that float16 rounds to infinity
        lambda v: _marked(v, 65520.0).half(),
        "holds 1 infinite values in float16, whose largest is 65504: the conversion to half "
        "precision overflowed; take the float32 checkpoint",
    ),
    "beyond float32": (
        WEIGHT,
        lambda v: _marked(v.double(), 1e39),
        "holds 1 values of torch.float64 beyond float32",
    ),
    "negative variance": (KEY, lambda v: _marked(v, -0.5), "holds negative variances (least -0.5)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_a_weight_is_named_with_its_type(
    kind: str, source: SsdNetwork, tmp_path: Path
) -> None:
    key, change, words = REFUSED[kind]
    state = source.state_dict()
    state[key] = change(state[key])
    with pytest.raises(BadFile) as caught:
        _load(state, tmp_path / "c.pth")
    assert str(caught.value).startswith(f"checkpoint {tmp_path / 'c.pth'}: {key} ")
    assert words in str(caught.value)


def test_half_precision_that_just_fits_is_taken(source: SsdNetwork, tmp_path: Path) -> None:
    state = source.state_dict()
    state[KEY] = _marked(state[KEY], 65504.0).half()
    assert float(_load(state, tmp_path / "c.pth")[KEY].max()) == 65504.0


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("scales", [True, False])
def test_quantised_weights_are_named_before_what_comes_with_them(
    scales: bool, source: SsdNetwork, tmp_path: Path
) -> None:
    """Keys of scales would make it a misfit, whose reason they are not."""
    state = source.state_dict()
    state[WEIGHT] = torch.quantize_per_tensor(state[WEIGHT], 0.1, 0, torch.qint8)
    if scales:
        state[f"{WEIGHT}_scale"] = torch.ones(1)
    with pytest.raises(BadFile, match=r"base.0.conv.0.weight is a tensor of torch.qint8"):
        _load(state, tmp_path / "c.pth")
