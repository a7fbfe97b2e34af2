"""Errors at random moments arrive under their own names and leave the weights of a whole step."""

from __future__ import annotations

import signal
from typing import Any

import pytest

import tinygrad_edu as tg
from tests.interrupts import (
    ACTIONS,
    HALF,
    RENAMED,
    STEPS,
    SWALLOWED,
    WAYS,
    Training,
    Way,
    available,
    by_hand,
    fit,
    interrupted,
    lines,
    main,
    reference,
    timed,
    whole_step,
)

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


def test_half_a_step_is_found() -> None:
    """A loop of one's own without capture: the update itself may be broken off in the middle."""
    way = Way(by_hand, lambda training: training.step)
    place = next(p for p in reversed(lines(way)) if p[0].endswith("optim.py"))
    ran = [place] * (4 * STEPS)  # the line that assigns, once for each parameter
    assert any(interrupted(way, ran, "MemoryError", seed)[0] == HALF for seed in range(9))


# --- the command ----------------------------------------------------------------------------------


def test_the_command_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "compile=False", "--count", "2", "--limits", "2"]) == 0
    printed = capsys.readouterr().out
    assert "fit, compile=False, MemoryError: 2 arrived" in printed
    assert "fit, compile=False, timer: 2 arrived" in printed


def test_the_command_fails_where_an_error_is_swallowed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WAYS, "mild", _catching(MemoryError))
    assert main(["--only", "mild", "--count", "6", "--limits", "0"]) == 1
    assert "mild, MemoryError: swallowed, seed" in capsys.readouterr().out
