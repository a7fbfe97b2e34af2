"""Checks of all batches at once say what the checks of each batch would have said."""

from __future__ import annotations

import operator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.capturing.calls import OUT, Mispredicted, expect
from tinygrad_edu.capturing.checks import expect_extreme, hold_for
from tinygrad_edu.capturing.program import Program
from tinygrad_edu.ops import largest, smallest

x = np.random.default_rng(0).normal(size=(12, 3))
order = np.arange(12).reshape(3, 4)


def bad_row(y: Any) -> Any:
    """The targets with a wrong one in the last batch."""
    y = y.copy()
    y[-1] = 1.5
    return y


LOSSES = {
    "binary_cross_entropy_with_logits": (tg.binary_cross_entropy_with_logits, (x > 0) * 1.0, 2),
    "binary_cross_entropy": (
        lambda z, y: tg.binary_cross_entropy(tg.sigmoid(z), y),
        (x > 0) * 1.0,
        2,
    ),
    "cross_entropy": (tg.cross_entropy, np.eye(3)[np.arange(12) % 3], 4),
}


@pytest.mark.parametrize(("loss", "y", "asked"), LOSSES.values(), ids=LOSSES)
def test_targets_are_checked_once_for_all_batches(loss: Any, y: Any, asked: int) -> None:
    step = tg.compile(lambda x, y: loss(tg.Tensor(x), y))
    expected = [step.function(x[rows], y[rows]).item() for rows in order]
    np.testing.assert_array_equal(step.epoch(x, y, order=order), expected)
    (captured,) = next(iter(step.programs.values()))
    checks = captured.program.checks
    assert len(checks) == asked
    given = dict(zip(captured.program.given, (x, y), strict=True))
    assert hold_for(checks, given)
    assert not hold_for(checks, given | {captured.program.given[1]: bad_row(y)})


@pytest.mark.parametrize(("loss", "y", "asked"), LOSSES.values(), ids=LOSSES)
def test_a_wrong_target_is_refused_in_its_batch(loss: Any, y: Any, asked: int) -> None:
    done = []

    def function(x: Any, y: Any) -> Any:
        return loss(tg.Tensor(x), y)

    step = tg.compile(function)
    w = tg.Tensor([1.0], requires_grad=True)
    optimizer = tg.optim.SGD([w], lr=1.0)

    def counted(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        result = loss(tg.Tensor(x), y)
        (w * 1.0).sum().backward()
        optimizer.step()
        return result

    counting = tg.compile(counted)
    counting.epoch(x, y, order=order)
    before = w.item()
    with pytest.raises(ValueError, match="must be"):
        counting.epoch(x, bad_row(y), order=order)
    assert w.item() == before - 2  # the two batches before it were trained on
    rows_without_it = order[:2]
    done = step.epoch(x, bad_row(y), order=rows_without_it)
    expected = [function(x[rows], y[rows]).item() for rows in rows_without_it]
    np.testing.assert_array_equal(done, expected)


def test_a_question_about_sums_over_samples_is_asked_of_each_batch() -> None:
    """The sum over all samples says nothing of those over their parts."""

    def function(x: Any) -> Any:
        total = tg.sum(x, axis=0)
        return tg.binary_cross_entropy(tg.sigmoid(x[0]), total)

    step = tg.compile(function)
    rows = np.array([[0.5, 0.5], [0.25, 0.25], [0.9, 0.2], [-0.8, -0.1]])
    with pytest.raises(ValueError, match="must be in"):
        step.epoch(rows, order=[[0, 1], [2, 0], [3, 0]])  # 1.4 is no probability
    (captured,) = next(iter(step.programs.values()))
    assert captured.program.checks == []


def test_a_value_that_others_need_too_is_computed_in_each_batch() -> None:
    def function(x: Any, y: Any) -> Any:
        smallest = tg.min(y)
        return tg.binary_cross_entropy_with_logits(x, y) + smallest

    step = tg.compile(function)
    y = (x > 0) * 0.5 + 0.1
    expected = [function(x[rows], y[rows]) for rows in order]
    found = step.epoch(x, y, order=order)
    np.testing.assert_array_equal(found, [np.asarray(e).item() for e in expected])


def program_of_two_questions() -> tuple[Program, list[Any]]:
    """y = x² > 0 and z = −x > −10, both computed before the first is asked."""
    program, one = Program(), np.ones(100)
    x = program.argument(one)
    conditions, lows = [], []
    for function, limit in ((np.square, 0.0), (np.negative, -10.0)):
        value = program.call(function, (x, OUT), one, elementwise=True)
        low = program.call(np.minimum.reduce, (value, None, None, OUT, False), np.array(1.0))
        bound = program.constant(np.array(limit))
        conditions.append(program.call(np.greater, (low, bound, OUT), np.array(True)))
        lows.append(low)
    for condition in conditions:
        program.guard(expect, (condition, True))
    return program, lows


@pytest.mark.parametrize("given", [0, 1, 2])
def test_a_question_about_the_smallest_entry_is_one_call(given: int) -> None:
    program, lows = program_of_two_questions()
    results = lows[:given]  # gradients that other code needs are computed all the same
    program.finish(results, [])
    program.bind({})
    asked = [*program.bound_checks, *program.bound]
    assert [f for f, _ in asked if f is expect] == []
    assert len(asked) == 4 + given
    for x, fits in [([3.0, 1, 2, 4], True), ([3.0, 0, 2, 4], False), ([3.0, 1, 2, 11], False)]:
        program.give([np.resize(x, 100)])
        with nullcontext() if fits else pytest.raises(Mispredicted):
            program.run()
    program.give([np.resize([3.0, 2, 5, 4], 100)])
    program.run()
    assert [program.array(v).item() for v in results] == [4.0, -5.0][:given]


def test_nan_is_neither_above_nor_below() -> None:
    x = np.array([1.0, np.nan, 2.0])
    for extreme, compare, limit in ((smallest, operator.gt, 0.0), (largest, operator.lt, 9.0)):
        with pytest.raises(Mispredicted):
            expect_extreme(extreme, compare, x, limit)
        expect_extreme(extreme, compare, x[:1], limit)


def asked_and_more(more: Any) -> Any:
    """A step whose loss asks about the smallest target, which it also does more with."""
    return lambda z, t: (tg.binary_cross_entropy_with_logits(tg.Tensor(z), t), more(tg.Tensor(t)))


MORE = {
    "given": tg.min,
    "as a view": lambda t: tg.min(t).reshape(1),
    "in a sum": lambda t: tg.min(t).reshape(1) * 2 + tg.max(t),
    "spread out": lambda t: tg.broadcast_to(tg.max(t), (3,)).sum(),
}


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
def test_an_extreme_that_is_wanted_otherwise_too_is_right(more: Any) -> None:
    function = asked_and_more(more)
    step = tg.compile(function)
    targets = np.random.default_rng(1).random((12, 3))
    expected = [[r.item() for r in function(x[rows], targets[rows])] for rows in order]
    np.testing.assert_array_equal(step.epoch(x, targets, order=order), expected)
    for rows, numbers in zip(order, expected, strict=True):
        assert [r.item() for r in step(x[rows], targets[rows])] == numbers


def test_an_extreme_that_a_buffer_keeps_is_right() -> None:
    kept = tg.nn.Buffer([[0.0]])

    def function(z: Any, t: Any) -> Any:
        t = tg.Tensor(t) if isinstance(t, np.ndarray) else t
        kept.data = tg.min(t).reshape(1, 1)
        return tg.binary_cross_entropy_with_logits(tg.Tensor(z), t)

    step = tg.compile(function)
    targets = np.random.default_rng(1).random((12, 3))
    for rows in [*order, *order]:
        step(x[rows], targets[rows])
        assert kept.value.item() == targets[rows].min()


@pytest.mark.parametrize("first", [0, 1])
def test_impossible_classes_do_not_leave_the_program(first: int) -> None:
    step = tg.compile(lambda z, t: tg.cross_entropy(z, t), check=False)
    logits = [x[:4], np.where(np.eye(4, 3) > 0, -np.inf, x[:4])]
    targets = np.roll(np.eye(3), 1, axis=1)[[0, 1, 2, 0]]
    step(logits[first], targets)
    step.function = None  # it must not be called again
    for z in logits[first:] + logits[:first]:
        assert step(z, targets).item() == tg.cross_entropy(z, targets)
