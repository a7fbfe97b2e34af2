"""Data on its way to the network: one-hot rows and mini-batches."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from .engine import Array, Box
from .init import Random
from .ops import one_hot

__all__ = ["minibatches", "one_hot"]


def minibatches(
    *arrays: Any, batch_size: int, rng: Random | None = None
) -> Iterator[tuple[Array, ...]]:
    """Cut the samples of one epoch into batches: `for x, y in minibatches(X, Y, batch_size=32)`.

    With an `rng` the samples are taken in a new order each time, one permutation of all of them,
    as the chapter does; without one, in the order they have. The last batch is what is left.

    Shapes:  arrays (m, …) → ⌈m / batch_size⌉ batches (batch_size, …)
    Raises:  ValueError if lengths differ or the batch size is no positive integer, TypeError if
             `rng` is no source of random numbers
    Source:  the chapter, "mini-batch gradient descent"
    Example:
        >>> X, Y = np.arange(5.0), np.arange(5)
        >>> [len(x) for x, y in minibatches(X, Y, batch_size=2)]
        [2, 2, 1]
        >>> [x.tolist() for x, in minibatches(X, batch_size=3, rng=np.random.RandomState(42))]
        [[1.0, 4.0, 2.0], [0.0, 3.0]]
    """
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"batch_size must be a positive integer, received {batch_size!r}")
    if not arrays:
        raise ValueError("minibatches needs at least one array")
    if not (rng is None or hasattr(rng, "permutation")) or isinstance(rng, ModuleType):
        raise TypeError(
            f"rng must be a numpy.random.Generator, a RandomState or None, received {rng!r}; a "
            "seed would give one order for all epochs"
        )
    arrays = tuple(x if isinstance(x, Box) else np.asarray(x) for x in arrays)
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"the arrays must have one number of samples, received {lengths}")
    return _batches(arrays, lengths[0], int(batch_size), rng)


def _batches(
    arrays: tuple[Any, ...], m: int, batch_size: int, rng: Random | None
) -> Iterator[tuple[Array, ...]]:
    order = None if rng is None else rng.permutation(m)
    for start in range(0, m, batch_size):
        batch: Any = slice(start, start + batch_size)
        if order is not None:
            batch = order[batch]
        yield tuple(array[batch] for array in arrays)
