"""Guards: tiny numbers that `forward` adds so that no logarithm, root or quotient meets a 0.

`np.log(A + 1e-8)` computes another function than log A, by less than anybody writes down: a
derivation leaves the 1e-8 out. A claim is therefore also right if it is the gradient of the same
computation without such numbers. The report says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import engine
from ..arrays import Array
from ..engine import Box
from ..gradients import grad
from ..tensor import Tensor

__all__ = ["LARGEST", "guards", "without_guards"]

LARGEST = 2e-5  # a number above it is a part of the formula; inputs are drawn up to twice as large
_SUMS = ("add", "subtract")


def guards(loss: Box) -> list[float]:
    """Return the tiny numbers that are added on the way to a loss, each once.

    Example:
        >>> from tinygrad_edu import ops
        >>> w = Tensor([0.5], requires_grad=True)
        >>> guards((ops.log(w + 1e-8) + 1e-8 + 0.1 * w).sum())
        [1e-08]
    """
    found = {
        float(np.ravel(x)[0]) for node in engine.recorded_results(loss) for x, _ in _added(node)
    }
    return sorted(map(abs, found))


def _added(node: Box) -> Iterator[tuple[Any, int]]:
    """Yield the tiny constants among the operands of a sum, each with its place."""
    _, op, args, raws, _ = node.record
    if op.name in _SUMS:
        for i, (arg, raw) in enumerate(zip(args, raws, strict=True)):
            is_constant = not (isinstance(arg, Box) and arg.record is not None)
            if is_constant and np.size(raw) == 1 and 0 < abs(float(np.ravel(raw)[0])) <= LARGEST:
                yield raw, i


def without_guards(loss: Box, nodes: Mapping[str, Box]) -> dict[str, Array]:
    """Return ∂L/∂node of the recorded computation with 0 in the place of each tiny number.

    The result is empty if there is no such number, or if the loss is not finite without them.

    Example:
        >>> from tinygrad_edu import ops
        >>> w = Tensor([0.5], requires_grad=True)
        >>> without_guards(ops.log(w + 1e-8).sum(), {"w": w})["w"]
        array([2.])
    """
    history = engine.recorded_results(loss)
    if not any(True for node in history for _ in _added(node)):
        return {}
    new: dict[int, Box] = {}

    def argument(arg: Any, raw: Any) -> Any:
        if not isinstance(arg, Box) or arg.record is None:
            return raw
        if id(arg) not in new:
            new[id(arg)] = Tensor(raw, requires_grad=True)
        return new[id(arg)]

    with np.errstate(all="ignore"):
        for node in history:
            _, op, args, raws, settings = node.record
            again = [argument(arg, raw) for arg, raw in zip(args, raws, strict=True)]
            for raw, i in _added(node):
                again[i] = np.zeros_like(raw)
            raw = [x.value if isinstance(x, Box) else x for x in again]
            result = Tensor(op.forward(*raw, **settings))
            result.record = (engine.tick(), op, tuple(again), raw, settings)
            new[id(node)] = result
        output = new[id(loss)]
        if not np.isfinite(output.value).all():
            return {}
        found = grad(output, [new[id(node)] for node in nodes.values()])
    if not all(np.isfinite(g).all() for g in found):
        return {}
    return dict(zip(nodes, found, strict=True))
