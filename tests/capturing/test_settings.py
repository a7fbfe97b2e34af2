"""Settings of modules and optimizers: a changed one is traced anew, and an equal one is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import nn, optim

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


class Scale(nn.Module):
    """x times a number that a setting stands for."""

    def __init__(self, p: Any) -> None:
        self.p = p

    def forward(self, x: Any) -> Any:
        if self.p is None:
            return x * 0.5
        return x * (len(self.p) if isinstance(self.p, str) else self.p)


def programs(step: Any) -> int:
    return sum(map(len, step.programs.values()))


def again(make: Callable[[], Any]) -> tuple[Any, Any]:
    """Two objects that are equal, and not the same."""
    first, second = make(), make()
    assert first is not second
    return first, second


EQUAL: dict[str, Callable[[], Any]] = {
    "a sum": lambda: sum([0.1, 0.2]),
    "a power": lambda: 10.0 ** int("-3"),
    "text as a number": lambda: float("1e-3"),
    "a float of NumPy": lambda: np.float64(1.5),
    "a float32 of NumPy": lambda: np.float32(1.5),
    "an int of NumPy": lambda: np.int64(3),
    "a large int": lambda: int("1000"),
    "a larger int": lambda: int("123456789"),
    "text": lambda: "".join(["ab", "cd"]),
    "NaN": lambda: float("nan"),
    "NaN of NumPy": lambda: np.float64("nan"),
    "-0.0": lambda: float("-0.0"),
    "infinity": lambda: float("inf"),
}


@pytest.mark.parametrize("name", EQUAL)
def test_an_equal_setting_is_not_traced_anew(name: str) -> None:
    first, second = again(EQUAL[name])
    layer = Scale(first)
    step = tg.compile(lambda x: layer(x))
    for _ in range(3):
        step(X)
    for _ in range(12):  # more often than a step may be traced
        layer.p = EQUAL[name]()
        np.testing.assert_array_equal(step(X).data, layer(tg.Tensor(X)).data)
    layer.p = second
    step(X)
    assert programs(step) == 1


DIFFERENT: list[tuple[Any, Any]] = [
    (0.0, -0.0),
    (1, True),
    (0, False),
    (1, 1.0),
    (1.0, True),
    (1.0, np.float64(1.0)),
    (np.float32(1.0), np.float64(1.0)),
    (1, np.int64(1)),
    (1.0, np.nextafter(1.0, 2.0).item()),
    (float("nan"), 1.0),
    (None, 0),
    (None, 0.5),
    ("ab", "abc"),
    ("a", 1),
    (10**3, 10**3 + 1),
]


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_another_setting_is_traced_anew(first: Any, second: Any) -> None:
    layer = Scale(first)
    step = tg.compile(lambda x: layer(x))
    for p in (first, second, first, second, second, first):
        layer.p = p
        for _ in range(2):
            got, want = step(X).data, layer(tg.Tensor(X)).data
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
            np.testing.assert_array_equal(np.signbit(got), np.signbit(want))
    assert programs(step) == 2


@pytest.mark.parametrize("name", ["momentum", "weight_decay"])
def test_settings_of_an_optimizer(name: str) -> None:
    model = nn.Linear(3, 1, dtype="float32", rng=0)
    twin = nn.Linear(3, 1, dtype="float32", rng=0)
    settings: dict[str, Any] = {"lr": 0.1, name: 0.3}
    mine = optim.SGD(model.parameters(), **settings)
    theirs = optim.SGD(twin.parameters(), **settings)

    def training(m: Any, optimizer: Any) -> Any:
        def step(x: Any) -> Any:
            loss = (m(x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return step

    step, eager = tg.compile(training(model, mine)), training(twin, theirs)
    for k in range(20):
        for optimizer in (mine, theirs):
            setattr(optimizer, name, sum([0.1, 0.2]) if k < 16 else 0.25)
            optimizer.lr = 0.1 / (k + 1)  # is read at every call
        assert step(X).item() == eager(X).item()
    np.testing.assert_array_equal(model.weight.data, twin.weight.data)
    assert programs(step) == 2


def test_a_setting_that_comes_and_goes() -> None:
    class Shifted(nn.Module):
        shift = 1.0

        def forward(self, x: Any) -> Any:
            return x + self.shift

    layer = Shifted()
    step = tg.compile(lambda x: layer(x))
    for own in (None, 2.0, None, float("2.0"), None):
        if own is None:
            layer.__dict__.pop("shift", None)
        else:
            layer.shift = own
        for _ in range(2):
            np.testing.assert_array_equal(step(X).data, layer(tg.Tensor(X)).data)
    assert programs(step) == 2
