"""The problems that the submissions of a class share: made once, and the same for each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.verifying.inputs import CannotCheck
from tinygrad_edu.verifying.prepared import ATTEMPTS, Prepared
from tinygrad_edu.verifying.verification import verified

SHAPES = {"X": "m n", "Y": "m k onehot", "W": "n k", "b": "k"}


def forward(X: Any, Y: Any, W: Any, b: Any) -> Any:
    A = tg.softmax(X @ W + b)
    return -(Y * np.log(A)).sum() / len(X)


def misfitting(X: Any, Y: Any, A: Any) -> Any:
    err = A - Y
    b_grad = np.sum(err, axis=0) / len(X)
    W_grad = np.dot(X, err) / len(X)
    return {"W": W_grad, "b": b_grad}


def too_large(X: Any, Y: Any, A: Any) -> Any:
    err = A - Y
    W_grad = np.dot(X.T, err)
    b_grad = np.sum(err, axis=0) / len(X)
    return {"W": W_grad, "b": b_grad}


CLAIMS: list[Any] = [
    {"W": "X.T @ (A - Y) / m", "b": "np.sum(A - Y, axis=0) / m"},
    {"W": "X.T @ (Y - A)", "b": "np.sum(A - Y) / m"},
    {"W": "X @ (A - Y) / m", "b": "np.mean(A - Y, axis=1)"},
    "E = A − Y\n∂L/∂W = XᵀE\n∂L/∂b = 1ᵀE/m",
    misfitting,
    too_large,
]


@pytest.fixture(scope="module")
def alone() -> list[dict[str, Any]]:
    return [tg.verify(forward, claims, inputs=SHAPES).to_dict() for claims in CLAIMS]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [1, 1, 5, 5]])
@pytest.mark.parametrize("ahead", [False, True])
def test_a_report_does_not_depend_on_those_before(
    alone: list[dict[str, Any]], order: list[int], ahead: bool
) -> None:
    prepared = Prepared(forward, SHAPES)
    if ahead:
        prepared.make_ahead(0.1)
    for i in order:
        assert repr(verified(prepared, CLAIMS[i]).to_dict()) == repr(alone[i]), CLAIMS[i]


def test_forward_is_run_once_for_each_problem() -> None:
    calls = []

    def counted(w: Any) -> Any:
        calls.append(w)
        return (w * w).sum()

    prepared = Prepared(counted, {"w": "n"})
    assert verified(prepared, {"w": "2 * w"}).right
    first = len(calls)
    assert verified(prepared, {"w": "w + w"}).right
    assert len(calls) == first > 10
    assert not verified(prepared, {"w": "3 * w"}).right  # small problems are made for this one
    assert len(calls) > first
    second = len(calls)
    assert not verified(prepared, {"w": "3 * w"}).right
    assert len(calls) == second


def test_work_is_counted_anew_for_each_report() -> None:
    prepared = Prepared(forward, SHAPES, {"E": "A - Y"})
    verified(prepared, {"W": "X.T @ E"})
    _, drawn = next(prepared.choices())
    assert all(problem.evaluator.all_steps > 0 for _, problem in drawn.problems)
    prepared.begin()
    assert all(problem.evaluator.all_steps == 0 for _, problem in drawn.problems)
    assert all("E" in problem.names for _, problem in drawn.problems)


def test_problems_made_ahead_are_those_that_are_asked_for() -> None:
    ahead, later = Prepared(forward, SHAPES), Prepared(forward, SHAPES)
    ahead.make_ahead(0.2)
    kinds = next(later.choices())[0]
    for sizes in list(later.small_sizes())[:4]:
        for attempt in range(ATTEMPTS):
            one, other = (p.small(sizes, kinds, attempt) for p in (ahead, later))
            assert one is not None and other is not None
            assert one is ahead.small(sizes, kinds, attempt)
            assert all(np.array_equal(one.inputs[k], other.inputs[k]) for k in SHAPES)


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda: Prepared(forward, {"X": "m n"}).choices(), "forward-takes"),
        (lambda: Prepared(lambda w: w * 2, {"w": "n"}).choices(), "not-a-loss"),
        (lambda: Prepared(lambda w: np.log(-w * w).sum(), {"w": "n"}).choices(), "not-finite"),
    ],
)
def test_what_cannot_be_checked_is_said_each_time(make: Any, why: str) -> None:
    with pytest.raises(CannotCheck) as caught:
        list(make())
    assert caught.value.what == why


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="this system has no processes to wait for")
def test_judges_that_have_ended_are_taken_note_of() -> None:
    code = """
import os
from tinygrad_edu.verifying.worker import _reap
_reap()  # there are none
ended = [os.fork() or os._exit(0) for _ in range(3)]
for process in ended:
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
_reap()
for process in ended:
    try:
        os.waitpid(process, 0)
    except ChildProcessError:
        print("gone")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["gone"] * 3, done.stderr
