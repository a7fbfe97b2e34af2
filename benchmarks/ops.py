"""`python -m benchmarks ops`: the cost of every operation, recorded and with its backward pass.

Each is compared with NumPy's own call, if there is one, and with PyTorch's eager operation and its
backward pass, if that computes the same; values and gradients are compared first. The arrays are
small, so that the cost of the calls is measured. `backward()` has a fixed cost; a chain of
operations shares it, as a network does, and shows the cost of one more operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tests.tools.functions import FUNCTIONS

from .cases import Array
from .report import duration, keep, ratio, table
from .timing import Timing, compare

LENGTH = 32  # of a chain
LIMIT = 2.5e-6  # seconds for one more element-wise operation, recorded and swept back over
Call = Callable[..., Any]
_same: Call = np.testing.assert_allclose


@dataclass(frozen=True)
class Row:
    """One operation: how each side calls it, and on what."""

    name: str
    ours: Call
    numpy: Call | None
    torch: Call | None  # of the module torch and the tensors
    arrays: tuple[Array, ...]
    wanted: int = 1  # so many of the arrays get a gradient, the first ones


def _alike(name: str, *arrays: Array) -> Row:
    """Return the row of an operation that all sides call in the same way."""
    there: Call = lambda torch, *t: getattr(torch, name)(*t)  # noqa: E731
    return Row(name, getattr(tg, name), getattr(np, name), there, arrays, len(arrays))


def _functional(name: str, **settings: Any) -> Call:
    """Return a call of a function of torch.nn.functional."""
    return lambda torch, *t: getattr(torch.nn.functional, name)(*t, **settings)


@cache
def _inputs() -> SimpleNamespace:
    """Return small arrays for the operations."""
    rng = np.random.default_rng(0)

    def real(*shape: int) -> Array:
        return rng.normal(size=shape).astype(np.float32)

    x, y, v = real(8, 8), real(8, 8), real(8)
    p, q = (rng.uniform(0.2, 0.8, (8, 8)).astype(np.float32) for _ in range(2))
    images, kernels = real(2, 3, 8, 8), real(4, 3, 3, 3)
    labels, bits = rng.integers(0, 8, 8), (x > 0).astype(np.float32)
    return SimpleNamespace(
        **{k: value for k, value in locals().items() if k not in ("rng", "real")}
    )


def rows() -> Iterator[Row]:
    """Yield every differentiable operation, one call of each."""
    for group in (
        _elementwise,
        _products,
        _reductions,
        _layouts,
        _functions,
        _windows,
        _losses,
    ):
        yield from group()


def _elementwise() -> Iterator[Row]:
    """Return the cases of element-wise functions."""
    i = _inputs()
    x, y, v, p = i.x, i.y, i.v, i.p
    where = x > 0
    for name in (
        "negative",
        "exp",
        "square",
        "abs",
        "sin",
        "cos",
        "tanh",
        "expm1",
        "tan",
        "arctan",
        "sinh",
        "cosh",
    ):
        yield _alike(name, x)
    for name in ("log", "sqrt", "log1p", "log2", "log10"):
        yield _alike(name, p)
    for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "logaddexp"):
        yield _alike(name, x, y)
    yield Row("add, a row", tg.add, np.add, lambda torch, a, b: a + b, (x, v), 2)
    yield Row("power", lambda a: a**3, lambda a: a**3, lambda torch, a: a**3, (x,))

    yield Row(
        "sigmoid",
        tg.sigmoid,
        lambda a: 1 / (1 + np.exp(-a)),
        lambda torch, a: torch.sigmoid(a),
        (x,),
    )
    yield Row("relu", tg.relu, lambda a: np.maximum(a, 0), _functional("relu"), (x,))
    for name in ("softplus", "silu", "gelu", "leaky_relu"):
        yield Row(name, getattr(tg, name), None, _functional(name), (x,))
    yield Row("erf", tg.erf, None, lambda torch, a: torch.erf(a), (x,))
    yield Row(
        "clip",
        lambda a: tg.clip(a, -0.5, 0.5),
        lambda a: np.clip(a, -0.5, 0.5),
        lambda torch, a: torch.clip(a, -0.5, 0.5),
        (x,),
    )
    yield Row(
        "where",
        lambda a, b: tg.where(where, a, b),
        lambda a, b: np.where(where, a, b),
        lambda torch, a, b: torch.where(torch.from_numpy(where), a, b),
        (x, y),
        2,
    )
    yield Row(
        "astype",
        lambda a: tg.astype(a, np.float64),
        lambda a: a.astype(np.float64),
        lambda torch, a: a.double(),
        (x,),
    )


def _products() -> Iterator[Row]:
    """Return the cases of products of vectors and matrices."""
    i = _inputs()
    x, y, v = i.x, i.y, i.v
    yield _alike("matmul", x, y)
    yield Row(
        "linear",
        tg.linear,
        None,
        lambda torch, a, w, b: torch.nn.functional.linear(a, w.T, b),
        (x, y, v),
        3,
    )
    yield _alike("dot", v, v)
    yield Row("outer", tg.outer, np.outer, lambda torch, a, b: torch.outer(a, b), (v, v), 2)
    yield Row(
        "einsum",
        lambda a, b: tg.einsum("ij,jk->ik", a, b),
        lambda a, b: np.einsum("ij,jk->ik", a, b),
        lambda torch, a, b: torch.einsum("ij,jk->ik", a, b),
        (x, y),
        2,
    )
    yield _alike("trace", x)


def _reductions() -> Iterator[Row]:
    """Return the cases of sums, means and extremes along axes."""
    i = _inputs()
    x = i.x
    for name in ("sum", "mean"):
        yield _alike(name, x)
    yield Row(
        "sum, axis 0",
        lambda a: tg.sum(a, axis=0),
        lambda a: np.sum(a, axis=0),
        lambda torch, a: torch.sum(a, 0),
        (x,),
    )
    yield Row(
        "max",
        lambda a: tg.max(a, axis=1),
        lambda a: np.max(a, axis=1),
        lambda torch, a: torch.amax(a, 1),
        (x,),
    )
    yield Row(
        "min",
        lambda a: tg.min(a, axis=1),
        lambda a: np.min(a, axis=1),
        lambda torch, a: torch.amin(a, 1),
        (x,),
    )
    yield Row("var", tg.var, np.var, lambda torch, a: torch.var(a, correction=0), (x,))
    yield Row("std", tg.std, np.std, lambda torch, a: torch.std(a, correction=0), (x,))
    yield Row(
        "logsumexp",
        lambda a: tg.logsumexp(a, axis=1),
        None,
        lambda torch, a: torch.logsumexp(a, 1),
        (x,),
    )
    yield Row("softmax", tg.softmax, None, lambda torch, a: torch.softmax(a, -1), (x,))
    yield Row("log_softmax", tg.log_softmax, None, lambda torch, a: torch.log_softmax(a, -1), (x,))


def _layouts() -> Iterator[Row]:
    """Return the cases of layouts and indices."""
    i = _inputs()
    x, y, v, labels = i.x, i.y, i.v, i.labels
    yield Row(
        "reshape",
        lambda a: tg.reshape(a, (4, 16)),
        lambda a: np.reshape(a, (4, 16)),
        lambda torch, a: torch.reshape(a, (4, 16)),
        (x,),
    )
    yield Row("flatten", tg.flatten, np.ravel, lambda torch, a: torch.flatten(a), (x,))
    yield Row("transpose", tg.transpose, np.transpose, lambda torch, a: a.T, (x,))
    yield Row(
        "swapaxes",
        lambda a: tg.swapaxes(a, 0, 1),
        lambda a: np.swapaxes(a, 0, 1),
        lambda torch, a: torch.swapaxes(a, 0, 1),
        (x,),
    )
    yield Row(
        "moveaxis",
        lambda a: tg.moveaxis(a, 0, 1),
        lambda a: np.moveaxis(a, 0, 1),
        lambda torch, a: torch.moveaxis(a, 0, 1),
        (x,),
    )
    yield Row(
        "expand_dims",
        lambda a: tg.expand_dims(a, 0),
        lambda a: np.expand_dims(a, 0),
        lambda torch, a: a.unsqueeze(0),
        (x,),
    )
    yield Row("squeeze", tg.squeeze, np.squeeze, lambda torch, a: a.squeeze(), (x[None],))
    yield Row(
        "broadcast_to",
        lambda a: tg.broadcast_to(a, (8, 8)),
        lambda a: np.broadcast_to(a, (8, 8)),
        lambda torch, a: torch.broadcast_to(a, (8, 8)),
        (v,),
    )
    yield Row("sum_to", lambda a: tg.sum_to(a, (8,)), None, lambda torch, a: a.sum_to_size(8), (x,))
    yield Row("getitem", lambda a: a[2:5], lambda a: a[2:5], lambda torch, a: a[2:5], (x,))
    yield Row("scatter", lambda a: tg.scatter(a, labels, (8, 8)), None, None, (x,))
    yield Row(
        "concatenate",
        lambda a, b: tg.concatenate([a, b]),
        lambda a, b: np.concatenate([a, b]),
        lambda torch, a, b: torch.cat([a, b]),
        (x, y),
        2,
    )
    yield Row(
        "stack",
        lambda a, b: tg.stack([a, b]),
        lambda a, b: np.stack([a, b]),
        lambda torch, a, b: torch.stack([a, b]),
        (x, y),
        2,
    )


def _functions() -> Iterator[Row]:
    """Yield NumPy's functions, from the table that the tests use."""
    rng = np.random.default_rng(0)
    for function in FUNCTIONS:
        settings = function.settings[0]
        shapes = function.shapes_for(settings)[-1]
        arrays = tuple(function.domain(rng, shape).astype(np.float32) for shape in shapes)
        yield Row(
            ", ".join([function.name, *function.named]),
            partial(function.ours, **settings),
            partial(function.numpys, **settings),
            partial(function.torch, **settings),
            arrays,
            len(arrays),
        )


def _windows() -> Iterator[Row]:
    """Return the cases of windows of arrays, and rows of a table."""
    i = _inputs()
    x, images, kernels, labels = i.x, i.images, i.kernels, i.labels
    yield Row(
        "pad", lambda a: tg.pad(a, 1), lambda a: np.pad(a, 1), _functional("pad", pad=[1] * 4), (x,)
    )
    yield Row(
        "embedding",
        lambda a: tg.embedding(labels, a),
        lambda a: a[labels],
        lambda torch, a: torch.nn.functional.embedding(torch.from_numpy(labels), a),
        (x,),
    )
    yield Row(
        "sliding_window_view",
        lambda a: tg.sliding_window_view(a, 3, axis=0),
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 3, axis=0),
        lambda torch, a: a.unfold(0, 3, 1),
        (x,),
    )
    yield Row("conv2d", tg.conv2d, None, _functional("conv2d"), (images, kernels), 2)
    yield Row(
        "max_pool2d",
        lambda a: tg.max_pool2d(a, 2),
        None,
        _functional("max_pool2d", kernel_size=2),
        (images,),
    )
    yield Row(
        "avg_pool2d",
        lambda a: tg.avg_pool2d(a, 2),
        None,
        _functional("avg_pool2d", kernel_size=2),
        (images,),
    )


def _losses() -> Iterator[Row]:
    """Return the cases of losses."""
    i = _inputs()
    x, y, p, q, labels, bits = i.x, i.y, i.p, i.q, i.labels, i.bits
    yield Row(
        "mse_loss", tg.mse_loss, lambda a, b: np.mean((a - b) ** 2), _functional("mse_loss"), (x, y)
    )
    yield Row(
        "cross_entropy",
        lambda a: tg.cross_entropy(a, labels),
        None,
        lambda torch, a: torch.nn.functional.cross_entropy(a, torch.from_numpy(labels)),
        (x,),
    )
    yield Row(
        "binary_cross_entropy_with_logits",
        tg.binary_cross_entropy_with_logits,
        None,
        _functional("binary_cross_entropy_with_logits"),
        (x, bits),
    )
    yield Row(
        "binary_cross_entropy",
        tg.binary_cross_entropy,
        None,
        _functional("binary_cross_entropy"),
        (p, q),
    )


# Element-wise operations whose results can be put in again and stay in bounds.
CHAIN: dict[str, tuple[Call, Call]] = {
    "a + c": (lambda a, c: a + c, lambda torch, a, c: a + c),
    "a * c": (lambda a, c: a * c, lambda torch, a, c: a * c),
    "negative": (lambda a, c: -a, lambda torch, a, c: -a),
    "sigmoid": (lambda a, c: tg.sigmoid(a), lambda torch, a, c: torch.sigmoid(a)),
    "tanh": (lambda a, c: tg.tanh(a), lambda torch, a, c: torch.tanh(a)),
    "relu": (lambda a, c: tg.relu(a), lambda torch, a, c: torch.relu(a)),
    "sin": (lambda a, c: tg.sin(a), lambda torch, a, c: torch.sin(a)),
    "abs": (lambda a, c: tg.abs(a), lambda torch, a, c: torch.abs(a)),
}


def contestants(row: Row) -> dict[str, Call]:
    """Return the calls that are timed, NumPy's first if there is one.

    Raises:  AssertionError where values or gradients differ
    """
    tensors = [tg.Tensor(a, requires_grad=i < row.wanted) for i, a in enumerate(row.arrays)]
    g = np.ones_like(row.ours(*row.arrays))
    found: dict[str, Call] = {}
    if (numpy := row.numpy) is not None:
        found["NumPy"] = lambda: numpy(*row.arrays)
    found["recorded"] = lambda: row.ours(*tensors)
    found["recorded, backward"] = _there_and_back(lambda: row.ours(*tensors), tensors, g)
    torch = _torch()
    if torch is None or (theirs := row.torch) is None:
        return found
    others = [torch.from_numpy(a.copy()) for a in row.arrays]
    for tensor in others[: row.wanted]:
        tensor.requires_grad_()
    back = _there_and_back(lambda: theirs(torch, *others), others, torch.from_numpy(g))
    found["PyTorch, backward"] = back
    for own, other in [(found["recorded, backward"](), back())]:
        _same(own.numpy(), other.detach().numpy(), rtol=1e-4, atol=1e-5, err_msg=row.name)
    for own, other in zip(tensors[: row.wanted], others, strict=False):
        _same(own.grad, other.grad.numpy(), rtol=1e-4, atol=1e-5, err_msg=row.name)
    return found


def _there_and_back(forward: Call, tensors: list[Any], g: Any) -> Call:
    def run() -> Any:
        for tensor in tensors:
            tensor.grad = None
        y = forward()
        y.backward(g)
        return y

    return run


def chains(name: str) -> dict[str, Call]:
    """Return functions that apply the operation many times in a chain, and go back."""
    ours, theirs = CHAIN[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 8)).astype(np.float32)
    c = np.full_like(x, 0.999)
    leaf = tg.Tensor(x, requires_grad=True)

    def chained(call: Call, a: Any, c: Any) -> Any:
        for _ in range(LENGTH):
            a = call(a, c)
        return a

    found = {
        "tinygrad_edu": _there_and_back(lambda: chained(ours, leaf, c), [leaf], np.ones_like(x))
    }
    if (torch := _torch()) is None:
        return found
    other, constant = torch.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(c)
    found["PyTorch"] = _there_and_back(
        lambda: chained(lambda a, c: theirs(torch, a, c), other, constant),
        [other],
        torch.from_numpy(np.ones_like(x)),
    )
    own, their = (run() for run in found.values())
    _same(own.numpy(), their.detach().numpy(), rtol=1e-4, atol=1e-6)
    _same(leaf.grad, other.grad.numpy(), rtol=1e-3, atol=1e-6)
    return found


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        return None
    torch.set_num_threads(1)
    return torch


def run(rounds: int, facts: dict[str, Any], command: str, write: bool) -> int:
    """Measure, print the tables, and save them on request."""
    with np.errstate(all="ignore"):
        alone = {
            row.name: compare(contestants(row), rounds=rounds, slice_seconds=2e-3) for row in rows()
        }
        chained = {
            name: compare(chains(name), rounds=rounds, steps=LENGTH, slice_seconds=5e-3)
            for name in CHAIN
        }
    text = [
        "## One more element-wise operation, with its backward",
        f"A chain of {LENGTH} on 8×8 float32 and the sweep back, divided by {LENGTH}; the ratio is "
        "PyTorch's to ours, in the same rounds.",
        table(
            ["operation", "tinygrad_edu", "PyTorch", "ratio", "quartiles", "limit"],
            [_chain_row(name, t) for name, t in chained.items()],
        ),
        "## Every operation by itself",
        "On small float32 arrays: NumPy's own call, ours recorded, ours recorded and swept back "
        "over, PyTorch's eager operation with its backward; the ratio is PyTorch's to ours.",
        table(
            ["operation", "NumPy", "recorded", "and backward", "PyTorch, backward", "ratio"],
            [_row(name, t) for name, t in alone.items()],
        ),
    ]
    data = {
        "chains": {name: {n: vars(t) for n, t in ts.items()} for name, ts in chained.items()},
        "operations": {name: {n: vars(t) for n, t in ts.items()} for name, ts in alone.items()},
    }
    keep("ops", "What an operation costs", "\n\n".join(text), data, facts, command, write=write)
    return 0


def _chain_row(name: str, timings: dict[str, Timing]) -> list[str]:
    told = [name, duration(timings["tinygrad_edu"].seconds)]
    if (t := timings.get("PyTorch")) is None:
        return [*told, "", "", "", duration(LIMIT)]
    spread = f"{ratio(t.low)} … {ratio(t.high)}"
    return [*told, duration(t.seconds), ratio(t.ratio), spread, duration(LIMIT)]


def _row(name: str, timings: dict[str, Timing]) -> list[str]:
    ways = ["NumPy", "recorded", "recorded, backward", "PyTorch, backward"]
    times = [duration(timings[way].seconds) if way in timings else "" for way in ways]
    if "PyTorch, backward" not in timings:
        return [name, *times, ""]
    own, other = timings["recorded, backward"], timings["PyTorch, backward"]
    return [name, *times, ratio(other.seconds / own.seconds)]
