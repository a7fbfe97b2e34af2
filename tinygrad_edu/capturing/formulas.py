"""Formulas: what is done with one entry, as text: `x * y` for np.multiply."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import lowering
from .calls import Call, Value
from .expansions import error_function
from .texts import NotNative, dtype_of

_UNARY = {
    np.negative: "-{0}", np.reciprocal: "1 / {0}", np.absolute: "abs({0})",
    np.exp: "exp({0})", np.log: "log({0})",
    np.log1p: "log1p({0})", np.expm1: "expm1({0})", np.sqrt: "np.sqrt({0})",
    np.sin: "np.sin({0})", np.cos: "np.cos({0})", np.tanh: "tanh({0})",
    np.tan: "np.tan({0})", np.arctan: "np.arctan({0})", np.sinh: "np.sinh({0})",
    np.cosh: "np.cosh({0})", np.log2: "np.log2({0})", np.log10: "np.log10({0})",
    np.square: "{0} * {0}", np.sign: "np.sign({0})", np.isfinite: "np.isfinite({0})",
    np.isnan: "np.isnan({0})", np.isinf: "np.isinf({0})", np.signbit: "np.signbit({0})",
    np.floor: "np.floor({0})", np.ceil: "np.ceil({0})", np.rint: "np.rint({0})",
    np.trunc: "np.trunc({0})", np.logical_not: "{0} == 0", np.invert: "~{0}",
    error_function: "erf({0})",
}  # fmt: skip
_BINARY = {
    np.add: "{0} + {1}", np.subtract: "{0} - {1}", np.multiply: "{0} * {1}",
    np.logaddexp: "np.logaddexp({0}, {1})", np.divide: "{0} / {1}",
    np.power: "{0} ** {1}", lowering._power: "{0} ** {1}",
    lowering._maximum: "larger({0}, {1})",
    lowering._minimum: "smaller({0}, {1})", np.equal: "{0} == {1}", np.not_equal: "{0} != {1}",
    np.less: "{0} < {1}", np.less_equal: "{0} <= {1}", np.greater: "{0} > {1}",
    np.greater_equal: "{0} >= {1}", np.logical_and: "({0} != 0) & ({1} != 0)",
    np.logical_or: "({0} != 0) | ({1} != 0)", np.logical_xor: "({0} != 0) ^ ({1} != 0)",
    np.bitwise_and: "{0} & {1}", np.bitwise_or: "{0} | {1}", np.bitwise_xor: "{0} ^ {1}",
}  # fmt: skip
# Their answer is yes or no, whatever the operands are.
QUESTIONS = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isfinite,
    np.isnan, np.isinf, np.signbit, np.logical_and, np.logical_or, np.logical_xor, np.logical_not,
}  # fmt: skip
_OF_BOOLEANS = {np.add, np.multiply, np.bitwise_and, np.bitwise_or, np.bitwise_xor}
_ROUND = {np.floor, np.ceil, np.rint, np.trunc}
_OTHERS = (lowering._convert, lowering._choose, lowering._masked, np.copyto)
SUMS = {
    np.add.reduce: "{0} + {1}",
    np.maximum.reduce: "larger({0}, {1})",
    np.minimum.reduce: "smaller({0}, {1})",
    np.logical_and.reduce: "{0} & {1}",
}
_OURS = {"exp": "exp", "expm1": "expm1_", "log": "log", "log1p": "log1p", "tanh": "tanh"}


def is_number(value: Value) -> bool:
    """One number beside arrays."""
    return value.shape == () or (value.kind == "constant" and value.array.size == 1)


def is_elementwise(call: Call) -> bool:
    """Whether each entry of the result comes from the same entries of the operands."""
    function = call.function
    return call.out is not None and (
        function in _UNARY or function in _BINARY or function in _OTHERS
    )


def expression(call: Call, operands: list[str]) -> str:
    """One entry of the result from entries of the operands, in the result's dtype."""
    dtype = dtype_of(call.out)
    function = call.function
    if function is lowering._choose:
        return f"{dtype}({operands[1]}) if {operands[0]} else {dtype}({operands[2]})"
    if function is lowering._masked:
        _, where, before, *rest = operands
        inner = _formula(call.args[0], rest, call.out.dtype)
        return f"{dtype}({inner}) if {where} else {dtype}({before})"
    if function in (lowering._convert, np.copyto):
        return f"{dtype}({operands[0]})"
    if function in QUESTIONS:
        return _formula(function, operands, call.out.dtype)
    if any(isinstance(v, Value) and v.dtype != call.out.dtype for v in call.args):
        operands = [f"{dtype}({text})" for text in operands]
    return f"{dtype}({_formula(function, operands, call.out.dtype)})"


def _formula(function: Any, operands: list[str], dtype: Any) -> str:
    table = _UNARY if function in _UNARY else _BINARY
    if function not in table:
        raise NotNative(str(getattr(function, "__name__", function)))
    if dtype == np.bool_ and function not in QUESTIONS | _OF_BOOLEANS:
        raise NotNative(f"{getattr(function, '__name__', function)} of bool")
    if function in _ROUND and dtype.kind != "f":
        return operands[0]
    text = str(table[function])
    name = text.partition("(")[0]
    if name in _OURS:
        text = f"{_OURS[name]}{8 * dtype.itemsize}({{0}})"
    return text.format(*operands)


def start_of(call: Call) -> str:
    """What a sum or an extreme of no entries would be."""
    dtype = call.out.dtype
    if call.function == np.add.reduce:
        return "0"
    if call.function == np.logical_and.reduce:
        return "1"
    largest = call.function == np.maximum.reduce
    if dtype.kind == "f":
        return "-np.inf" if largest else "np.inf"
    return str(np.iinfo(dtype).min if largest else np.iinfo(dtype).max)
