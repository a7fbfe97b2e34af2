"""Runs: the same as one call after the other, with a look around at the first of a kind only."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.capturing.test_compiled import assert_same, batches, network, training
from tinygrad_edu import optim
from tinygrad_edu.capturing.runs import Run
from tinygrad_edu.training.stepping import train_step

SIZES = [8, 8, 8, 3, 8, 8, 3, 3]


def twins(**settings: Any) -> list[tuple[Any, Any]]:
    """Two networks that are the same, each with a captured step."""
    made = []
    for _ in range(2):
        model = network(5, 4, 1)
        sgd = optim.SGD(model.parameters(), lr=0.1, **settings)
        made.append((model, tg.compile(training(model, sgd, tg.binary_cross_entropy_with_logits))))
    return made


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_run_is_one_call_after_the_other(again: bool, momentum: float) -> None:
    """Batches of two sizes, in memory that is used again, or in new arrays each time."""
    (model, step), (other, called) = twins(momentum=momentum)
    kept = {m: batches(m, 5, 1, "float64", 1)[0] for m in SIZES}
    rng = np.random.default_rng(1)
    with Run(step) as run:
        for m in SIZES:
            x, y = kept[m] if again else batches(m, 5, 1, "float64", 1)[0]
            x[:] = rng.normal(size=x.shape)
            assert run(x, y).item() == called(x, y).item()
            for p, q in zip(model.parameters(), other.parameters(), strict=True):
                np.testing.assert_array_equal(p.value, q.value)
    assert_same(model, other)  # the gradients too, when it is over
    assert step(x, y).item() == called(x, y).item()
    assert len(step.programs) == 2


def test_what_is_kept_of_the_weights_before_a_run_stays_what_it_was() -> None:
    (model, step), _ = twins()
    x, y = batches(8, 5, 1, "float64", 1)[0]
    for _ in range(2):
        kept = [p.data for p in model.parameters()]
        values = [array.copy() for array in kept]
        with Run(step) as run:
            for _ in range(3):
                run(x, y)
        for array, value in zip(kept, values, strict=True):
            np.testing.assert_array_equal(array, value)


def test_what_has_changed_is_seen_by_the_next_run() -> None:
    factor = 2.0

    def function(x: Any) -> Any:
        return factor * x

    step, x = tg.compile(function), np.ones(1)
    for factor in (2.0, 3.0, 2.0):
        with Run(step) as run:
            assert [run(x).item() for _ in range(3)] == [factor] * 3
    with Run(step) as run:
        watched: list[Any] = []
        with tg.detect_anomaly():  # a callback runs between the steps: each is recorded
            watched += [run(x).item() for _ in range(2)]
    assert watched == [2.0, 2.0]


def test_where_a_check_fails_the_function_goes_on_and_the_run_after_it() -> None:
    (model, _), (other, _) = twins()
    steps = [
        train_step(m, tg.binary_cross_entropy_with_logits, optim.SGD(m.parameters(), lr=0.1))
        for m in (model, other)
    ]
    x, y = batches(8, 5, 1, "float64", 1)[0]
    bad = x * np.nan
    with Run(tg.compile(steps[0])) as run:
        for batch in (x, x, x, bad, x, x):
            if batch is bad:
                with pytest.raises(FloatingPointError, match="the loss is nan"):
                    run(batch, y)
                continue
            assert run(batch, y)[0].item() == steps[1](batch, y)[0].item()
    assert_same(model, other)


def test_gradients_that_are_added_up_are_never_run_in_stride() -> None:
    w = tg.Tensor([1.0], requires_grad=True)

    def function(x: Any) -> Any:
        loss = (w * x).sum()
        loss.backward()
        return loss

    step = tg.compile(function)
    with Run(step) as run:
        run(np.array([2.0]))
        with pytest.raises(tg.CannotCapture, match=r"a \.grad from before the step"):
            run(np.array([3.0]))
    assert w.grad is not None and w.grad.tolist() == [2.0]
    w.grad = None
    with pytest.raises(tg.CannotCapture, match=r"a \.grad from before the step"):
        step.epoch(np.arange(4.0)[:, None], order=[[0], [1]])


def test_what_is_asked_of_each_row_is_asked_of_all_at_once_where_they_are_known() -> None:
    step = tg.compile(lambda x, y: tg.binary_cross_entropy_with_logits(tg.Tensor(x), y))
    x, y = np.zeros((9, 1)), np.ones((9, 1))
    y[-1] = 2.0  # in no batch
    for sources, trusted in (((), False), ((x, None), False), ((x, y), False), ((x, y[:8]), True)):
        with Run(step, sources) as run:
            for _ in range(3):
                assert run(x[:2], y[:2]).item() == pytest.approx(np.log(2))
            with nullcontext() if trusted else pytest.raises(ValueError, match="must be in"):
                run(x[:2], 2 * y[:2])


def test_numpys_settings_are_those_of_the_caller_and_left_alone() -> None:
    step = tg.compile(lambda x: tg.sigmoid(x) / x)
    before = np.geterr()
    with Run(step) as run, warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert run(np.array([-1000.0])).item() == 0.0  # e¹⁰⁰⁰ on the way
            assert np.geterr() == before
        with pytest.raises(RuntimeWarning, match="divide"):
            run(np.array([0.0]))
    with np.errstate(divide="ignore"), Run(step) as run:
        assert run(np.array([0.0])).item() == np.inf
        assert run(np.array([0.0])).item() == np.inf


def test_a_run_that_is_broken_off_leaves_a_step_that_works() -> None:
    count = np.zeros(1, int)

    @tg.primitive(lambda g, y, x: g)
    def breaks(x: Any, /) -> Any:
        count[0] += 1
        if count[0] == 4:
            raise KeyboardInterrupt
        return x + 1.0

    w = tg.Tensor([1.0], requires_grad=True)
    sgd = optim.SGD([w], lr=0.5)

    def function(x: Any) -> Any:
        loss = (breaks(w * x)).sum()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    step, x = tg.compile(function), np.array([1.0])
    with pytest.raises(KeyboardInterrupt), Run(step) as run:
        while True:
            run(x)
    before = w.item()
    assert step(x).item() == before + 1
    assert w.item() == before - 0.5


def test_an_epoch_that_breaks_off_has_done_the_steps_before() -> None:
    w = tg.Tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0)

    @tg.primitive(lambda g, y, x: g)
    def fragile(x: Any) -> Any:
        if x[0] > 5:
            raise RuntimeError("too much")
        return x * 1.0

    @tg.compile
    def step(x: Any) -> Any:
        loss = (w * fragile(x)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    source = np.array([1.0, 1.0, 1.0, 1.0, 9.0, 1.0])
    rows = np.arange(6)[:, None]
    step.epoch(source, order=rows[:3])
    with pytest.raises(RuntimeError, match="too much"):
        step.epoch(source, order=rows)
    assert w.value.tolist() == [1.0 - 3 - 4]
    np.testing.assert_array_equal(step.epoch(source, order=rows[:2]), [-6.0, -7.0])
