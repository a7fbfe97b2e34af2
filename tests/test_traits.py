"""Traits are declared with an operation or a layer: activations, and the letters of layers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import Tensor, nn
from tinygrad_edu.operation import Op


def test_activations_are_declared_as_such() -> None:
    found = {name for name in tg.ops.__all__ if getattr(tg.ops, name).__dict__.get("op")}
    marked = {name for name in found if getattr(tg.ops, name).op.activation}
    assert marked == {
        *("gelu", "leaky_relu", "relu", "sigmoid", "silu", "softmax", "softplus", "tanh"),
    }
    assert not Op(np.exp, [None]).activation


class Network(nn.Module):
    def __init__(self, activation: Any, first: type[nn.Linear] = nn.Linear) -> None:
        self.first, self.second = first(2, 3, rng=0), nn.Linear(3, 1, rng=1)
        self.activation = activation

    def forward(self, x: Any) -> Any:
        return self.second(self.activation(self.first(x)))


def names_of(network: Network) -> set[str]:
    X = np.array([[1.0, 2.0], [3.0, -1.0]])
    found = tg.explain(network, tg.mse_loss, X, np.ones((2, 1)))
    return set(re.findall(r"^(\w+) = ", str(found), re.MULTILINE))


@tg.primitive(lambda g, y, x: g * (1 + 3 * x * x), activation=True)
def cubic(x: Any, /) -> Any:
    """x + x³."""
    return x + x**3


@tg.primitive(lambda g, y, x: g * (1 + 3 * x * x))
def plain_cubic(x: Any, /) -> Any:
    """x + x³, not said to be an activation."""
    return x + x**3


@pytest.mark.parametrize("activation", [tg.tanh, tg.relu, tg.softplus, cubic])
def test_an_activation_is_named_after_its_layer(activation: Any) -> None:
    assert {"Z1", "A1"} <= names_of(Network(activation))


def test_what_is_no_activation_has_no_such_name() -> None:
    names = names_of(Network(plain_cubic))
    assert "Z1" in names
    assert "A1" not in names


def test_a_subclass_has_the_letter_of_its_layer() -> None:
    class Mine(nn.Linear):
        """A user-defined layer."""

    assert Mine.letter == "Z"
    assert {"Z1", "A1"} <= names_of(Network(tg.tanh, Mine))


@pytest.mark.parametrize(
    ("layer", "letter"),
    [
        (nn.Linear, "Z"),
        (nn.Conv2d, "Z"),
        (nn.BatchNorm1d, "N"),
        (nn.BatchNorm2d, "N"),
        (nn.LayerNorm, "N"),
        (nn.MaxPool2d, "P"),
        (nn.AvgPool2d, "P"),
        (nn.Tanh, ""),
        (nn.Sequential, ""),
    ],
)
def test_letters_of_layers(layer: type[nn.Module], letter: str) -> None:
    assert layer.letter == letter


def test_a_letter_is_no_parameter() -> None:
    layer = nn.Linear(2, 1, rng=0)
    assert set(layer.state_dict()) == {"weight", "bias"}
    assert isinstance(layer(np.ones((1, 2))), Tensor)
