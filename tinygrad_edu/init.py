"""Initialisers: functions that draw the initial weights of a layer.

An initialiser is any function `(shape, rng) -> array`. To fix other settings, write
`functools.partial(normal, std=0.1)` or a function of your own."""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any, TypeAlias

import numpy as np

from .arrays import Array

# Quoted: NumPy imports numpy.random lazily, which keeps `import` fast.
Random: TypeAlias = "np.random.Generator | np.random.RandomState"
Seed: TypeAlias = "Random | int | None"
Shape = tuple[int, ...]


def as_random(rng: Seed) -> Random:
    """Return a random number generator: `rng` itself if it is one, a new one for a seed, or for
    None the library's default, which `manual_seed` sets. NumPy's global generator is never used.

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
    """Return the generator used where none is given. It is seeded differently in each run until
    `manual_seed` is called.

    Example:
        >>> default_random() is as_random(None)
        True
    """
    return np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Seed the default generator, so that everything drawn without an `rng` is the same in every
    run; return that generator.

    This seeds everything in one place. The alternative is to pass a generator to each layer, whose
    numbers then do not depend on what else is drawn. NumPy's global generator is not touched.

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
    # In place, so that layers that refer to this generator already, such as dropout, restart.
    default_random().bit_generator.state = np.random.default_rng(seed).bit_generator.state
    return default_random()


def glorot_uniform(shape: Shape, rng: Seed) -> Array:
    """Draw from the uniform distribution in ±√(6 / (n_in + n_out)), which keeps activations and
    errors of similar size in all layers.

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
    """Draw from the normal distribution; mean 0 and deviation 1 are the chapter's "better initial
    weights".

    Example:
        >>> normal((2,), np.random.RandomState(42)).round(4)
        array([ 0.4967, -0.1383])
    """
    return as_random(rng).normal(mean, std, shape)


def ones(shape: Shape, rng: Any = None) -> Array:
    """Return an array of ones, the weights of the chapter's first networks.

    Example:
        >>> ones((2,))
        array([1., 1.])
    """
    return np.ones(shape)


def zeros(shape: Shape, rng: Any = None) -> Array:
    """Return an array of zeros, the usual initial bias.

    Example:
        >>> zeros((2,))
        array([0., 0.])
    """
    return np.zeros(shape)
