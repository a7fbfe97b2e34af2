"""Data on its way to the network: one-hot rows, mini-batches, and images that stay bytes.

A shuffled batch is a copy of its rows, and making it costs more than reverse mode does. So the
copies of an epoch take turns in two pieces of memory: one that nobody holds any more is written
over. Whoever keeps a batch, or a view of it, keeps what it was.
"""

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
    """Images of bytes that are numbers from 0 to 1 when they are taken: `x[rows]` is
    `images[rows] / brightest`. They stay bytes in memory: an eighth of what float64 takes, which
    is the dtype unless another is given.

    It goes where an array of samples goes: into `minibatches`, `fit`, `evaluate` and `predict`.

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
        """That of the images."""
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
        """Some of the images, in the same memory.

        Example:
            >>> len(Pixels(np.zeros((5, 2), np.uint8)).between(1, 3))
            2
        """
        return Pixels(self.images[start:stop], self.brightest, self.dtype)

    def astype(self, dtype: Any) -> Pixels:
        """The same images, to be taken as numbers of another dtype."""
        return Pixels(self.images, self.brightest, dtype)

    def __repr__(self) -> str:
        return f"Pixels({self.shape} uint8 / {self.brightest:g}, {self.dtype})"


def minibatches(
    *arrays: Any, batch_size: int, rng: Random | None = None, keep: bool = True
) -> Iterator[tuple[Array, ...]]:
    """Cut the samples of one epoch into batches: `for x, y in minibatches(X, Y, batch_size=32)`.

    With an `rng` the samples are taken in a new order each time, one permutation of all of them,
    as the chapter does; without one, in the order they have. The last batch is what is left.
    Batches are arrays of their own; the memory of those that nobody holds any more is used again.
    With keep=False each is written over by the next, so that one is all that there is in memory.

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
    """A function of row numbers that gives these rows of the source."""
    stored = source.images if isinstance(source, Pixels) else source
    usual = type(stored) is np.ndarray and stored.flags.c_contiguous and not stored.dtype.hasobject
    if not usual:  # `take` would make it so: a copy of all of it for each batch
        return lambda rows: source[rows]
    shape = (batch_size, *stored.shape[1:])
    spare: list[Array] = []
    read = np.empty(shape, np.uint8) if isinstance(source, Pixels) else None

    def free() -> Array:
        """Memory for a batch: one that was given out before, if nobody holds it any more."""
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
