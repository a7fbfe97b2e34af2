"""Sliding windows: NumPy's meaning, PyTorch's numbers, and what is refused. Values and
derivatives of first and second order are in the table of `tools/operations.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as tg


@given(st.data())
def test_windows_are_numpys_and_their_sum_is_the_transpose(data: st.DataObject) -> None:
    """⟨windows(x), g⟩ = ⟨x, overlap(g)⟩ for every x and g."""
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    sizes = tuple(data.draw(st.integers(1, shape[axis])) for axis in axes)
    steps = tuple(data.draw(st.integers(1, 3)) for _ in axes)
    rng = np.random.default_rng(0)
    x: Any = tg.Tensor(rng.normal(size=shape), requires_grad=True)
    y = tg.sliding_window_view(x, sizes, tuple(axes), step=steps)
    every = [slice(None)] * len(shape)
    for axis, step in zip(axes, steps, strict=True):
        every[axis] = slice(None, None, step)
    assert_array_equal(y.data, sliding_window_view(x.data, sizes, tuple(axes))[tuple(every)])
    g = rng.normal(size=y.shape)
    assert (y.data * g).sum() == pytest.approx((x.data * tg.grad(y, x, g)).sum(), abs=1e-10)


def test_a_view_of_an_array_is_not_copied() -> None:
    x = np.arange(6.0)
    assert np.shares_memory(tg.sliding_window_view(x, 3), x)


@pytest.mark.parametrize(
    "size, axis, step, message",
    [
        (4, None, 1, r"a window \(4,\) is larger than \(3,\)"),
        ((2, 2), None, 1, "do not fit the axes"),
        (2, 0, 0, "at least 1"),
        (0, 0, 1, "at least 1"),
        ((2, 2), (0, 0), 1, "axis"),
        (2, 1, 1, "axis 1 is out of bounds"),
    ],
)
def test_windows_that_do_not_fit_are_refused(size: Any, axis: Any, step: Any, message: str) -> None:
    for x in (np.ones(3), tg.Tensor(np.ones(3), requires_grad=True)):
        with pytest.raises(ValueError, match=message):
            tg.sliding_window_view(x, size, axis, step=step)


@pytest.mark.parametrize("width", [-1, ((1, -1),), ((1, 2), (3, 4), (5, 6))])
def test_margins_that_make_no_sense_are_refused(width: Any) -> None:
    with pytest.raises(ValueError):
        tg.pad(tg.Tensor(np.ones((2, 2))), width)


def test_another_kind_of_margin_is_refused_by_name() -> None:
    t = tg.Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(TypeError, match="a margin of one number only"):
        np.pad(t, 1, mode="edge")
    with pytest.raises(TypeError, match="a margin of one number only"):
        np.pad(t, 1, constant_values=(1, 2))


def test_whole_numbers_are_padded_and_pooled_as_numbers() -> None:
    x = np.arange(16).reshape(1, 1, 4, 4)
    assert tg.pad(x, 1).dtype == x.dtype
    assert_array_equal(tg.max_pool2d(x, 2, padding=1)[0, 0, 0], [0, 2, 3])


@pytest.mark.parametrize(
    "x, weight",
    [((1, 2, 3), (1, 2, 2, 2)), ((1, 2, 3, 3), (2, 2, 2)), ((1, 2, 3, 3), (1, 3, 2, 2))],
)
def test_a_convolution_names_both_shapes(x: Any, weight: Any) -> None:
    with pytest.raises(ValueError) as refused:
        tg.conv2d(np.ones(x), np.ones(weight))
    assert f"received {x} float64 and {weight} float64" in str(refused.value)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"stride": 2},
    {"padding": 1},
    {"stride": (1, 3), "padding": (2, 1)},
    {"padding": "same"},
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # PyTorch's
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 2)])
def test_convolutions_are_pytorchs(settings: dict[str, Any], size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    data = [rng.normal(size=shape) for shape in ((2, 3, 6, 7), (4, 3, *size), (4,))]
    mine: Any = [tg.Tensor(x, requires_grad=True) for x in data]
    other = [torch.tensor(x, requires_grad=True) for x in data]
    y, z = tg.conv2d(*mine, **settings), torch.nn.functional.conv2d(*other, **settings)
    assert_allclose(y.data, z.detach(), rtol=1e-10, atol=1e-12)
    g = rng.normal(size=y.shape)
    y.backward(g)
    z.backward(torch.tensor(g))
    for a, b in zip(mine, other, strict=True):
        assert_allclose(a.grad, b.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize("settings", [{}, {"stride": 1}, {"stride": (2, 3), "padding": 1}], ids=str)
@pytest.mark.parametrize("size", [2, 3, (2, 3)])
def test_pools_are_pytorchs(name: str, settings: dict[str, Any], size: Any) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 6, 7))
    mine: Any = tg.Tensor(x, requires_grad=True)
    other = torch.tensor(x, requires_grad=True)
    y = getattr(tg, name)(mine, size, **settings)
    z = getattr(torch.nn.functional, name)(other, size, **settings)
    assert_allclose(y.data, z.detach(), rtol=1e-10, atol=1e-12)
    g = rng.normal(size=y.shape)
    y.backward(g)
    z.backward(torch.tensor(g))
    assert_allclose(mine.grad, other.grad, rtol=1e-10, atol=1e-12)


def test_a_derivation_of_a_convolution_is_written_and_checked() -> None:
    X, y = np.random.default_rng(0).normal(size=(8, 1, 4, 4)), np.arange(8) % 3
    layers = tg.nn.Conv2d(1, 2, 3, rng=0), tg.nn.Flatten(), tg.nn.Linear(8, 3, rng=1)
    shown = str(tg.explain(tg.nn.Sequential(*layers), tg.cross_entropy, X, y))
    assert "conv2d(X" in shown
    pools = tg.nn.MaxPool2d(2), tg.nn.Flatten(), tg.nn.Linear(4, 3, rng=1)
    assert "max(" in str(tg.explain(tg.nn.Sequential(*pools), tg.cross_entropy, X, y))


@pytest.mark.parametrize("bias", [np.ones(3), np.ones((2, 1, 1)), 1.0])
def test_a_bias_of_another_shape_is_refused_by_name(bias: Any) -> None:
    with pytest.raises(ValueError, match=r"a bias for each of the 2 output channels, \(2,\)"):
        tg.conv2d(np.ones((1, 1, 3, 3)), tg.Tensor(np.ones((2, 1, 2, 2))), bias)
