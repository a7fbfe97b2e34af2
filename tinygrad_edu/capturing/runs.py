"""Calls of a captured step one after the other, in a loop of this package such as that of `fit`.

Between two calls of a captured step the caller may have changed anything, and may keep the result.
So each call compares all settings, and copies the result. In a loop of this package that is not
needed: settings are compared at the first batch of each shape, and each step overwrites the result
of the last. If code of the user's runs between the steps (`shared`), arrays are compared each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from itertools import islice
from operator import is_
from time import thread_time
from typing import Any, Protocol

import numpy as np

from .. import engine
from ..arrays import Array
from ..capture_gate import gate
from ..engine import Box
from .calls import Mispredicted
from .replay import Replay

PLAIN = (bool, int, float, str, np.generic, type(None))


class Step(Protocol):
    """What a run calls: a `CompiledStep`."""

    def __call__(self, *args: Any) -> Any:
        """The step, after a look at everything."""

    def known(self, key: Any) -> Replay | None:
        """The program for such arguments, if one holds."""

    def compared(
        self, captured: Replay, run: Callable[[], Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """The result of `run`, compared with that of the function."""

    def itself(self, captured: Replay, args: Any, kwargs: dict[str, Any]) -> Any:
        """The result of the function."""


class Run:
    """A step for one batch after the other; in a run of several, results are tensors that the next
    call writes over. One thread's, while nobody else calls the step.

    sources   the arrays of whose rows all batches are made, None for one that is another in the
              batches: what the step asks of each row is then asked of all at once
    several   there are so many batches that this pays from the first on, and not from the second
    shared    code of the user's, such as a metric, runs between two batches: each step sets the
              gradients, and finds arrays that were replaced or that other code refers to

    Example:
        >>> import tinygrad_edu as tg
        >>> with Run(tg.compile(lambda x: 2 * x)) as run:
        ...     [run(np.array([k])).data.tolist() for k in range(3)]
        [[0], [2], [4]]
    """

    def __init__(
        self,
        step: Step,
        sources: Sequence[Array | None] = (),
        several: bool = False,
        shared: bool = False,
    ) -> None:
        self._step, self._sources, self._several, self._shared = step, sources, several, shared
        self._replay: Replay | None = None  # the program that is being run, for
        self._key: Any = None  # arguments of this kind
        self._batch: Sequence[Any] = ()
        self._result: Any = None
        self._quiet = copy_context()
        self._steps = 0  # how many it has done
        self._checked = False
        self._answers: dict[Replay, bool] = {}  # of all batches at once, by program

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._replay is not None and not self._shared:  # left by the last step only
            self._replay.leave_gradients()
        self._stop()

    def __call__(self, *batch: Any) -> Any:
        """What the step gives for a batch."""
        if self._shared and self._replay is not None and not self._replay.stands():
            self._stop()  # and begin again with the arrays as they are now
        known = len(batch) == len(self._batch) and all(map(is_, batch, self._batch))
        if self._replay is None or not known:
            self._change(batch)
        if self._replay is None:
            self._key = None  # the next batch may find a program
            return self._step(*batch)
        self._steps += 1
        if self._steps == 2 - self._several:
            if self._replay not in self._answers:
                self._answers[self._replay] = self._replay.asks_nothing_more(self._sources)
            self._checked = self._answers[self._replay]
        if self._replay.sampler.due():
            return self._compared(self._replay)
        if (failed := self._quietly(self._replay.step)) is not None:
            return failed[0]
        if self._shared:
            self._replay.leave_gradients()
        return self._result

    def repeat(
        self, batches: Iterator[Any], fill: Callable[[Any], None], note: Callable[[Any], None]
    ) -> None:
        """A step for each that is left of the batches, which `fill` puts into the arrays of the
        last one, as far as nothing has to be looked at in between; `note` gets each result."""
        if self._replay is None or not self._checked or self._replay.native is not None:
            return
        result, program, sampler = self._result, self._replay.program, self._replay.sampler
        calls, update = program.bound, program.update

        def steps(checked: bool) -> None:
            made = 0
            try:
                for batch in islice(batches, sampler.left):  # up to the next comparison
                    made += 1
                    fill(batch)
                    for function, args in calls:
                        function(*args)
                    update()
                    note(result)
            finally:
                sampler.skip(made)

        planned, started = sampler.left, thread_time()
        if (failed := self._quietly(steps)) is not None:
            note(failed[0])
        sampler.timed(planned - sampler.left, thread_time() - started)

    def _compared(self, replay: Replay) -> Any:
        """The result of a step that is compared with the function."""

        def run() -> Any:
            self._quiet.run(replay.step, self._checked)
            replay.leave_gradients()
            return self._result

        batch = [np.copy(x) if isinstance(x, np.ndarray) else x for x in self._batch]
        try:
            result = self._step.compared(replay, run, batch, {})
            if not replay.is_bound:
                self._stop()
            return result
        except Mispredicted:
            self._stop()
            return self._step.itself(replay, batch, {})
        except BaseException:
            self._stop()
            raise

    def _quietly(self, run: Callable[[bool], None]) -> tuple[Any] | None:
        """Run a step or several; where one does not apply, what its function gives itself."""
        try:
            self._quiet.run(run, self._checked)
        except BaseException as reason:
            batch, replay = self._batch, self._replay
            self._stop()
            if not isinstance(reason, Mispredicted) or replay is None:
                raise
            return (self._step.itself(replay, batch, {}),)  # it says what is wrong
        return None

    def _change(self, batch: Sequence[Any]) -> None:
        """Go on with other arrays: of the same kind, or with another program."""
        given, kind = given_in(batch)
        if (kind, len(batch)) != self._key:
            self._stop()
            self._begin((kind, len(batch)))
        if self._replay is not None:
            self._replay.give(given)
        self._batch = batch

    def _begin(self, key: Any) -> None:
        if engine.observers or gate.get() is not None:
            return
        replay = self._step.known(key)
        if replay is None or replay.needs_none:  # gradients that are added to those of before
            return
        self._key, self._replay, self._steps, self._checked = key, replay, 0, False
        replay.ready()
        self._result = replay.result()
        # NumPy's settings of the moment but one, put on once: for each step it would take as long
        # as several of its calls.
        self._quiet = copy_context()
        self._quiet.run(partial(np.seterr, over="ignore"))

    def _stop(self) -> None:
        if self._replay is not None:
            self._replay.release()
        self._replay = self._key = self._result = None
        self._batch = ()


def given_in(values: Sequence[Any]) -> tuple[list[Any], Any]:
    """The arrays among the arguments, and what a program for such arguments is known by."""
    given: list[Any] = []
    key: list[Any] = []
    for x in values:
        array = x.value if isinstance(x, Box) and x.record is None else x
        if isinstance(array, np.ndarray):
            given.append(array)
            key.append((array.shape, array.dtype, array.strides, type(x)))
        elif isinstance(x, PLAIN):
            key.append((type(x), repr(x)))
        else:
            key.append((type(x), id(x)))
    return given, tuple(key)
