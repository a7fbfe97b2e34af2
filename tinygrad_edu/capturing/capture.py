"""Capture: run a training step once on tensors, and write what it does down as a program.

Forward pass, backward sweep and the optimizer's update all run with everything recorded, so that
what comes back is a graph, from the results to the arguments and to the parameters. `Capture`
walks through it, oldest first, and lowers each operation into a program.

What makes this safe is what is refused. Numbers that leave the graph (`item()`, `if loss > 1`) and
arrays that come from nowhere (a random mask) could not be repeated, so each array that an operation
receives must be known: an argument, a result, or something that the function finds around it by
name (see `surroundings`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from itertools import zip_longest
from operator import attrgetter
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from .. import engine
from ..arrays import Array, as_array, describe
from ..capture_gate import CannotCapture, CaptureGate, gate
from ..engine import VARIABLE, Box, as_recorded
from ..frames import local_variables
from ..gradients import first_error
from ..naming import Names, parameter_names
from ..numpy_functions import boxes
from ..ops import astype
from ..recording import ALL, recording
from ..tensor import Tensor
from .calls import Mispredicted, Value, expect, values_in
from .homes import Home
from .listing import listing
from .lowering import lower
from .program import Program
from .rates import Rate
from .replay import Replay
from .surroundings import Surroundings

# Files whose own names say nothing of what the author's objects have.
_MACHINERY = {
    __file__,
    *(
        str(Path(__file__).parents[1] / f"{name}.py")
        for name in (
            "arrays",
            "capture_gate",
            "engine",
            "gradients",
            "linalg",
            "naming",
            "numpy_functions",
            "operation",
            "ops",
            "optim",
            "recording",
            "tensor",
        )
    ),
}


class Capture(CaptureGate):
    """A step while it runs for the first time, and what is known of it. A `CaptureGate`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.once = False  # whether the next call will find something else in an optimizer's state
        self.program = Program()
        self.rates: dict[Any, Rate] = {}
        self.states: dict[Any, dict[int, Any]] = {}
        self.moved: dict[Box, Box] = {}  # a tensor, or the stand-in of a state, and its new value
        self._was: dict[Box, tuple[Array, Any]] = {}  # data and gradient before the step
        self._random: bytes | None = None
        self._had: list[tuple[Any, dict[int, Any]]] = []  # the same of optimizers
        self.errors: dict[Box, Box] = {}  # ∂L/∂x of everything on the way, for the source
        self._differentiated: dict[Box, None] = {}
        self._empty: dict[Box, Any] = {}  # what stands for a .grad of None that nobody has touched
        self.needs_none: list[Box] = []  # tensors to whose .grad the step adds
        self._numbers: dict[Any, Value] = {}
        self._places: dict[Box, Value] = {}
        self._released: set[Box] = set()
        self.names = Names()
        self._arguments: list[Any] = []
        self._called: list[str] = []
        self._expected: list[Any] = []
        self._known: dict[int, tuple[Any, Any]] = {}  # id of an array: the array, whose it is
        self._filled: dict[int, tuple[Array, Array]] = {}  # id of np.zeros_like(t): it, as it was
        self._used_homes: dict[Home, Value] = {}
        self._state_boxes: dict[Any, Box] = {}
        self._boxes: dict[int, Tensor] = {}  # by the id of an array
        self._ours: list[tuple[int, int]] = []  # from which age to which our own rules ran

    # --- what a gate is asked ------------------------------------------------------------------

    def reads_value(self, tensor: Any, how: str) -> None:
        raise CannotCapture(
            f"{how} takes numbers out of {describe(tensor)} while the step is captured; they would "
            "be the same at every later call. Return the tensor and ask the result, or compute "
            "with tensors (tg.where in place of if)"
        )

    def uses_as_index(self, tensor: Any) -> None:
        array = tensor.value if isinstance(tensor, Box) else tensor
        self._known.setdefault(id(array), (array, tensor if isinstance(tensor, Box) else None))

    def creates_array(self, array: Any) -> None:
        self._filled[id(array)] = (array, array.copy())

    def assigns_data(self, tensor: Any, data: Any) -> bool:
        if not isinstance(data, Box):
            raise CannotCapture(
                f"{describe(tensor)} is given data that are not computed by recorded operations; "
                "assign a tensor, or do it outside of the step"
            )
        if data.value.dtype != tensor.dtype:
            data = astype(data, tensor.dtype)
        if data.value.shape != tensor.shape:
            raise ValueError(f"expected data of shape {tensor.shape}, received {describe(data)}")
        self._move(tensor, as_recorded(data))
        tensor.value = self.moved[tensor].value
        return True

    def backward(self, output: Any, gradient: Any, retain_graph: bool) -> None:
        if gradient is not None and not isinstance(gradient, Box):
            raise CannotCapture("backward(gradient) in a captured step takes a tensor")
        start = engine.tick()
        seed = first_error(output, gradient, True)
        nodes = engine.recorded_results(output)
        variables = dict.fromkeys(
            x for node in [*nodes, output] for x in (*node.record[2], node) if _is_variable(x)
        )
        self._follow_arrays(nodes)
        on_the_way = engine.depending_on(nodes, set(variables))
        if output not in on_the_way:
            raise RuntimeError(
                f"{describe(output)} has no graph to differentiate: it was computed from no "
                "tensor with requires_grad=True"
            )
        if engine.hooks and any(engine.hooks.get(id(x)) for x in (*nodes, *variables)):
            raise CannotCapture("a hook is registered with a tensor of the step: it is Python code")
        if self._released & on_the_way:
            raise RuntimeError(
                "a part of this graph was released by an earlier backward(); call "
                "backward(retain_graph=True) the first time"
            )
        if not retain_graph:
            self._released |= on_the_way - set(variables)
        found = engine.sweep(output, seed, {*on_the_way, *variables})
        self.errors |= found
        for variable in variables:
            if variable in found:
                before: Any = variable.grad
                if before is self._empty.get(variable, self):  # nobody has cleared it: it was None
                    self.needs_none.append(variable)
                    before = None
                if before is not None and not isinstance(before, Box):
                    raise CannotCapture(
                        f"{describe(variable)} has a .grad from before the step, to which this one "
                        "would be added; call optimizer.zero_grad() before backward(), or add up "
                        "the gradients of several batches within one step"
                    )
                new: Any = found[variable] if before is None else before + found[variable]
                variable.grad = new
                self._differentiated[variable] = None
        self._ours.append((start, engine.tick()))

    def _follow_arrays(self, nodes: Sequence[Box]) -> None:
        """Give rules the arrays that the step finds around it as tensors, so that what the rules
        compute from them is recorded and not taken for constant."""
        for node in nodes:
            age, op, args, raw, settings = node.record
            followed = tuple(
                arg if isinstance(arg, Box) or id(x) not in self._known else self._boxed(x)
                for arg, x in zip(args, raw, strict=True)
            )
            node.record = (age, op, followed, raw, settings)

    def _boxed(self, array: Array) -> Tensor:
        """A tensor on an array that the step finds around it, the same one each time."""
        if id(array) not in self._boxes:
            self._boxes[id(array)] = Tensor(array)
        return self._boxes[id(array)]

    def assumes(self, condition: Any) -> None:
        if not np.all(condition.value if isinstance(condition, Box) else condition):
            raise Mispredicted
        self._expected.append(condition)

    def updates(self, optimizer: Any) -> None:
        if optimizer not in self.before.optimizers:
            raise CannotCapture(
                f"the step uses {optimizer!r:.80}, which cannot be reached from it by name"
            )
        start = engine.tick()
        lr = Rate.of(lambda: optimizer.lr, ("lr", id(optimizer)))
        updates = []
        for i, parameter in enumerate(optimizer.parameters):
            g = parameter.grad
            if g is None or g is self._empty.get(parameter):
                continue
            if not isinstance(g, Box):
                raise CannotCapture(
                    f"{describe(parameter)} has a .grad that backward() did not leave in this step"
                )
            stand_ins = self._state(optimizer, i)
            w = self.moved.get(parameter, parameter)
            current = {name: self.moved.get(box, box) for name, box in stand_ins.items()}
            value, state = optimizer.update(w, g, current, lr)
            if value.shape != w.shape:
                raise ValueError(
                    f"{type(optimizer).__name__}.update gave parameter {i} the shape "
                    f"{value.shape}, expected {w.shape}"
                )
            if value.dtype != w.dtype:
                value = astype(value, w.dtype)
            updates.append((i, parameter, value, stand_ins, state))
        for i, parameter, value, stand_ins, state in updates:
            self._move(parameter, value)
            parameter.value = value.value
            self.once |= state.keys() != stand_ins.keys()
            for name in stand_ins.keys() & state.keys():
                self._move(stand_ins[name], state[name])
            optimizer.state[i] = {name: x.value for name, x in state.items()}
        self._ours.append((start, engine.tick()))

    def _move(self, tensor: Box, value: Box) -> None:
        self.moved[tensor] = value
        self.uses_as_index(value)

    def _state(self, optimizer: Any, i: int) -> dict[str, Box]:
        """Stand-ins for what an optimizer keeps for a parameter."""
        if i not in optimizer.state:
            optimizer.state[i] = optimizer.first_state(optimizer.parameters[i].value)
        stand_ins = {}
        for name, array in optimizer.state[i].items():
            key = (optimizer, i, name)
            if key not in self._state_boxes:
                box = self._state_boxes[key] = Tensor(np.array(array))
                home = Home.of((optimizer, i), name)
                self._known[id(box.value)] = (box.value, home)
            stand_ins[name] = self._state_boxes[key]
        self.states.setdefault(optimizer, {})[i] = stand_ins.keys()
        return stand_ins

    # --- the run ----------------------------------------------------------------------------------

    def record(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Run the function with everything recorded; `undo` takes back what it left."""
        others = [x for x in (*args, *kwargs.values()) if not _is_data(x)]
        self.before = before = Surroundings(self.function, *others)
        self._was = {x: (x.value, x.grad) for x in before.tensors.values()}
        self._had = [(o, dict(o.state)) for o in before.optimizers]
        self._random = before.random_state()
        contents = before.contents()
        arguments = [self._argument(x) for x in (*args, *kwargs.values())]
        self._arguments, self._called = arguments, _names_of(self.function, args, kwargs)
        by_name = dict(zip(kwargs, arguments[len(args) :], strict=True))
        for x in before.tensors.values():
            self._known.setdefault(id(x.value), (x.value, x))
        for array in before.arrays.values():
            self._known.setdefault(id(array), (array, array))
        for x in filter(_is_variable, before.tensors.values()):
            if x.grad is None:
                x.grad = self._empty[x] = np.broadcast_to(
                    np.zeros((), x.value.dtype), x.value.shape
                )
        self._start = engine.tick()

        seen = local_variables()

        def run() -> None:
            gate.set(self)
            with recording(ALL):
                self._result = seen.run(self.function, *arguments[: len(args)], **by_name)

        copy_context().run(run)  # the gate is set in this context only, wherever a signal comes
        used = {
            name
            for code in seen.codes
            if code.co_filename not in _MACHINERY
            for name in code.co_names
        }
        for x, (_, was) in self._was.items():
            if x.grad is self._empty.get(x, self):
                x.grad = None
            elif x.grad is None and (was is not None or x in self._empty):
                self._differentiated.setdefault(x)  # cleared, and not reached
        self.surroundings = Surroundings(self.function, *others, used=used, codes=seen.codes)
        self._seen = seen
        self._refuse_what_changed(contents)
        self._gradients: dict[Box, Any] = {x: x.grad for x in self._differentiated}
        outputs: list[Any] = [*boxes(self._result), *self.moved.values(), *self._expected]
        self._outputs = outputs + [g for g in self._gradients.values() if isinstance(g, Box)]
        self._nodes = self._recorded()

    def written(self) -> tuple[Replay, Any]:
        """The program of what was recorded, and the result of the function."""
        captured = self._written()
        for x in self._differentiated:
            g: Any = x.grad
            x.grad = g.value if isinstance(g, Box) else g
        return captured, plain(self._result)

    def signature(self) -> list[Any]:
        """What was recorded, as plain values that two traces from one state have in common."""
        place = {node: i for i, node in enumerate(self._nodes)}
        key = partial(self._key, place)
        lines: list[Any] = []
        for node in self._nodes:
            _, op, args, raw, settings = node.record
            lines.append((str(op), *map(key, args, raw), key(settings, settings)))
        lines.append(("the result", key(self._result, self._result)))
        for x, value in self.moved.items():
            lines.append(("new data", key(x, x.value) if x in self._was else "", key(value, value)))
        for x, g in self._gradients.items():
            lines.append(("gradient", id(x), key(g, g)))
        return [*lines, *(("a condition", key(x, x)) for x in self._expected)]

    def _key(self, place: dict[Box, int], x: Any, raw: Any) -> Any:
        """A plain value that stands for an argument, a setting or a result."""
        if isinstance(x, Box) and x in place:
            return ("the result of operation", place[x])
        if isinstance(x, Rate):
            return ("a rate", str(x))
        raw = raw.value if isinstance(raw, Box) else raw
        if not isinstance(raw, np.ndarray):
            return key_of(raw, lambda part: self._key(place, part, part))
        _, owner = self._known.get(id(raw), (None, None))
        if isinstance(owner, Box) and owner in place:
            return ("the result of operation", place[owner])
        if isinstance(owner, Value):
            return ("argument", self.program.given.index(owner))
        if isinstance(owner, Home) and owner.name is not None:
            return ("a state", id(owner.holder[0]), owner.holder[1], owner.name)
        return key_of(raw, None) if owner is None else ("an array", id(owner))

    def undo(self) -> None:
        """Leave tensors and optimizers as they were."""
        for x, (value, grad) in self._was.items():
            x.value, x.grad = value, grad
        for optimizer, state in self._had:
            optimizer.state = dict(state)
        if self._random is not None:
            self.before.restore_random_state(self._random)

    def _argument(self, x: Any) -> Any:
        if not _is_data(x):
            return x
        array = as_array(x.value if isinstance(x, Box) else x).view()  # not what a closure knows
        box = Tensor(array)
        box.name = x.name if isinstance(x, Box) else None
        self._known[id(box.value)] = (box.value, self.program.argument(box.value))
        return box

    def _refuse_what_changed(self, contents: list[Any]) -> None:
        if (path := self.surroundings.changed_since(self.before)) is not None:
            raise CannotCapture(
                f"the step changed {path}, which Python does and a program of array operations "
                "does not; return what is to be kept, and keep it outside of the step"
            )
        then = zip(self.before.contained, contents, self.before.contents(), strict=True)
        for (what, _), was, now in then:
            if was != now:
                raise CannotCapture(
                    f"the step changed {what}, which a program of array "
                    "operations does not; give what it reads as an argument, or keep it in an "
                    "nn.Buffer"
                )
        for x, (value, _) in self._was.items():
            if x.value is not (self.moved[x].value if x in self.moved else value):
                raise CannotCapture(
                    f"{describe(x)} was given new data by something that is not recorded"
                )

    # --- the program ------------------------------------------------------------------------------

    def _written(self) -> Replay:
        nodes, result, gradients = self._nodes, self._result, self._gradients
        self._name(self._seen, self._outputs)
        self.source = listing(self, nodes, result)
        drawn = any("rng" in node.record[4] for node in nodes)
        if not drawn and self.before.random_state() != self._random:
            raise CannotCapture(
                "the step draws random numbers beside the recorded operations; they would be the "
                "same at every call. Draw them outside and give them as an argument"
            )
        for node in nodes:
            self._lower(node)
        for condition in self._expected:
            self.program.guard(expect, (self._place_of(condition), True))
        results = _with_places(result, self._own_place)
        moves = []
        for x, value in self.moved.items():
            place = self._place_of_home(x)
            new = self._place_of(value, ours=True)
            if new is not place:
                moves.append((place, new))
        taken = {final for _, final in moves}
        left: list[tuple[Box, Value | None]] = []
        for x, g in gradients.items():
            final: Value | None = None
            if isinstance(g, Box):
                final = self._place_of(g, ours=True)
                if final.kind != "result" or final in taken:
                    final = self.program.owned(final)
                taken.add(final)
            left.append((x, final))
        values = [*values_in(results), *(v for _, v in left if v is not None)]
        self.program.finish(values, moves)
        return Replay(
            self.program, self.surroundings, list(self._used_homes.items()), left, results,
            list(self.rates.values()), self.states, self.needs_none, self.names.of, drawn,
        )  # fmt: skip

    def _name(self, seen: local_variables, outputs: list[Box]) -> None:
        """Names for what the author has named, and the slides' for what lies between."""
        names = self.names
        for x, name in zip(self._arguments, self._called, strict=True):
            if isinstance(x, Box):
                names.give(x, x.name or name)
        for module in self.surroundings.modules:
            for parameter, name in parameter_names(module):
                names.give(parameter, name)
        for x in self.surroundings.tensors.values():
            if x.name:
                names.give(x, x.name)
        names.give_layers(seen.layers)
        names.give_all(seen.found, outputs[0] if outputs else Tensor(0.0))
        if self._differentiated:
            names.give_activations(sorted(self.errors, key=lambda x: x.record[0]))
        for (_, i, name), box in self._state_boxes.items():
            names.give(box, f"{name}{i + 1}")

    def _recorded(self) -> list[Box]:
        """All recorded results that lead to the outputs, oldest first."""
        found: set[Box] = set()
        stack: list[Any] = list(self._outputs)
        while stack:
            x = stack.pop()
            if x in found or x.record is None or x.record[1] is VARIABLE:
                continue
            if x.record[0] < self._start:
                raise CannotCapture(
                    f"{describe(x)} was computed by {x.record[1]} before the step, and would be "
                    "the same at every call; compute it in the step, or detach() it"
                )
            found.add(x)
            _, _, args, raw, settings = x.record
            for arg, array in zip(args, raw, strict=True):
                if isinstance(arg, Box):
                    stack.append(arg)
                stack += self._maker(array)
            for array in _arrays_in(settings):
                stack += self._maker(array)
        return sorted(found, key=attrgetter("record"))

    def _maker(self, array: Any) -> list[Box]:
        _, owner = self._known.get(id(array), (None, None))
        return [owner] if isinstance(owner, Box) else []

    def _lower(self, node: Box) -> None:
        age, op, args, raw, settings = node.record
        self._age, self._op = age, op
        places = [self._resolved(arg, x) for arg, x in zip(args, raw, strict=True)]
        if op is as_recorded.op:
            self._places[node] = places[0]
        else:
            settings = _with_places(settings, self._setting)
            self._places[node] = lower(self.program, op, places, raw, settings, node.value)

    def _resolved(self, arg: Any, raw: Any) -> Any:
        """The value in the program that an argument is, or the Python number."""
        if isinstance(arg, Box) and arg in self._places:
            return self._places[arg]
        if isinstance(arg, Rate):
            if arg.key not in self._numbers:
                self.rates[arg.key] = arg
                self._numbers[arg.key] = self.program.argument(raw)
            return self._numbers[arg.key]
        if not isinstance(raw, np.ndarray):
            return raw
        if (place := self._known_place(raw)) is not None:
            return place
        filled = self._filled.get(id(raw))
        if filled is not None and np.array_equal(*filled):  # nobody has written into it
            return self.program.constant(raw)
        if not isinstance(arg, (Box, np.ndarray)) or self._is_ours():
            return self.program.constant(raw)
        raise self._unknown(arg)

    def _place_of(self, x: Any, ours: bool = False) -> Value:
        """The value that a result or a new value is; `ours`: it came from a rule or an optimizer,
        whose constants follow from shapes."""
        if isinstance(x, Box) and x in self._places:
            return self._places[x]
        self._op = "the result"
        array = x.value if isinstance(x, Box) else x
        if (place := self._known_place(array)) is not None:
            return place
        if ours:
            return self.program.constant(array)
        raise self._unknown(x)

    def _own_place(self, x: Any) -> Value:
        """The value of a result, in memory that the run itself does not write over later."""
        place = self._place_of(x)
        return self.program.owned(place) if place.root.kind in ("home", "argument") else place

    def _setting(self, array: Array) -> Any:
        if (place := self._known_place(array)) is not None:
            return place
        if id(array) in self._known or self._is_ours():
            return array
        filled = self._filled.get(id(array))
        if filled is not None and np.array_equal(*filled):  # follows from shapes and settings
            return array
        raise self._unknown(array)

    def _unknown(self, x: Any) -> CannotCapture:
        return CannotCapture(
            f"{self._op} received {describe(x)}, an array that was made in the step beside the "
            "recorded operations; it would be the same at every call. Give it as an argument, make "
            "it once outside of the step, or compute it with the operations of tinygrad_edu; zeros "
            "and ones are np.zeros_like(t), np.ones_like(t) of a tensor"
        )

    def _is_ours(self) -> bool:
        """Whether the operation at hand was called by a rule or an optimizer, whose constants
        follow from shapes."""
        return any(start < self._age < end for start, end in self._ours)

    def _known_place(self, array: Array) -> Value | None:
        _, owner = self._known.get(id(array), (None, None))
        if owner is None or isinstance(owner, Value):
            return owner
        if isinstance(owner, Box) and owner in self._places:
            return self._places[owner]
        return self._home_place(owner)

    def _place_of_home(self, x: Any) -> Any:
        return self._known_place(self._was[x][0] if x in self._was else x.value)  # or of a stand-in

    def _home_place(self, owner: Any) -> Value:
        """The value for a tensor, an array or a state that the step finds around it."""
        if isinstance(owner, Home):
            home, array = owner, owner.read()
        else:
            home = Home.of(owner)
            boxed = isinstance(owner, Box)
            if id(owner) not in (self.surroundings.tensors if boxed else self.surroundings.arrays):
                raise self._unknown(owner)
            array = self._was[owner][0] if boxed else owner
        if home not in self._used_homes:
            self._used_homes[home] = Value("home", np.asarray(array))
        return self._used_homes[home]


def refuse_if_other(first: list[Any], second: list[Any]) -> None:
    """Refuse a step that did not record the same when it was traced twice from one state."""
    for a, b in zip_longest(first, second):
        if a != b:
            was, now = (text_of(x) if x else "nothing" for x in (a, b))
            raise CannotCapture(
                f"two runs of the step from one state differ: {was} the first time, {now} the "
                "second. It reads something that changes by itself, such as a counter, an "
                "iterator, a clock or random numbers; give that as an argument"
            )


def key_of(x: Any, inner: Any) -> Any:
    """A plain value that two equal arrays, settings or results have in common.

    inner   a function that gives the key of a part of a container
    """
    if isinstance(x, np.ndarray):
        data = x.tobytes() if x.dtype.kind != "O" else repr(x).encode()
        return ("array", x.shape, x.dtype.str, str(x.ravel()[:4]), crc32(data))
    if isinstance(x, (tuple, list)):
        return (type(x).__name__, *map(inner, x))
    if isinstance(x, dict):
        return ("dict", *((name, inner(part)) for name, part in x.items()))
    if isinstance(x, (str, bytes, int, float, complex, slice, type(None), np.generic, np.dtype)):
        return (type(x).__name__, repr(x))
    return (type(x).__name__, getattr(x, "__qualname__", ""))


def text_of(key: Any) -> str:
    """The key of a recorded operation in words.

    Example:
        >>> text_of(("multiply", ("argument", 0), ("float", "0.5"), ("dict",)))
        'multiply of argument 0, 0.5'
    """

    def part(x: Any) -> str:
        if not isinstance(x, tuple) or not x:
            return str(x)
        if x[0] == "array":
            return f"{x[1]} {np.dtype(x[2])} {x[3]}"
        if x[0] in ("the result of operation", "argument", "a rate"):
            return f"{x[0]} {x[1]}"
        if x[0] in ("tuple", "list", "dict"):
            return ", ".join(filter(None, map(part, x[1:])))
        return " ".join(map(str, x[1:])) or str(x[0])

    return f"{key[0]} of {', '.join(filter(None, map(part, key[1:])))}"


def _names_of(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[str]:
    """What the function calls its arguments."""
    try:
        by_place = [
            p.name
            for p in inspect.signature(function).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        by_place = []
    by_place += [f"x{i + 1}" for i in range(len(by_place), len(args))]
    return [*by_place[: len(args)], *kwargs]


def _is_data(x: Any) -> bool:
    """Whether an argument is an array, given anew at each call."""
    return isinstance(x, np.ndarray) or (isinstance(x, Box) and x.record is None)


def _is_variable(x: Any) -> bool:
    return isinstance(x, Box) and x.record is not None and x.record[1] is VARIABLE


def _arrays_in(x: Any) -> Iterator[Array]:
    """All arrays in a setting."""
    if isinstance(x, np.ndarray):
        yield x
    elif isinstance(x, (tuple, list)):
        for part in x:
            yield from _arrays_in(part)
    elif isinstance(x, dict):
        yield from _arrays_in(list(x.values()))


def _with_places(x: Any, place: Callable[[Any], Any]) -> Any:
    """A result or a setting with places in the program instead of tensors and arrays."""
    if isinstance(x, (Box, np.ndarray)):
        return place(x)
    if isinstance(x, (tuple, list)):
        return type(x)(_with_places(part, place) for part in x)
    if isinstance(x, dict):
        return {name: _with_places(part, place) for name, part in x.items()}
    return x


def plain(result: Any) -> Any:
    """A result without its record, as a program gives it."""
    if isinstance(result, Box):
        return Tensor(result.value.copy(), name=result.name)
    if isinstance(result, (tuple, list)):
        return type(result)(map(plain, result))
    if isinstance(result, dict):
        return {name: plain(x) for name, x in result.items()}
    return result
