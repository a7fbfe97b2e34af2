"""Errors at random moments of a training: `python -m tests.interrupts`; see `--help`.

An error is raised at a line of this package, as if memory had run out there or a signal had come.
Which line, and which of the times that it runs, follows from a seed. Afterwards the error must have
arrived under its own name, and the weights, buffers and optimizer states must be those after some
whole step of the same training without an error.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import nn, optim

PACKAGE = str(Path(tg.__file__).parent)
BATCHES, EPOCHS = 5, 21  # `fit` captures by itself from 100 steps on
STEPS = BATCHES * EPOCHS
Snapshot = list[np.ndarray[Any, Any]]
Place = tuple[str, int]

ARRIVED = "arrived"  # under its own name, with the weights of a whole step
SAME = "same"  # no error, and the training is the same to the last bit
NOT_REACHED = "not reached"  # the line did not run so often this time
SWALLOWED = "swallowed"  # no error, and another training
RENAMED = "renamed"  # another error
HALF = "half a step"  # weights, buffers or states that no whole step leaves
WRONG = (SWALLOWED, RENAMED, HALF)

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(BATCHES * 4, 3)), rng.normal(size=(BATCHES * 4, 2))


class Training:
    """A model with everything that a step changes, and its snapshots."""

    def __init__(self) -> None:
        self.model = nn.Sequential(
            nn.Linear(3, 4, rng=0), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2, rng=1)
        )
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.05)

    def snapshot(self) -> Snapshot:
        """Copy parameters, buffers and optimizer states."""
        found = [x.value.copy() for x in (*self.model.parameters(), *self.model.buffers())]
        for i, p in enumerate(self.optimizer.parameters):
            state = self.optimizer.state.get(i) or self.optimizer.first_state(p.value)
            found += [np.array(state[name]) for name in sorted(state)]
        return found

    def step(self, x: Any, y: Any) -> Any:
        """Make one step."""
        loss = tg.mse_loss(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


def _rows(step: int) -> slice:
    return slice(4 * (step % BATCHES), 4 * (step % BATCHES) + 4)


@cache
def reference() -> list[Snapshot]:
    """Return the snapshots before the first step and after each, without any error."""
    training = Training()
    found = [training.snapshot()]
    for i in range(STEPS):
        training.step(X[_rows(i)], Y[_rows(i)])
        found.append(training.snapshot())
    return found


def whole_step(found: Snapshot, exact: bool) -> int | None:
    """Return the number of steps after which the snapshot is that of the reference, if any."""

    def same(a: Any, b: Any) -> bool:
        return bool(np.array_equal(a, b) if exact else np.allclose(a, b, 1e-7, 1e-9))

    for i, expected in enumerate(reference()):
        if all(map(same, found, expected)):
            return i
    return None


# --- trainings ------------------------------------------------------------------------------------


def fit(training: Training, compile: bool | str, fit: Callable[..., Any] = tg.fit) -> None:
    """Train by `fit`."""
    fit(
        training.model,
        X,
        Y,
        loss=tg.mse_loss,
        optimizer=training.optimizer,
        epochs=EPOCHS,
        batch_size=4,
        shuffle=False,
        compile=compile,
        verbose=0,
    )


def by_hand(training: Training, step: Callable[..., Any], first: int = 0) -> None:
    """Train in a loop of one's own."""
    for i in range(first, STEPS):
        step(X[_rows(i)], Y[_rows(i)])


def by_epochs(training: Training, step: Any, first: int = 0) -> None:
    """Train by `step.epoch`, one epoch after the other; the first may be a part."""
    order = np.arange(BATCHES * 4).reshape(BATCHES, 4)
    while first < STEPS:
        rest = order[first % BATCHES :]
        step.epoch(X, Y, order=rest)
        first += len(rest)


@dataclass(frozen=True)
class Way:
    """A way to train. `make` gives the captured step, if there is one; `run` trains with it from a
    step on, so that a loop of one's own can go on after an error."""

    run: Callable[..., None]
    make: Callable[[Training], Any] | None = None
    exact: bool = True


def _compiled(backend: str) -> Callable[[Training], Any]:
    return lambda training: tg.compile(training.step, backend=backend)


def _fit(compile: bool | str) -> Callable[..., None]:
    return lambda training: fit(training, compile)


WAYS: dict[str, Way] = {
    "fit, compile=False": Way(_fit(False)),
    "fit": Way(_fit("auto")),
    "fit, compile=True": Way(_fit(True)),
    "fit, compile='numba'": Way(_fit("numba"), exact=False),
    "by hand": Way(by_hand, _compiled("numpy")),
    "by hand, numba": Way(by_hand, _compiled("numba"), exact=False),
    "step.epoch": Way(by_epochs, _compiled("numpy")),
    "step.epoch, numba": Way(by_epochs, _compiled("numba"), exact=False),
}


def available() -> dict[str, Way]:
    """Return the ways that can be gone with what is installed."""
    numba = importlib.util.find_spec("numba") is not None
    return {name: way for name, way in WAYS.items() if numba or "numba" not in name}


# --- errors at a line -----------------------------------------------------------------------------


@dataclass
class Lines:
    """Count how often each line of the package runs, and call `action` at one of them.

    With `place` None it only counts, and `order` has all places in the order in which they ran.
    """

    place: Place | None = None
    nth: int = 0
    action: Callable[[], None] = lambda: None
    order: list[Place] = field(default_factory=list)
    reached: bool = False

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Be called by Python, as sys.settrace says."""
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event != "line":
            return self._line
        place = frame.f_code.co_filename, frame.f_lineno
        if self.place is None:
            self.order.append(place)
        elif place == self.place:
            self.nth -= 1
            if not self.nth and not _in_finalizer(frame):
                self.reached = True
                sys.settrace(None)
                self.action()
        return self._line

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow what runs inside."""
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            yield
        finally:
            sys.settrace(before)


def _in_finalizer(frame: FrameType | None) -> bool:
    """Return True inside a finalizer of weakref or a `__del__`, whose errors Python ignores."""
    finalizers = ("weakref.py", "releasing.py")
    while frame is not None and not frame.f_code.co_filename.endswith(finalizers):
        frame = frame.f_back
    return frame is not None


def lines(way: Way) -> list[Place]:
    """Return all lines that a training runs, in their order."""
    training, counting = Training(), Lines()
    step = [] if way.make is None else [way.make(training)]
    with counting.watching():
        way.run(training, *step)
    return counting.order


def moment(ran: list[Place], seed: int) -> tuple[Place, int]:
    """Return a line and which of its runs: of odd seeds a random moment of the training, of even
    ones a random line, so that lines which run only once are met as well."""
    random_ = random.Random(seed)
    if seed % 2:
        at = random_.randrange(len(ran))
        return ran[at], ran[: at + 1].count(ran[at])
    place = random_.choice(sorted(set(ran)))
    return place, random_.randint(1, ran.count(place))


class OutOfTime(Exception):
    """The error of a time limit of one's own."""


def _raising(kind: type[BaseException]) -> Callable[[], None]:
    def action() -> None:
        raise kind("injected")

    return action


def _alarm() -> None:
    signal.raise_signal(signal.SIGALRM)


ACTIONS: dict[str, tuple[type[BaseException], Callable[[], None]]] = {
    "MemoryError": (MemoryError, _raising(MemoryError)),
    "KeyboardInterrupt": (KeyboardInterrupt, _raising(KeyboardInterrupt)),
    "time limit": (OutOfTime, _alarm),
}


@contextmanager
def time_limit() -> Iterator[list[int]]:
    """Have SIGALRM raise OutOfTime inside; the list has an entry for each time that it came.

    The handler of SIGINT is put back too: an error where `fit` puts it back would leave another.
    """
    came: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, handler)
    ctrl_c = signal.getsignal(signal.SIGINT)
    try:
        yield came
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.signal(signal.SIGINT, ctrl_c)


def interrupted(way: Way, ran: list[Place], error: str, seed: int) -> tuple[str, str]:
    """Train with an error at a moment that follows from the seed; return the verdict and where it
    was."""
    kind, action = ACTIONS[error]
    place, nth = moment(ran, seed)
    where = f"seed {seed}: {Path(place[0]).name}:{place[1]}, run {nth} of the line"
    training, injecting = Training(), Lines(place, nth, action)
    step = [] if way.make is None else [way.make(training)]
    came: BaseException | None = None
    with time_limit():
        try:
            with injecting.watching():
                way.run(training, *step)
        except BaseException as caught:
            came = caught
    if not injecting.reached:
        return NOT_REACHED, where
    after = whole_step(training.snapshot(), way.exact)
    if came is None:
        return (SAME if after == STEPS else SWALLOWED), where
    if type(came) is not kind:
        return RENAMED, f"{where}: {type(came).__name__}: {came!s:.80}"
    if after is None:
        return HALF, where
    if step:  # a loop of one's own can go on
        way.run(training, *step, after)
        if whole_step(training.snapshot(), way.exact) != STEPS:
            return HALF, f"{where}: going on from step {after} gives another training"
    return ARRIVED, where


@contextmanager
def without_collector() -> Iterator[None]:
    """Collect no garbage: Python only prints what a handler raises in a callback of the
    collector, of which Hypothesis has one."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def timed(way: Way, seconds: float) -> str:
    """Train under a time limit by a timer of the system, again and again until it has come.

    The timer runs in real time, so where it comes is a matter of chance, and that it comes is not.
    Python itself ignores an error that is raised in a finalizer; the timer is set anew then.
    """
    training = Training()
    with (
        without_collector(),
        time_limit() as came,
        mock.patch.object(sys, "unraisablehook") as ignored,
    ):

        def set_anew(unraisable: Any) -> None:
            came.clear()
            signal.setitimer(signal.ITIMER_REAL, seconds)

        ignored.side_effect = set_anew
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            while not came:
                training = Training()
                step = [] if way.make is None else [way.make(training)]
                way.run(training, *step)
        except OutOfTime:
            return ARRIVED if whole_step(training.snapshot(), way.exact) is not None else HALF
        except BaseException as caught:
            return f"{RENAMED}: {caught!r:.80}"
    return SWALLOWED


# --- the command ----------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.interrupts", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="errors of each kind for each way")
    parser.add_argument("--limits", type=int, default=20, help="time limits by a timer, each way")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--errors", nargs="+", choices=ACTIONS, default=[*ACTIONS])
    parser.add_argument("--only", default="", metavar="TEXT", help="ways whose name has this text")
    options = parser.parse_args(arguments)
    wrong = 0
    for name, way in available().items():
        if options.only not in name:
            continue
        ran = lines(way)
        for error in options.errors:
            counts = Counter[str]()
            for seed in range(options.seed, options.seed + options.count):
                verdict, where = interrupted(way, ran, error, seed)
                counts[verdict] += 1
                if verdict in WRONG:
                    wrong += 1
                    print(f"  {name}, {error}: {verdict}, {where}", flush=True)
            print(f"{name}, {error}: {_told(counts)}", flush=True)
        timers = Counter(timed(way, 0.002 + 0.003 * k) for k in range(options.limits))
        wrong += sum(n for verdict, n in timers.items() if verdict != ARRIVED)
        print(f"{name}, timer: {_told(timers)}", flush=True)
    return 1 if wrong else 0


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
