"""Errors at random moments arrive under their own names and leave the weights of a whole step."""

from __future__ import annotations

import signal
from functools import cache, partial
from typing import Any

import pytest

import tinygrad_edu as tg
from tests.interrupts import (
    ACTIONS,
    ARRIVED,
    EPOCHS,
    HALF,
    RENAMED,
    STEPS,
    SWALLOWED,
    WAYS,
    WRONG,
    Lines,
    Place,
    Training,
    Way,
    available,
    by_hand,
    fit,
    interrupted,
    lines,
    main,
    moment,
    reference,
    time_limit,
    timed,
    whole_step,
)
from tests.tools.long import one_in
from tinygrad_edu import optim

lines_of = cache(lambda name: lines(WAYS[name]))
pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="there are no timers by signal on this system"
)


def test_the_ways_without_an_error_end_with_the_last_step() -> None:
    for name, way in available().items():
        training = Training()
        way.run(training, *([] if way.make is None else [way.make(training)]))
        assert whole_step(training.snapshot(), way.exact) == STEPS, name


def test_no_two_steps_leave_the_same() -> None:
    for i, found in enumerate(reference()):
        assert whole_step(found, exact=False) == i


@pytest.mark.parametrize(
    ("name", "error"), one_in(3, [(n, e) for e in ACTIONS for n in available()])
)
def test_an_error_arrives_and_leaves_a_whole_step(name: str, error: str) -> None:
    way, ran = WAYS[name], lines_of(name)
    first = 1000 * [*ACTIONS].index(error)
    for seed in range(first, first + 3):
        verdict, where = interrupted(way, ran, error, seed)
        assert verdict not in WRONG, (verdict, where)


@pytest.mark.parametrize("name", [name for name in available() if name.startswith("fit")])
def test_a_time_limit_by_a_timer_arrives_each_time(name: str) -> None:
    assert [timed(WAYS[name], 0.001 + 0.002 * k) for k in range(20)] == [ARRIVED] * 20


def test_the_first_ctrl_c_ends_fit_after_a_whole_step() -> None:
    """A signal at a line, which `fit` notes, or which comes before or after it listens."""
    way, ran, ended = WAYS["fit, compile=True"], lines_of("fit, compile=True"), 0
    for seed in range(2000, 2006):
        training, came = Training(), None
        history = tg.History()
        action = Lines(*moment(ran, seed), action=lambda: signal.raise_signal(signal.SIGINT))
        try:
            with time_limit(), action.watching():
                fit(training, True, partial(tg.fit, history=history))
        except KeyboardInterrupt as error:
            came = error
        assert whole_step(training.snapshot(), way.exact) is not None
        assert came or history.interrupted or not action.reached or len(history.epoch) == EPOCHS
        ended += history.interrupted
    assert ended


# --- the checker is shown what is broken ----------------------------------------------------------


def _catching(kind: type[BaseException]) -> Way:
    """Return a `fit` that swallows an error and goes on eagerly, as that of an earlier version."""

    def mild(*args: Any, **settings: Any) -> Any:
        try:
            return tg.fit(*args, **settings)
        except kind:
            return tg.fit(*args, **settings | {"compile": False})

    return Way(lambda training: fit(training, False, mild))


def _verdicts(way: Way, error: str, until: str) -> set[str]:
    """Return the verdicts of a few moments, up to the one that is looked for."""
    ran, found = lines(way), set[str]()
    for seed in range(12):
        if until not in found:
            found.add(interrupted(way, ran, error, seed)[0])
    return found


@pytest.mark.parametrize("error", ACTIONS)
def test_a_swallowed_error_is_found(error: str) -> None:
    assert SWALLOWED in _verdicts(_catching(ACTIONS[error][0]), error, SWALLOWED)


def test_a_swallowed_time_limit_is_found() -> None:
    way = _catching(ACTIONS["time limit"][0])
    assert timed(way, 0.005) == SWALLOWED


def test_another_name_is_found() -> None:
    def renaming(training: Training) -> None:
        try:
            fit(training, False)
        except MemoryError as error:
            raise ValueError("something else") from error

    assert _verdicts(Way(renaming), "MemoryError", RENAMED) == {RENAMED}


def _updates(way: Way) -> list[Place]:
    """Return the line that assigns the new value of a parameter, as often as it runs."""
    place = next(p for p in reversed(lines(way)) if p[0].endswith("optim.py"))
    return [place] * (6 * STEPS)


def test_an_update_broken_off_in_the_middle_is_undone_by_fit() -> None:
    way = WAYS["fit, compile=False"]
    ran = _updates(way)
    for seed in range(4):
        assert interrupted(way, ran, "MemoryError", seed)[0] == ARRIVED


def test_half_a_step_is_found() -> None:
    """A loop of one's own, with an optimizer that moves one parameter after the other."""

    class OneByOne(optim.Adam):
        def step(self) -> None:
            for i, p in enumerate(self.parameters):
                state = self.state.get(i) or self.first_state(p.value)
                p.value, self.state[i] = self.update(p.value, p.grad, state, self.lr)

    def make(training: Training) -> Any:
        training.optimizer = OneByOne(training.model.parameters(), lr=0.05)
        return training.step

    way = Way(by_hand, make)
    ran = _updates(way)
    assert any(interrupted(way, ran, "MemoryError", seed)[0] == HALF for seed in range(9))


# --- the command ----------------------------------------------------------------------------------


def test_the_command_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            ["--only", "compile=False", "--count", "2", "--limits", "2", "--errors", "MemoryError"]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "fit, compile=False, MemoryError: 2 arrived" in printed
    assert "fit, compile=False, timer: 2 arrived" in printed


def test_the_command_fails_where_an_error_is_swallowed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WAYS, "mild", _catching(MemoryError))
    assert main(["--only", "mild", "--count", "6", "--limits", "0", "--errors", "MemoryError"]) == 1
    assert "mild, MemoryError: swallowed, seed" in capsys.readouterr().out
