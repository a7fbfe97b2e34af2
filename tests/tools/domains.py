"""Domains: random inputs of operations, away from the places where they have no derivative."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygrad_edu.arrays import Array

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]
Domain = Callable[[np.random.Generator, Shape], Array]


def wide(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.normal(size=shape))


def positive(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.uniform(0.5, 2.5, shape))


def nonzero(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(positive(rng, shape) * rng.choice([-1.0, 1.0], shape))


def spaced(rng: np.random.Generator, shape: Shape) -> Array:
    """Near multiples of 0.3, no two alike, about half of them negative."""
    n = int(np.prod(shape))
    steps = rng.permutation(n) - n // 2
    return np.asarray(0.3 * steps + rng.uniform(-0.05, 0.05, n)).reshape(shape)


def between(rng: np.random.Generator, shape: Shape) -> Array:
    """As `spaced`, and never near any number that `spaced` can draw."""
    return np.asarray(spaced(rng, shape) + 0.15)


def whole(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.integers(-2, 4, shape), float)


def unit(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.uniform(0.1, 0.9, shape))


def rows(rng: np.random.Generator, shape: Shape) -> Array:
    """Probabilities along the last axis."""
    x = positive(rng, shape)
    return np.asarray(x / x.sum(axis=-1, keepdims=True))


def mask(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.integers(0, 2, shape), bool)


def labels(rng: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(rng.integers(0, 4, shape))


def apart_in_size(rng: np.random.Generator, shape: Shape) -> Array:
    """Return numbers of either sign, no two of which are alike in size, none near 0."""
    size = np.abs(spaced(rng, shape) * 2 + 0.3) + 0.3
    return np.asarray(size * rng.choice([-1.0, 1.0], shape))


def with_zeros(rng: np.random.Generator, shape: Shape) -> Array:
    """Return random numbers of which about a third is 0."""
    return np.asarray(rng.normal(size=shape) * (rng.random(shape) < 0.67))


def singular(rng: np.random.Generator, shape: Shape) -> Array:
    """Return square matrices whose rank is one less than full."""
    x = rng.normal(size=shape)
    x[..., -1, :] = x[..., :-1, :].sum(axis=-2)
    return np.asarray(x)


def regular(rng: np.random.Generator, shape: Shape) -> Array:
    """Return square matrices that are far from singular."""
    return np.asarray(rng.normal(size=shape) + 3 * np.eye(shape[-1]))


def sizes(*texts: str) -> tuple[Shapes, ...]:
    """Return tuples of shapes, written with a digit for each axis: "23,3" for ((2, 3), (3,))."""
    return tuple(tuple(tuple(map(int, shape)) for shape in text.split(",")) for text in texts)
