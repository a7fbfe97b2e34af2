"""Schedules: their formulas, where they stand, what they refuse. PyTorch's rates: test_twins."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygrad_edu as tg
from tinygrad_edu.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    ReduceLROnPlateau,
    StepLR,
)
from tinygrad_edu.optim import SGD

Make = Callable[[Any], LRScheduler]
SCHEDULES: dict[str, tuple[Make, Callable[[int], float]]] = {
    "StepLR": (lambda o: StepLR(o, 3, gamma=0.5), lambda t: 0.5 ** (t // 3)),
    "ExponentialLR": (lambda o: ExponentialLR(o, 0.9), lambda t: 0.9**t),
    "LambdaLR": (lambda o: LambdaLR(o, lambda t: 1 / (1 + t)), lambda t: 1 / (1 + t)),
    "CosineAnnealingLR": (
        lambda o: CosineAnnealingLR(o, 5, eta_min=0.1),
        lambda t: (0.1 + 0.15 * (1 + math.cos(math.pi * t / 5))) / 0.4,
    ),
    "LinearLR": (lambda o: LinearLR(o, 0.5, 0.1, 4), lambda t: 0.5 - 0.1 * min(t, 4)),
}


def optimizer(lr: float = 0.4) -> SGD:
    return SGD([tg.Tensor(1.0, requires_grad=True)], lr=lr)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_formula(name: str) -> None:
    make, factor = SCHEDULES[name]
    o = optimizer()
    schedule = make(o)
    for t in range(12):
        assert o.lr == pytest.approx(0.4 * factor(t), rel=1e-13, abs=1e-15)
        assert schedule.get_last_lr() == [o.lr]
        schedule.step()


@pytest.mark.parametrize("name", SCHEDULES)
def test_it_goes_on_where_it_had_stood(name: str) -> None:
    make, _ = SCHEDULES[name]
    first, second = optimizer(), optimizer(lr=77.0)
    schedule, other = make(first), make(second)
    for _ in range(4):
        schedule.step()
    other.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    for _ in range(5):
        assert second.lr == first.lr
        schedule.step()
        other.step()


def test_a_plateau_goes_on_where_it_had_stood() -> None:
    losses = [3.0, 2.0, 2.0, 2.1, 1.0, 1.0, 1.5, 1.2, 1.0, 0.9]
    first, second = optimizer(), optimizer()
    schedule, other = (ReduceLROnPlateau(o, patience=1, cooldown=1) for o in (first, second))
    for loss in losses[:4]:
        schedule.step(loss)
    second.load_state_dict(first.state_dict())
    other.load_state_dict(schedule.state_dict())
    for loss in losses[4:]:
        schedule.step(loss)
        other.step(np.float64(loss))
        assert first.lr == second.lr
    assert first.lr < 0.4


def test_a_plateau_lets_the_rate_fall_only_after_patience() -> None:
    o = optimizer(1.0)
    schedule = ReduceLROnPlateau(o, factor=0.5, patience=2, min_lr=0.2)
    rates = []
    for loss in [1.0] * 12:
        schedule.step(tg.Tensor(loss))
        rates.append(o.lr)
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2]


@pytest.mark.parametrize("mode, sign", [("min", 1), ("max", -1)])
def test_better_means_by_more_than_the_threshold(mode: str, sign: int) -> None:
    o = optimizer(1.0)
    schedule = ReduceLROnPlateau(o, mode, 0.5, patience=0, threshold=0.1, threshold_mode="abs")
    for measure, rate in ((5.0, 1.0), (4.8, 1.0), (4.75, 0.5), (4.5, 0.5), (float("nan"), 0.25)):
        schedule.step(sign * measure)
        assert o.lr == rate


def test_what_is_no_optimizer_is_refused() -> None:
    with pytest.raises(TypeError, match="StepLR takes an optimizer, received list"):
        StepLR([], 3)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda o: StepLR(o, 0), "step_size must be an integer of at least 1, received 0"),
        (lambda o: CosineAnnealingLR(o, 2.5), "T_max must be an integer"),  # type: ignore[arg-type]
        (lambda o: LinearLR(o, total_iters=0), "total_iters must be"),
        (lambda o: ReduceLROnPlateau(o, factor=1.0), r"factor must be in \[0, 1\)"),
        (lambda o: ReduceLROnPlateau(o, "least"), "'min' or 'max'"),
        (lambda o: LambdaLR(o, lambda t: -1.0), "lr must be a number of at least 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Make, message: str) -> None:
    o = optimizer()
    with pytest.raises(ValueError, match=message):
        make(o)
    assert o.lr == 0.4


def test_a_rate_below_zero_on_the_way_is_refused_and_nothing_counted() -> None:
    o = optimizer()
    schedule = LambdaLR(o, lambda t: 1.0 - t)
    schedule.step()
    with pytest.raises(ValueError, match="lr must be a number of at least 0"):
        schedule.step()
    assert (o.lr, schedule.last_epoch) == (0.0, 1)


def test_a_plateau_needs_its_measure() -> None:
    with pytest.raises(TypeError, match=r"step\(measure\) needs the measure"):
        ReduceLROnPlateau(optimizer()).step()


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    schedule = StepLR(optimizer(), 3)
    before = schedule.state_dict()
    with pytest.raises(KeyError, match="the state does not fit StepLR"):
        schedule.load_state_dict({**before, "more": 1})
    assert schedule.state_dict() == before


def test_a_schedule_without_a_formula_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"LRScheduler has no rate\(\)"):
        LRScheduler(optimizer())


def test_training_with_a_schedule_takes_its_steps() -> None:
    w = tg.Tensor([0.0], requires_grad=True)
    o = SGD([w], lr=1.0)
    schedule = StepLR(o, 1, gamma=0.5)
    for _ in range(4):
        w.grad = np.array([-1.0])
        o.step()
        schedule.step()
    assert_allclose(w.data, [1.875], rtol=1e-15)
