"""Steps at the edge of what a program can do: what they give uncaptured, or a refusal."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import optim

BACKENDS = ["numpy", *(["numba"] if find_spec("numba") else [])]
x = np.array([[1.0, 2.0], [3.0, 4.0]])


class Net:
    """Two variables, and what moves them."""

    def __init__(self) -> None:
        self.a = tg.Tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True, name="a")
        self.b = tg.Tensor([[2.0, 0.5], [1.0, 4.0]], requires_grad=True, name="b")
        self.sgd = optim.SGD([self.a, self.b], lr=0.1)

    def moved(self, loss: Any) -> None:
        self.sgd.zero_grad()
        loss.backward()
        self.sgd.step()


def swapped(net: Net, x: Any) -> Any:
    a = net.b.detach() * x
    b = net.a.detach() * x + 1
    net.a.data, net.b.data = a, b
    return a.sum()


def old_and_new(net: Net, x: Any) -> Any:
    old, turned = net.a.detach(), net.b.T
    net.moved((net.a * net.b * x).sum())
    return old, turned


def an_argument(net: Net, x: Any) -> Any:
    net.moved((net.a * x).sum())
    return (net.a * x).sum(), x


def argument_as_data(net: Net, x: Any) -> Any:
    net.a.data = tg.Tensor(x) if isinstance(x, np.ndarray) else x
    return net.a.sum()


def questions_about_whole_numbers(net: Net, x: Any) -> Any:
    n = np.floor(x) if isinstance(x, tg.Tensor) else np.floor(tg.Tensor(x))
    whole = n == 2
    return tg.sum(tg.where(whole, 1.0, 0.0)) + tg.sum(tg.where(n > 2, x, 0.0))


def nothing(net: Net, x: Any) -> Any:
    return x


def larger_truths(net: Net, x: Any) -> Any:
    return np.maximum(x > 1, x > 3)


STEPS: dict[str, Callable[[Net, Any], Any]] = {
    f.__name__: f
    for f in (
        swapped,
        old_and_new,
        an_argument,
        argument_as_data,
        questions_about_whole_numbers,
        nothing,
        larger_truths,
    )
}


def told(result: Any) -> list[Any]:
    parts = result if isinstance(result, tuple) else (result,)
    return [np.array(part.value if isinstance(part, tg.Tensor) else part) for part in parts]


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_step_gives_and_leaves(step: Callable[[Net, Any], Any], backend: str) -> None:
    plain, other = Net(), Net()
    captured = tg.compile(lambda x: step(other, x), backend=backend)
    for k in range(4):
        t = tg.Tensor(x + k)
        expected = [*told(step(plain, t)), plain.a.data, plain.b.data]
        found = [*told(captured(t)), other.a.data, other.b.data]
        for got, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12)
            assert got.dtype == want.dtype


def test_gradients_that_nobody_clears_are_added_up_or_refused() -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)

    @tg.compile
    def step(x: Any) -> Any:
        loss = (w * x).sum()
        loss.backward()
        return loss

    step(np.ones(2))
    with pytest.raises(tg.CannotCapture, match="zero_grad"):
        step(np.ones(2))
    np.testing.assert_array_equal(w.grad, [1.0, 1.0])
    for k in range(3):  # cleared outside of the step: fine
        w.grad = None
        step(np.full(2, k + 1.0))
        np.testing.assert_array_equal(w.grad, [k + 1.0] * 2)


def test_a_gradient_that_is_cleared_and_not_reached_is_none() -> None:
    net = Net()

    @tg.compile
    def step(x: Any, which: str) -> Any:
        loss = ((net.a if which == "a" else net.b) * x).sum()
        net.sgd.zero_grad()
        loss.backward()
        return loss

    for which in "abab":
        step(x, which)
        assert (net.a.grad is None) is (which == "b")
        assert (net.b.grad is None) is (which == "a")


def test_entries_between_parameters_are_not_computed_on() -> None:
    class Signs(optim.Optimizer):
        def update(self, w: Any, g: Any, state: Any, lr: Any) -> Any:
            return w - lr * g / np.sqrt(g * g), state

    parameters = [tg.Tensor(np.ones(n), requires_grad=True) for n in (1, 3, 2)]
    signs = Signs(parameters, lr=0.1)

    @tg.compile
    def step(x: Any) -> Any:
        loss = sum((p * x).sum() for p in parameters)
        signs.zero_grad()
        loss.backward()
        signs.step()
        return loss

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            step(np.ones(1))
    np.testing.assert_allclose(parameters[1].data, 0.7)


def test_epochs_that_cannot_be_are_refused_at_once() -> None:
    net = Net()

    def quiet(x: Any) -> None:
        net.moved((net.a * x).sum())

    start = net.a.data.copy()
    with pytest.raises(TypeError, match="epoch"):
        tg.compile(lambda: net.a.sum()).epoch(order=[[0]])
    with pytest.raises(ValueError, match="as many rows"):
        tg.compile(lambda x, y: (x + y).sum()).epoch(x, x[:1], order=[[0]])
    step = tg.compile(quiet)
    with pytest.raises(TypeError, match="that give numbers"):
        step.epoch(x, order=[[0], [1], [0]])
    np.testing.assert_array_equal(net.a.data, start - 0.1 * x[[0]])  # by one step, not by three
    total = tg.compile(lambda x: x.sum())
    np.testing.assert_array_equal(total.epoch(x, order=np.empty((2, 0), int)), [0.0, 0.0])
    assert total.epoch(x, order=np.empty((0, 2), int)).shape == (0,)


@pytest.mark.skipif("numba" not in BACKENDS, reason="needs Numba")
def test_where_no_cache_can_be_written_numba_compiles_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    net = Net()
    step = tg.compile(lambda x: net.moved((net.a * x * x * 3).sum()), backend="numba")
    step(x), step(x)
    assert step.native == [True]
