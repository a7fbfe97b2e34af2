"""Hooks on gradients: when they are called, with what, and what they may give back."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import Tensor, engine


def variable(data: Any) -> Tensor:
    return Tensor(data, requires_grad=True)


def test_a_hook_sees_the_whole_gradient_once_and_changes_nothing() -> None:
    x = variable([1.0, 2.0])
    seen: list[Any] = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * x + 3 * x).sum().backward()  # three ways lead to x
    assert seen == [[5.0, 7.0]]
    assert x.grad is not None and x.grad.tolist() == [5.0, 7.0]


def test_what_a_hook_gives_takes_the_gradients_place_for_all_that_follows() -> None:
    x = variable([1.0, 2.0])
    y = x**2
    y.register_hook(lambda g: 10 * g)
    x.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [21.0, 41.0]
    z = x**2
    z.register_hook(lambda g: 10 * g)
    at_z, at_x = tg.grad(z.sum(), [z, x])
    assert (at_z.tolist(), at_x.tolist()) == ([10.0, 10.0], [21.0, 41.0])


def test_hooks_are_called_in_their_order_until_they_are_removed() -> None:
    x = variable(1.0)
    doubled = x.register_hook(lambda g: 2 * g)
    x.register_hook(lambda g: g + 1)
    assert tg.grad(5 * x, x) == 11
    doubled.remove()
    doubled.remove()
    assert tg.grad(5 * x, x) == 6
    with x.register_hook(lambda g: 0 * g):
        assert tg.grad(5 * x, x) == 0
    assert tg.grad(5 * x, x) == 6


def test_a_hook_may_take_itself_off() -> None:
    x = variable(1.0)
    hook = x.register_hook(lambda g: hook.remove() or 7 * g)  # type: ignore[func-returns-value]
    assert [float(tg.grad(2 * x, x)) for _ in range(2)] == [14.0, 2.0]


def test_with_create_graph_a_hook_is_part_of_the_recorded_gradient() -> None:
    x = variable(2.0)
    y = x**3
    y.register_hook(lambda g: g * x)  # the slope becomes 3x²·x
    slope = tg.grad(y, x, create_graph=True)
    assert slope.item() == 24.0
    assert tg.grad(slope, x) == pytest.approx(9 * 2.0**2)


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_of_another_shape_is_refused(create_graph: bool) -> None:
    x = variable([1.0, 2.0])
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match=r"shape \(2,\), received \(\)") as caught:
        tg.grad((x * x).sum(), x, create_graph=create_graph)
    assert any("in a hook of (2,) float64" in note for note in caught.value.__notes__)


def test_a_hook_cannot_change_the_gradient_in_place() -> None:
    x = variable([1.0, 2.0])

    def clip(g: Any) -> None:
        g[:] = 0

    x.register_hook(clip)
    with pytest.raises(ValueError, match="read-only"):
        x.sum().backward()
    assert x.grad is None


def test_what_a_hook_gives_is_copied_and_keeps_the_dtype() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True, dtype=np.float32)
    mine = np.array([5.0, 6.0])
    x.register_hook(lambda g: mine)
    (3 * x).sum().backward()
    assert x.grad is not None and x.grad.dtype == np.float32
    x.grad[:] = 0
    assert mine.tolist() == [5.0, 6.0]


def test_no_gradient_no_hook() -> None:
    x, y = variable(1.0), variable(2.0)
    calls: list[Any] = []
    y.register_hook(calls.append)
    tg.grad(x * y, x)  # the gradient at y is never computed
    assert calls == []
    with pytest.raises(RuntimeError, match="does not require one"):
        Tensor(1.0).register_hook(print)
    z = x * y
    z.backward()
    with pytest.raises(RuntimeError, match="released"):
        z.register_hook(print)
    with pytest.raises(TypeError, match="function of the gradient"):
        x.register_hook(3)  # type: ignore[arg-type]


def test_hooks_go_with_their_tensor() -> None:
    gc.collect()
    before = len(engine.hooks)
    x = variable([1.0, 2.0])
    x.register_hook(print)
    x.register_hook(print)
    assert len(engine.hooks) == before + 1
    del x
    assert len(engine.hooks) == before
