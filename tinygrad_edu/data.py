"""Feeding data to a network: one-hot rows, mini-batches, and images stored as bytes.

A shuffled batch is a copy of its rows, and copying costs more than the backward pass. So batches
are double-buffered: the memory of a batch is used again once nothing refers to it. A batch that you
keep, or a view of it, keeps its numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from sys import getrefcount
from types import ModuleType
from typing import Any

import numpy as np

from .arrays import Array
from .engine import Box
from .init import Random
from .ops import one_hot

__all__ = ["Pixels", "minibatches", "one_hot"]


class Pixels:
    """Images stored as bytes and read as numbers from 0 to 1: `x[rows]` is `images[rows] /
    brightest`. They take an eighth of the memory of float64, which is the default dtype of what is
    read.

    Pass it in place of an array of samples to `minibatches`, `fit`, `evaluate` and `predict`.

    Shapes:  images (m, …) of uint8; x[rows] is an array of `dtype`
    Raises:  TypeError for images of other numbers, and for a dtype that is not floating; ValueError
             if `brightest` is no number above 0
    Example:
        >>> x = Pixels(np.array([[0, 255], [51, 102]], np.uint8), dtype=np.float32)
        >>> x[1], x.shape
        (array([0.2, 0.4], dtype=float32), (2, 2))
    """

    def __init__(self, images: Any, brightest: float = 255, dtype: Any = np.float64) -> None:
        self.images, self.dtype = np.asarray(images), np.dtype(dtype)
        if not isinstance(brightest, (int, float, np.number)) or not 0 < brightest < np.inf:
            raise ValueError(f"brightest must be a number above 0, received {brightest!r:.60}")
        self.brightest = float(brightest)
        if self.images.dtype != np.uint8 or self.images.ndim == 0:
            raise TypeError(
                "images must be an array of uint8, a row for each sample, received "
                f"{self.images.shape} {self.images.dtype}"
            )
        if self.dtype.kind != "f":
            raise TypeError(f"dtype must be floating, received {self.dtype}")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the images."""
        return self.images.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.images.ndim

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Any) -> Any:
        return np.divide(self.images[rows], self.brightest, dtype=self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("Pixels are bytes: as an array of numbers they are always a copy")
        return np.asarray(self[:], dtype)

    def between(self, start: int, stop: int) -> Pixels:
        """Return a part of the images as Pixels that share the memory.

        Example:
            >>> len(Pixels(np.zeros((5, 2), np.uint8)).between(1, 3))
            2
        """
        return Pixels(self.images[start:stop], self.brightest, self.dtype)

    def astype(self, dtype: Any) -> Pixels:
        """Return the same images, to be read as numbers of another dtype."""
        return Pixels(self.images, self.brightest, dtype)

    def __repr__(self) -> str:
        return f"Pixels({self.shape} uint8 / {self.brightest:g}, {self.dtype})"


def minibatches(
    *arrays: Any, batch_size: int, rng: Random | None = None, keep: bool = True
) -> Iterator[tuple[Array, ...]]:
    """Yield the samples of one epoch in batches: `for x, y in minibatches(X, Y, batch_size=32)`.

    With an `rng` the samples are shuffled by a new permutation in each call, as in the chapter;
    without one they keep their order. The last batch may be smaller. Batches are copies; their
    memory is used again when nothing refers to it. With keep=False each batch overwrites the one
    before, so that there is only one in memory.

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
    sources: tuple[Any, ...] = tuple(
        x if isinstance(x, (Box, Pixels)) else np.asarray(x) for x in arrays
    )
    lengths = [len(source) for source in sources]
    if len(set(lengths)) > 1:
        raise ValueError(f"the arrays must have one number of samples, received {lengths}")
    return _batches(sources, lengths[0], int(batch_size), rng, keep)


def _batches(
    sources: tuple[Any, ...], m: int, batch_size: int, rng: Random | None, keep: bool
) -> Iterator[tuple[Array, ...]]:
    if rng is None:
        for start in range(0, m, batch_size):
            yield tuple(source[start : start + batch_size] for source in sources)
        return
    order = rng.permutation(m)
    takers = [_taker(source, min(batch_size, m), keep) for source in sources]
    for start in range(0, m, batch_size):
        rows = order[start : start + batch_size]
        yield tuple([take(rows) for take in takers])


def _taker(source: Any, batch_size: int, keep: bool) -> Callable[[Array], Any]:
    """Return a function that maps row numbers to these rows of the source."""
    stored = source.images if isinstance(source, Pixels) else source
    usual = type(stored) is np.ndarray and stored.flags.c_contiguous and not stored.dtype.hasobject
    if not usual:  # `take` would make it so: a copy of all of it for each batch
        return lambda rows: source[rows]
    shape = (batch_size, *stored.shape[1:])
    spare: list[Array] = []
    read = np.empty(shape, np.uint8) if isinstance(source, Pixels) else None

    def free() -> Array:
        """Return memory for a batch: that of an earlier batch if nothing refers to it any more."""
        for i in range(len(spare)):
            if not keep or _references(spare, i) == _ALONE:
                return spare[i]
        spare[:] = [*spare[-1:], np.empty(shape, source.dtype)]
        return spare[-1]

    def take(rows: Array) -> Any:
        if len(rows) < batch_size:  # the last
            spare.clear()
            return source[rows]
        out = free()
        # "clip" is the mode in which NumPy writes into `out` at once; rows are of a permutation.
        stored.take(rows, 0, out if read is None else read, "clip")
        if read is not None:
            np.copyto(out, read)
            np.divide(out, source.brightest, out)
        # What is set on a view (x.shape = …) is not met again in a later batch.
        return out.view() if keep else out

    return take


def _references(arrays: list[Any], i: int) -> int:
    return getrefcount(arrays[i])


_ALONE = _references([object()], 0)  # the list, and whatever this Python counts besides
