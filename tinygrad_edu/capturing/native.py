"""Native: a captured program as loops, compiled by Numba.

Where a step is small, its time is that of the calls: 46 NumPy functions for a network of ten
units. Here the same program becomes one function. Neighbouring element-wise calls on one shape
become one loop, in which what lies between them never reaches memory; small matrix products are
loops too, large ones the BLAS's. Numba compiles the function, and a whole epoch around it, and
keeps the machine code on disk for the next process.

The order of sums, and the exponential function, are not NumPy's: results agree to rounding. What
has no loop here is refused by name, and the NumPy program is run in its place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from . import lowering
from .program import OUT, Call, Program, Value

_UNARY = {
    np.negative: "-{0}", np.absolute: "abs({0})", np.exp: "exp({0})", np.log: "np.log({0})",
    np.log1p: "np.log1p({0})", np.expm1: "np.expm1({0})", np.sqrt: "np.sqrt({0})",
    np.sin: "np.sin({0})", np.cos: "np.cos({0})", np.tanh: "np.tanh({0})",
    np.square: "{0} * {0}", np.sign: "np.sign({0})", np.isfinite: "np.isfinite({0})",
}  # fmt: skip
_BINARY = {
    np.add: "{0} + {1}", np.subtract: "{0} - {1}", np.multiply: "{0} * {1}",
    np.divide: "{0} / {1}", np.power: "{0} ** {1}", lowering._power: "{0} ** {1}",
    lowering._maximum: "larger({0}, {1})",
    lowering._minimum: "smaller({0}, {1})", np.equal: "{0} == {1}", np.not_equal: "{0} != {1}",
    np.less: "{0} < {1}", np.less_equal: "{0} <= {1}", np.greater: "{0} > {1}",
    np.greater_equal: "{0} >= {1}",
}  # fmt: skip
_QUESTIONS = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isfinite,
}  # fmt: skip
_SUMS = {
    np.add.reduce: ("{0} + {1}", "0"),
    np.maximum.reduce: ("larger({0}, {1})", "-np.inf"),
    np.minimum.reduce: ("smaller({0}, {1})", "np.inf"),
}

# eˣ = 2ⁿ eʳ with n the whole number next to x log₂ e. Adding 1.5·2⁵² to a float64 leaves n in its
# last digits, from where it is shifted into the exponent: all of it instructions that the compiler
# applies to several entries at once, which a call of the C library is not. No `reassoc` here.
_HEAD = """\
import numpy as np
from numba import njit

@njit(inline="always")
def larger(a, b):
    return a if a > b or a != a else b

@njit(inline="always")
def smaller(a, b):
    return a if a < b or a != a else b

@njit(fastmath={"contract"}, error_model="numpy")
def exp32(x):
    f = np.float32
    c = x if x < f(88.8) else f(88.8)
    c = c if c > f(-87.3) else f(-87.3)
    t = c * f(1.4426950408889634) + f(12582912.0)
    n = t - f(12582912.0)
    r = c - n * f(0.693359375) + n * f(2.12194440e-4)
    p = f(1.9875691500e-4)
    p = p * r + f(1.3981999507e-3)
    p = p * r + f(8.3334519073e-3)
    p = p * r + f(4.1665795894e-2)
    p = p * r + f(1.6666665459e-1)
    p = p * r + f(5.0000001201e-1)
    y = f(p * r * r + r + f(1.0))
    whole = np.float32(t).view(np.int32) + np.int32(127)
    scale = np.int32(whole << np.int32(23)).view(np.float32)
    return y * scale if x == x else x

@njit(fastmath={"contract"}, error_model="numpy")
def exp64(x):
    c = x if x < 709.8 else 709.8
    c = c if c > -708.0 else -708.0
    t = c * 1.4426950408889634 + 6755399441055744.0
    n = t - 6755399441055744.0
    r = c - n * 6.93145751953125e-1 - n * 1.42860682030941723212e-6
    p = 1.6059043836821613e-10
    p = p * r + 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 1.984126984126984e-04
    p = p * r + 1.388888888888889e-03
    p = p * r + 8.333333333333333e-03
    p = p * r + 4.1666666666666664e-02
    p = p * r + 1.6666666666666666e-01
    p = p * r + 0.5
    y = p * r * r + r + 1.0
    whole = np.float64(t).view(np.int64) + np.int64(1023)
    scale = np.int64(whole << np.int64(52)).view(np.float64)
    return y * scale if x == x else x

"""


class NotNative(Exception):
    """A call that has no loop here."""


def compiled(source: str) -> dict[str, Any]:
    """The functions of a generated module, compiled by Numba when they are first called; the
    machine code is kept in a folder of its own for other processes.

    Raises:  ImportError without the extra `native`
    """
    try:
        import numba
    except ModuleNotFoundError as error:
        raise ImportError(
            "backend='numba' needs Numba: pip install 'tinygrad_edu[native]'"
        ) from error
    key = sha256(f"{source}{numba.__version__}{np.__version__}".encode()).hexdigest()[:24]
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(home) / "tinygrad_edu" / "native" / f"step_{key}.py"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(source, encoding="utf-8")
        fresh.replace(path)  # whole, or not at all
    name = f"tinygrad_edu_{path.stem}"
    if name not in sys.modules:  # a module of its own, by whose name Numba finds its machine code
        spec = spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules.setdefault(name, module)
    return vars(sys.modules[name])


class Native:
    """A finished `Program` as a Numba function of its arguments, homes and results.

    parameters   the values that the function takes, in this order
    source       the generated module: `step(*parameters)` gives False where a guard fails

    Raises:  NotNative
    """

    def __init__(self, program: Program, outputs: Sequence[Value]) -> None:
        self.program = program
        self._names: dict[Value, str] = {}
        self._next = count().__next__
        self._body: list[str] = []
        self._made: list[str] = []
        self._group: list[Call] = []
        self._flat = False  # whether arrays are gone through as one row
        self._flattened: set[str] = set()
        self.outputs = list(dict.fromkeys(v for v in outputs if v.kind == "result"))
        self._outputs = set(self.outputs)
        self._later = self._last_uses()
        for i, call in enumerate(program.calls):
            self._add(i, call)
        self._flush()
        for home, value in program.copies:
            self._loop(
                home.shape, [f"{self._at(home, home.shape, True)} = {self._read(value, home)}"]
            )
        homes = {
            v.root: None
            for call in program.calls
            for v in (*call.reads(),)
            if v.root.kind == "home"
        }
        homes |= {v: None for v, _ in program.copies}
        homes |= {
            c.out.block: None
            for c in program.calls
            if c.out is not None and isinstance(c.out.block, Value)
        }
        self.parameters = [*program.given, *homes, *self.outputs]
        names = ", ".join(map(self.parameter, self.parameters))
        lines = [*self._made, *self._body, "return True"]
        self.arguments = names
        self.source = (
            f"{_HEAD}@njit(cache=True, error_model='numpy', fastmath={{'reassoc', 'contract'}})\n"
            f"def step({names}):\n    " + "\n    ".join(lines) + "\n"
        )

    # --- names ------------------------------------------------------------------------------------

    def _last_uses(self) -> dict[Value, int]:
        last: dict[Value, int] = {}
        for i, call in enumerate(self.program.calls):
            for value in call.reads():
                last[value.root] = i
                last[value] = i
        return last

    def _name(self, value: Value) -> str:
        if isinstance(value.block, Value):
            return self._name(value.block)
        if value not in self._names:
            self._names[value] = f"{value.kind[0]}{self._next()}"
        return self._names[value]

    def parameter(self, value: Value) -> str:
        """What a parameter of the function is called; a number that it gives is one in an array."""
        return self._name(value) + "_" * self._is_scalar(value)

    def _is_scalar(self, value: Value) -> bool:
        """A number in the function, not an array."""
        return value.shape == () and value.kind == "result" and not isinstance(value.block, Value)

    def _array(self, value: Value) -> str:
        """The array of a value, a view made where it is used."""
        if value.of is None:
            if value.kind == "constant" and value not in self._names:
                text = f"np.array({value.array.tolist()!r}, {_dtype(value)})"
                self._made.append(f"{self._name(value)} = {text}")
            return self._name(value)
        if value not in self._names:
            base = self._array(value.of)
            self._body.append(f"{self._name(value)} = {_view(value, base)}")
        return self._names[value]

    def _at(self, value: Value, shape: tuple[int, ...], write: bool = False) -> str:
        """An entry of a value inside of a loop over a shape."""
        if value.kind == "constant" and np.size(value.array) == 1:
            number = repr(value.array.item()).replace("inf", "np.inf").replace("nan", "np.nan")
            return f"{_dtype(value)}({number})"
        if value.root.kind == "number":
            return f"{_dtype(value)}({self._name(value.root)})"
        if self._is_scalar(value) and not write:
            return self._name(value)
        name = self._array(value)
        if value.shape == ():
            return f"{name}[()]"
        if self._flat:
            flat = f"{name}f"
            if flat not in self._flattened:
                self._flattened.add(flat)
                self._body.append(f"{flat} = {name}.reshape({int(np.prod(value.shape))})")
            return f"{flat}[i0]"
        new = len(shape) - len(value.shape)
        places = [
            "0" if n == 1 and shape[new + k] != 1 else f"i{new + k}"
            for k, n in enumerate(value.shape)
        ]
        return f"{name}[{', '.join(places)}]"

    def _read(self, x: Any, like: Value) -> str:
        if isinstance(x, Value):
            return self._at(x, like.shape)
        if isinstance(x, (int, float)):
            return f"{_dtype(like)}({x!r})"
        raise NotNative(f"an operand {x!r:.40}")

    def _loop(self, shape: tuple[int, ...], lines: list[str]) -> None:
        for k, n in enumerate(shape):
            self._body.append("    " * k + f"for i{k} in range({n}):")
        self._body += ["    " * len(shape) + line for line in lines]

    def _make(self, value: Value) -> None:
        """Memory for a value, where it is no parameter of the function."""
        if value not in self._outputs and not isinstance(value.block, Value):
            self._made.append(f"{self._name(value)} = np.empty({value.shape}, {_dtype(value)})")

    # --- calls ------------------------------------------------------------------------------------

    def _add(self, i: int, call: Call) -> None:
        if _is_elementwise(call):
            shape = call.out.shape if call.out is not None else ()
            reads = list(call.reads())
            inside = {c.out for c in self._group}
            written = {c.out.block for c in self._group if isinstance(c.out.block, Value)}
            fits = (
                self._group
                and self._group[0].out.shape == shape
                and _is_flat(self._group[0]) == _is_flat(call)
                and not any(v.root in inside and (v not in inside) for v in reads)
                and not any(v.root in written and v.root is not v for v in reads)
            )
            if isinstance(call.out.block, Value):  # a home: nobody may read it otherwise meanwhile
                home = call.out.block
                fits = fits and not any(
                    v.root is home and v is not home for c in self._group for v in c.reads()
                )
            if self._group and not fits:
                self._flush()
            self._group.append(call)
            return
        self._flush()
        function = call.function
        if function is lowering.expect:
            value, expected = call.args
            self._body.append(f"if bool({self._at(value, ())}) != {expected}:")
            self._body.append("    return False")
        elif function in _SUMS:
            self._reduce(call)
        elif function is np.matmul:
            self._matmul(call)
        else:
            raise NotNative(f"{_called(call)} on {[v.shape for v in call.reads()]}")

    def _flush(self) -> None:
        """One loop for the calls that were gathered."""
        group, self._group = self._group, []
        if not group:
            return
        positions = {call.out: i for i, call in enumerate(self.program.calls)}
        end = max(positions[call.out] for call in group)
        shape = group[0].out.shape
        self._flat = _is_flat(group[0]) and len(shape) > 1
        local: dict[Value, str] = {}
        lines, stores = [], []
        for call in group:
            out = call.out
            operands = [
                local[x] if isinstance(x, Value) and x in local else self._operand(x, call)
                for x in call.args
                if x is not OUT
            ]
            name = f"t{self._next()}"
            lines.append(f"{name} = {_expression(call, operands)}")
            local[out] = name
            kept = self._later.get(out, -1) > end or out in self._outputs
            if self._is_scalar(out):
                lines.append(f"{self._name(out)} = {name}")
                if out in self._outputs:
                    lines.append(f"{self._name(out)}_[()] = {name}")
            elif kept or isinstance(out.block, Value):
                self._make(out)
                stores.append(f"{self._at(out, shape, True)} = {name}")
        self._loop((int(np.prod(shape)),) if self._flat else shape, [*lines, *stores])
        self._flat = False

    def _operand(self, x: Any, call: Call) -> str:
        if not isinstance(x, Value):
            return self._read(x, call.out) if not callable(x) else ""
        return self._at(x, call.out.shape)

    def _reduce(self, call: Call) -> None:
        x, axis, _, _, keepdims = call.args
        out = call.out
        combine, start = _SUMS[call.function]
        axes = range(len(x.shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        gone = {a % len(x.shape) for a in axes} if x.shape else set()
        begin = f"{_dtype(out)}({start})"
        if out.shape == ():
            name = f"t{self._next()}"
            self._body.append(f"{name} = {begin}")
            self._flat = x.of is None and len(x.shape) > 1
            entry = self._at(x, x.shape)
            shape = (int(np.prod(x.shape)),) if self._flat else x.shape
            self._flat = False
            self._loop(shape, [f"{name} = {combine.format(name, entry)}"])
            if self._is_scalar(out):
                self._body.append(f"{self._name(out)} = {name}")
                if out in self._outputs:
                    self._body.append(f"{self._name(out)}_[()] = {name}")
                return
        kept = [
            ("0" if k in gone else f"i{k}")
            for k in range(len(x.shape))
            if keepdims or k not in gone
        ]
        self._make(out)
        target = f"{self._name(out)}[{', '.join(kept) or '()'}]"
        if out.shape == ():
            self._body.append(f"{target} = {name}")
        elif gone == {len(x.shape) - 1}:  # the last axis: in a register
            name, entry = f"t{self._next()}", self._at(x, x.shape)
            outer = x.shape[:-1]
            last = len(outer)
            self._loop(outer, [
                f"{name} = {begin}", f"for i{last} in range({x.shape[-1]}):",
                f"    {name} = {combine.format(name, entry)}", f"{target} = {name}",
            ])  # fmt: skip
        else:
            entry = self._at(x, x.shape)
            self._body.append(f"{self._name(out)}[...] = {begin}")
            self._loop(x.shape, [f"{target} = {combine.format(target, entry)}"])

    def _matmul(self, call: Call) -> None:
        a, b, _ = call.args
        out = call.out
        if len(a.shape) != 2 or len(b.shape) != 2 or {a.dtype, b.dtype} != {out.dtype}:
            raise NotNative(f"matmul of {a.shape} and {b.shape}")
        self._make(out)
        c, x, y = self._name(out), self._array(a), self._array(b)
        if a.shape[1] == 1:
            self._loop(out.shape, [f"{c}[i0, i1] = {x}[i0, 0] * {y}[0, i1]"])
        elif b.shape[1] == 1 and b.of is None:  # a matrix and a vector
            self._body.append(
                f"np.dot({x}, {y}.reshape({b.shape[0]}), {c}.reshape({out.shape[0]}))"
            )
        else:
            self._body.append(f"np.dot({x}, {y}, {c})")


def _dtype(value: Value) -> str:
    return f"np.{value.dtype}" if value.dtype != np.bool_ else "np.bool_"


def _is_elementwise(call: Call) -> bool:
    function = call.function
    return call.out is not None and (
        function in _UNARY
        or function in _BINARY
        or function in (lowering._convert, lowering._choose, lowering._masked, np.copyto)
    )


def _is_flat(call: Call) -> bool:
    """Whether all arrays of an element-wise call have its shape, so that one loop over all entries
    will do: the compiler makes more of it."""
    return all(
        v.shape == () or (v.kind == "constant" and np.size(v.array) == 1)
        or (v.of is None and v.shape == call.out.shape)
        for v in call.reads()
    )  # fmt: skip


def _called(call: Call) -> str:
    function = call.args[0] if call.function is lowering._called else call.function
    if isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", function))


def _expression(call: Call, operands: list[str]) -> str:
    """One entry of the result from entries of the operands, in the result's dtype."""
    dtype = _dtype(call.out)
    function = call.function
    if function is lowering._choose:
        return f"{dtype}({operands[1]}) if {operands[0]} else {dtype}({operands[2]})"
    if function is lowering._masked:
        _, where, before, *rest = operands
        inner = _formula(call.args[0], rest)
        return f"{dtype}({inner}) if {where} else {dtype}({before})"
    if function in (lowering._convert, np.copyto):
        return f"{dtype}({operands[0]})"
    if function in _QUESTIONS:
        return _formula(function, operands)
    values = [v for v in call.args if isinstance(v, Value)]
    mixed = any(v.dtype != call.out.dtype for v in values)
    if mixed:
        operands = [f"{dtype}({text})" for text in operands]
    text = _formula(function, operands)
    if function is np.exp and call.out.dtype.itemsize >= 4:
        text = text.replace("exp(", f"exp{8 * call.out.dtype.itemsize}(", 1)
    return f"{dtype}({text})"


def _formula(function: Any, operands: list[str]) -> str:
    table = _UNARY if function in _UNARY else _BINARY
    if function not in table:
        raise NotNative(str(function))
    return str(table[function]).format(*(f"({text})" for text in operands))


def _view(value: Value, base: str) -> str:
    function: Any = value.function
    name = getattr(getattr(function, "func", function), "__name__", "")
    if name == "transpose" and len(value.shape) == 2:
        return f"{base}.T"
    if name in ("reshape", "expand_dims", "squeeze"):
        return f"{base}.reshape({value.shape})"
    if name == "broadcast_to":
        return f"np.broadcast_to({base}, {value.shape})"
    raise NotNative(f"a view made by {name or function}")


def epoch_source(native: Native, rows: Sequence[Value], results: Sequence[Value]) -> str:
    """`epoch(*sources, order, kept, *other parameters)`: the step for each row of `order`, its
    arguments taken from the sources; how many were done before a guard failed."""
    taken = [f"s{k}" for k in range(len(rows))]
    others = [native.parameter(v) for v in native.parameters if v not in rows]
    lines = [
        f"{native._name(v)} = np.empty({v.shape}, {s}.dtype)"
        for v, s in zip(rows, taken, strict=True)
    ]
    lines.append("for k in range(len(order)):")
    lines.append(f"    for i in range({rows[0].shape[0]}):")
    for v, s in zip(rows, taken, strict=True):
        lines.append(f"        {native._name(v)}[i] = {s}[order[k, i]]")
    lines.append(f"    if not step({native.arguments}):")
    lines.append("        return k")
    for j, v in enumerate(results):
        lines.append(f"    kept[k, {j}] = {native.parameter(v)}[()]")
    lines.append("return len(order)")
    names = ", ".join([*taken, "order", "kept", *others])
    return (
        "\n@njit(cache=True, error_model='numpy')\n"
        f"def epoch({names}):\n    " + "\n    ".join(lines) + "\n"
    )
