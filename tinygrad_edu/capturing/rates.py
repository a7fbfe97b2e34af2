"""Rates: numbers that may change from call to call while everything else of a step is fixed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

from ..capture_gate import CannotCapture

_SIGNS: dict[Any, str] = {
    operator.add: "+", operator.sub: "-", operator.mul: "*", operator.truediv: "/",
}  # fmt: skip


class Rate(float):
    """A learning rate while a step is captured: a number that is looked up at each call, and what
    is computed from it."""

    compute: Callable[[], float]
    key: Any
    text: str

    @staticmethod
    def of(compute: Callable[[], float], key: Any, text: str = "lr") -> Rate:
        """A rate that is looked up by `compute`; two with one key are the same."""
        rate = Rate(compute())
        rate.compute, rate.key, rate.text = compute, key, text
        return rate

    def __str__(self) -> str:
        return self.text

    def _with(self, function: Callable[..., float], other: Any, swapped: bool) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        mine = self.compute
        theirs = other.compute if isinstance(other, Rate) else partial(float, other)
        first, second = (theirs, mine) if swapped else (mine, theirs)
        key = (function, self.key, other.key if isinstance(other, Rate) else other, swapped)
        texts = (str(other), str(self)) if swapped else (str(self), str(other))
        text = f"({texts[0]} {_SIGNS[function]} {texts[1]})"
        return Rate.of(lambda: function(first(), second()), key, text)

    def __add__(self, other: Any) -> Any:
        return self._with(operator.add, other, False)

    def __radd__(self, other: Any) -> Any:
        return self._with(operator.add, other, True)

    def __sub__(self, other: Any) -> Any:
        return self._with(operator.sub, other, False)

    def __rsub__(self, other: Any) -> Any:
        return self._with(operator.sub, other, True)

    def __mul__(self, other: Any) -> Any:
        return self._with(operator.mul, other, False)

    def __rmul__(self, other: Any) -> Any:
        return self._with(operator.mul, other, True)

    def __truediv__(self, other: Any) -> Any:
        return self._with(operator.truediv, other, False)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(operator.truediv, other, True)

    def __neg__(self) -> Rate:
        return Rate.of(lambda: -self.compute(), ("-", self.key), f"-{self}")

    def __bool__(self) -> bool:
        raise CannotCapture("the step decides on the learning rate, which may change at each call")
