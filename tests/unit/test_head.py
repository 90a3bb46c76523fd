"""The heads' convolution in training: gradients of the cells that have one, and nobody else's."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402

from ssd_small.models import head  # noqa: E402
from ssd_small.models.head import HeadConv, sparse_share  # noqa: E402

CHANNELS, OUT = 6, 8


@pytest.fixture
def only_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "sparse_share", lambda out: 1.0)
    monkeypatch.setattr(head, "_dense_gradients", None)


@pytest.fixture
def only_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "_sparse_gradients", None)


def _pair(dtype: torch.dtype = torch.float64) -> tuple[HeadConv, nn.Conv2d]:
    """A head and an ordinary convolution with the same weights."""
    torch.manual_seed(0)
    ours = HeadConv(CHANNELS, OUT).to(dtype)
    plain = nn.Conv2d(CHANNELS, OUT, 3, padding=1).to(dtype)
    plain.load_state_dict(ours.state_dict())
    return ours.train(), plain


def _gradients(conv: nn.Conv2d, images: Tensor, grad: Tensor) -> list[Tensor]:
    x = images.clone().requires_grad_()
    conv.zero_grad()
    conv(x).backward(grad)
    return [x.grad, conv.weight.grad, conv.bias.grad]  # type: ignore[list-item]


def _grad_at(cells: list[tuple[int, int, int]], size: tuple[int, int]) -> Tensor:
    """Random in one channel or all of the (image, y, x) ``cells``, zero elsewhere."""
    grad = torch.zeros(2, OUT, *size, dtype=torch.float64)
    for i, (image, y, x) in enumerate(cells):
        channels = slice(None) if i % 2 else slice(3, 4)
        grad[image, channels, y, x] = torch.randn(OUT, dtype=torch.float64)[channels]
    return grad


@pytest.mark.parametrize(
    ("size", "cells"),
    [
        ((5, 7), [(0, 2, 3), (1, 0, 0), (1, 4, 6), (1, 4, 5), (0, 0, 6)]),
        ((5, 7), [(0, y, x) for y in range(5) for x in range(7)]),
        ((1, 1), [(1, 0, 0)]),
        ((2, 1), [(0, 1, 0), (0, 0, 0)]),
        ((3, 3), []),
    ],
    ids=["corners and neighbours", "one picture in full", "one cell", "a column", "nothing"],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.usefixtures("only_sparse")
def test_gradients_are_those_of_the_ordinary_convolution(
    size: tuple[int, int], cells: list[tuple[int, int, int]], layout: torch.memory_format
) -> None:
    ours, plain = _pair()
    images = torch.randn(2, CHANNELS, *size, dtype=torch.float64).contiguous(memory_format=layout)
    grad = _grad_at(cells, size).contiguous(memory_format=layout)
    pairs = zip(_gradients(ours, images, grad), _gradients(plain, images, grad), strict=True)
    for got, expected in pairs:
        # sums of at most 72 products of a few units in double precision
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("only_sparse")
def test_gradients_are_those_of_finite_differences() -> None:
    ours, _ = _pair()
    x = torch.randn(1, CHANNELS, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours, (x,))


@pytest.mark.usefixtures("only_dense")
def test_where_most_cells_have_a_gradient_the_convolution_does_it_itself() -> None:
    ours, plain = _pair()
    images = torch.randn(2, CHANNELS, 5, 5, dtype=torch.float64)
    grad = torch.randn(2, OUT, 5, 5, dtype=torch.float64)
    for got, expected in zip(
        _gradients(ours, images, grad), _gradients(plain, images, grad), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_the_more_channels_the_more_cells_are_worth_skipping() -> None:
    assert 0.1 < sparse_share(24) < 0.25 < 0.7 < sparse_share(546) < 1


@pytest.mark.usefixtures("only_sparse")
def test_a_gradient_that_is_no_number_is_not_lost() -> None:
    ours, _ = _pair()
    grad = torch.zeros(1, OUT, 4, 4, dtype=torch.float64)
    grad[0, 2, 1, 1] = float("nan")
    x_grad, weight_grad, _ = _gradients(
        ours, torch.ones(1, CHANNELS, 4, 4, dtype=torch.float64), grad
    )
    assert x_grad[0, :, :3, :3].isnan().all()
    assert weight_grad[2].isnan().all()
    assert not weight_grad[1].isnan().any()


@pytest.mark.usefixtures("only_sparse")
def test_half_precision_under_autocast() -> None:
    ours, plain = _pair(torch.float32)
    # a block of cells, so that pixels get up to nine parts
    cells = [(1, y, x) for y in (1, 2, 3) for x in (2, 3, 4) for _ in range(2)]
    images, grad = torch.randn(2, CHANNELS, 6, 6), _grad_at(cells, (6, 6))
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(images).dtype == torch.bfloat16
        got = _gradients(ours, images, grad.bfloat16())
        expected = _gradients(plain, images, grad.bfloat16())
    for ours_grad, plain_grad in zip(got, expected, strict=True):
        assert ours_grad.dtype == torch.float32
        # bfloat16 rounds to 2**-9 of the value, here twice, and values are below 8
        torch.testing.assert_close(ours_grad, plain_grad, rtol=2**-7, atol=2**-6)


def test_outside_training_it_is_an_ordinary_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, plain = _pair(torch.float32)
    images = torch.randn(1, CHANNELS, 5, 5)
    assert ours(images).grad_fn.name().startswith("_HeadConvolution")
    assert torch.equal(ours.eval()(images), plain(images))
    assert ours(images).grad_fn.name() == plain(images).grad_fn.name()
    ours.train()
    monkeypatch.setattr(head, "_HeadConvolution", None)
    with torch.no_grad():
        assert torch.equal(ours(images), plain(images))


@pytest.mark.usefixtures("only_sparse")
def test_backward_does_not_compute_in_half_because_it_is_called_under_autocast() -> None:
    ours, _ = _pair(torch.float32)
    images, grad = torch.randn(2, CHANNELS, 6, 6), _grad_at([(0, 2, 3), (1, 5, 5)], (6, 6)).float()
    expected = _gradients(ours, images, grad)
    x = images.clone().requires_grad_()
    ours.zero_grad()
    out = ours(x)
    with torch.autocast("cpu", torch.bfloat16):
        out.backward(grad)
    for got, wanted in zip((x.grad, ours.weight.grad, ours.bias.grad), expected, strict=True):
        assert torch.equal(got, wanted)


def test_double_precision_stays_under_autocast_and_types_are_not_mixed() -> None:
    ours, _ = _pair()
    images = torch.randn(1, CHANNELS, 4, 4, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(images).dtype == torch.float64
    with pytest.raises(RuntimeError, match="type"):
        ours(images.float())
