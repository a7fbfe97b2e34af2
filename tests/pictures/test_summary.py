"""Summaries: shapes, parameters, operations and memory, against numbers worked out by hand."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from models import networks
from tinygrad_edu import nn


class Block(nn.Module):
    """A module of a user's own, with a parameter, a frozen one, and modules inside."""

    def __init__(self) -> None:
        self.layers = [nn.Linear(4, 6, rng=0), nn.Linear(6, 4, bias=False, rng=1)]
        self.scale = nn.Parameter(np.ones(4))
        self.frozen = nn.Parameter(np.ones((2, 4)), requires_grad=False)

    def forward(self, x: Any) -> Any:
        inner = tg.tanh(self.layers[0](x))
        return x * self.scale + self.layers[1](inner)


def rows(table: Any) -> dict[str, tuple[str, int, int, int]]:
    return {r.name: (r.shape, r.parameters, r.multiply_adds, r.memory) for r in table.rows}


def test_the_chapters_network() -> None:
    net = networks.MultiClassNetwork(units=100)
    net.fit(np.zeros((4, 784)), np.eye(10)[:4], epochs=0)
    table = tg.summary(net, (784,))
    assert (table.parameters, table.trainable) == (79_510, 79_510)
    assert table.size == 8 * 79_510
    assert table.multiply_adds == 784 * 100 + 100 * 10
    assert rows(table)["layers.0: Linear(784, 100)"] == ("(m, 100)", 78_500, 78_400, 800)
    assert table.rows[0].memory == 800  # of the sigmoid, which is no module here


def test_a_module_of_ones_own() -> None:
    found = rows(tg.summary(nn.Sequential(Block(), nn.Linear(4, 1, rng=0)), (4,)))
    assert found == {
        "Sequential": ("(m, 1)", 0, 0, 0),
        "0: Block": ("(m, 4)", 4 + 8, 0, 8 * (6 + 4 + 4)),
        "0.layers.0: Linear(4, 6)": ("(m, 6)", 30, 24, 8 * 6),
        "0.layers.1: Linear(6, 4, bias=False)": ("(m, 4)", 24, 24, 8 * 4),
        "1: Linear(4, 1)": ("(m, 1)", 5, 4, 8),
    }
    table = tg.summary(Block(), (4,))
    assert (table.parameters, table.trainable) == (4 + 8 + 30 + 24, 4 + 30 + 24)
    assert [row.depth for row in table.rows] == [0, 1, 1]
    assert "66 (528 B), 58 trainable, 8 not" in repr(table)


def test_convolutions_and_pictures() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, rng=0),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 10, rng=0),
    )
    table = tg.summary(model, (1, 8, 8))
    shapes = [row.shape for row in table.rows]
    assert shapes == [
        "(m, 10)",
        "(m, 4, 6, 6)",
        "(m, 4, 6, 6)",
        "(m, 4, 3, 3)",
        "(m, 36)",
        "(m, 10)",
    ]
    assert [row.multiply_adds for row in table.rows] == [0, 4 * 36 * 9, 0, 0, 0, 360]


def test_every_kind_of_product_is_counted() -> None:
    class Products(nn.Module):
        def forward(self, a: Any) -> Any:
            b = np.ones((4, 5))
            return [a @ b, tg.einsum("mij,jk->mik", a, b), tg.dot(a, b), np.matmul(a, b)][self.k]

        k = 0

    for k in range(4):
        model = Products()
        model.k = k
        assert tg.summary(model, (3, 4)).multiply_adds == 3 * 4 * 5


def test_several_inputs() -> None:
    class Two(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return tg.Tensor(a) @ b.swapaxes(1, 2)

    table = tg.summary(Two(), (2, 3), (4, 3))
    assert rows(table) == {"Two": ("(m, 2, 4)", 0, 24, 64)}


def test_rows_are_shared_and_some_are_never_called() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            self.layer, self.spare = nn.Linear(3, 3, rng=0), nn.Linear(3, 5, rng=0)

        def forward(self, x: Any) -> Any:
            return self.layer(self.layer(x))

    table = tg.summary(Odd(), (3,))
    assert [row.name for row in table.rows] == [
        "Odd",
        "layer: Linear(3, 3)",
        "layer: Linear(3, 3) (shared)",
        "spare: Linear(3, 5) (not called)",
    ]
    assert [row.parameters for row in table.rows] == [0, 12, 0, 20]
    assert table.multiply_adds == 2 * 9


def test_buffers_are_parameters_that_are_not_trained() -> None:
    table = tg.summary(nn.BatchNorm1d(4), (4,))
    state = nn.BatchNorm1d(4).state_dict()
    assert table.trainable == 8
    assert table.parameters == sum(array.size for array in state.values())
    assert table.size == sum(array.nbytes for array in state.values())


def test_the_dtype_is_that_of_the_parameters() -> None:
    half = tg.summary(nn.Linear(3, 2, rng=0, dtype=np.float32), (3,))
    assert half.memory * 2 == tg.summary(nn.Linear(3, 2, rng=0), (3,)).memory
    words = nn.Sequential(nn.Embedding(10, 3, rng=0), nn.Flatten())
    assert tg.summary(words, (2,), dtype=int).rows[-1].shape == "(m, 6)"


def test_axes_that_grow_with_the_samples_are_told() -> None:
    class Flat(nn.Module):
        def forward(self, x: Any) -> Any:
            return tg.reshape(x, (-1,))

    class Pair(nn.Module):
        def forward(self, x: Any) -> Any:
            return x, x

    assert tg.summary(Flat(), (3,)).rows[0].shape == "(3m,)"
    assert tg.summary(Pair(), (3,)).rows[0].shape == ""
    assert "–" in repr(tg.summary(Pair(), (3,)))


def test_operations_of_ones_own_are_not_counted_and_named() -> None:
    @tg.primitive(lambda g, y, x: 3 * g * x * x)
    def cube(x: Any) -> Any:
        return x**3

    class Cube(nn.Module):
        def forward(self, x: Any) -> Any:
            return cube(tg.Tensor(x))

    table = tg.summary(Cube(), (3,))
    assert table.unknown == ["cube"]
    assert repr(table).endswith("Not counted: multiply-adds inside cube")
    assert tg.summary(Block(), (4,)).unknown == []


def test_the_model_is_left_as_it_was() -> None:
    dropout, norm = nn.Dropout(0.5, rng=1), nn.BatchNorm1d(3)
    model = nn.Sequential(nn.Linear(3, 3, rng=0), norm, dropout)
    norm.eval()
    before = model.state_dict()
    tg.summary(model, (3,))
    assert (model.training, norm.training, dropout.training) == (True, False, True)
    assert all((array == before[name]).all() for name, array in model.state_dict().items())
    assert dropout.rng.random() == np.random.default_rng(1).random()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_mistakes_are_named() -> None:
    with pytest.raises(TypeError, match="takes a module, received function"):
        tg.summary(rows, (3,))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"a tuple, such as \(30,\), received 30"):
        tg.summary(nn.Linear(30, 1, rng=0), 30)  # type: ignore[arg-type]
    model = nn.Linear(3, 1, rng=0)
    with pytest.raises(ValueError, match="expects X with 3 columns") as caught:
        tg.summary(model, (4,))
    assert "in summary, which called Linear on zeros (2, 4)" in caught.value.__notes__
    with pytest.raises(TypeError) as failed:
        tg.summary(nn.Embedding(5, 2, rng=0), (3,))
    assert failed.value.__notes__[-1].endswith("summary(…, dtype=int)")
    assert tg.summary(nn.Embedding(5, 2, rng=0), (3,), dtype=int).rows[0].shape == "(m, 3, 2)"
    assert model.training


def test_a_notebook_shows_the_table_as_it_is_printed() -> None:
    table = tg.summary(nn.Sequential(nn.Linear(3, 2, rng=0)), (3,))
    assert html.unescape(table._repr_html_()) == f"<pre>{table}</pre>"
