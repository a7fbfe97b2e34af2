"""Listing: a captured step as the NumPy code that a student would write by hand.

Each line is one named result: Z1, A1, the errors E2, E1 at Z2 and Z1, the gradients dW1, db1, and
the update. What has no name and is used once stands where it is used.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..engine import VARIABLE, Box, as_recorded
from .rates import Rate

_INFIX = {
    "add": ("+", 1), "subtract": ("-", 1), "multiply": ("*", 2), "divide": ("/", 2),
    "matmul": ("@", 2), "power": ("**", 4), "equal": ("==", 0), "not_equal": ("!=", 0),
    "less": ("<", 0), "less_equal": ("<=", 0), "greater": (">", 0), "greater_equal": (">=", 0),
}  # fmt: skip
_ATOM = 9


def listing(capture: Any, nodes: Sequence[Box], result: Any) -> str:
    """The lines for the recorded results `nodes`, oldest first, of a `Capture`."""
    return _Listing(capture, nodes, result).text()


class _Listing:
    def __init__(self, capture: Any, nodes: Sequence[Box], result: Any) -> None:
        self.names: dict[Box, str] = dict(capture.names.of)
        self.capture, self.result = capture, result
        self.same: dict[Box, Box] = {}  # of results that are computed twice, the first
        known: dict[Any, Box] = {}
        for node in nodes:
            _, op, args, raw, settings = node.record
            if op is as_recorded.op:
                self.same[node] = self.first(args[0])
                continue
            key = (op, tuple(map(self._key, args, raw)), repr(settings))
            self.same[node] = known.setdefault(key, node)
        self.nodes = [node for node in nodes if self.same[node] is node]
        self._name_errors()
        self.final = {self.first(new): x for x, new in capture.moved.items()}
        self.uses = Counter(
            self.first(x) for node in self.nodes for x in node.record[2] if isinstance(x, Box)
        )

    def first(self, x: Box) -> Box:
        return self.same.get(x, x)

    def _key(self, arg: Any, raw: Any) -> Any:
        if isinstance(arg, Box):
            return self.first(arg)
        return (type(arg), id(raw) if isinstance(raw, np.ndarray) else repr(raw))

    def _name_errors(self) -> None:
        taken = set(self.names.values())
        for x, error in self.capture.errors.items():
            name, error = self.names.get(x), self.first(error)
            if name is None or error in self.names or error.record is None:
                continue
            match = re.fullmatch(r"Z(\d*)", name)
            new = f"E{match[1]}" if match else f"d{name}"
            if error.record[1] is not VARIABLE and new not in taken:
                self.names[error] = new
                taken.add(new)

    def text(self) -> str:
        lines = []
        temporary = 0
        outputs = set(map(self.first, _boxes(self.result)))
        for node in self.nodes:
            owner = self.final.get(node)
            if owner is not None:
                name = self.names.get(owner, "w")
                lines.append(self._update(name, node))
                self.names[node] = name
                continue
            if node in outputs and node not in self.names:
                self.names[node] = "loss" if node.value.ndim == 0 else "result"
            elif node not in self.names and self.uses[node] > 1 and self._is_long(node):
                temporary += 1
                self.names[node] = f"t{temporary}"
            if node in self.names:
                lines.append(f"{self.names[node]} = {self.expression(node)[0]}")
        returned = ", ".join(self.operand(self.first(x))[0] for x in _boxes(self.result))
        return "\n".join([*lines, f"return {returned}"] if returned else lines)

    def _update(self, name: str, node: Box) -> str:
        _, op, args, raw, _ = node.record
        if op is ops.subtract.op and isinstance(args[0], Box) and self.names.get(args[0]) == name:
            return f"{name} -= {self.operand(args[1], raw[1])[0]}"
        return f"{name} = {self.expression(node)[0]}"

    def _is_long(self, node: Box) -> bool:
        return node.record[1] not in (ops.transpose.op, ops.reshape.op, ops.getitem.op)

    def operand(self, x: Any, raw: Any = None) -> tuple[str, int]:
        """An operand in Python, and how tightly it holds together."""
        if isinstance(x, Box):
            x = self.first(x)
            if x in self.names:
                return self.names[x], _ATOM
            if x.record is not None and x.record[1] is not VARIABLE:
                return self.expression(x)
            raw = x.value
        if isinstance(x, Rate):
            return str(x), _ATOM
        array = np.asarray(raw)
        if array.size == 1:
            return f"{array.item():.6g}" if array.dtype.kind == "f" else f"{array.item()}", _ATOM
        if array.size and (array == array.flat[0]).all():
            return f"np.full({array.shape}, {array.flat[0]:.6g})", _ATOM
        return f"array{array.shape}".replace(" ", ""), _ATOM

    def expression(self, node: Box) -> tuple[str, int]:
        """What a result is computed by."""
        _, op, args, raw, settings = node.record
        texts = [self.operand(x, a) for x, a in zip(args, raw, strict=True)]
        if op.name in _INFIX and len(texts) == 2:
            sign, level = _INFIX[op.name]
            left = _within(texts[0], level)
            return f"{left} {sign} {_within(texts[1], level + 1)}", level
        first = _within(texts[0], _ATOM) if texts else ""
        if op is ops.linear.op:
            left, right = _within(texts[0], 2), _within(texts[1], 3)
            return f"{left} @ {right} + {_within(texts[2], 2)}", 1
        if op is ops.negative.op:
            return f"-{_within(texts[0], 3)}", 3
        if op is ops.transpose.op:
            axes = settings["axes"]
            if axes is None or (node.value.ndim == 2 and tuple(axes) == (1, 0)):
                return f"{first}.T", _ATOM
        if op is ops.sum_to.op and (new := raw[0].ndim - len(settings["shape"])) > 0:
            axis = "0" if new == 1 else str(tuple(range(new)))
            return f"{first}.sum(axis={axis})", _ATOM
        if op is ops.getitem.op:
            return f"{first}[{settings['index']!r:.40}]", _ATOM
        if op is ops.astype.op:
            return f"{first}.astype(np.{np.dtype(settings['dtype'])})", _ATOM
        named = [
            f"{key.strip('_')}={getattr(value, '__name__', repr(value)):.40}"
            for key, value in settings.items()
            if repr(value) not in ("'mean'", repr(op.defaults.get(key, ...)))
        ]
        return f"{op}({', '.join([*(text for text, _ in texts), *named])})", _ATOM


def _within(text: tuple[str, int], level: int) -> str:
    return text[0] if text[1] >= level else f"({text[0]})"


def _boxes(x: Any) -> list[Box]:
    if isinstance(x, Box):
        return [x]
    if isinstance(x, dict):
        x = list(x.values())
    return [box for part in x for box in _boxes(part)] if isinstance(x, (tuple, list)) else []
