"""An update of all parameters at once equals the updates one by one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_edu as tg
from tinygrad_edu import nn, optim
from tinygrad_edu.capturing import lanes as lanes_module
from tinygrad_edu.capturing.calls import OUT, Value
from tinygrad_edu.capturing.lanes import Lanes
from tinygrad_edu.capturing.memory import Memory
from tinygrad_edu.capturing.program import Program

SIZE = 3

# What an update is made from: the home's old value first, then operations with one of the
# homes as they were, of the values that others have got before, or of the gradients.
operands = st.tuples(st.sampled_from(["home", "new", "gradient"]), st.integers(0, 2))
updates = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(
            st.tuples(st.sampled_from([np.add, np.subtract, np.multiply]), operands),
            min_size=1,
            max_size=3,
        ),
    ),
    min_size=1,
    max_size=6,
)


def written(steps: Any) -> tuple[Program, list[Value], list[Any], list[Value], list[Any]]:
    """A program of such updates; its homes and their new values, its gradients and theirs."""
    rng = np.random.default_rng(0)
    program = Program()
    start = [rng.integers(-3, 4, SIZE).astype(float) for _ in range(3)]
    homes = [Value("home", array.copy()) for array in start]
    x = program.argument(np.ones(SIZE))
    gradients = [
        program.call(np.multiply, (x, float(i + 2), OUT), np.full(SIZE, i + 2.0), elementwise=True)
        for i in range(3)
    ]
    slopes = [np.full(SIZE, i + 2.0) for i in range(3)]
    new: dict[int, tuple[Value, Any]] = {}
    for i, calls in steps:
        value, array = homes[i], start[i]
        for function, (kind, j) in calls:
            other = {
                "home": (homes[j], start[j]),
                "new": new.get(j, (homes[j], start[j])),
                "gradient": (gradients[j], slopes[j]),
            }[kind]
            array = function(array, other[1])
            value = program.call(function, (value, other[0], OUT), array, elementwise=True)
        new[i] = value, array
    program.finish(gradients, [(homes[i], value) for i, (value, _) in new.items()])
    expected = [new[i][1] if i in new else start[i] for i in range(3)]
    return program, homes, expected, gradients, slopes


def ran(program: Program, homes: list[Value], start: Any) -> dict[Value, Any]:
    """The homes after a run from the arrays that they began with."""
    arrays = dict(zip(homes, start, strict=True))
    rows = []
    for found in program.lanes:
        whole = {}
        for vector in found.vectors:
            if vector[0].kind == "home":
                row = Memory(found.length * found.dtype.itemsize)
                for home, begin in zip(vector, found.starts, strict=True):
                    array = row.array(home.shape, home.dtype, begin * home.dtype.itemsize)
                    array[...] = arrays[home]
                    arrays[home] = array
                whole[vector[0]] = row.array((found.length,), found.dtype)
        rows.append(whole)
    program.bind(arrays, rows)
    program.give([np.ones(SIZE)])
    program.run()
    return arrays


@given(updates)
def test_any_order_of_updates_gives_what_they_give_one_by_one(steps: Any) -> None:
    rng = np.random.default_rng(0)
    start = [rng.integers(-3, 4, SIZE).astype(float) for _ in range(3)]
    program, homes, expected, gradients, slopes = written(steps)
    found = ran(program, homes, start)
    for home, array in zip(homes, expected, strict=True):
        np.testing.assert_array_equal(found[home], array)
    for gradient, slope in zip(gradients, slopes, strict=True):
        np.testing.assert_array_equal(program.array(gradient), slope)


def test_a_plan_that_does_not_look_at_the_order_is_found_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The second home's update needs the first one's new value; the third is like the first.
    step = [(np.add, ("gradient", 0))]
    steps = [(0, step), (1, [(np.multiply, ("new", 0))]), (2, [(np.add, ("gradient", 2))])]
    rng = np.random.default_rng(0)
    start = [rng.integers(-3, 4, SIZE).astype(float) for _ in range(3)]

    def agrees() -> bool:
        program, homes, expected, _, _ = written(steps)
        found = ran(program, homes, [array.copy() for array in start])
        return all(np.array_equal(found[h], e) for h, e in zip(homes, expected, strict=True))

    assert agrees()
    monkeypatch.setattr(lanes_module, "_can_wait", lambda *_: True)
    assert not agrees()


def captured(optimizer: Any, *sizes: int, dtype: str = "float32") -> tuple[Any, Any, Program]:
    model = nn.Sequential(*[nn.Linear(n, k, rng=0, dtype=dtype) for n, k in pairwise(sizes)])
    moves = optimizer(model.parameters())

    @tg.compile(check=True)
    def step(x: Any, y: Any) -> Any:
        loss = tg.mse_loss(model(x), y)
        moves.zero_grad()
        loss.backward()
        moves.step()
        return loss

    x, y = np.ones((4, sizes[0]), dtype), np.zeros((4, sizes[-1]), dtype)
    for _ in range(3):
        step(x, y)
    (replay,) = next(iter(step.programs.values()))
    return model, step, replay.program


@pytest.mark.parametrize(
    ("settings", "vectors"),
    [
        ({}, [2]),  # weights and gradients
        ({"momentum": 0.9}, [2, 2]),  # velocities and gradients; weights and velocities
        ({"momentum": 0.9, "nesterov": True}, [2, 3]),
        ({"weight_decay": 0.1}, [2]),
    ],
)
def test_sgd_moves_all_parameters_at_once(settings: Any, vectors: list[int]) -> None:
    _, _, program = captured(lambda p: optim.SGD(p, lr=0.1, **settings), 5, 4, 3, 2)
    assert [len(found.vectors) for found in program.lanes] == vectors
    assert all(len(found.calls) == 6 for found in program.lanes)
    inside = sum(len(lane) for found in program.lanes for lane in found.calls)
    made = [*program.bound, *program.updates]
    assert len(made) == len(program.calls) - inside + inside // 6


def test_long_rows_are_gone_through_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "PIECE", 7)
    _, _, program = captured(lambda p: optim.SGD(p, lr=0.1), 5, 4, 3)
    (found,) = program.lanes
    assert isinstance(found, Lanes)
    assert found.length > 7
    assert len([*program.bound, *program.updates]) > len(program.calls)


def test_who_kept_a_view_of_a_gradient_or_a_weight_keeps_what_it_held() -> None:
    model, step, _ = captured(lambda p: optim.SGD(p, lr=0.1), 3, 2, 2)
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
    weight = model[0].weight
    kept, copies = [], []
    for _ in range(3):
        step(x, y)
        kept += [weight.grad.T, weight.data[1:], model[1].bias.data]
        copies += [array.copy() for array in kept[-3:]]
    for array, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_two_programs_share_one_row() -> None:
    model, step, _ = captured(lambda p: optim.SGD(p, lr=0.1), 3, 2, 2)
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")

    def places() -> list[int]:
        step(x, y)
        step(x[:2], y[:2])
        return [p.value.ctypes.data for p in model.parameters()]

    places()
    assert places() == places() == places()
