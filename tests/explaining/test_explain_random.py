"""Random graphs: every gradient that is explained passes its check; `explain` raises otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygrad_edu as tg
from tests.explaining.written import draw
from tests.tools.long import one_in
from tests.tools.operations import TABLE, Row
from tinygrad_edu.explaining import matrices
from tinygrad_edu.recording import ALL, recording

UNARY: list[Any] = [
    tg.sigmoid,
    tg.tanh,
    tg.relu,
    tg.sin,
    tg.square,
    tg.softplus,
    np.exp,
    np.abs,
    lambda x: tg.softmax(x) if x.ndim else x,
    lambda x: x.T,
    lambda x: -x,
    lambda x: np.clip(x, -1, 1),
    lambda x: x.sum(axis=0, keepdims=True) if x.ndim else x,
    lambda x: x.mean(axis=-1, keepdims=True),
    lambda x: 1 / (1 + x * x),
    lambda x: np.sqrt(x * x + 0.5),
    lambda x: x[:1],
]
BINARY: list[Any] = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / (2 + b * b),
    np.maximum,
    lambda a, b: np.where(a > b, a, b),
    lambda a, b: a @ b,
]


def random_loss(seed: int, length: int) -> tuple[Any, list[Any]]:
    rng = np.random.default_rng(seed)
    shapes = [(4, 3), (3, 5), (4, 5), (5,), (3,), (4, 1)]
    inputs = [
        tg.Tensor(rng.normal(size=shapes[i]), requires_grad=True, name=f"X{i}")
        for i in rng.choice(len(shapes), 3, replace=False)
    ]
    pool: list[Any] = list(inputs)
    while len(pool) < length:
        try:
            if rng.random() < 0.5:
                new = UNARY[rng.integers(len(UNARY))](pool[rng.integers(len(pool))])
            else:
                a, b = (pool[rng.integers(len(pool))] for _ in range(2))
                new = BINARY[rng.integers(len(BINARY))](a, b)
        except (ValueError, TypeError, IndexError):
            continue
        if np.isfinite(new.numpy()).all() and np.abs(new.numpy()).max() < 1e3:
            pool.append(new)
    loss = pool[-1].sum() + (pool[-2] * pool[-2]).sum()
    return loss, inputs


@example(278, 14)  # (1, 1) beside a vector and a matrix
@given(st.integers(0, 10**6), st.integers(5, 14))
def test_random_graphs(seed: int, length: int) -> None:
    with recording(ALL):
        loss, inputs = random_loss(seed, length)
    found = tg.explain(loss, wrt=inputs)
    for x, line in zip(inputs, found.gradients.values(), strict=True):
        g = tg.grad(loss, x)
        np.testing.assert_allclose(line.value, g, rtol=1e-8, atol=1e-8 * np.abs(g).max() + 1e-9)


ROWS = [row for row in TABLE if row.name != "one_hot"]


@pytest.mark.parametrize("row", one_in(4, ROWS), ids=str)
def test_every_operation(row: Row) -> None:
    """A weighted sum of its result, as a function and as a finished loss, on all its shapes."""
    rng = np.random.default_rng(0)
    for shapes in row.shapes:
        inputs: list[Any] = [d(rng, s) for d, s in zip(row.domains, shapes, strict=True)]
        for i in row.wanted:
            inputs[i] = tg.Tensor(inputs[i], requires_grad=True)

        def loss(*given: Any, row: Row = row) -> Any:
            y = row.call(*given)
            return (y * np.arange(1.0, 1 + y.size).reshape(y.shape)).sum()

        wanted = [inputs[i] for i in row.wanted]
        gradients = tg.grad(loss(*inputs), wanted)
        for found in (tg.explain(loss, *inputs), tg.explain(loss(*inputs), wrt=wanted)):
            for line, g in zip(found.gradients.values(), gradients, strict=True):
                np.testing.assert_allclose(line.value, g, rtol=1e-8, atol=1e-9)


@given(st.integers(0, 10**6))
def test_losses_as_students_write_them(seed: int) -> None:
    loss, inputs, text = draw(seed)
    with np.errstate(all="ignore"):
        value = loss(*inputs)
        if not np.isfinite(value.numpy()).all():
            return
        found = tg.explain(loss, *inputs)
        g = tg.grad(value, inputs[0])
    assert not any("report this" in note for note in found.notes), text
    np.testing.assert_allclose(found["W"].value, g, rtol=1e-7, atol=1e-9, err_msg=text)


def test_a_fallback_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.explained import main

    monkeypatch.setattr(matrices, "_matmul", lambda a, b, product=matrices._matmul: product(b, a))
    assert main(["--count", "8", "--limit", "60"]) == 1
    assert "report this" in capsys.readouterr().out


def test_the_command_counts(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.explained import main

    assert main(["--count", "30", "--limit", "60"]) == 0
    assert capsys.readouterr().out.count("each equal to its value") == 4
    assert main(["--count", "3", "--limit", "0"]) == 1
