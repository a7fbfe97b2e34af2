"""Initialisers: first values for the weights of a layer.

An initialiser is any function `(shape, rng) -> array`; one with other settings is
`functools.partial(normal, std=0.1)` or a function of your own.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any, TypeAlias

import numpy as np

from .arrays import Array

# As text: NumPy imports its random numbers only when they are used, and so does this.
Random: TypeAlias = "np.random.Generator | np.random.RandomState"
Seed: TypeAlias = "Random | int | None"
Shape = tuple[int, ...]


def as_random(rng: Seed) -> Random:
    """The source of random numbers that is meant: a Generator or RandomState as it is, one with
    the given seed, or (None) the library's own, which `manual_seed` sets. Never NumPy's global one.

    Raises:  TypeError for anything else
    Example:
        >>> as_random(42).integers(10)
        np.int64(0)
    """
    if isinstance(rng, (np.random.Generator, np.random.RandomState)):
        return rng
    if rng is None:
        return default_random()
    if isinstance(rng, (int, np.integer)):
        return np.random.default_rng(rng)
    raise TypeError(
        f"rng must be a numpy.random.Generator, a RandomState, a seed or None, received {rng!r}"
    )


@cache
def default_random() -> np.random.Generator:
    """The source that is used where none was given: one for the program, different in each run
    until `manual_seed` is called.

    Example:
        >>> default_random() is as_random(None)
        True
    """
    return np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Make all that is drawn without an `rng` of its own the same in every run; gives that source.

    For those who want one place. Who gives a generator to each layer needs no seed, and is not
    disturbed by what others draw in between. NumPy's global source is neither read nor set.

    Raises:  TypeError or ValueError for a seed that is no whole number ≥ 0
    Source:  torch.manual_seed
    Example:
        >>> from tinygrad_edu import nn
        >>> rng = manual_seed(0)
        >>> first = nn.Linear(2, 1).weight.numpy()
        >>> rng = manual_seed(0)
        >>> bool((nn.Linear(2, 1).weight.numpy() == first).all())
        True
    """
    if not isinstance(seed, (int, np.integer)):
        raise TypeError(f"manual_seed takes a whole number, received {seed!r}")
    # In place: whoever holds the source already, a layer of dropout say, starts anew with it.
    default_random().bit_generator.state = np.random.default_rng(seed).bit_generator.state
    return default_random()


def glorot_uniform(shape: Shape, rng: Seed) -> Array:
    """Uniform in ±√(6 / (n_in + n_out)), which keeps the size of activations and errors alike.

    A kernel (c_out, c_in, kh, kw) has n_in = c_in·kh·kw inputs and n_out = c_out·kh·kw outputs.

    Source:  X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward
             neural networks", 2010; Keras' default for Dense
    Example:
        >>> bool(abs(glorot_uniform((30, 10), as_random(0))).max() < (6 / 40) ** 0.5)
        True
    """
    limit = (6 / ((shape[0] + shape[-1 if len(shape) < 2 else 1]) * prod(shape[2:]))) ** 0.5
    return as_random(rng).uniform(-limit, limit, shape)


def normal(shape: Shape, rng: Seed, mean: float = 0.0, std: float = 1.0) -> Array:
    """Normally distributed; with mean 0 and deviation 1 the chapter's "better initial weights".

    Example:
        >>> normal((2,), np.random.RandomState(42)).round(4)
        array([ 0.4967, -0.1383])
    """
    return as_random(rng).normal(mean, std, shape)


def ones(shape: Shape, rng: Any = None) -> Array:
    """All 1, as the chapter starts its first networks.

    Example:
        >>> ones((2,))
        array([1., 1.])
    """
    return np.ones(shape)


def zeros(shape: Shape, rng: Any = None) -> Array:
    """All 0, as biases start.

    Example:
        >>> zeros((2,))
        array([0., 0.])
    """
    return np.zeros(shape)
