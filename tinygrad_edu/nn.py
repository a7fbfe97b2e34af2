"""Layers: the modules that networks are composed of.

Names and arguments are PyTorch's. Weights have the shape of the formulas: Linear's is (n_in,
n_out). To write a layer, derive a class with a `forward`; see `module.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import init as initialisers
from . import losses, ops, pytorch_names, windows
from .arrays import Array, as_array, describe
from .capture_gate import all_finite
from .engine import Box, primitive
from .module import Module
from .tensor import Buffer, Parameter
from .windows import Pair

__all__ = [
    "GELU",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]


class Linear(Module):
    """X W + b.

    Shapes:  X (m, n_in), weight W (n_in, n_out), bias b (n_out,)  →  (m, n_out)
    Error:   ∂L/∂W = XᵀE,  ∂L/∂b = 1ᵀE,  ∂L/∂X = EWᵀ
    Raises:  ValueError if X has not n_in columns, or a size is not positive, or for a whole number
             that the dtype of the weights cannot hold
    Source:  the chapter, "two layers"

    Whole numbers are brought to the dtype of the weights first: as float32, those above 2²⁴ are
    rounded.

    `init` gives the first weights (see `tinygrad_edu.init`), drawn from `rng`: a Generator, a
    RandomState or a seed. The bias starts at 0.

    Example:
        >>> Linear(3, 2, rng=np.random.default_rng(0))(np.ones((4, 3))).shape
        (4, 2)
    """

    letter = "Z"

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        bias: bool = True,
        rng: initialisers.Random | int | None = None,
        init: Callable[..., Any] = initialisers.glorot_uniform,
        dtype: Any = np.float64,
    ) -> None:
        if n_in < 1 or n_out < 1:
            raise ValueError(f"Linear needs sizes of at least 1, received {n_in} and {n_out}")
        self.n_in, self.n_out = n_in, n_out
        self.weight = Parameter(_drawn(init, (n_in, n_out), rng), dtype=dtype)
        self.bias = Parameter(np.zeros(n_out), dtype=dtype) if bias else None

    def forward(self, x: Any) -> Any:
        x = _numbers(x, self.weight)
        try:
            if self.bias is None:
                return ops.matmul(x, self.weight)
            return ops.linear(x, self.weight, self.bias)
        except ValueError as error:
            if np.shape(x)[-1:] == (self.n_in,):
                raise
            raise ValueError(
                f"Linear({self.n_in}, {self.n_out}) expects X with {self.n_in} columns, received "
                f"{describe(x)}"
            ) from error

    def extra_repr(self) -> str:
        return f"{self.n_in}, {self.n_out}{'' if self.bias is not None else ', bias=False'}"


class Sequential(Module):
    """Modules applied one after the other: the output of each is the input of the next.

    Example:
        >>> model = Sequential(Linear(30, 10, rng=0), Sigmoid(), Linear(10, 1, rng=1))
        >>> model
        Sequential(
          (0): Linear(30, 10)
          (1): Sigmoid()
          (2): Linear(10, 1)
        )
        >>> model(np.zeros((4, 30))).shape
        (4, 1)
    """

    def __init__(self, *modules: Any) -> None:
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                way_out = (
                    "write Sequential(*layers)"
                    if isinstance(module, (list, tuple))
                    else "nn.Sigmoid() is a module, nn.Sigmoid a class and tg.sigmoid a function"
                )
                raise TypeError(
                    f"Sequential takes modules, received {module!r} in place {i}; {way_out}"
                )
            setattr(self, str(i), module)

    def __iter__(self) -> Iterator[Module]:
        return iter([module for name, module in vars(self).items() if name.isdigit()])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, i: int) -> Module:
        return list(self)[i]

    def forward(self, x: Any) -> Any:
        for name, module in vars(self).items():
            if name.isdigit():
                x = module(x)
        return x


class Sigmoid(Module):
    """σ(x) = 1 / (1 + e⁻ˣ); see `tinygrad_edu.sigmoid`."""

    def forward(self, x: Any) -> Any:
        return ops.sigmoid(x)


class ReLU(Module):
    """max(x, 0); see `tinygrad_edu.relu`."""

    def forward(self, x: Any) -> Any:
        return ops.relu(x)


class Tanh(Module):
    """The hyperbolic tangent; see `tinygrad_edu.tanh`."""

    def forward(self, x: Any) -> Any:
        return ops.tanh(x)


class Softmax(Module):
    """Probabilities along an axis; see `tinygrad_edu.softmax`. For `cross_entropy` leave it out:
    that takes the logits.
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return ops.softmax(x, axis=self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class SiLU(Module):
    """x σ(x), also called swish; see `tinygrad_edu.silu`.

    Example:
        >>> SiLU()(np.array([0.0, 2.0])).round(4)
        array([0.    , 1.7616])
    """

    def forward(self, x: Any) -> Any:
        return ops.silu(x)


class GELU(Module):
    """x Φ(x); see `tinygrad_edu.gelu`.

    `approximate="tanh"` takes the formula with tanh that some networks were trained with.

    Example:
        >>> GELU()(np.array([0.0, 2.0])).round(4)
        array([0.    , 1.9545])
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return ops.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class LeakyReLU(Module):
    """x where x > 0, else negative_slope · x; see `tinygrad_edu.leaky_relu`.

    Example:
        >>> LeakyReLU(0.1)(np.array([-1.0, 2.0]))
        array([-0.1,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return ops.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Softplus(Module):
    """log(1 + e^(beta · x)) / beta; see `tinygrad_edu.softplus`. It needs no threshold.

    Example:
        >>> Softplus()(np.array([0.0, 100.0])).round(4)
        array([  0.6931, 100.    ])
    """

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = beta

    def forward(self, x: Any) -> Any:
        return ops.softplus(x) if self.beta == 1 else ops.softplus(x * self.beta) / self.beta

    def extra_repr(self) -> str:
        return f"beta={self.beta}"


# --- shapes, dropout, normalisation ---------------------------------------------------------------


class Flatten(Module):
    """Merge the axes from start_dim to end_dim into one: images become rows.

    Shapes:  (m, c, h, w) → (m, c·h·w)
    Source:  torch.nn.Flatten
    Example:
        >>> Flatten()(np.zeros((2, 1, 8, 8))).shape
        (2, 64)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        shape = np.shape(x)
        stop = self.end_dim + 1 or None  # −1 is the last axis
        axes = range(len(shape))[self.start_dim : stop]
        if not axes:
            raise ValueError(f"{self._title()} finds no such axes in {describe(x)}")
        middle = prod(shape[axis] for axis in axes)  # reshape cannot infer −1 without samples
        return ops.reshape(x, (*shape[: axes[0]], middle, *shape[axes[-1] + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


@primitive(None)
def _dropout(x: Any, /, p: float, rng: initialisers.Random) -> Any:
    """Return an array of 1/(1 − p) where an entry is kept and 0 where it is dropped. It is a
    primitive so that a captured step draws anew at each call.
    """
    x = np.asarray(x)
    stays = rng.random(x.shape) >= p
    return stays.astype(np.result_type(x, np.float16)) / (1 - p or 1.0)


class Dropout(Module):
    """In training set each entry to 0 with probability p and else to x/(1 − p); in `eval()` return
    x.

    Error:   g/(1 − p) at the entries that were kept, 0 at the others
    Raises:  ValueError unless p is in [0, 1]
    Source:  torch.nn.Dropout

    `rng` draws the masks: a Generator, a RandomState or a seed.

    Example:
        >>> layer = Dropout(0.5, rng=0)
        >>> layer(np.ones(4))
        array([2., 0., 0., 0.])
        >>> layer.eval()(np.ones(4))
        array([1., 1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, *, rng: initialisers.Seed = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout needs a probability p in [0, 1], received {p!r}")
        self.p, self.rng = p, initialisers.as_random(rng)

    def forward(self, x: Any) -> Any:
        if not self.training or self.p == 0:
            return x
        return ops.multiply(x, _dropout(x, self.p, self.rng))

    def extra_repr(self) -> str:
        return f"p={self.p}"


@primitive(None, None, None)
def _moved(average: Any, new: Any, momentum: Any, /) -> Any:
    """Return an average moved towards a new value. It has no derivative, since it is not
    trained.
    """
    return (1 - momentum) * average + momentum * new


class BatchNorm1d(Module):
    """(x − x̄)/√(var + eps) · weight + bias for each feature, over the samples of the batch.

    In training, mean and variance are those of the batch, and the running ones are updated:
    running ← (1 − momentum) · running + momentum · batch, where the batch's variance has m − 1 in
    the denominator. `momentum=None` gives all batches the same weight. In `eval()` the running
    mean and variance are used, so that a sample does not depend on the others.

    Shapes:  (m, num_features) or (m, num_features, length), which gives as many samples m·length;
             all parameters and buffers (num_features,)
    Raises:  ValueError for another number of features, or fewer than two samples in training
    Source:  S. Ioffe, C. Szegedy, "Batch normalization", 2015; torch.nn.BatchNorm1d
    Example:
        >>> layer = BatchNorm1d(1)
        >>> layer(np.array([[1.0], [3.0]])).numpy().round(3).tolist()
        [[-1.0], [1.0]]
        >>> layer.running_mean, layer.running_var
        (Buffer([0.2]), Buffer([1.1]))
    """

    letter = "N"

    _expects: ClassVar = {2: "(m, {0})", 3: "(m, {0}, length)"}

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: Any = np.float64,
    ) -> None:
        n = _size("num_features", num_features)
        self.num_features, self.eps, self.momentum = n, eps, momentum
        self.weight = Parameter(np.ones(n), dtype=dtype) if affine else None
        self.bias = Parameter(np.zeros(n), dtype=dtype) if affine else None
        tracked = track_running_stats
        self.running_mean: Any = Buffer(np.zeros(n), dtype=dtype) if tracked else None
        self.running_var: Any = Buffer(np.ones(n), dtype=dtype) if tracked else None
        self.num_batches_tracked: Any = Buffer(0) if tracked else None

    def forward(self, x: Any) -> Any:
        x = x if isinstance(x, Box) else as_array(x)
        if x.ndim not in self._expects or x.shape[1] != self.num_features:
            shapes = " or ".join(self._expects.values()).format(self.num_features)
            raise ValueError(f"{self._title()} expects X {shapes}, received {describe(x)}")
        if self.training or self.running_mean is None:
            mean, var = self._of_batch(x)
        else:
            mean, var = self.running_mean, self.running_var
        z = (x - self._beside(x, mean)) / self._beside(x, ops.sqrt(var + self.eps))
        if self.weight is None:
            return z
        return z * self._beside(x, self.weight) + self._beside(x, self.bias)

    def _beside(self, x: Any, feature: Any) -> Any:
        """Return one number for each feature in a shape that broadcasts over x."""
        return feature if x.ndim == 2 else ops.reshape(feature, (-1,) + (1,) * (x.ndim - 2))

    def _of_batch(self, x: Any) -> tuple[Any, Any]:
        """Return mean and variance of the batch; in training also update the running ones."""
        if (n := x.size // self.num_features) < 2:
            raise ValueError(
                f"{self._title()} needs at least two samples to train on, received {describe(x)}"
            )
        axes = (0, *range(2, x.ndim))
        mean, var = ops.mean(x, axes), ops.var(x, axes)
        if self.training and self.running_mean is not None:
            self.num_batches_tracked.data = self.num_batches_tracked + 1
            moved = self.momentum
            if moved is None:
                moved = 1 / self.num_batches_tracked
            self.running_mean.data = _moved(self.running_mean, mean, moved)
            self.running_var.data = _moved(self.running_var, var * (n / (n - 1)), moved)
        return mean, var

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm2d(BatchNorm1d):
    """`BatchNorm1d` for images, over samples, rows and columns: one mean and variance for each
    channel.

    Shapes:  (m, num_features, h, w) → the same
    Raises:  as `BatchNorm1d`
    Source:  torch.nn.BatchNorm2d
    Example:
        >>> BatchNorm2d(3)(np.ones((2, 3, 4, 4))).shape
        (2, 3, 4, 4)
    """

    _expects: ClassVar = {4: "(m, {0}, h, w)"}


class LayerNorm(Module):
    """(x − x̄)/√(var + eps) · weight + bias, mean and variance over the last axes of each sample.

    Shapes:  (…, *normalized_shape) → the same; weight and bias normalized_shape (an int: one axis)
    Raises:  ValueError if the last axes of x are others
    Source:  J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016; torch.nn.LayerNorm
    Example:
        >>> LayerNorm(2)(np.array([[1.0, 3.0]])).numpy().round(3)
        array([[-1.,  1.]])
    """

    letter = "N"

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = np.float64,
    ) -> None:
        shape = normalized_shape if isinstance(normalized_shape, tuple) else (normalized_shape,)
        self.normalized_shape = tuple(_size("normalized_shape", n) for n in shape)
        self.eps = eps
        affine = elementwise_affine
        self.weight = Parameter(np.ones(shape), dtype=dtype) if affine else None
        self.bias = Parameter(np.zeros(shape), dtype=dtype) if affine and bias else None

    def forward(self, x: Any) -> Any:
        axes = tuple(range(-len(self.normalized_shape), 0))
        if np.shape(x)[axes[0] :] != self.normalized_shape:
            raise ValueError(
                f"{self._title()} expects X with the last axes {self.normalized_shape}, received "
                f"{describe(x)}"
            )
        mean, var = ops.mean(x, axes, keepdims=True), ops.var(x, axes, keepdims=True)
        z = (x - mean) / ops.sqrt(var + self.eps)
        z = z if self.weight is None else z * self.weight
        return z if self.bias is None else z + self.bias

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class Embedding(Module):
    """Return a row of the table `weight` for each index, such as a vector for each word.

    Shapes:  indices (…,) of integers, weight (num_embeddings, embedding_dim) →
             (…, embedding_dim)
    Error:   at each row of the table the sum of the errors at its copies
    Raises:  TypeError if the indices are no integers, ValueError if one is not in the table
    Source:  torch.nn.Embedding, from which the first values N(0, 1) are
    Example:
        >>> Embedding(10, 3, rng=0)(np.array([[1, 2, 1]])).shape
        (1, 3, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        rng: initialisers.Seed = None,
        init: Callable[..., Any] = initialisers.normal,
        dtype: Any = np.float64,
    ) -> None:
        shape = _size("num_embeddings", num_embeddings), _size("embedding_dim", embedding_dim)
        self.num_embeddings, self.embedding_dim = shape
        self.weight = Parameter(_drawn(init, shape, rng), dtype=dtype)

    def forward(self, x: Any) -> Any:
        return ops.embedding(x, self.weight)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"


# --- images ---------------------------------------------------------------------------------------


class Conv2d(Module):
    """Multiply each patch of an image by each kernel and add a bias; see `tinygrad_edu.conv2d`.

    Shapes:  X (m, in_channels, h, w), weight (out_channels, in_channels, kh, kw), bias
             (out_channels,) → (m, out_channels, (h + 2·padding − kh)//stride + 1, …): samples,
             channels, rows, columns, as PyTorch has them
    Raises:  ValueError if X has other axes or channels, or is smaller than the kernel, or for a
             whole number that the dtype of the weights cannot hold
    Source:  torch.nn.Conv2d, without dilation and groups

    `init` gives the first weights, drawn from `rng`. The bias starts at 0.

    Example:
        >>> Conv2d(1, 8, 3, padding=1, rng=0)(np.ones((5, 1, 28, 28))).shape
        (5, 8, 28, 28)
    """

    letter = "Z"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        *,
        bias: bool = True,
        rng: initialisers.Seed = None,
        init: Callable[..., Any] = initialisers.glorot_uniform,
        dtype: Any = np.float64,
    ) -> None:
        self.in_channels = _size("in_channels", in_channels)
        self.out_channels = _size("out_channels", out_channels)
        kh, kw = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
        self.kernel_size = _size("kernel_size", kh), _size("kernel_size", kw)
        self.stride, self.padding = stride, padding
        shape = self.out_channels, self.in_channels, *self.kernel_size
        self.weight = Parameter(_drawn(init, shape, rng), dtype=dtype)
        self.bias = Parameter(np.zeros(out_channels), dtype=dtype) if bias else None

    def forward(self, x: Any) -> Any:
        shape = np.shape(x)
        if len(shape) != 4 or shape[1] != self.in_channels:
            raise ValueError(
                f"{self._title()} expects X (m, {self.in_channels}, h, w), received {describe(x)}"
            )
        x = _numbers(x, self.weight)
        return windows.conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, usual in (("stride", 1), ("padding", 0)):
            value = getattr(self, name)
            text += f", {name}={value!r}" if value != usual else ""
        return text + (", bias=False" if self.bias is None else "")


class MaxPool2d(Module):
    """The largest entry of each window; see `tinygrad_edu.max_pool2d`.

    Example:
        >>> MaxPool2d(2)(np.ones((5, 8, 28, 28))).shape
        (5, 8, 14, 14)
    """

    letter = "P"

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def forward(self, x: Any) -> Any:
        return windows.max_pool2d(x, self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(MaxPool2d):
    """The mean of each window; see `tinygrad_edu.avg_pool2d`.

    Example:
        >>> AvgPool2d(2)(np.ones((5, 8, 28, 28))).shape
        (5, 8, 14, 14)
    """

    def forward(self, x: Any) -> Any:
        return windows.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


def _size(name: str, n: Any) -> int:
    if not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"{name} must be an integer of at least 1, received {n!r}")
    return int(n)


def _numbers(x: Any, weight: Parameter) -> Any:
    """Return whole numbers, such as pixels, in the dtype of the weights; beside float32 NumPy would
    compute in float64. Raise ValueError for those that the dtype cannot hold.
    """
    dtype = getattr(x, "dtype", None)
    if dtype is None or dtype.kind not in "iub":
        return x
    wanted = weight.value.dtype
    largest = float(np.finfo(wanted).max)
    if dtype.kind == "b" or np.iinfo(dtype).max <= largest:
        return ops.astype(x, wanted)
    with np.errstate(over="ignore"):
        numbers = ops.astype(x, wanted)
    array, cast = (t.value if isinstance(t, Box) else t for t in (x, numbers))
    if isinstance(numbers, Box):
        all_finite(numbers)  # a captured step checks this at every call
    if not np.isfinite(cast).all():
        worst = max(array.max(), array.min(), key=lambda number: abs(int(number)))
        raise ValueError(
            f"the weights are {wanted}, whose largest number is {largest:g}, received "
            f"{worst} in X {describe(x)}; scale X, or give the layer dtype=np.float32"
        )
    return numbers


def _drawn(init: Callable[..., Any], shape: tuple[int, ...], rng: initialisers.Seed) -> Array:
    """Return the initial weights. Raise ValueError if the initialiser returned another shape."""
    if not callable(init):
        raise TypeError(
            f"init is a function of (shape, rng), such as tg.init.normal, received {init!r}"
        )
    weight = as_array(_given(init(shape, initialisers.as_random(rng)), init))
    if weight.shape != shape:
        raise ValueError(f"init gave weights {weight.shape}, expected {shape}")
    return weight


def _given(weight: Any, init: Any) -> Any:
    if weight is None:
        raise TypeError(f"init {getattr(init, '__name__', init)} returned nothing")
    return weight


# --- losses as modules ----------------------------------------------------------------------------


class _Loss(Module):
    _loss: Callable[..., Any]

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, prediction: Any, target: Any) -> Any:
        return self._loss(prediction, target, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class MSELoss(_Loss):
    """`tinygrad_edu.mse_loss` as a module.

    Example:
        >>> MSELoss()(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
        np.float64(2.0)
    """

    _loss = staticmethod(losses.mse_loss)


class CrossEntropyLoss(_Loss):
    """`tinygrad_edu.cross_entropy` as a module.

    Example:
        >>> CrossEntropyLoss()(np.zeros((2, 4)), np.array([3, 0]))
        np.float64(1.3862943611198906)
    """

    _loss = staticmethod(losses.cross_entropy)


class BCEWithLogitsLoss(_Loss):
    """`tinygrad_edu.binary_cross_entropy_with_logits` as a module.

    Example:
        >>> BCEWithLogitsLoss()(np.zeros(2), np.ones(2))
        np.float64(0.6931471805599453)
    """

    _loss = staticmethod(losses.binary_cross_entropy_with_logits)


if not TYPE_CHECKING:  # type checkers must see the real attributes only

    def __getattr__(name: str) -> Any:
        raise AttributeError(
            pytorch_names.missing(f"module {__name__!r}", name, pytorch_names.NN), name=name
        )
