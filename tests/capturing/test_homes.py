"""An array that the user keeps is not overwritten, however many programs use the tensor."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import nn, optim
from tinygrad_edu.capturing.program import Program

x = np.random.default_rng(0).normal(size=(6, 3))


def trained(model: Any, momentum: float = 0.9) -> tuple[Any, Any]:
    """A captured step, and a captured validation of the same model."""
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=momentum)

    @tg.compile
    def step(x: Any) -> Any:
        loss = (model(x) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step, tg.compile(lambda x: (model(x) ** 2).sum())


def counting(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """The programs that make their arrays from now on."""
    made: list[Program] = []
    bind = Program.bind

    def noted(self: Program, *args: Any) -> None:
        made.append(self)
        bind(self, *args)

    monkeypatch.setattr(Program, "bind", noted)
    return made


def test_training_and_validation_in_turns_make_their_arrays_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Linear(3, 2, rng=0)
    step, validate = trained(model)
    for _ in range(3):
        step(x), step(x[:2]), validate(x)
    made = counting(monkeypatch)
    for _ in range(5):
        step(x), step(x[:2]), validate(x)
    assert made == []
    before = model.weight.data
    step(x)  # the weights are referenced: all three get new arrays
    step(x[:2]), validate(x)
    assert len(made) == 3
    del before


@pytest.mark.parametrize("what", ["one parameter", "the means of a normalisation"])
def test_arrays_that_lie_beside_no_other_are_made_once(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.BatchNorm1d(3) if what != "one parameter" else nn.Linear(3, 3, bias=False, rng=0)
    step, _ = trained(model, 0)
    for _ in range(2):
        step(x)
    made = counting(monkeypatch)
    for _ in range(5):
        step(x)
    assert made == []


@pytest.mark.parametrize("others", ["gradients", "validation", "dropped validation", "nothing"])
def test_weights_that_are_kept_stay_whatever_else_is_held(others: str) -> None:
    model = nn.Linear(3, 2, rng=0)
    step, validate = trained(model)
    step(x), step(x)
    held = []
    for _ in range(5):
        step(x)
        if others == "gradients":
            held.append(model.weight.grad)
        elif "validation" in others:
            validate(x), validate(x[:3])
    if others == "dropped validation":
        del validate
        gc.collect()
    kept = model.weight.data
    copy = kept.copy()
    for _ in range(3):
        step(x)
    np.testing.assert_array_equal(kept, copy)
    assert not np.array_equal(model.weight.data, copy)


def test_validation_that_came_first_lets_nobody_write_over_what_is_kept() -> None:
    model = nn.Linear(3, 2, rng=0)
    kept = model.weight.data
    copy = kept.copy()
    step, validate = trained(model)
    validate(x), validate(x)
    for _ in range(4):
        step(x), validate(x)
    np.testing.assert_array_equal(kept, copy)


def test_two_optimizers_and_a_validation_in_turns_do_what_they_do_uncaptured() -> None:
    results = []
    for captured in (True, False):
        first = nn.Linear(3, 4, rng=0)
        model = nn.Sequential(first, nn.Tanh(), nn.Linear(4, 1, rng=1))
        step, validate = trained(model)
        other, _ = trained(model, momentum=0.0)
        if not captured:
            step, validate, other = step.function, validate.function, other.function
        told = []
        for i in range(12):
            told += [f(x[: 2 + i % 3]).item() for f in (step, validate, other)]
            if i == 6:
                first.weight.data = np.ones((3, 4))
        results.append((told, model.state_dict()))
    np.testing.assert_equal(results[0], results[1])
