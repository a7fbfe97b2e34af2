"""Kinds of change: what changes by itself, because the step counts, draws, reads on or looks at a
clock. Some do so at every call; others count in secret and act at the call `at`."""

from __future__ import annotations

import itertools
import os
import random
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from operator import setitem
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import tinygrad_edu as tg

from .case import FOLLOWED, RAISED, REFUSED, Case, Factor, kind, layer, module


def at_every_call(name: str, at_least: str, make: Callable[[], Callable[[Any], Any]]) -> None:
    """Register a kind: `make` gives `factor(self)`, which is another number at every call."""

    @kind(name, at_least, every_call=True)
    def build(at: int) -> Case:
        return Case(layer(make()))


def in_secret(name: str, at_least: str, make: Callable[[int], Callable[[Any], Any]]) -> None:
    """Register a kind: `make(at)` gives `factor(self)`, which is 1 until the call `at` and later
    something else, because of what the earlier calls have left."""

    @kind(name, at_least, by_itself=True)
    def build(at: int) -> Case:
        return Case(layer(make(at)))


def _drawn(make: Callable[[], Any], draw: Callable[[Any], Any]) -> Callable[[], Any]:
    """Return what makes a factor that is drawn from a generator made once."""

    def factor_of() -> Callable[[Any], Any]:
        generator = make()
        return lambda self: 0.5 + draw(generator)

    return factor_of


at_every_call(
    "random.Random(0).random()", REFUSED, _drawn(lambda: random.Random(0), lambda g: g.random())
)
at_every_call(
    "random.Random(0).choice",
    REFUSED,
    _drawn(lambda: random.Random(1), lambda g: g.choice(range(99))),
)
at_every_call(
    "a NumPy Generator: a number",
    REFUSED,
    _drawn(lambda: np.random.default_rng(0), lambda g: g.random()),
)
at_every_call(
    "a NumPy Generator: integers",
    REFUSED,
    _drawn(lambda: np.random.default_rng(0), lambda g: int(g.integers(99))),
)
at_every_call(
    "a NumPy Generator: an array",
    REFUSED,
    _drawn(lambda: np.random.default_rng(0), lambda g: g.random(2)),
)
at_every_call(
    "a NumPy RandomState: a number",
    REFUSED,
    _drawn(lambda: np.random.RandomState(0), lambda g: g.rand()),
)
at_every_call("itertools.count", REFUSED, _drawn(lambda: itertools.count(1), next))
at_every_call("itertools.cycle", REFUSED, _drawn(lambda: itertools.cycle([1.0, 2.0]), next))
at_every_call("an iterator over a range", REFUSED, _drawn(lambda: iter(range(10**6)), next))
at_every_call(
    "a generator expression", REFUSED, _drawn(lambda: (1 / k for k in itertools.count(1)), next)
)
at_every_call(
    "a deque that is rotated",
    REFUSED,
    _drawn(lambda: deque([1.0, 2.0, 3.0]), lambda d: (d.rotate(), d[0])[1]),
)
at_every_call("a list that grows", REFUSED, _drawn(list, lambda x: (x.append(0), len(x))[1]))


@kind("stochastic depth by random.Random(0)", REFUSED, every_call=True)
def _(at: int) -> Case:
    class Residual(tg.nn.Module):
        def __init__(self) -> None:
            self.inner = tg.nn.Linear(3, 3, rng=0)
            self.last = tg.nn.Linear(3, 2, rng=1)
            self.random = random.Random(0)

        def forward(self, x: Any) -> Any:
            if self.random.random() < 0.5:
                x = x + np.tanh(self.inner(x))
            return self.last(x)

    return Case(Residual())


def _global_seed(case: Case, get: Any, put: Any, seed: Any) -> Case:
    before = get()
    seed(0)
    case.undo.callback(put, before)
    return case


@kind("Python's global random", REFUSED, every_call=True)
def _(at: int) -> Case:
    case = Case(layer(lambda self: random.random()))
    return _global_seed(case, random.getstate, random.setstate, random.seed)


@kind("NumPy's global random numbers", REFUSED, every_call=True)
def _(at: int) -> Case:
    case = Case(layer(lambda self: np.random.rand()))
    return _global_seed(case, np.random.get_state, np.random.set_state, np.random.seed)


def _clock(name: str, function: str, read: Callable[[Any], Any]) -> None:
    """Register a kind: a clock, here one that ticks at each look so that two runs agree."""

    @kind(name, REFUSED, every_call=True)
    def build(at: int) -> Case:
        ticks = itertools.count(1)
        case = Case(layer(lambda self: 1.0 + read(getattr(time, function)()) % 7))
        case.patch(time, function, lambda: next(ticks))
        return case


_clock("time.time", "time", float)
_clock("time.time_ns", "time_ns", float)
_clock("time.localtime", "localtime", float)


@kind("a file that is read on", REFUSED, every_call=True)
def _(at: int) -> Case:
    lines: list[Any] = []
    case = Case(layer(lambda self: float(lines[0].readline())))
    folder = case.undo.enter_context(tempfile.TemporaryDirectory())
    path = Path(folder, "numbers")
    path.write_text("\n".join(str(1 + k % 7) for k in range(9000)))
    lines.append(case.undo.enter_context(path.open()))
    return case


@kind("a pipe that is read on", REFUSED, every_call=True)
def _(at: int) -> Case:
    reading, writing = os.pipe()
    os.write(writing, bytes(1 + k % 7 for k in range(30000)))
    case = Case(layer(lambda self: float(os.read(reading, 1)[0])))
    case.undo.callback(os.close, reading)
    case.undo.callback(os.close, writing)
    return case


# --- counted in secret ----------------------------------------------------------------------------


def _counting(count: Callable[[Any], Any], first: Callable[[], Any]) -> Callable[[int], Any]:
    """Return what makes a factor that is 1 before the `at`-th count and 2 from then on."""

    def factor_of(at: int) -> Callable[[Any], Any]:
        counter = first()
        return lambda self: 1.0 if count(counter) < at else 2.0

    return factor_of


def _add_one(x: Any) -> Any:
    x[0] += 1
    return x[0]


def _add_attribute(x: Any) -> Any:
    x.n += 1
    return x.n


in_secret("a count in a list, self.n[0] += 1", REFUSED, _counting(_add_one, lambda: [0]))
in_secret("a count in an array", REFUSED, _counting(_add_one, lambda: np.zeros(1, int)))
in_secret("a count in a dict", REFUSED, _counting(_add_one, lambda: {0: 0}))
in_secret("a count in an object", REFUSED, _counting(_add_attribute, lambda: SimpleNamespace(n=0)))
in_secret(
    "a count by the length of a list", REFUSED, _counting(lambda x: (x.append(0), len(x))[1], list)
)
in_secret(
    "a count by the length of a set", REFUSED, _counting(lambda x: (x.add(len(x)), len(x))[1], set)
)
in_secret(
    "a count by the length of a deque",
    REFUSED,
    _counting(lambda x: (x.append(0), len(x))[1], deque),
)
in_secret(
    "a count in a bytearray", REFUSED, _counting(lambda x: (x.append(0), len(x))[1], bytearray)
)
in_secret("a count by itertools.count", RAISED, _counting(next, lambda: itertools.count(1)))
in_secret(
    "a count by enumerate",
    RAISED,
    _counting(lambda x: next(x)[0] + 1, lambda: enumerate(itertools.repeat(0))),
)
in_secret(
    "a count by a generator", RAISED, _counting(next, lambda: (k for k in itertools.count(1)))
)
in_secret(
    "an iterator over a list",
    RAISED,
    lambda at: (lambda values: lambda self: next(values))(iter([1.0] * (at - 1) + [2.0] * 9000)),
)


@kind("a list that is emptied by pop", REFUSED, by_itself=True)
def _(at: int) -> Case:
    rest = [2.0] * 9000 + [1.0] * (at - 1)
    return Case(layer(lambda self: rest.pop()))


@kind("a deque of the last values", REFUSED, by_itself=True)
def _(at: int) -> Case:
    def factor(self: Any) -> Any:
        self.last.append(len(self.last))
        return 1.0 if len(self.last) < at else 2.0

    model = layer(factor)
    model.last = deque(maxlen=10**6)
    return Case(model)


@kind("a count on the module, self.calls += 1", REFUSED, by_itself=True)
def _(at: int) -> Case:
    def factor(self: Any) -> Any:
        self.calls += 1
        return 1.0 if self.calls < at else 2.0

    model = layer(factor)
    model.calls = 0
    return Case(model)


@kind("a count on the class", REFUSED, by_itself=True)
def _(at: int) -> Case:
    class Layer(Factor):
        calls = 0

        def factor(self) -> Any:
            type(self).calls += 1
            return 1.0 if self.calls < at else 2.0

    return Case(Layer())


@kind("a count in a global variable", REFUSED, by_itself=True)
def _(at: int) -> Case:
    code = module(
        "calls = 0\ndef factor():\n  global calls\n  calls += 1\n"
        "  return 1.0 if calls < at else 2.0",
        at=at,
    )
    return Case(layer(lambda self: code.factor()))


@kind("a count in a closure (nonlocal)", REFUSED, by_itself=True)
def _(at: int) -> Case:
    calls = 0

    def factor(self: Any) -> Any:
        nonlocal calls
        calls += 1
        return 1.0 if calls < at else 2.0

    return Case(layer(factor))


@kind("a count in a default argument", REFUSED, by_itself=True)
def _(at: int) -> Case:
    def factor(self: Any, calls: list[int] = [0]) -> Any:  # noqa: B006
        return 1.0 if _add_one(calls) < at else 2.0

    factor.__defaults__ = ([0],)
    return Case(layer(factor))


@kind("a count on a function", REFUSED, by_itself=True)
def _(at: int) -> Case:
    code = module(
        "def factor():\n  factor.calls += 1\n  return 1.0 if factor.calls < at else 2.0\n"
        "factor.calls = 0",
        at=at,
    )
    return Case(layer(lambda self: code.factor()))


@kind("a count in the environment", REFUSED, by_itself=True)
def _(at: int) -> Case:
    name = "CHANGES_CALLS"
    os.environ[name] = "0"

    def factor(self: Any) -> Any:
        os.environ[name] = str(int(os.environ[name]) + 1)
        return 1.0 if int(os.environ[name]) < at else 2.0

    case = Case(layer(factor))
    case.undo.callback(os.environ.pop, name)
    return case


@kind("a count in the loss", REFUSED, by_itself=True)
def _(at: int) -> Case:
    calls = [0]

    def loss(prediction: Any, target: Any) -> Any:
        return tg.mse_loss(prediction, target) * (1.0 if _add_one(calls) < at else 2.0)

    return Case(layer(lambda self: 1.0), loss=loss)


@kind("a count in an optimizer of one's own", REFUSED, by_itself=True)
def _(at: int) -> Case:
    class Counting(tg.optim.SGD):
        calls = 0

        def update(self, w: Any, g: Any, state: Any, lr: Any) -> Any:
            self.calls += 1
            return w - (lr if self.calls < at else lr / 2) * g, state

    return Case(layer(lambda self: 1.0), optimizer=lambda p: Counting(p, lr=0.05))


@kind("a count in the step", REFUSED, in_fit=False, by_itself=True)
def _(at: int) -> Case:
    calls = 0

    def step_of(case: Case) -> Any:
        def step(x: Any, y: Any) -> Any:
            nonlocal calls
            calls += 1
            loss = tg.mse_loss(case.model(x), y) * (1.0 if calls < at else 2.0)
            case.moves.zero_grad()
            loss.backward()
            case.moves.step()
            return loss

        return step

    return Case(layer(lambda self: 1.0), step=step_of)


@kind("a running mean by hand, in a number", REFUSED, every_call=True)
def _(at: int) -> Case:
    class Layer(Factor):
        mean = 1.0

        def factor(self) -> Any:
            self.mean = 0.9 * self.mean + 0.1 * 2.0
            return self.mean

    return Case(Layer())


@kind("a running mean by hand, in an array", REFUSED, every_call=True)
def _(at: int) -> Case:
    class Layer(Factor):
        def __init__(self) -> None:
            super().__init__()
            self.mean = np.ones(2)

        def factor(self) -> Any:
            self.mean = 0.9 * self.mean + 0.1 * np.array([2.0, 3.0])
            return self.mean

    return Case(Layer())


@kind("a running mean by hand, in place", REFUSED, every_call=True)
def _(at: int) -> Case:
    class Layer(Factor):
        def __init__(self) -> None:
            super().__init__()
            self.mean = np.ones(2)

        def factor(self) -> Any:
            self.mean *= 0.9
            return 1.0 + self.mean

    return Case(Layer())


@kind("a mean of the data, in a number of Python", REFUSED, every_call=True)
def _(at: int) -> Case:
    class Layer(Factor):
        mean = 0.0

        def forward(self, x: Any) -> Any:
            self.mean = 0.9 * self.mean + 0.1 * float(np.asarray(x).mean())
            return (x @ self.w) * (1 + self.mean)

    return Case(Layer())


@kind("control flow on a value", REFUSED, by_itself=True)
def _(at: int) -> Case:
    class Layer(Factor):
        def forward(self, x: Any) -> Any:
            z = x @ self.w
            return z if z.mean() > 0 else 2 * z

    return Case(Layer())


@kind("the memory of the last prediction", REFUSED, every_call=True)
def _(at: int) -> Case:
    class Layer(Factor):
        last = 0.0

        def forward(self, x: Any) -> Any:
            z = x @ self.w + 0.1 * self.last
            self.last = z.numpy().mean() if hasattr(z, "numpy") else z.mean()
            return z

    return Case(Layer())


def _halving(values: list[float]) -> Iterator[float]:
    while True:
        values[0] /= 2
        yield 1 + values[0]


@kind("a generator that changes a list", REFUSED, every_call=True)
def _(at: int) -> Case:
    values = _halving([1.0])
    return Case(layer(lambda self: next(values)))


@kind("the library's own Dropout", FOLLOWED, every_call=True)
def _(at: int) -> Case:
    return Case(tg.nn.Sequential(tg.nn.Linear(3, 2, rng=0), tg.nn.Dropout(0.5, rng=0)))


@kind("the library's own BatchNorm1d", FOLLOWED, every_call=True)
def _(at: int) -> Case:
    return Case(tg.nn.Sequential(tg.nn.Linear(3, 2, rng=0), tg.nn.BatchNorm1d(2)))


@kind("a step that fails from one call on", RAISED)
def _(at: int) -> Case:
    broken = [False]

    def factor(self: Any) -> Any:
        if broken[0]:
            raise OSError("the disk is gone")
        return 1.0

    return Case(layer(factor), lambda case: setitem(broken, 0, True))
