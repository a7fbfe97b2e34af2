"""Tracing: run a loss once and keep all that a derivation needs to know of it.

In the graph the number of samples is just a number, and 2/8 may be 2/m or 1/4. So a function is run
twice: on the example inputs, and on arrays made of their entries whose lengths are prime numbers
that nothing else in the problem has. Wherever the prime of the number of samples turns up, it is m;
those of the other axes have letters of their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from types import CellType, FunctionType
from typing import Any

import numpy as np

from .. import engine, nn, ops
from ..arrays import describe
from ..engine import VARIABLE, Box, recorded_results
from ..frames import local_variables
from ..gradients import grad
from ..losses import binary_cross_entropy_with_logits
from ..naming import Names, leaves, parameter_names
from ..recording import ALL, recording
from ..tensor import Tensor
from .reading import is_algebra, is_idle_guard
from .wording import Refused, say

SHAPING = (ops.reshape.op, ops.getitem.op, ops.expand_dims.op)
PRIMES = [101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181,
          191, 193, 197, 199, 211, 223, 227, 229, 233, 239, 241, 251, 257, 263, 269, 271, 307, 367,
          419, 491, 557, 643, 709, 787, 857, 919, 1013]  # fmt: skip
SMALL_PRIMES = [5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83]


@dataclass
class Trace:
    """A loss with its gradients.

    names     of all tensors that have one
    wrt       the tensors whose gradients are asked for
    between   the named results on the way from them to the loss, oldest first
    gradients of the loss at each of these, as recorded computations
    rows_sum_to_one  names of arrays that are known to have rows that sum to 1
    forward   the named results, oldest first
    counted   whole numbers of the author's, with all values that each had: {"d": {103}}

    Example:
        >>> import tinygrad_edu as tg
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> differentiate((W * W).sum(), [W], Names()).between
        []
    """

    loss: Box
    wrt: list[Box]
    names: dict[Box, str]
    arrays: dict[int, str]
    constants: list[tuple[Any, str]]
    between: list[Box] = field(default_factory=list)
    gradients: dict[Box, Box] = field(default_factory=dict)
    rows_sum_to_one: set[str] = field(default_factory=set)
    forward: list[Box] = field(default_factory=list)
    counted: dict[str, set[int]] = field(default_factory=dict)


def differentiate(loss: Box, wrt: Sequence[Box], names: Names) -> Trace:
    """The gradients at the tensors asked for and at all named ones between them and the loss.

    Example:
        >>> import tinygrad_edu as tg
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> differentiate((W * W).sum(), [W], Names()).gradients[W].numpy()
        array([2., 4.])
    """
    nodes = recorded_results(loss)
    for node in nodes:
        for x in (*node.record[2], node):
            if isinstance(x, Box) and x.name and x is not loss:
                names.give(x, x.name)
        if node.record[1] is ops.one_hot.op:
            names.give(node, "Y")
    names.of.pop(loss, None)
    names.give_activations(nodes)
    _leave_to_functions(nodes, names)
    on_the_way = engine.depending_on(nodes, set(wrt))
    asked = set(wrt)
    between = [
        n for n in nodes
        if n in names.of and n in on_the_way and n not in asked and n.value.dtype.kind == "f"
    ]  # fmt: skip
    with recording(ALL):
        found = grad(loss, [*wrt, *between], create_graph=True)
    trace = Trace(loss, list(wrt), names.of, names.arrays, names.constants, between)
    trace.gradients = dict(zip([*wrt, *between], found, strict=True))
    trace.forward = [n for n in nodes if n in names.of]
    _name_activations(trace, names)
    for node, name in names.of.items():
        record = node.record
        if record is None or not node.value.ndim:
            continue
        softmax = record[1] is ops.softmax.op and record[4]["axis"] in (-1, node.value.ndim - 1)
        if softmax or record[1] is ops.one_hot.op:
            trace.rows_sum_to_one.add(name)
    return trace


def _leave_to_functions(nodes: Sequence[Box], names: Names) -> None:
    """`var = np.var(x)` is called var2: in `var(x)/m` the name is that of the function."""
    functions = {n.record[1].name for n in nodes if not is_algebra(n.record[1])}
    tables: tuple[dict[Any, str], ...] = (names.of, names.arrays)
    for named in tables:
        for x, name in named.items():
            if name in functions:
                named[x] = names.free(name)
    names.constants = [(x, names.arrays.get(id(x), name)) for x, name in names.constants]


def _name_activations(trace: Trace, names: Names) -> None:
    """softmax(Z2) that a loss's rule has computed is A2: the author's, or one of the slides."""
    known = {_call_of(n): n for n in trace.forward}
    logits = {
        n.record[2][0] for n in recorded_results(trace.loss)
        if n.record[1] is binary_cross_entropy_with_logits.op and isinstance(n.record[2][0], Box)
    }  # fmt: skip
    nodes: set[Box] = set()
    for g in trace.gradients.values():
        if g.record is not None and g.record[1] is not VARIABLE and g not in nodes:
            nodes.update(recorded_results(g))
    for node in sorted(nodes, key=lambda n: n.record[0]):
        op, args = node.record[1:3]
        if node in names.of or not args or not isinstance(args[0], Box):
            continue
        if (twin := known.get(_call_of(node))) is not None:
            names.of[node] = names.of[twin]
        elif op is ops.softmax.op or (op is ops.sigmoid.op and args[0] in logits):
            names.of[node] = names.for_activation(args[0])
            known[_call_of(node)] = node
            later = (k for k, n in enumerate(trace.forward) if n.record[0] > _age(args[0]))
            trace.forward.insert(next(later, len(trace.forward)), node)


def _age(x: Box) -> int:
    """The place of a result among all that was recorded; −1 for what is no result."""
    return int(x.record[0]) if x.record is not None and x.record[1] is not VARIABLE else -1


def helpers(nodes: Sequence[Box]) -> dict[Box, Box | None]:
    """What is on the way to a sigmoid or softmax written out, 1/(1 + exp(−z)) or
    exp(z)/sum(exp(z)): idle guards, the exponentials and their sums. They need no names; with
    each goes what may have its name instead.

    Example:
        >>> import tinygrad_edu as tg
        >>> z = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> len(helpers(recorded_results((1 / (1 + np.exp(-z))).sum())))
        3
    """
    users: dict[Box, list[Box]] = {}
    for node in nodes:
        for arg in node.record[2]:
            if isinstance(arg, Box):
                users.setdefault(arg, []).append(node)

    def divides(total: Box) -> bool:
        for user in users.get(total, ()):
            op, args = user.record[1:3]
            if (op is ops.divide.op and args[1] is total) or op is ops.log.op:
                return True
            if op in SHAPING and divides(user):
                return True
        return False

    guards = {x: x.record[2][0] for x in nodes if is_idle_guard(x)}
    found: set[Box] = set()
    for node in nodes:
        if node.record[1] is not ops.exp.op:
            continue
        sums = [u for u in users.get(node, ()) if u.record[1] in (ops.sum.op, ops.add.op)]
        if totals := [u for u in sums if divides(u)]:
            found |= {node, *totals}
            found |= {w for u in totals for w in users.get(u, ()) if w.record[1] in SHAPING}
            shifted = node.record[2][0]
            if isinstance(shifted, Box) and shifted.record and shifted.record[1] in (
                ops.subtract.op, ops.negative.op
            ):  # fmt: skip
                found.add(shifted)
                found |= {y for y in shifted.record[2] if isinstance(y, Box) and y.record
                          and y.record[1] is ops.max.op}  # fmt: skip
    return dict.fromkeys(found) | guards


def _call_of(node: Box) -> Any:
    _, op, args, _, settings = node.record
    return op, tuple(map(id, args)), repr(settings)


# --- a function and its surroundings --------------------------------------------------------------


@dataclass(frozen=True)
class Sizes:
    """Lengths to run a function with in the place of the author's.

    rows    the number of samples, and the prime in its place
    others  the same for every other length of an axis

    Example:
        >>> Sizes((200, 101), {4: 103}).lengths()
        {101: 200, 103: 4}
    """

    rows: tuple[int, int] | None = None
    others: dict[int, int] = field(default_factory=dict)

    def lengths(self) -> dict[int, int]:
        """The author's length for each prime."""
        pairs = [*([self.rows] if self.rows else []), *self.others.items()]
        return {prime: length for length, prime in pairs}

    def array(self, a: Any, samples: bool) -> Any:
        """Return an array of these sizes, made of the entries of a given one."""
        shape = [self.others.get(n, n) for n in a.shape]
        if samples and self.rows and len(a) == self.rows[0]:
            shape[0] = self.rows[1]
        return _filled(a, tuple(shape))


def _filled(a: Any, shape: tuple[int, ...]) -> Any:
    """Return an array of another shape: the entries repeated, rows of probabilities made to sum to
    1, one-hot rows one-hot, and an identity an identity."""
    if a.shape == shape:
        return a
    new = a[np.ix_(*(np.arange(n) % old for n, old in zip(shape, a.shape, strict=True)))]
    if a.ndim != 2 or a.shape[1] == shape[1] or a.dtype.kind not in "fiu":
        return new
    if not ((a >= 0).all() and np.allclose(a.sum(axis=1), 1)):
        return new
    if (a.max(axis=1) == 1).all():
        square = a.shape[0] == a.shape[1] and shape[0] == shape[1]
        labels = np.arange(shape[0]) if square and (a == np.eye(len(a))).all() else (
            np.resize(a.argmax(axis=1), shape[0]) % shape[1]
        )  # fmt: skip
        return np.eye(shape[1], dtype=a.dtype)[labels]
    return new / new.sum(axis=1, keepdims=True)


@dataclass
class Problem:
    """A function, what it is called with, and the variables around it that it uses.

    Example:
        >>> import tinygrad_edu as tg
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> problem(lambda W, X: (W * X).sum(), (W, np.ones(2)), None, {}).sizes()[-1]
        Sizes(rows=None, others={2: 11})
    """

    function: Callable[..., Any]
    arguments: dict[str, Any]
    variables: dict[str, Any]
    wrt: list[str] | None = None
    tensors: list[Box] = field(default_factory=list)  # asked for by object
    modules: list[nn.Module] = field(default_factory=list)  # whose buffers stay as they are
    keywords: set[str] = field(default_factory=set)  # arguments that are given by name
    numbered: set[str] = field(default_factory=set)  # those of *Ws: Ws1, Ws2 …
    lang: str = "en"
    of_model: bool = False  # loss_function(model(X), Y): the names of the model come first

    def data(self) -> dict[str, np.ndarray[Any, Any]]:
        """All arrays that are no variables, by name: what may have samples as its rows."""
        found = {}
        for name, x in [*self.arguments.items(), *self.variables.items()]:
            array = x.value if isinstance(x, Box) and x.record is None else x
            if isinstance(array, np.ndarray) and array.ndim and name not in (self.wrt or ()):
                found[name] = array
        return found

    def sizes(self) -> list[Sizes]:
        """Sizes that may tell the axes apart, best first: with a prime for every length, for the
        number of samples only, and at last with the same prime for equal lengths."""
        given = [*self.arguments.values(), *self.variables.values()]
        arrays = [a for x in given for _, a in _all_arrays(x)]
        every = {n for a in arrays for n in np.shape(a)}
        lengths = [len(a) for a in self.data().values()]
        likely = sorted(set(lengths) - {0, 1}, key=lambda n: (-lengths.count(n), -n))[:3]
        primes = [p for p in PRIMES if all(n % p for n in every if n)]
        if not primes:
            return []
        found = []
        for length in likely or [0]:
            rows = (length, primes[0]) if length else None
            columns = {n for a in arrays for n in np.shape(a)[1:]} | (every - {length})
            if others := _primes_for(columns - {0, 1}, every, arrays, bool(rows)):
                found.append(Sizes(rows, others))
            if rows:
                found.append(Sizes(rows))
        if everything := _primes_for(every - {0, 1}, every, arrays, False):
            found.append(Sizes(None, everything))  # equal lengths stay equal, as in XᵀX
        return found

    def trace(self, sizes: Sizes | None = None, numbers: bool = True, arrays: bool = True) -> Trace:
        """Run the function, at other sizes if some are given, and differentiate it.

        numbers, arrays  whether the author's numbers and plain arrays become tensors, which have
                         names
        """
        run = _Run(self, sizes or Sizes(), numbers, arrays)
        loss, seen = run.loss()
        if not isinstance(loss, Box) or loss.value.size != 1:
            raise Refused(say("returns", self.lang, found=describe(loss)))
        names = run.names
        names.helpers = helpers(recorded_results(loss)) if loss.record else {}
        names.give_layers(seen.layers, seen.own_names())
        names.give_all(seen.found, loss, seen.inside if self.of_model else ())
        for x, name in run.later:
            names.give(x, name)
        wanted = self._wanted(run, loss)
        if loss.record is None or not (used := _used(loss, wanted)):
            known = ", ".join(names.of.values()) or say("the-arguments", self.lang)
            raise Refused(say("no-gradient", self.lang, names=known))
        made = differentiate(loss, used if self.wrt is None else wanted, names)
        made.counted = seen.numbers
        return made

    def _wanted(self, run: _Run, loss: Box) -> list[Box]:
        """The tensors whose gradients are asked for, in the order asked."""
        names, wanted = run.names, run.wanted
        if not wanted and self.wrt is None and loss.record:  # the attributes of an object
            wanted = [x for n in recorded_results(loss) for x in n.record[2] if _requires(x)]
        wanted = list(dict.fromkeys(wanted))
        if self.wrt is None:
            return wanted
        have = set(wanted)
        wanted += [
            x for name in self.wrt for x, own in names.of.items()
            if own == name and x not in have and x.record is not None
        ]  # fmt: skip
        missing = set(self.wrt) - {names.of.get(x, "") for x in wanted}
        if missing:
            name, known = ", ".join(sorted(missing)), ", ".join(names.of.values())
            raise Refused(say("no-variable", self.lang, name=name, names=known))
        order = {name: k for k, name in enumerate(self.wrt)}
        given = {run.copies.get(id(x), x) for x in self.tensors}
        return sorted(
            (x for x in wanted if names.of.get(x) in order or x in given),
            key=lambda x: order.get(names.of.get(x, ""), len(order)),
        )


class _Run:
    """One run of a problem's function: its arguments and variables as tensors with names.

    copies  of the modules and their parameters, by the id of the original
    later   names to give last: W, as a loop has it, rather than Ws1
    """

    def __init__(self, problem: Problem, sizes: Sizes, numbers: bool, arrays: bool):
        self.problem, self.sizes, self.numbers, self.arrays = problem, sizes, numbers, arrays
        self.names = Names()
        self.later: list[tuple[Box, str]] = []
        self.copies: dict[int, Any] = {}
        self._data = problem.data()
        self._new: dict[int, Any] = {}
        if sizes.others:
            self._copy_modules()
        self.modules = [self._copy(m) for m in problem.modules]
        self.wanted: list[Box] = [self._copy(x) for x in problem.tensors]

    def _copy(self, x: Any) -> Any:
        return self.copies.get(id(x), x)

    def _copy_modules(self) -> None:
        for module in self.problem.modules:
            self.copies[id(module)] = new = deepcopy(module)
            for old, own in ((module.parameters(), new.parameters()),
                             (module.buffers(), new.buffers())):  # fmt: skip
                for x, y in zip(old, own, strict=True):
                    y.value = self.sizes.array(y.value, False)
                    self.copies[id(x)] = y

    def loss(self) -> tuple[Any, local_variables]:
        """Return the result of the function, and the local variables that it had."""
        problem = self.problem
        for module in self.modules:
            for parameter, name in parameter_names(module):
                self.names.give(parameter, name)
        arguments = {name: self._changed(name, x) for name, x in problem.arguments.items()}
        variables = {name: self._changed(name, x) for name, x in problem.variables.items()}
        function = _with_variables(problem.function, variables)
        places = [x for name, x in arguments.items() if name not in problem.keywords]
        by_name = {name: arguments[name] for name in problem.keywords}
        kept = [(buffer, buffer.value) for m in self.modules for buffer in m.buffers()]
        try:
            seen = local_variables()
            with recording(ALL):
                return seen.run(function, *places, **by_name), seen
        finally:
            for buffer, array in kept:
                buffer.value = array

    def _named(self, x: Box, name: str, inside: bool) -> None:
        problem = self.problem
        if (inside or name in problem.numbered) and not x.name and problem.wrt is None:
            self.later.append((x, name))
        else:
            self.names.give(x, x.name or name)

    def _changed(self, name: str, x: Any, inside: bool = False) -> Any:
        """An argument as the function gets it: numbers and arrays as tensors that have names."""
        if isinstance(x, nn.Module):
            return self._copy(x)
        if isinstance(x, (list, tuple)):
            parts = [self._changed(f"{name}{k}", part, True) for k, part in enumerate(x, 1)]
            return type(x)(parts) if type(x) in (list, tuple) else x
        if isinstance(x, dict):
            return {key: self._changed(str(key), part) for key, part in x.items()}
        if isinstance(x, np.generic) and x.dtype.kind == "f":
            x = float(x)
        if type(x) is float and self.numbers and x not in (0.0, 1.0) and np.isfinite(x):
            t = Tensor(x)
            self.names.give(t, name)
            return t
        if isinstance(x, np.ndarray) or (isinstance(x, Box) and x.record is None):
            return self._tensor_of(name, x, inside)
        if isinstance(x, Box):
            return self._variable(name, x, inside)
        return x

    def _tensor_of(self, name: str, x: Any, inside: bool) -> Any:
        """A plain array, or a tensor that requires no gradient, as a new tensor."""
        array = x.value if isinstance(x, Box) else x
        if array.dtype.kind not in "fiub":
            return x
        if id(x) in self._new:
            return self._new[id(x)]
        array = self.sizes.array(array, name in self._data)
        wanted = self._is_wanted(name, x)
        if not (self.arrays or wanted or isinstance(x, Box)):
            self.names.give(array, name)
            return array
        t = self._new[id(x)] = Tensor(array, requires_grad=wanted)
        self._named(t, (x.name if isinstance(x, Box) else None) or name, inside)
        if t.record is not None:
            self.wanted.append(t)
        return t

    def _variable(self, name: str, x: Box, inside: bool) -> Box:
        problem = self.problem
        asked = any(x is t for t in problem.tensors)
        if (array := self.sizes.array(x.value, False)) is not x.value and _requires(x):
            if id(x) not in self.copies:
                self.copies[id(x)] = Tensor(array, requires_grad=True, name=x.name)
                self.wanted = [self._copy(t) for t in self.wanted]
            x = self.copies[id(x)]
        self._named(x, name, inside)
        if (problem.wrt is None and not problem.tensors and _requires(x)) or (
            problem.wrt and name in problem.wrt
        ) or (asked and x not in self.wanted):  # fmt: skip
            self.wanted.append(x)
        return x

    def _is_wanted(self, name: str, x: Any) -> bool:
        problem = self.problem
        array = x.value if isinstance(x, Box) else x
        return array.dtype.kind == "f" and (
            (problem.wrt is not None and name in problem.wrt)
            or any(x is t for t in problem.tensors)
        )


def _primes_for(
    lengths: set[int], every: set[int], arrays: Sequence[Any], rows: bool
) -> dict[int, int]:
    """A prime for each length, a little larger, so that sums have about the same values."""
    least = 5 if any(np.ndim(a) > 2 for a in arrays) else 11
    primes = [p for p in (*SMALL_PRIMES, *PRIMES[rows:]) if p >= least]
    primes = [p for p in primes if all(n % p for n in every if n)]
    found: dict[int, int] = {}
    for n in sorted(lengths):
        p = next((p for p in primes if p > n), None) or next(iter(primes), None)
        if p is None:
            return {}
        primes.remove(p)
        found[n] = p
    return found


def _used(loss: Box, wanted: list[Box]) -> list[Box]:
    below = {id(a) for n in recorded_results(loss) for a in n.record[2]} | {id(loss)}
    return [x for x in wanted if id(x) in below]


def _all_arrays(x: Any) -> list[tuple[str, Any]]:
    if isinstance(x, nn.Module):
        return [("", p.value) for p in x.parameters()]
    return [("", a.value if isinstance(a, Box) else a) for _, a in leaves("", x)]


def problem(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    wrt: Any,
    kwargs: dict[str, Any],
    lang: str = "en",
) -> Problem:
    """The function with its arguments by name, and the variables around it.

    Example:
        >>> import tinygrad_edu as tg
        >>> W = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> [*problem(lambda W, X: (W * X).sum(), (W, np.ones(2)), None, {}).arguments]
        ['W', 'X']
    """
    bound = inspect.signature(function).bind(*inputs, **kwargs)
    bound.apply_defaults()
    arguments: dict[str, Any] = {}
    keywords, numbered = set(), set[str]()
    for name, x in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            parts = {f"{name}{k}": part for k, part in enumerate(x, 1)}
            arguments |= parts
            numbered |= parts.keys()
        elif kind is inspect.Parameter.VAR_KEYWORD:
            arguments |= x
            keywords |= x.keys()
        else:
            arguments[name] = x
            keywords |= {name} if kind is inspect.Parameter.KEYWORD_ONLY else set()
    variables = _variables(function)
    modules = [v for v in [*arguments.values(), *variables.values()] if isinstance(v, nn.Module)]
    names_wanted, tensors = _asked(wrt, lang)

    made = Problem(
        function, arguments, variables, names_wanted, tensors, modules, keywords, numbered, lang
    )
    if wrt is None:
        parameters = [p for m in modules for p in m.parameters()]
        given = [*arguments.values(), *variables.values()]
        variable = [x for v in given for _, x in leaves("", v) if _requires(x)]
        if parameters:
            made.tensors = list(dict.fromkeys([*variable, *parameters]))
        floats = [
            n for n, x in arguments.items() if isinstance(x, np.ndarray) and x.dtype.kind == "f"
        ]
        if not variable and not parameters and len(floats) == 1:
            made.wrt = floats
    return made


def _asked(wrt: Any, lang: str) -> tuple[list[str] | None, list[Box]]:
    if wrt is None:
        return None, []
    items = list(wrt) if isinstance(wrt, (list, tuple)) else [wrt]
    for x in items:
        if not isinstance(x, (str, Box)):
            raise TypeError(say("wrt-kind", lang, found=describe(x)))
    names = [x for x in items if isinstance(x, str)]
    return names or None, [x for x in items if isinstance(x, Box)]


def _requires(x: Any) -> bool:
    return isinstance(x, Box) and x.record is not None and x.record[1] is VARIABLE


def _variables(function: Any) -> dict[str, Any]:
    """The variables of outer functions and of the module that a function uses."""
    while isinstance(function, partial):
        function = function.func
    if not isinstance(function, FunctionType):
        return {}
    found: dict[str, Any] = {}
    for name in _names_used(function.__code__):
        if name in function.__globals__:
            found[name] = function.__globals__[name]
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    kinds = (Box, np.ndarray, float, list, tuple, dict, nn.Module)
    return {name: x for name, x in found.items() if isinstance(x, kinds)}


def _names_used(code: Any) -> list[str]:
    inner = [c for c in code.co_consts if inspect.iscode(c)]
    return list(dict.fromkeys([*code.co_names, *(n for c in inner for n in _names_used(c))]))


def _with_variables(function: Any, variables: dict[str, Any]) -> Any:
    """The same function in surroundings where these variables have other values."""
    if not isinstance(function, FunctionType) or not variables:
        return function
    free = function.__code__.co_freevars
    cells = [
        CellType(variables[name]) if name in variables else cell
        for name, cell in zip(free, function.__closure__ or (), strict=True)
    ]
    outer = {k: v for k, v in variables.items() if k not in free}
    new = FunctionType(
        function.__code__,
        {**function.__globals__, **outer},
        function.__name__,
        function.__defaults__,
        tuple(cells) if cells else None,
    )
    new.__kwdefaults__ = function.__kwdefaults__
    return new
