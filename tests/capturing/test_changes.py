"""Changes between the calls of a captured step change its results, as they do without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import nn, optim

x = np.random.default_rng(0).normal(size=(6, 3))
MASK = np.array([1.0, 0.0, 1.0])


class Config:
    factor = 1.0


class Base(nn.Module):
    temperature = 1.0

    def scaled(self, x: Any) -> Any:
        return x * self.temperature


class Layer(Base):
    def __init__(self) -> None:
        self.w = nn.Parameter([1.0, 2.0, 3.0])
        self.b = nn.Parameter([0.0, 1.0, 0.0])

    @property
    def factor(self) -> float:
        return Config.factor

    def forward(self, x: Any) -> Any:
        return self.scaled(x * self.w * MASK + self.b) * self.factor


class Late(optim.Optimizer):
    """Its state is created at the first update."""

    def update(self, w: Any, g: Any, state: Any, lr: Any) -> Any:
        v = 0.9 * state.get("v", 0) + g
        return w - lr * v, {"v": v}


def trained(
    optimizer: Callable[[Any], Any], change: Callable[[Any, Any], None], captured: bool
) -> tuple[list[Any], Any]:
    """Weights after each of eight steps, with a change in between."""
    layer = Layer()
    moves = optimizer(layer.parameters())

    def step(x: Any) -> Any:
        loss = (layer(x) ** 2).mean()
        moves.zero_grad()
        loss.backward()
        moves.step()
        return loss

    run: Any = tg.compile(step) if captured else step
    kept = []
    try:
        for i in range(8):
            if i == 4:
                change(layer, moves)
            loss = run(x.astype(layer.w.dtype))
            kept += [loss.item(), layer.w.data.copy(), layer.b.data.copy()]
    finally:
        Config.factor = 1.0
        Base.temperature = 1.0
        Layer.forward = FORWARD  # type: ignore[method-assign]
    return kept, moves.state_dict()


FORWARD = Layer.forward


def replaced(self: Any, x: Any) -> Any:
    return x * self.w + self.b


CHANGES: dict[str, Callable[[Any, Any], None]] = {
    "nothing": lambda layer, moves: None,
    "a parameter frozen": lambda layer, moves: setattr(layer.w, "requires_grad", False),
    "a class attribute": lambda layer, moves: setattr(Base, "temperature", 2.0),
    "an attribute of another class": lambda layer, moves: setattr(Config, "factor", 0.5),
    "a method of the class": lambda layer, moves: setattr(Layer, "forward", replaced),
    "a momentum": lambda layer, moves: setattr(moves, "momentum", 0.9),
    "another dtype": lambda layer, moves: layer.float(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, Late])
def test_a_captured_step_goes_on_as_the_step_itself(
    kind: Any, change: Callable[[Any, Any], None]
) -> None:
    def optimizer(parameters: Any) -> Any:
        return kind(parameters, lr=0.1)

    expected, state = trained(optimizer, change, captured=False)
    found, own = trained(optimizer, change, captured=True)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
    np.testing.assert_equal(own, state)


READS: dict[str, Callable[[Any, Any], Any]] = {
    "a product": lambda a, w: a * w,
    "a matrix product": lambda a, w: a @ w.reshape(3, 1),
    "a power": lambda a, w: (1 + w * w) ** a,
    "a quotient": lambda a, w: w / a,
    "a largest entry": lambda a, w: tg.maximum(a, w),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_an_array_in_a_closure_that_is_written_to_is_followed(read: Any) -> None:
    """In the loss and in its gradient."""
    around = np.random.default_rng(0).uniform(1.0, 3.0, size=(2, 3))
    w = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)

    def step() -> Any:
        loss = read(around, w).sum()
        w.grad = None
        loss.backward()
        return loss

    captured = tg.compile(step, check=False)
    for k in range(3):
        around[...] = np.random.default_rng(k).uniform(1.0, 3.0, size=(2, 3))
        found = captured().item(), np.array(w.grad)
        assert found[0] == step().item()
        np.testing.assert_array_equal(found[1], w.grad)


def test_unfreezing_is_seen_too() -> None:
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    v = tg.Tensor([3.0, 4.0])
    sgd = optim.SGD([w], lr=0.1)

    @tg.compile
    def step() -> Any:
        loss = (w * v).sum()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    step(), step()
    v.requires_grad = True
    step()
    np.testing.assert_array_equal(v.grad, w.data + 0.1 * v.data)


def test_a_class_that_counts_its_calls_cannot_be_captured() -> None:
    class Counting(nn.Module):
        calls = 0

        def forward(self, x: Any) -> Any:
            type(self).calls += 1
            return x * 2

    layer = Counting()
    with pytest.raises(tg.CannotCapture, match="calls"):
        tg.compile(lambda x: layer(x).sum())(x)


def test_an_optimizer_whose_names_never_settle_is_refused_in_the_end() -> None:
    class Restless(optim.Optimizer):
        def update(self, w: Any, g: Any, state: Any, lr: Any) -> Any:
            return w - lr * g, {f"v{len(state)}{'x' * len(''.join(state))}": g}

    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    restless = Restless([w], lr=0.1)

    @tg.compile
    def step(x: Any) -> Any:
        loss = (w * x).sum()
        restless.zero_grad()
        loss.backward()
        restless.step()
        return loss

    with pytest.raises(tg.CannotCapture, match=r"first_state\(\)"):
        for _ in range(20):
            step(np.ones(2))


def test_rows_in_lists_are_data() -> None:
    w = tg.Tensor(np.ones((3, 1)), requires_grad=True)

    def function(x: Any, y: Any) -> Any:
        loss = ((x @ w - y) ** 2).mean()
        loss.backward()
        return loss

    step = tg.compile(function)
    for k in range(12):
        rows, targets = (x + k).tolist(), np.full((6, 1), float(k)).tolist()
        w.grad = None
        captured, gradient = step(rows, targets).item(), w.grad
        w.grad = None
        assert captured == function(rows, targets).item()
        np.testing.assert_array_equal(gradient, w.grad)
    assert sum(map(len, step.programs.values())) == 1


def test_an_error_while_the_step_is_captured_says_so() -> None:
    class Odd(optim.Optimizer):
        def first_state(self, w: Any) -> Any:
            return {"t": 0}

        def update(self, w: Any, g: Any, state: Any, lr: Any) -> Any:
            t = state["t"] + 1
            return (w - lr * g if t % 2 else w), {"t": t}

    def fitted(compile: Any) -> Any:
        model = nn.Linear(3, 1, rng=0)
        odd = Odd(model.parameters(), lr=0.1)
        history = tg.fit(
            model,
            x,
            x[:, :1],
            loss="mse",
            optimizer=odd,
            epochs=60,
            batch_size=2,
            rng=0,
            compile=compile,
        )
        return model.weight.data.copy(), history

    expected, _ = fitted(False)
    found, history = fitted("auto")
    np.testing.assert_array_equal(found, expected)
    assert history.compiled == "Odd is not a class of tinygrad_edu"
    with pytest.raises(TypeError) as caught:
        fitted(True)
    assert any("to be captured" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_parameter_that_lies_otherwise_in_memory_is_seen(backend: str) -> None:
    if backend == "numba":
        pytest.importorskip("numba")
    other = np.asfortranarray(np.random.default_rng(0).normal(size=(2, 3)))
    losses = []
    for captured in (False, True):
        w = tg.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
        sgd = optim.SGD([w], lr=0.1)

        def step(x: Any, w: Any = w, sgd: Any = sgd) -> Any:
            loss = ((w.reshape(6) - x) ** 2).sum()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            return loss

        run = tg.compile(step, backend=backend) if captured else step
        for _ in range(3):
            run(np.ones(6))
        w.data = other
        losses.append([run(np.ones(6)).item() for _ in range(3)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-12)
