"""Checks of all batches at once say what the checks of each batch would have said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.capturing.checks import hold_for

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
        lambda z, y: tg.binary_cross_entropy(tg.sigmoid(z), y), (x > 0) * 1.0, 2,
    ),
    "cross_entropy": (tg.cross_entropy, np.eye(3)[np.arange(12) % 3], 4),
}  # fmt: skip


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
