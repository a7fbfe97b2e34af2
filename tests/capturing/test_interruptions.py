"""Exceptions at any moment of a captured step keep their name, and leave whole steps.

A trace function raises at one line after the other of what runs a captured step. That is what a
signal handler does, at a moment that can be chosen.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import capturing, nn, optim
from tinygrad_edu.capturing import homes
from tinygrad_edu.capturing.program import Program

WHERE: tuple[str, ...] = (str(Path(capturing.__file__).parent),)  # exceptions are raised
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 5)), RNG.integers(0, 3, 16)
ORDER = np.arange(16).reshape(4, 4)
State = list[Any]


class Injected(BaseException):
    """No exception that anything but the test knows of."""


# --- where to raise -------------------------------------------------------------------------------


Place = tuple[str, int]  # a file and a line
Moment = tuple[Place, int]  # and how often it has been run before


def traced(
    function: Callable[[], Any], at: Moment | None = None, error: Callable[[], Any] = Injected
) -> Counter[Place]:
    """Run a function and raise an error at a moment; how often each line was run."""
    seen: Counter[Place] = Counter()

    def look(frame: Any, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(WHERE):
            return None
        if event == "line":
            place = frame.f_code.co_filename, frame.f_lineno
            if at == (place, seen[place]):
                raise error()
            seen[place] += 1
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        function()
    finally:
        sys.settrace(before)
    return seen


def moments(seen: Counter[Place], every: int = 1) -> list[Moment]:
    """The first and the last time that each line is run; each so many of them, and the last ten."""
    found = [(place, n) for place, times in seen.items() for n in sorted({0, times - 1})]
    return [*found[:-10:every], *found[-10:]]


# --- what to run ----------------------------------------------------------------------------------

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
}


class Training:
    """A network with its optimizer, and a step; `batchnorm` adds running means to the weights."""

    def __init__(self, optimizer: str, batchnorm: bool = False) -> None:
        middle = [nn.BatchNorm1d(4)] if batchnorm else []
        self.model = nn.Sequential(
            nn.Linear(5, 4, rng=0), *middle, nn.Sigmoid(), nn.Linear(4, 3, rng=1)
        )
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.tensors = [*self.model.parameters(), *self.model.buffers()]

    def step(self, x: Any, y: Any) -> Any:
        loss = tg.cross_entropy(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def state(self) -> State:
        states = [self.optimizer.state[i] for i in sorted(self.optimizer.state)]
        entries = [np.copy(s[name]) for s in states for name in sorted(s)]
        return [*(x.data.copy() for x in self.tensors), *entries]

    def load(self, other: Training) -> None:
        for x, y in zip(self.tensors, other.tensors, strict=True):
            x.data = y.data.copy()
        self.optimizer.state = {
            i: {name: np.copy(x) for name, x in state.items()}
            for i, state in other.optimizer.state.items()
        }


def same(a: State, b: State, exactly: bool) -> bool:
    if len(a) != len(b):
        return False
    if exactly:
        return all(map(np.array_equal, a, b))
    return all(np.allclose(x, y, 1e-9, 1e-12) for x, y in zip(a, b, strict=True))


@pytest.fixture(params=["numpy", "numba"])
def backend(request: Any, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "numba":
        pytest.importorskip("numba")
        folder = tmp_path_factory.getbasetemp() / "machine-code"
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    with warnings.catch_warnings():
        warnings.resetwarnings()  # as for users: an update needs no copies
        yield request.param


# --- single steps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_is_done_or_not_done(optimizer: str) -> None:
    with warnings.catch_warnings():
        warnings.resetwarnings()
        check_steps(optimizer, "numpy", 3)


@pytest.mark.parametrize("backend", ["numba"], indirect=True)
def test_a_native_step_is_done_or_not_done(backend: str) -> None:
    check_steps("momentum", backend, 40)


def check_steps(optimizer: str, backend: str, every: int) -> None:
    """Raise at so many moments of steps, and hold what they leave against eager ones."""
    mine, twin = (Training(optimizer, batchnorm=optimizer != "adam") for _ in "ab")
    step = tg.compile(mine.step, backend=backend)
    exactly = backend == "numpy"

    def run() -> None:
        step(X, Y)

    def hold() -> list[Any]:
        """Arrays that the user keeps make the step allocate new ones."""
        return [x.data for x in mine.tensors]

    for _ in range(3):
        run()
    kept = hold()
    outcomes: Counter[str] = Counter()
    for at in moments(traced(run), every):
        kept, before = hold(), mine.state()
        twin.load(mine)
        with contextlib.suppress(Injected):
            traced(run, at)
            outcomes["not reached"] += 1
        twin.step(X, Y)
        found = mine.state()
        whole = [same(found, before, True), same(found, twin.state(), exactly)]
        assert sum(whole) == 1, f"{at}: neither before nor after the step"
        outcomes["before" if whole[0] else "after"] += 1
        assert same(kept, before[: len(kept)], True), at
    assert outcomes["before"] > 9 and outcomes["after"] > 5 > outcomes["not reached"]
    del kept
    twin.load(mine)
    for _ in range(3):  # and it goes on
        assert step(X, Y).item() == pytest.approx(twin.step(X, Y).item(), rel=1e-12)
        assert same(mine.state(), twin.state(), exactly)
    for x, y in zip(mine.model.parameters(), twin.model.parameters(), strict=True):
        assert same([x.grad], [y.grad], exactly)


def timed_out(number: int, frame: Any) -> None:
    raise TimeoutError("out of time")


def by_signal() -> BaseException:
    signal.raise_signal(signal.SIGALRM)
    return AssertionError("the handler raises")


@pytest.fixture
def alarm() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, timed_out)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no such signal")
@pytest.mark.usefixtures("alarm")
def test_an_exception_keeps_its_name(backend: str) -> None:
    mine = Training("momentum")
    step = tg.compile(mine.step, backend=backend)
    for _ in range(3):
        step(X, Y)
    kept = [x.data for x in mine.tensors]
    found = moments(traced(lambda: step(X, Y)), 40 if backend == "numpy" else 120)
    errors: list[Any] = [
        KeyboardInterrupt,
        MemoryError,
        SystemExit,
        partial(ValueError, "mine"),
        by_signal,
    ]
    for at, error in zip(found, cycle(errors), strict=False):
        kept = [x.data for x in mine.tensors]
        kind = TimeoutError if error is by_signal else type(error())
        with pytest.raises(BaseException) as caught:
            traced(lambda: step(X, Y), at, error)
        assert caught.type is kind
    assert len(kept) == 4


# --- epochs ---------------------------------------------------------------------------------------


def test_an_epoch_ends_after_a_whole_step(backend: str) -> None:
    mine, twin = Training("momentum"), Training("momentum")
    step = tg.compile(mine.step, backend=backend)
    exactly = backend == "numpy"

    def run() -> None:
        step.epoch(X, Y, order=ORDER)

    run()
    kept = [x.data for x in mine.tensors]
    done = set()
    for at in moments(traced(run), 3 if exactly else 40):
        kept = [x.data for x in mine.tensors]
        twin.load(mine)
        with contextlib.suppress(Injected):
            traced(run, at)
        found, steps = mine.state(), 0
        while not same(found, twin.state(), exactly):
            assert steps < len(ORDER), at
            twin.step(X[ORDER[steps]], Y[ORDER[steps]])
            steps += 1
        done.add(steps)
    assert {0, len(ORDER)} <= done and len(kept) == 4
    twin.load(mine)
    run()
    for rows in ORDER:
        twin.step(X[rows], Y[rows])
    assert same(mine.state(), twin.state(), exactly)


# --- the capture ----------------------------------------------------------------------------------


def test_a_capture_that_is_interrupted_is_taken_back() -> None:
    mine, twin = Training("momentum"), Training("momentum")
    found = traced(lambda: tg.compile(Training("momentum").step)(X, Y))
    for at in moments(found, len(found) // 15):
        step = tg.compile(mine.step)
        twin.load(mine)
        before = mine.state()
        with contextlib.suppress(Injected):
            traced(partial(step, X, Y), at)
        if not same(mine.state(), before, True):
            twin.step(X, Y)
        assert same(mine.state(), twin.state(), True), at
        for _ in range(2):
            assert step(X, Y).item() == twin.step(X, Y).item()
        assert same(mine.state(), twin.state(), True), at


# --- errors of the update itself ------------------------------------------------------------------


def test_an_update_that_raises_leaves_the_weights_of_before() -> None:
    mine = Training("momentum")
    step = tg.compile(mine.step)
    step(X, Y), step(X, Y)
    mine.tensors[2].data = np.full((4, 3), 5e-324)
    mine.optimizer.lr = 5e-324
    before = mine.state()
    with np.errstate(under="raise"), pytest.raises(FloatingPointError):
        step(X, Y)
    assert same(mine.state(), before, True)
    with warnings.catch_warnings(), np.errstate(under="warn"):
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning):
            step(X, Y)
    assert same(mine.state(), before, True)
    step(X, Y)
    assert not same(mine.state(), before, True)


def test_a_guard_of_new_weights_fails_before_they_are_left() -> None:
    w = tg.Tensor([0.5, 0.5], requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0)

    def function(x: Any) -> Any:
        loss = (w * x).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return tg.cross_entropy(np.reshape(x, (1, 2)), np.reshape(w, (1, 2)))  # targets add up to 1

    step = tg.compile(function)
    fits = np.array([0.25, -0.25])
    step(fits), step(fits)
    before = w.data.copy()
    with pytest.raises(ValueError, match="target"):
        step(np.array([0.25, 0.25]))
    np.testing.assert_array_equal(w.data, before - 0.25)  # as the function leaves it: one step


# --- planted mistakes -----------------------------------------------------------------------------


def test_the_test_finds_an_update_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: Program, checked: bool = False) -> None:
        for function, *args in [*((f, *a) for f, a in self.bound), *self.updates]:
            function(*args)

    monkeypatch.setattr(Program, "run", run)
    monkeypatch.setattr(sys.modules[__name__], "WHERE", (__file__,))
    with pytest.raises(AssertionError, match="neither before nor after"):
        check_steps("momentum", "numpy", 1)


def test_the_test_finds_a_home_that_is_left_before_it_is_filled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lie(self: Any, row: Any, start: int) -> None:
        now = self.read()
        self.write(row.array(now.shape, now.dtype, start * now.itemsize))
        self._own()
        self.array[...] = now
        self.row, self.start = row, start

    monkeypatch.setattr(homes.Home, "lie", lie)
    monkeypatch.setattr(sys.modules[__name__], "WHERE", (__file__,))
    with pytest.raises(AssertionError, match="neither before nor after"):
        check_steps("sgd", "numpy", 1)
