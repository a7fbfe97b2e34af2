"""Tensor: an array with operators and methods that record what they compute.

Every operation that can be differentiated is in `ops`; this module gives it NumPy's notation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from . import engine, gradients, numpy_functions, ops, pytorch_names, releasing
from .arrays import Array, as_array, describe
from .capture_gate import gate
from .engine import Box
from .hooks import Hook

__all__ = ["Buffer", "Parameter", "Tensor", "tensor"]


def _reflected(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Return the operator method for a tensor on the right-hand side, as in 2 * t."""

    def method(self: Tensor, other: Any) -> Any:
        return operation(other, self)

    return method


class Tensor(Box, results=True):
    """An array of real numbers that records how it was computed.

        Tensor(data, requires_grad=False, *, dtype=None, name=None)

    With `requires_grad=True` it is a leaf variable: results computed from it are recorded, and
    `backward()` of a result adds ∂(result)/∂(variable) to its `.grad`. A variable copies the data;
    a constant shares memory with the array that it is given.

    Operators, methods and NumPy's own functions (`np.exp(t)`, `np.dot(x, t)`) compute the same as
    on arrays and return a Tensor. Comparisons return a Tensor of bools.

    A record refers to the arrays of the forward pass and does not copy them. Do not change one in
    place before `backward()`: the gradient would be computed from the new numbers.
    `detect_anomaly` names such an array.

    A float32 tensor stays float32 beside Python's numbers. Beside a NumPy scalar or array of
    float64 (`np.float64(2)`, `np.sqrt(2)`) the result is float64, as with NumPy's own arrays.

    Raises:  TypeError for anything but real numbers, and for integers that require a gradient;
             ValueError for rows of different lengths
    Source:  the names are PyTorch's, the meanings NumPy's
    Example:
        >>> X = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> W = Tensor([[0.5], [0.1]], requires_grad=True, name="W")
        >>> loss = (X @ W).sum()
        >>> loss
        Tensor(2.6, from sum)
        >>> loss.backward()
        >>> W.grad
        array([[4.],
               [6.]])
    """

    __slots__ = ()

    def __init__(
        self,
        data: Any,
        requires_grad: bool = False,
        *,
        dtype: Any = None,
        name: str | None = None,
    ) -> None:
        if isinstance(data, Box):
            if data.record is not None:
                raise TypeError(
                    "Tensor(t) would cut t off from what it was computed from; if that is meant, "
                    "write t.detach()"
                )
            data = data.value
        array = as_array(data, dtype)
        self.value = array
        self.record = None
        self.grad = None
        self.name = name
        if requires_grad:
            self.requires_grad = True

    if releasing.NEEDED:
        __del__ = releasing.release

    if not TYPE_CHECKING:  # type checkers must see the real attributes only

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property failed: raise its own error
                return object.__getattribute__(self, name)
            told = pytorch_names.missing(type(self).__name__, name, pytorch_names.TENSOR)
            raise AttributeError(told, name=name, obj=self)

    # --- properties -----------------------------------------------------------------------------

    @property
    def data(self) -> Array:
        """The array, read-only, since a record may need its numbers.

        New data of the same shape can be assigned (`w.data = w.data - 0.1 * w.grad`), also between
        forward and backward: a record keeps the array that was used.
        """
        return self.numpy()

    @data.setter
    def data(self, data: Any) -> None:
        if not self.is_leaf:
            raise TypeError(
                f"the data of a result (from {self.record[1]}) belong to the record; write "
                "t.detach() for a tensor of their own"
            )
        if (capture := gate.get()) is None or not capture.assigns_data(self, data):
            self.value = self._new_value(data)

    def _new_value(self, data: Any) -> Array:
        """Return a copy of the data. Raise an error unless shape and kind of dtype are this
        tensor's."""
        array = as_array(data)
        if array.shape != self.value.shape:
            raise ValueError(f"expected data of shape {self.value.shape}, received {array.shape}")
        if not np.can_cast(array.dtype, self.value.dtype, "same_kind"):
            raise TypeError(f"expected data of dtype {self.value.dtype}, received {array.dtype}")
        return array.astype(self.value.dtype)

    @property
    def requires_grad(self) -> bool:
        """True if gradients with respect to this tensor can be computed."""
        return self.record is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if wanted == self.requires_grad and self.is_leaf:
            return
        if not self.is_leaf:
            raise TypeError("only a variable or constant can be told to require a gradient or not")
        if wanted and self.value.dtype.kind != "f":
            raise TypeError(
                f"only floating-point tensors can require a gradient, received dtype "
                f"{self.value.dtype}; write 1.0 for 1, or give dtype=float"
            )
        if wanted:
            self.value = self.value.copy()  # a variable's data are its own
        self.record = engine.variable_record() if wanted else None

    @property
    def is_leaf(self) -> bool:
        """True for a variable or a constant, False for the result of a recorded operation."""
        return self.record is None or self.record[1] is engine.VARIABLE

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.value.ndim

    @property
    def size(self) -> int:
        """The number of entries."""
        return self.value.size

    @property
    def dtype(self) -> Any:
        """The type of the entries."""
        return self.value.dtype

    @property
    def T(self) -> Tensor:
        """The transpose: all axes reversed."""
        return cast(Tensor, ops.transpose(self))

    @property
    def mT(self) -> Tensor:
        """The matrix transpose: the last two axes exchanged."""
        if self.ndim < 2:
            raise ValueError(f"mT needs at least two axes, received shape {self.shape}")
        return cast(Tensor, ops.swapaxes(self, -1, -2))

    def named(self, name: str) -> Tensor:
        """Set the name that is printed and used in formulas; return this tensor.

        Example:
            >>> Tensor([1.0]).named("A1")
            Tensor([1.], name='A1')
        """
        self.name = name
        return self

    # --- gradients --------------------------------------------------------------------------------

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to the `.grad` of every variable it was computed from.

        Formula: v.grad += ∂(self)/∂v, or Σ gradient ⊙ ∂(self)/∂v where `gradient` is given
        Shapes:  `gradient` has the shape of this tensor and may be left out for a single number;
                 each `.grad` is an array of its variable's shape and dtype
        Raises:  RuntimeError if nothing was recorded or the graph was released, ValueError for a
                 gradient that is missing or of another shape
        Source:  torch.Tensor.backward

        The graph is released during the sweep unless `retain_graph=True`: a second backward()
        through it raises RuntimeError.

        The rules read the arrays of the forward pass. If one was changed in place since then, the
        gradient is wrong without an error: for w³ at w = 3 it is 75 instead of 27 once the 3 is
        overwritten with 5. `detect_anomaly` raises an error that names the array.

        Example:
            >>> x = Tensor([1.0, 2.0], requires_grad=True)
            >>> (x**2).sum().backward()
            >>> x.grad
            array([2., 4.])
        """
        if (capture := gate.get()) is not None:
            capture.backward(self, gradient, retain_graph)
        else:
            gradients.backward(self, gradient, retain_graph)

    def register_hook(self, function: Callable[[Any], Any]) -> Hook:
        """Call `function(g)` with the gradient g at this tensor whenever one has been computed.

        If the function returns a gradient, the sweep goes on with that one in place of g; None
        leaves g as it is. g is a read-only array, or with `create_graph=True` a Tensor. Call
        `.remove()` of the returned hook to unregister the function.

        Raises:  RuntimeError if this tensor has no gradient; in the sweep ValueError for a gradient
                 of another shape
        Source:  torch.Tensor.register_hook

        Example:
            >>> x = Tensor([1.0, 2.0], requires_grad=True)
            >>> y = x**2
            >>> hook = y.register_hook(print)
            >>> (3 * y).sum().backward()
            [3. 3.]
        """
        return Hook(self, function)

    def detach(self) -> Tensor:
        """Return a constant with the same array, without the record.

        Example:
            >>> Tensor([1.0], requires_grad=True).detach().requires_grad
            False
        """
        if (capture := gate.get()) is not None:
            capture.uses_as_index(self)
        return Tensor(self.value, name=self.name)

    # --- back to NumPy and Python -----------------------------------------------------------------

    def numpy(self) -> Array:
        """Return the data as a read-only array; `.copy()` of it can be written to.

        Example:
            >>> Tensor([1.0, 2.0]).numpy()
            array([1., 2.])
        """
        self._leaves("numpy()")
        view = self.value.view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """Return the only entry, as a Python number.

        Raises:  ValueError if there is not exactly one
        Example:
            >>> Tensor([[2.5]]).item()
            2.5
        """
        if self.size != 1:
            raise ValueError(f"item() needs a single entry, received shape {self.shape}")
        self._leaves("item()")
        return self.value.item()

    def tolist(self) -> Any:
        """Return the entries as nested lists of Python numbers."""
        self._leaves("tolist()")
        return self.value.tolist()

    def _leaves(self, how: str) -> None:
        if (capture := gate.get()) is not None:
            capture.reads_value(self, how)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        self._leaves("np.asarray")
        if self.record is not None:
            raise TypeError(
                "this would turn a tensor that requires a gradient into a plain array and lose "
                "the gradient; write t.numpy() or t.detach() if that is meant (tg.stack joins "
                "tensors)"
            )
        return np.array(self.numpy(), dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        return numpy_functions.call_ufunc(ufunc, method, inputs, settings)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return numpy_functions.call_function(function, types, args, kwargs)

    def __float__(self) -> float:
        return float(self._unrecorded().item())

    def __int__(self) -> int:
        return int(self._unrecorded().item())

    def _unrecorded(self) -> Tensor:
        """Return this tensor. Raise TypeError if it is recorded: turning it into a plain number, as
        in `array[0] = t`, would lose the gradient."""
        self._leaves("a plain number")
        if self.record is not None:
            raise TypeError(
                "this would turn a tensor that requires a gradient into a plain number and lose "
                "the gradient; write t.item() if that is meant (tg.stack joins tensors)"
            )
        return self

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"a tensor of shape {self.shape} is neither true nor false; ask for .any() or "
                ".all() of t.numpy()"
            )
        self._leaves("a truth value")
        return bool(self.value.item())

    def __index__(self) -> int:
        if self.value.dtype.kind not in "iu" or self.ndim:  # one with axes indexes as an array
            raise TypeError(f"only a single integer can be an index, received {describe(self)}")
        return int(self.item())

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a tensor without axes has no length")
        return len(self.value)

    def __iter__(self) -> Iterator[Tensor]:
        return iter([self[i] for i in range(len(self))])

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __repr__(self) -> str:
        kind = type(self).__name__
        numbers = np.array2string(self.value, separator=", ", prefix=f"{kind}(", threshold=100)
        parts = [numbers if self.size else f"[], shape={self.shape}"]
        if self.name:
            parts.append(f"name={self.name!r}")
        if self.size > 100:
            parts.append(f"shape={self.shape}")
        if self.dtype not in (np.float64, np.int64, np.bool_):
            parts.append(f"dtype={self.dtype}")
        if self.record is not None:
            op = self.record[1]
            parts.append(
                "requires_grad=True"
                if op is engine.VARIABLE
                else "graph released"
                if op is engine.RELEASED
                else f"from {op}"
            )
        return f"{kind}({', '.join(parts)})"

    def __reduce__(self) -> Any:
        """Copy and pickle leaf tensors; a result refers to its whole graph and is refused."""
        if not self.is_leaf:
            raise TypeError(
                "the result of a recorded operation cannot be copied or pickled with its graph; "
                "write t.detach(), or t.numpy() where an array is wanted"
            )
        return _rebuild, (type(self), self.value, self.requires_grad, self.name, self.grad)

    # --- operators --------------------------------------------------------------------------------

    __add__ = ops.add
    __sub__ = ops.subtract
    __mul__ = ops.multiply
    __truediv__ = ops.divide
    __pow__ = ops.power
    __matmul__ = ops.matmul
    __neg__ = ops.negative
    __abs__ = ops.abs

    __radd__ = _reflected(ops.add)
    __rsub__ = _reflected(ops.subtract)
    __rmul__ = _reflected(ops.multiply)
    __rtruediv__ = _reflected(ops.divide)
    __rpow__ = _reflected(ops.power)
    __rmatmul__ = _reflected(ops.matmul)

    __eq__ = ops.PIECEWISE_CONSTANT[np.equal]
    __ne__ = ops.PIECEWISE_CONSTANT[np.not_equal]
    __lt__ = ops.PIECEWISE_CONSTANT[np.less]
    __le__ = ops.PIECEWISE_CONSTANT[np.less_equal]
    __gt__ = ops.PIECEWISE_CONSTANT[np.greater]
    __ge__ = ops.PIECEWISE_CONSTANT[np.greater_equal]
    __hash__ = Box.__hash__  # == compares entries; two tensors are the same key if they are one
    __and__ = __rand__ = ops.PIECEWISE_CONSTANT[np.bitwise_and]
    __or__ = __ror__ = ops.PIECEWISE_CONSTANT[np.bitwise_or]
    __xor__ = __rxor__ = ops.PIECEWISE_CONSTANT[np.bitwise_xor]
    __invert__ = ops.PIECEWISE_CONSTANT[np.invert]

    def __pos__(self) -> Tensor:
        return self

    def __getitem__(self, index: Any) -> Tensor:
        return cast(Tensor, ops.getitem(self, _plain_index(index)))

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a tensor is not changed in place, since a record may need what it holds; write "
            "tg.where(mask, value, t) for a new one, or assign t.data = array for new data"
        )

    # --- methods: the operations of `ops` ---------------------------------------------------------

    abs = ops.abs
    argmax = ops.argmax
    argmin = ops.argmin
    astype = ops.astype
    clip = ops.clip
    cos = ops.cos
    dot = ops.dot
    exp = ops.exp
    flatten = ops.flatten
    log = ops.log
    max = ops.max
    mean = ops.mean
    min = ops.min
    relu = ops.relu
    sigmoid = ops.sigmoid
    sin = ops.sin
    softmax = ops.softmax
    sqrt = ops.sqrt
    square = ops.square
    squeeze = ops.squeeze
    std = ops.std
    sum = ops.sum
    sum_to = ops.sum_to
    swapaxes = ops.swapaxes
    tanh = ops.tanh
    var = ops.var

    def reshape(self, *shape: Any) -> Tensor:
        """Return the entries in another shape: `t.reshape(2, -1)` or `t.reshape((2, -1))`."""
        return cast(Tensor, ops.reshape(self, _either(shape)))

    def transpose(self, *axes: Any) -> Tensor:
        """Return the axes in another order, by default reversed."""
        return cast(Tensor, ops.transpose(self, _either(axes) if axes else None))


class Parameter(Tensor):
    """A variable that belongs to a `Module`, which finds it among its attributes.

    Example:
        >>> Parameter([[0.5]])
        Parameter([[0.5]], requires_grad=True)
    """

    __slots__ = ()

    def __init__(
        self,
        data: Any,
        requires_grad: bool = True,
        *,
        dtype: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(data, requires_grad, dtype=dtype, name=name)
        if not requires_grad:  # a variable has a copy of its data, and a frozen one too
            self.value = self.value.copy()


class Buffer(Tensor):
    """A constant that belongs to a `Module`: saved and loaded with it, but not trained.

    Running means are buffers. New data are assigned as to a Parameter; of a tensor only the array
    is taken, not its record.

    Source:  torch.nn.Buffer
    Example:
        >>> mean = Buffer([0.0, 0.0])
        >>> mean.data = mean + 0.1 * Tensor([1.0, 2.0], requires_grad=True)
        >>> mean
        Buffer([0.1, 0.2])
    """

    __slots__ = ()

    def __init__(self, data: Any, *, dtype: Any = None, name: str | None = None) -> None:
        super().__init__(data, dtype=dtype, name=name)
        self.value = self.value.copy()

    def _new_value(self, data: Any) -> Array:
        return super()._new_value(data.value if isinstance(data, Box) else data)


def tensor(
    data: Any, *, dtype: Any = None, requires_grad: bool = False, name: str | None = None
) -> Tensor:
    """Return a Tensor with a copy of the data, as PyTorch's function of that name does.

    The dtype is NumPy's, float64 for Python's numbers; `Tensor(array)` shares an array's memory.
    `tinygrad_edu.tensor` is this function; to import from the module of the same name, write
    `from tinygrad_edu.tensor import Tensor`.

    Raises:  as `Tensor`
    Source:  torch.tensor
    Example:
        >>> tensor([1.0, 2.0], requires_grad=True)
        Tensor([1., 2.], requires_grad=True)
    """
    made = Tensor(data, requires_grad, dtype=dtype, name=name)
    # A variable has a copy; and a captured step knows its arguments by their arrays.
    if not requires_grad and gate.get() is None:
        made.value = made.value.copy()
    return made


def _either(arguments: tuple[Any, ...]) -> Any:
    """Return lengths or axes that were passed one by one, or as one tuple, as a tuple."""
    return arguments[0] if len(arguments) == 1 else arguments


def _plain_index(index: Any) -> Any:
    """Return the index with arrays in place of tensors and lists."""
    if isinstance(index, tuple):
        return tuple(_plain_index(part) for part in index)
    if isinstance(index, Box):
        if (capture := gate.get()) is not None:
            capture.uses_as_index(index)
        return index.value
    if isinstance(index, list):
        array = np.asarray(index)
        array = array if array.size else array.astype(np.intp)
        if (capture := gate.get()) is not None:
            capture.uses_as_index(array)
        return array
    return index


def _rebuild(kind: type[Tensor], data: Array, requires_grad: bool, name: Any, grad: Any) -> Tensor:
    tensor = kind(data, name=name)
    tensor.requires_grad = requires_grad
    tensor.grad = grad
    return tensor
