"""Sliding windows: convolution and pooling.

The patches of an image, laid out side by side, are an array with two more axes. A convolution is
then one matrix product, and pooling is one reduction. On the way back the errors at the patches are
added where they overlap.

Images are stacks (m, c, h, w): samples, channels, rows, columns, as in PyTorch.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.lib.stride_tricks import sliding_window_view as numpys_view

from .arrays import Array, as_array, describe
from .engine import Box, primitive
from .ops import add, max, mean, reshape, transpose

__all__ = ["avg_pool2d", "conv2d", "max_pool2d", "pad", "sliding_window_view"]

Pair = int | tuple[int, int]
Lengths = tuple[int, ...]


# --- windows and their sum ------------------------------------------------------------------------


def _added(g: Any, y: Any, x: Any, sizes: Lengths, axes: Lengths, steps: Lengths) -> Any:
    return _overlap(g, shape=x.shape, sizes=sizes, axes=axes, steps=steps)


@primitive(_added)
def _windows(x: Any, /, *, sizes: Lengths, axes: Lengths, steps: Lengths) -> Any:
    """Return a view of all windows of the given sizes along the axes, a step apart; the windows'
    own axes come last.
    """
    every = dict(zip(axes, steps, strict=True))
    view = numpys_view(np.asarray(x), sizes, axes)
    return view[tuple(slice(None, None, every.get(axis)) for axis in range(np.ndim(x)))]


@primitive(
    lambda g, y, x, shape, sizes, axes, steps: _windows(g, sizes=sizes, axes=axes, steps=steps)
)
def _overlap(x: Any, /, *, shape: Lengths, sizes: Lengths, axes: Lengths, steps: Lengths) -> Any:
    """Return an array of the given shape in which each window is added at its place."""
    total = np.zeros(shape, x.dtype)
    for offsets in product(*map(range, sizes)):  # one addition for each place in the window
        where = [slice(None)] * len(shape)
        for axis, first, step in zip(axes, offsets, steps, strict=True):
            where[axis] = slice(first, first + step * (x.shape[axis] - 1) + 1, step)
        if x.size:
            total[tuple(where)] += x[(..., *offsets)]
    return total


def sliding_window_view(x: Any, window_shape: Any, axis: Any = None, *, step: Any = 1) -> Any:
    """Return all windows of that shape along the axes (None: all axes), in new axes at the end.

    Shapes:  (…, n, …) → (…, (n − window)//step + 1, …, window); NumPy's has no `step`
    Error:   added up where windows overlap
    Raises:  ValueError if a window is larger than x, or a step is not positive
    Source:  numpy.lib.stride_tricks.sliding_window_view
    Example:
        >>> sliding_window_view(np.arange(4.0), 2)
        array([[0., 1.],
               [1., 2.],
               [2., 3.]])
        >>> sliding_window_view(np.arange(4.0), 2, step=2)
        array([[0., 1.],
               [2., 3.]])
    """
    sizes = tuple(window_shape) if np.iterable(window_shape) else (window_shape,)
    axes = tuple(range(np.ndim(x))) if axis is None else normalize_axis_tuple(axis, np.ndim(x))
    steps = tuple(step) if np.iterable(step) else (step,) * len(axes)
    lengths = [np.shape(x)[i] for i in axes]
    if not len(sizes) == len(axes) == len(steps) == len(set(axes)):
        raise ValueError(f"windows {sizes} with steps {steps} do not fit the axes {axes}")
    if any(step < 1 for step in steps) or any(size < 1 for size in sizes):
        raise ValueError(f"windows and steps must be at least 1, received {sizes} and {steps}")
    if any(size > n for size, n in zip(sizes, lengths, strict=True)):
        raise ValueError(f"a window {sizes} is larger than {tuple(lengths)}, what it slides over")
    return _windows(x, sizes=sizes, axes=axes, steps=steps)


def _inner(shape: Lengths, pad_width: Any) -> tuple[slice, ...]:
    """Return the index of x in its padded array."""
    before = np.broadcast_to(pad_width, (len(shape), 2))[:, 0]
    return tuple(slice(int(b), int(b) + n) for b, n in zip(before, shape, strict=True))


@primitive(lambda g, y, x, pad_width, constant_values: g[_inner(x.shape, pad_width)])
def pad(x: Any, /, pad_width: Any, *, constant_values: float = 0.0) -> Any:
    """Return x with a margin of zeros, or of another number, around it.

    `pad_width` is ((before, after), …) for each axis, or one pair or number for all of them.

    Error:   g without the margin
    Raises:  ValueError for widths below 0, or not one pair for each axis
    Source:  numpy.pad
    Example:
        >>> pad(np.ones((1, 2)), ((0, 0), (1, 2)))
        array([[0., 1., 1., 0., 0.]])
    """
    x = np.asarray(x)
    widths = np.broadcast_to(pad_width, (x.ndim, 2))
    if (widths < 0).any():
        raise ValueError(f"a margin cannot be negative, received {pad_width}")
    shape = [n + int(w.sum()) for n, w in zip(x.shape, widths, strict=True)]
    dtype = np.result_type(x, constant_values) if constant_values else x.dtype  # −∞ is no integer
    padded = np.full(shape, constant_values, dtype)
    padded[_inner(x.shape, pad_width)] = x
    return padded


# --- convolution and pooling of images ------------------------------------------------------------


def _columns(x: Any, size: Lengths, steps: Lengths) -> Any:
    """Return the patches of each image as columns: (m, c·kh·kw, rows·columns)."""
    patches = sliding_window_view(x, size, (2, 3), step=steps)
    m, c, rows, columns = patches.shape[:4]
    return reshape(transpose(patches, (0, 1, 4, 5, 2, 3)), (m, c * prod(size), rows * columns))


def _conv2d_image(g: Any, y: Any, x: Any, weight: Any, steps: Lengths) -> Any:
    """Return the error at the images: kernelsᵀ g for each patch, added where patches overlap."""
    (m, o, rows, columns), (c, *size) = g.shape, weight.shape[1:]
    patches = weight.reshape(o, -1).mT @ g.reshape(m, o, rows * columns)
    patches = np.transpose(patches.reshape(m, c, *size, rows, columns), (0, 1, 4, 5, 2, 3))
    return _overlap(patches, shape=x.shape, sizes=tuple(size), axes=(2, 3), steps=steps)


def _conv2d_weight(g: Any, y: Any, x: Any, weight: Any, steps: Lengths) -> Any:
    """Return the error at the kernels: g patchesᵀ for each sample, summed over the samples."""
    columns = _columns(x, weight.shape[2:], steps)
    each = g.reshape(*g.shape[:2], columns.shape[-1]) @ columns.mT
    return each.sum(axis=0).reshape(weight.shape)


@primitive(_conv2d_image, _conv2d_weight)
def _conv2d(x: Any, weight: Any, /, *, steps: Lengths) -> Any:
    """Multiply, for each sample, the matrix of kernels (rows) by the matrix of patches
    (columns).
    """
    o, _, *size = weight.shape
    patches = _columns(x, tuple(size), steps)
    lengths = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], size, steps, strict=True)]
    return np.matmul(weight.reshape(o, -1), patches).reshape(len(x), o, *lengths)


def conv2d(x: Any, weight: Any, bias: Any = None, stride: Pair = 1, padding: Pair | str = 0) -> Any:
    """y[m, o, i, j] = Σ x[m, c, i + p, j + q] · weight[o, c, p, q] + bias[o]: each patch of an
    image times each kernel. The kernel is not flipped, so this is a cross-correlation.

    `padding` is a margin of zeros in rows and columns; "same" keeps the size (with stride 1).

    Shapes:  x (m, c, h, w), weight (o, c, kh, kw), bias (o,) → (m, o, (h + 2·padding − kh)//stride
             + 1, …)
    Error:   that of the matrix product: at the weights the patches' transpose times g
    Raises:  ValueError if the shapes do not fit
    Source:  torch.nn.functional.conv2d
    Example:
        >>> conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))
        array([[[[4., 4.],
                 [4., 4.]]]])
    """
    x, weight = _array(x), _array(weight)
    if weight.ndim != 4 or x.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"conv2d takes images (m, c, h, w) and weights (o, c, kh, kw) with the same number c "
            f"of channels, received {describe(x)} and {describe(weight)}"
        )
    o, _, *size = weight.shape
    if bias is not None and _array(bias).shape != (o,):
        raise ValueError(
            f"conv2d has a bias for each of the {o} output channels, ({o},), received "
            f"{describe(_array(bias))}"
        )
    if padding == "same":
        if _pair(stride) != (1, 1):
            raise ValueError(f'padding="same" keeps the size with stride 1 only, received {stride}')
        margins = tuple(((k - 1) // 2, k // 2) for k in size)
    elif isinstance(padding, str):
        raise ValueError(f'padding must be numbers or "same", received {padding!r}')
    else:
        margins = tuple((p, p) for p in _pair(padding))
    if any(map(any, margins)):
        x = pad(x, ((0, 0), (0, 0), *margins))
    y = _conv2d(x, weight, steps=_pair(stride))
    return y if bias is None else add(y, reshape(bias, (o, 1, 1)))


def max_pool2d(x: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Any:
    """Return the largest entry of each window; windows are `stride` apart (None: side by side).

    Shapes:  (m, c, h, w) → (m, c, (h + 2·padding − k)//stride + 1, …)
    Error:   g at the largest entry, in equal shares where there are several
    Raises:  ValueError if x is no stack of images, a window does not fit, or the padding is more
             than half a window
    Source:  torch.nn.functional.max_pool2d
    Example:
        >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
        array([[[[ 5.,  7.],
                 [13., 15.]]]])
    """
    return max(_pools("max_pool2d", x, kernel_size, stride, padding, -np.inf), 0)


def avg_pool2d(x: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Any:
    """Return the mean of each window, zeros of the margin included; windows are `stride` apart
    (None: side by side).

    Shapes:  (m, c, h, w) → (m, c, (h + 2·padding − k)//stride + 1, …)
    Error:   g/k² at each entry of a window
    Raises:  ValueError if x is no stack of images, a window does not fit, or the padding is more
             than half a window
    Source:  torch.nn.functional.avg_pool2d
    Example:
        >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
        array([[[[ 2.5,  4.5],
                 [10.5, 12.5]]]])
    """
    return mean(_pools("avg_pool2d", x, kernel_size, stride, padding, 0.0), 0)


def _pools(
    name: str, x: Any, kernel_size: Pair, stride: Pair | None, padding: Pair, margin: float
) -> Any:
    """Return the entries of each window along a new first axis, where reductions are fast."""
    x = _array(x)
    size, margins = _pair(kernel_size), _pair(padding)
    if x.ndim != 4:
        raise ValueError(f"{name} takes images (m, c, h, w), received {describe(x)}")
    if any(2 * p > k for p, k in zip(margins, size, strict=True)):
        raise ValueError(f"{name}: padding {margins} is more than half of a window {size}")
    if any(margins):
        x = pad(x, ((0, 0), (0, 0), *((p, p) for p in margins)), constant_values=margin)
    windows = sliding_window_view(x, size, (2, 3), step=size if stride is None else _pair(stride))
    return reshape(transpose(windows, (4, 5, 0, 1, 2, 3)), (prod(size), *windows.shape[:4]))


def _pair(n: Any) -> tuple[int, int]:
    """Return numbers for rows and columns, from one number for both or from a pair."""
    pair = tuple(n) if np.iterable(n) else (n, n)
    if len(pair) != 2 or not all(isinstance(k, (int, np.integer)) and k >= 0 for k in pair):
        raise ValueError(f"expected an integer or a pair of them, received {n!r}")
    return int(pair[0]), int(pair[1])


def _array(x: Any) -> Any | Array:
    return x if isinstance(x, Box) else as_array(x)
