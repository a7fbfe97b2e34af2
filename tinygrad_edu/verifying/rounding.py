"""How much rounding is behind each entry of a gradient, and of a claim.

Every operation rounds: its result is that of arguments changed by a few parts in 10¹⁶. So the
computation is done again with every argument of every operation changed by a random part in 10⁹;
what changes in an entry, times 10⁹, is the size of the terms that the entry is a sum of: its
*spread*. For a sum it is about √Σtᵢ², also where the sum itself is 0. Rounding is some 10⁻¹⁶ of it.

Source: D. S. Parker, "Monte Carlo arithmetic", UCLA CSD-970002, 1997
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import engine
from ..arrays import Array
from ..engine import Box
from ..gradients import grad
from ..tensor import Tensor
from .evaluation import Evaluator
from .expressions import Node

__all__ = ["Disturbed", "disturbed_names", "spread"]

PART = 2.0**-30  # by how much an argument is changed: far above rounding, far below curvature
TIMES = 4  # runs: that the changes of an entry all but cancel in each of them is unlikely


def disturb(x: Any, rng: Any) -> Any:
    """Return x with each entry changed by a random part of 2⁻³⁰; what is no float as it is.

    Example:
        >>> disturb(3, np.random.default_rng(0))
        3
        >>> abs(disturb(np.ones(2), np.random.default_rng(0)) - 1).max() < 1e-8
        np.True_
    """
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        return x * (1 + PART * rng.standard_normal(x.shape))
    return x


def spread(loss: Box, nodes: Mapping[str, Box]) -> dict[str, Array]:
    """Return the size of the terms behind each entry of ∂(loss)/∂node, for each of the nodes.

    The recorded operations are run again, `TIMES` times, on disturbed arguments; a rule gets the
    arguments and the result of one and the same run, so that it chooses the branches as before. The
    errors on the way back are disturbed too.

    Example:
        >>> w = Tensor([1e8, 1.0], requires_grad=True)
        >>> found = spread((w * (w - 1e8)).sum(), {"w": w})["w"]  # 2w − 1e8
        >>> bool(0.1 < found[0] / 3e8 < 3), bool(0.1 < found[1] / 1e8 < 3)
        (True, True)
    """
    rng = np.random.default_rng(0)
    names = list(nodes)
    wanted = [nodes[name] for name in names]
    before = grad(loss, wanted)
    squares = [np.zeros(np.shape(g)) for g in before]
    for _ in range(TIMES):
        output, again = _again(loss, rng)
        found = grad(output, [again[id(node)] for node in wanted])
        for total, old, new in zip(squares, before, found, strict=True):
            total += np.square((new - old) / PART)
    return {name: np.sqrt(s / TIMES) for name, s in zip(names, squares, strict=True)}


def _again(loss: Box, rng: Any) -> tuple[Box, dict[int, Box]]:
    """The recorded computation on disturbed arguments: its output, and each tensor's new form."""
    new: dict[int, Box] = {}

    def argument(arg: Any, raw: Any) -> tuple[Any, Any]:
        if not isinstance(arg, Box) or arg.record is None:
            return raw, raw
        if id(arg) not in new:
            new[id(arg)] = Tensor(raw, requires_grad=True)
        box = new[id(arg)]
        return box, disturb(box.value, rng)

    for node in engine.recorded_results(loss):
        _, op, args, raws, settings = node.record
        pairs = [argument(arg, raw) for arg, raw in zip(args, raws, strict=True)]
        raw = [x for _, x in pairs]
        result = Tensor(op.forward(*raw, **settings))
        result.record = (engine.tick(), op, tuple(x for x, _ in pairs), raw, settings)
        result.register_hook(lambda g: disturb(g, rng))
        new[id(node)] = result
    return new[id(loss)], new


class Disturbed(Evaluator):
    """An evaluator whose arrays are changed by a random part of 2⁻³⁰ wherever they are used.

    Comparisons give what they give on the arrays as they are, so that the branches stay.

    Example:
        >>> from tinygrad_edu.verifying.grammar import parse
        >>> names = {"x": np.array([1.0, 2.0])}
        >>> value = Disturbed(Evaluator(names), np.random.default_rng(0))(parse("x * (x > 1)"))
        >>> bool(value[0] == 0), bool(0 < abs(value[1] - 2) < 1e-7)
        (True, True)
    """

    def __init__(self, plain: Evaluator, rng: Any):
        super().__init__(plain.names)
        self.functions = plain.functions
        self.keep, self.plain, self.rng = False, plain, rng

    def _value(self, node: Node) -> Any:
        if node.kind == "compare" and not self.scopes and self.axes is None:
            return self.plain._value(node)
        return disturb(super()._value(node), self.rng)


def disturbed_names(names: Mapping[str, Any], rng: Any) -> dict[str, Any]:
    """Return the values that a function is run on, disturbed; whole numbers stay as they are.

    Example:
        >>> disturbed_names({"Y": np.eye(2)}, np.random.default_rng(0))["Y"].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    def changed(x: Any) -> Any:
        is_whole = isinstance(x, np.ndarray) and bool((x == np.round(x)).all())
        return x if is_whole else disturb(x, rng)

    return {name: changed(x) for name, x in names.items()}
