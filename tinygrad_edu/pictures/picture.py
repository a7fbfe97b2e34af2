"""`picture`: a recorded graph as SVG or as DOT text.

This module decides what is shown: a box for each operation, with the author's name for its result,
the operation and the shape; one for each parameter, input and constant; and one around the
operations of a module. Plain numbers are part of their operation's box. `layout` computes the
positions, `drawing` writes the SVG.
"""

from __future__ import annotations

import inspect
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from .. import nn, ops
from ..arrays import describe
from ..engine import RELEASED, Box, recorded_results
from ..frames import local_variables
from ..module import Module, calls, parts_of
from ..naming import Names, leaves, parameter_names
from ..recording import ALL, recording
from ..saving import restore, states
from ..tensor import Tensor
from .drawing import Graph, Group, Kind, Shape, dot, svg

__all__ = ["Picture", "picture"]

SIGNS = {
    ops.add.op: "+",
    ops.subtract.op: "−",
    ops.multiply.op: "×",
    ops.divide.op: "/",
    ops.power.op: "^",
    ops.matmul.op: "@",
}


@dataclass(frozen=True, repr=False)
class Picture:
    """A picture of a graph. A notebook displays it.

    svg   the picture
    dot   the same graph in the language of Graphviz

    Example:
        >>> x = tg.Tensor(3.0, requires_grad=True)
        >>> picture(x * x)
        Picture(1 operation, 1 parameter; .save("graph.svg") writes it to a file)
    """

    svg: str
    dot: str
    contents: str

    def save(self, path: Any) -> None:
        """Write the picture to a file that ends in .svg, .dot or .gv.

        Raises:  ValueError for another ending, OSError if the file cannot be written
        """
        path = Path(path)
        texts = {".svg": self.svg, ".dot": self.dot, ".gv": self.dot}
        if path.suffix not in texts:
            raise ValueError(
                f"{path} should end in .svg, .dot or .gv; a browser prints .svg to PDF"
            )
        path.write_text(texts[path.suffix], encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f'Picture({self.contents}; .save("graph.svg") writes it to a file)'


def picture(
    of: Any, *inputs: Any, gradients: bool = False, depth: int | None = None, **settings: Any
) -> Picture:
    """Return a picture of a result's graph, or of what a function or model computes from the
    inputs.

        tg.picture(loss)            names are the caller's local variables
        tg.picture(model, X)        the model is called once, and its state is restored
        tg.picture(f, X, Y, W)      names are the local variables of f and of functions it calls

    With `gradients` each box that has a gradient shows its shape. `depth` is the number of levels
    of modules that are opened: 0 shows the outermost ones as a box each, None opens all.

    Raises:  TypeError if there is no tensor to show, RuntimeError if nothing was recorded
             or `backward()` has released the graph
    Source:  the layout is Sugiyama's, see `layout`
    Example:
        >>> X = np.ones((4, 3))
        >>> network = tg.nn.Sequential(tg.nn.Linear(3, 2, rng=0), tg.nn.Sigmoid())
        >>> tg.picture(network, X)
        Picture(2 operations, 2 parameters, 1 constant; .save("graph.svg") writes it to a file)
        >>> tg.picture(network, X).svg.startswith("<svg")
        True
    """
    if depth is not None and depth < 0:
        raise ValueError(f"depth is at least 0, or None for all modules opened, received {depth}")
    if isinstance(of, Box):
        if inputs or settings:
            raise TypeError("picture(result) takes no inputs; they go with a function or a model")
        output, found, modules = of, *_variables(sys._getframe(1))
    elif callable(of):
        output, found, modules = _run(of, inputs, settings)
    else:
        raise TypeError(f"picture takes a tensor, a function or a model, received {describe(of)}")
    nodes = recorded_results(output) if output.record is not None else []
    if not nodes:
        raise RuntimeError(
            f"nothing was recorded that led to {describe(output)}; a picture is made of what is "
            "computed from tensors with requires_grad=True"
        )
    if any(node.record[1] is RELEASED for node in nodes):
        raise RuntimeError(
            "backward() has released this graph; ask for the picture before it, or call "
            "backward(retain_graph=True)"
        )
    calls = _calls(nodes)
    names = _names(nodes, calls, found, modules)
    title = output.name or next((name for _, name, x in found if x is output), "")
    shown = _Shown(names, output, title, _reached(nodes) if gradients else set())
    graph = shown.graph(nodes, calls, depth)
    return Picture(svg(graph), dot(graph), graph.contents())


Found = list[tuple[int, str, Any]]  # how many calls away a name was found, the name, the object


def _names(nodes: list[Box], calls: list[_Call], found: Found, modules: list[Module]) -> Names:
    """Return the names of tensors and arrays: of parameters, the author's variables, and results of
    layers.
    """
    names = Names()
    inside = {id(x) for node in nodes for x in (*node.record[2], node)}
    for module in [call.module for call in calls if call.outer is None] + modules:
        for parameter, name in parameter_names(module):
            if id(parameter) in inside:
                names.give(parameter, name)
    names.give_layers(
        (call.module, [n for n in nodes if call.begun < n.record[0] < call.ended][-1])
        for call in calls
        if isinstance(call.module, nn.Linear)
    )
    for node in nodes:
        for x in (*node.record[2], node):
            if isinstance(x, Box) and x.name and x is not nodes[-1]:
                names.give(x, x.name)
    names.give_all([entry for entry in found if id(entry[2]) in inside], nodes[-1])
    names.give_activations(nodes)
    return names


def _variables(frame: FrameType) -> tuple[Found, list[Module]]:
    """Return the tensors and arrays among the caller's local variables, then its globals, also in
    short lists; and the modules among them.
    """
    found: Found = []
    modules = []
    for depth, variables in enumerate([frame.f_locals, frame.f_globals]):
        for name, x in list(variables.items()):
            if name.startswith("_"):
                continue  # such as the results that a notebook keeps
            if isinstance(x, Module):
                modules.append(x)
            elif isinstance(x, (list, tuple)) and len(x) < 100:
                tensors = [(k, t) for k, t in enumerate(x, 1) if isinstance(t, (Box, np.ndarray))]
                found += [(depth, f"{name}{k}", t) for k, t in tensors]
            elif isinstance(x, (Box, np.ndarray)):
                found.append((depth, name, x))
    return found, modules


def _run(
    function: Any, inputs: tuple[Any, ...], settings: Mapping[str, Any]
) -> tuple[Box, Found, list[Module]]:
    """Call the function; return its result, the names found, and the modules."""
    parts = {}
    if isinstance(function, Module):  # so that operations on its inputs are recorded too
        parts = {"model": function}
        inputs = tuple(Tensor(x) if isinstance(x, np.ndarray) else x for x in inputs)
    before = states(parts)  # running means and states of generators
    try:
        seen = local_variables()
        with recording(ALL):
            output = seen.run(function, *inputs, **settings)
    finally:
        restore(parts, before)
    if not isinstance(output, Box):
        raise TypeError(f"picture needs a tensor, the function gave {describe(output)}")
    found = [(0, *leaf) for leaf in _arguments(function, inputs, settings)] + seen.found
    return output, found, [x for x in (function, *inputs) if isinstance(x, Module)]


def _arguments(
    function: Any, inputs: tuple[Any, ...], settings: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Return the inputs with the names of the function's parameters."""
    called = function.forward if isinstance(function, Module) else function
    try:
        bound = inspect.signature(called).bind(*inputs, **settings).arguments
    except (TypeError, ValueError):  # a built-in function
        bound = {f"x{k}": x for k, x in enumerate(inputs, 1)}
    for name, x in bound.items():
        if not isinstance(x, Module):
            yield from leaves("X" if isinstance(function, Module) and name == "x" else name, x)


# --- modules --------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Call:
    """A call of a module: the ages before and after it, and the call that it is part of."""

    begun: int
    ended: int
    module: Module
    outer: _Call | None = None

    def __post_init__(self) -> None:
        parts = parts_of(vars(self.module), "")
        self.own = {id(part) for _, part in parts if isinstance(part, Box)}

    @property
    def around(self) -> list[_Call]:
        """The calls that contain this one, and this one, outermost first."""
        return [*(self.outer.around if self.outer else ()), self]

    @property
    def title(self) -> str:
        own = self.module._title().removesuffix("()")
        modules = self.outer.module.named_modules() if self.outer else ()
        return ": ".join([*[path for path, m in modules if m is self.module][:1], own])


def _calls(nodes: list[Box]) -> list[_Call]:
    """Return the module calls that computed these results, in order, except those with one
    operation and no tensor of their own.
    """
    ages = [node.record[0] for node in nodes]
    used = {id(x) for node in nodes for x in node.record[2]}
    found: list[_Call] = []
    for begun, ended, reference in sorted(calls.latest, key=lambda call: call[:2]):
        count = bisect_right(ages, ended) - bisect_right(ages, begun)
        if count and (module := reference()) is not None:
            call = _Call(begun, ended, module)
            if count > 1 or call.own & used:
                around = [other for other in found if other.begun < begun and ended < other.ended]
                call.outer = around[-1] if around else None
                found.append(call)
    return found


# --- what is shown --------------------------------------------------------------------------------


@dataclass
class _Shown:
    """Settings of a picture: names, the result and its title, and the ids of tensors that have a
    gradient to show.
    """

    names: Names
    output: Box
    title: str
    reached: set[int]

    def graph(self, nodes: list[Box], calls: list[_Call], depth: int | None) -> Graph:
        """Return the graph with its modules opened down to `depth`."""
        graph = Graph()
        groups: dict[_Call | None, Group | None] = {None: None}
        shapes: dict[int, Shape] = {}
        inner = {
            n: next((c for c in calls[::-1] if c.begun < n.record[0] < c.ended), None)
            for n in nodes
        }
        around = {node: call.around if call else [] for node, call in inner.items()}

        def group(calls: list[_Call]) -> Group | None:
            for outer, call in zip([None, *calls], calls, strict=False):
                if call not in groups:
                    groups[call] = graph.group(call.title, groups[outer])
            return groups[calls[-1]] if calls else None

        for node in nodes:
            if depth is not None and len(around[node]) > depth:
                key, where = id(around[node][depth]), group(around[node][:depth])
                if key not in shapes:
                    shapes[key] = graph.shape(Kind.MODULE, [around[node][depth].title, ""], where)
                shapes[key].text[1] = str(node.value.shape)  # the shape of the last result
                shapes[id(node)] = shapes[key]
            else:
                shapes[id(node)] = self._operation(graph, node, group(around[node]))
        operands = [(node, x) for node in nodes for x in node.record[2] if _has_a_box(x)]
        users: dict[int, list[Box]] = {}
        for node, x in operands:
            if id(x) not in shapes:
                users.setdefault(id(x), []).append(node)
        for node, x in operands:
            if id(x) in users and id(x) not in shapes:
                home = _home(id(x), [(n.record[0], around[n]) for n in users[id(x)]])
                if depth is None or len(home) <= depth:
                    shapes[id(x)] = self._leaf(graph, x, group(home))
            if id(x) in shapes:
                graph.line(shapes[id(x)], shapes[id(node)])
        return graph

    def _operation(self, graph: Graph, node: Box, group: Group | None) -> Shape:
        _, op, args, _, settings = node.record
        words = [self._word(x) for x in args]
        if op in SIGNS and any(word != "·" for word in words):
            does = [f" {SIGNS[op]} ".join(words)]
        elif op is ops.linear.op:
            does = ["{} @ {} + {}".format(*words)]
        else:
            numbers = [_short(x) for x in args if not _has_a_box(x)]
            given = [
                f"{key}={_short(value)}"
                for key, value in settings.items()
                if not _same(value, op.defaults.get(key, _same))
            ]
            does = [*_two_lines(op.name), *filter(None, [" ".join(numbers), " ".join(given)])]
        name = self.title if node is self.output else self.names.of.get(node, "")
        return self._shape(graph, Kind.OPERATION, name, does, node, group)

    def _leaf(self, graph: Graph, x: Any, group: Group | None) -> Shape:
        variable = isinstance(x, Box) and x.record is not None
        frozen = isinstance(x, nn.Parameter) and not variable
        kind = Kind.PARAMETER if variable or frozen else Kind.CONSTANT
        return self._shape(graph, kind, self._name(x), ["frozen"] * frozen, x, group)

    def _shape(
        self, graph: Graph, kind: Kind, name: str, does: list[str], x: Any, group: Group | None
    ) -> Shape:
        array = x.value if isinstance(x, Box) else np.asarray(x)
        shape = str(array.shape)
        text = [_cut(part) for part in (name, *does, shape) if part]
        error = [f"∂L/∂{_cut(name)}", shape] if name and id(x) in self.reached else []
        more = ", ".join(part for part in (name, *does, shape, str(array.dtype)) if part)
        return graph.shape(kind, text + error, group, named=bool(name), plain=len(text), more=more)

    def _name(self, x: Any) -> str:
        return self.names.of.get(x, "") if isinstance(x, Box) else self.names.arrays.get(id(x), "")

    def _word(self, x: Any) -> str:
        """Return the text for an operand in its operation's box: its name if that is short, else a
        dot.
        """
        if not _has_a_box(x):
            return _short(x)
        name = self._name(x)
        return name if 0 < len(name) < 5 else "·"


def _home(x: int, users: list[tuple[int, list[_Call]]]) -> list[_Call]:
    """Return the calls in which to draw a leaf, given the ages of its users and the calls around
    these: a module's own tensor inside of the module, others outside.
    """
    for _, around in users:
        for k, call in enumerate(around):
            outside = [age for age, other in users if call not in other]
            # An earlier use elsewhere would need a line that goes back.
            if x in call.own and all(age > call.ended for age in outside):
                return around[: k + 1]
    return []


def _reached(nodes: list[Box]) -> set[int]:
    """Return the ids of the tensors that have a gradient."""
    reached = {id(nodes[-1])}
    for node in reversed(nodes):
        if id(node) in reached:
            _, op, args, _, _ = node.record
            for rule, x in zip(op.rules_for(args), args, strict=True):
                if rule is not None and isinstance(x, Box) and x.record is not None:
                    reached.add(id(x))
    return reached


def _has_a_box(x: Any) -> bool:
    """Return True if an argument has a box of its own; a plain number is part of its operation's
    box.
    """
    return isinstance(x, Box) or np.ndim(x) > 0


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) is not np.ndarray and value == default)


def _short(value: Any) -> str:
    """Return a number or setting in a few characters."""
    if isinstance(value, (float, np.floating)):
        return f"{value:.4g}"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"array {value.shape}"
    if isinstance(value, tuple) and len(value) > 1:
        return _cut(f"({', '.join(map(_short, value))})")
    if isinstance(value, slice):
        step = "" if value.step is None else f":{value.step}"
        return ":".join("" if x is None else str(x) for x in (value.start, value.stop)) + step
    if value is ...:
        return "…"
    return _cut(str(value))


def _two_lines(name: str) -> list[str]:
    """Return a long name in two lines, cut where a word ends."""
    if len(name) <= 20 or "_" not in name[4:-4]:
        return [name]
    cut = max(k for k, letter in enumerate(name[:21]) if letter == "_")
    return [name[:cut], name[cut:]]


def _cut(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:23]}…"
