"""Kinds of change: a number that the model keeps, in an attribute or in an object that it holds."""

from __future__ import annotations

import array
import ctypes
import enum
import queue
import weakref
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import copysign
from operator import attrgetter, itemgetter, setitem
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np

import tinygrad_edu as tg

from .case import FOLLOWED, RAISED, REFUSED, Case, Factor, kind, layer

ABSENT = object()


# --- attributes of a module: plain settings, which are looked at before every call ----------------


def setting(name: str, first: Any, read: Callable[[Any], Any], then: Any) -> None:
    """Register a kind: the attribute `held` is `first` and later `then`; `read(self)` gives the
    factor. ABSENT stands for no attribute."""

    @kind(name, FOLLOWED)
    def build(at: int) -> Case:
        model = layer(read)
        if first is not ABSENT:
            model.held = first

        def change(case: Case) -> None:
            if then is ABSENT:
                del model.held
            else:
                model.held = then

        return Case(model, change)


def held(self: Any) -> Any:
    return self.held


setting("attribute: a number", 1.0, held, 2.0)
setting("attribute: a whole number", 1, held, 2)
setting("attribute: a flag", True, lambda self: 1.0 if self.held else 2.0, False)
setting("attribute: a string", "one", lambda self: {"one": 1.0, "two": 2.0}[self.held], "two")
setting("attribute: bytes", b"1", lambda self: float(self.held), b"2")
setting("attribute: None, then a number", None, lambda self: self.held or 1.0, 2.0)
setting("attribute: a number, then None", 2.0, lambda self: self.held or 1.0, None)
setting("attribute: 0.0, then -0.0", 0.0, lambda self: 2 + copysign(1, self.held), -0.0)
setting("attribute: 1, then True", 1, lambda self: 2.0 if self.held is True else 1.0, True)
setting("attribute: 1, then 1.0", 1, lambda self: len(str(self.held)), 1.0)
setting("attribute: a number, then NaN", 1.0, held, float("nan"))
setting("attribute: a NumPy scalar", np.float64(1.0), held, np.float64(2.0))
setting(
    "attribute: a NumPy scalar, float32 then float64",
    np.float32(1),
    lambda self: self.held.itemsize,
    np.float64(1),
)
setting("attribute: a dtype", np.dtype("f4"), lambda self: self.held.itemsize, np.dtype("f8"))
setting(
    "attribute: absent, then there (hasattr)",
    ABSENT,
    lambda self: 2.0 if hasattr(self, "held") else 1.0,
    2.0,
)
setting(
    "attribute: there, then deleted (hasattr)",
    1.0,
    lambda self: 2.0 if hasattr(self, "held") else 1.0,
    ABSENT,
)
setting("attribute: there, then deleted, which is an AttributeError", 1.0, held, ABSENT)
setting(
    "attribute: there, then None, which is a TypeError", 1.0, lambda self: 2.0 * self.held, None
)


@kind("attribute: a name put together, getattr(self, f'beta_{k}')", FOLLOWED)
def _(at: int) -> Case:
    k = 1
    model = layer(lambda self: getattr(self, f"beta_{k}"))
    model.beta_1 = 1.0
    return Case(model, lambda case: setattr(model, "beta_1", 2.0))


@kind("attribute: read by operator.attrgetter, which no code of the step names", RAISED)
def _(at: int) -> Case:
    model = layer(attrgetter("beta"))
    model.beta = 1.0
    return Case(model, lambda case: setattr(model, "beta", 2.0))


@kind("attribute: read through vars(self)", FOLLOWED)
def _(at: int) -> Case:
    model = layer(lambda self: vars(self)["beta"])
    model.beta = 1.0
    return Case(model, lambda case: setattr(model, "beta", 2.0))


@kind("class attribute, later shadowed on the instance", FOLLOWED)
def _(at: int) -> Case:
    model = layer(lambda self: self.scale, scale=1.0)
    return Case(model, lambda case: setattr(model, "scale", 2.0))


@kind("attribute, deleted: the class's shows", FOLLOWED)
def _(at: int) -> Case:
    model = layer(lambda self: self.scale, scale=2.0)
    model.scale = 1.0
    return Case(model, lambda case: delattr(model, "scale"))


@kind("class attribute, changed on the class", RAISED)
def _(at: int) -> Case:
    model = layer(lambda self: self.scale, scale=1.0)
    return Case(model, lambda case: setattr(type(model), "scale", 2.0))


@kind("class attribute of a base class", RAISED)
def _(at: int) -> Case:
    class Base(Factor):
        scale = 1.0

        def factor(self) -> Any:
            return self.scale

    class Derived(Base):
        pass

    return Case(Derived(), lambda case: setattr(Base, "scale", 2.0))


@kind("__slots__ of a class that is mixed in", RAISED)
def _(at: int) -> Case:
    class Slotted:
        __slots__ = ("beta",)
        beta: float

    class Layer(Slotted, Factor):
        def factor(self) -> Any:
            return self.beta

    model: Any = Layer()
    model.beta = 1.0
    return Case(model, lambda case: setattr(model, "beta", 2.0))


@kind("a property of an attribute", FOLLOWED)
def _(at: int) -> Case:
    model = layer(lambda self: self.scale, scale=property(lambda self: 2 * self.half))
    model.half = 0.5
    return Case(model, lambda case: setattr(model, "half", 1.0))


@kind("a property of something kept elsewhere", RAISED)
def _(at: int) -> Case:
    elsewhere = {"scale": 1.0}
    model = layer(lambda self: self.scale, scale=property(lambda self: elsewhere["scale"]))
    return Case(model, lambda case: setitem(elsewhere, "scale", 2.0))


@kind("a descriptor that keeps its values itself", RAISED)
def _(at: int) -> Case:
    class Kept:
        def __init__(self) -> None:
            self.values: dict[int, float] = {}

        def __get__(self, instance: Any, owner: Any) -> Any:
            return self.values.get(id(instance), 1.0)

        def __set__(self, instance: Any, value: float) -> None:
            self.values[id(instance)] = value

    model = layer(lambda self: self.scale, scale=Kept())
    return Case(model, lambda case: setattr(model, "scale", 2.0))


@kind("__getattr__ of the module", RAISED)
def _(at: int) -> Case:
    class Layer(Factor):
        def __init__(self) -> None:
            super().__init__()
            self.more = {"beta": 1.0}

        def __getattr__(self, name: str) -> Any:
            if name == "beta":
                return self.more["beta"]
            raise AttributeError(name)

        def factor(self) -> Any:
            return self.beta

    model = Layer()
    return Case(model, lambda case: setitem(model.more, "beta", 2.0))


@kind("__getattribute__ of the module", RAISED)
def _(at: int) -> Case:
    told = [1.0]

    class Layer(Factor):
        def __getattribute__(self, name: str) -> Any:
            return told[0] if name == "beta" else super().__getattribute__(name)

        def factor(self) -> Any:
            return self.beta

    return Case(Layer(), lambda case: setitem(told, 0, 2.0))


@kind("a number of a module inside", FOLLOWED)
def _(at: int) -> Case:
    inner = layer(lambda self: self.scale)
    inner.scale = 1.0
    return Case(tg.nn.Sequential(inner, tg.nn.Tanh()), lambda case: setattr(inner, "scale", 2.0))


@kind("a number of a module in a dict of lists", FOLLOWED)
def _(at: int) -> Case:
    inner = layer(lambda self: self.scale)
    inner.scale = 1.0

    class Outer(tg.nn.Module):
        def __init__(self) -> None:
            self.parts = {"all": [inner]}

        def forward(self, x: Any) -> Any:
            return self.parts["all"][0](x)

    return Case(Outer(), lambda case: setattr(inner, "scale", 2.0))


@kind("a number of a module that is no attribute, reached by a closure", REFUSED)
def _(at: int) -> Case:
    other = layer(lambda self: self.scale)
    other.scale = 1.0

    def loss(prediction: Any, target: Any) -> Any:
        return tg.mse_loss(prediction, target) + 0.1 * (other.w**2).mean() * other.factor()

    model = layer(lambda self: 1.0)
    return Case(model, lambda case: setattr(other, "scale", 2.0), loss=loss)


@kind("a module in an object of one's own", FOLLOWED)
def _(at: int) -> Case:
    inner = layer(lambda self: self.scale)
    inner.scale = 1.0
    holder = SimpleNamespace(inner=inner)

    class Outer(tg.nn.Module):
        def __init__(self) -> None:
            self.w = inner.w
            self.holder = holder

        def forward(self, x: Any) -> Any:
            return self.holder.inner(x)

    return Case(Outer(), lambda case: setattr(inner, "scale", 2.0))


# --- objects that a module holds ------------------------------------------------------------------


def inside(
    name: str, make: Callable[[], Any], read: Callable[[Any], Any], change: Callable[[Any], Any]
) -> None:
    """Register a kind: the attribute `held` is an object, of which `read` gives the factor and in
    which `change` changes it."""

    @kind(name, RAISED)
    def build(at: int) -> Case:
        model = layer(lambda self: read(self.held))
        model.held = make()
        return Case(model, lambda case: change(model.held))


first: Callable[[Any], Any] = itemgetter(0)
inside("a list: an entry", lambda: [1.0], first, lambda x: setitem(x, 0, 2.0))
inside("a list: appended", lambda: [1.0], len, lambda x: x.append(0.0))
inside("a list: sorted", lambda: [2.0, 1.0], first, lambda x: x.sort())
inside("a list in a list", lambda: [[1.0]], lambda x: x[0][0], lambda x: setitem(x[0], 0, 2.0))
inside("a list of strings", lambda: ["a"], lambda x: len(x[0]), lambda x: setitem(x, 0, "bb"))
inside("a dict: an entry", lambda: {"b": 1.0}, itemgetter("b"), lambda x: x.update(b=2.0))
inside("a dict: a key added", lambda: {"a": 0}, len, lambda x: x.update(b=0))
inside("a dict: a key deleted", lambda: {"a": 0, "b": 0}, len, lambda x: x.pop("a"))
inside(
    "a dict in a dict",
    lambda: {"a": {"b": 1.0}},
    lambda x: x["a"]["b"],
    lambda x: x["a"].update(b=2.0),
)
inside(
    "a defaultdict", lambda: defaultdict(lambda: 1.0), itemgetter("b"), lambda x: x.update(b=2.0)
)
inside(
    "an OrderedDict: its order",
    lambda: OrderedDict(a=1.0, b=2.0),
    lambda x: next(iter(x.values())),
    lambda x: x.move_to_end("a"),
)
inside("a Counter", lambda: Counter(a=1), itemgetter("a"), lambda x: x.update("a"))
inside("a ChainMap", lambda: ChainMap({"b": 1.0}), itemgetter("b"), lambda x: x.update(b=2.0))
inside("a UserDict", lambda: UserDict(b=1.0), itemgetter("b"), lambda x: x.update(b=2.0))
inside("a set", lambda: {1}, len, lambda x: x.add(2))
inside("a deque: an entry", lambda: deque([1.0]), first, lambda x: setitem(x, 0, 2.0))
inside("a deque: appended", lambda: deque([1.0], maxlen=1), first, lambda x: x.append(2.0))
inside("a deque: rotated", lambda: deque([1.0, 2.0]), first, lambda x: x.rotate())
inside("a queue", lambda: queue.SimpleQueue(), lambda x: 1 + x.qsize(), lambda x: x.put(0))
inside("a bytearray", lambda: bytearray(b"\1"), first, lambda x: setitem(x, 0, 2))
inside("an array.array", lambda: array.array("d", [1.0]), first, lambda x: setitem(x, 0, 2.0))
inside("a memoryview", lambda: memoryview(bytearray(b"\1")), first, lambda x: setitem(x, 0, 2))
inside(
    "a number of ctypes",
    lambda: ctypes.c_double(1.0),
    attrgetter("value"),
    lambda x: setattr(x, "value", 2.0),
)
inside(
    "an array: an entry read as a number",
    lambda: np.array([1.0, 5.0]),
    first,
    lambda x: setitem(x, 0, 2.0),
)
inside(
    "an array: an entry read by float()",
    lambda: np.array([1.0]),
    lambda x: float(x[0]),
    lambda x: setitem(x, 0, 2.0),
)
inside(
    "an array: read by item()",
    lambda: np.array(1.0),
    lambda x: x.item(),
    lambda x: setitem(x, (), 2.0),
)
inside("an array: its mean", lambda: np.ones(3), lambda x: x.mean(), lambda x: setitem(x, 0, 2.0))
inside("an array: a slice of it", lambda: np.ones(3), lambda x: x[:2], lambda x: setitem(x, 0, 2.0))
inside("an array, changed in place", lambda: np.ones(2), lambda x: x, lambda x: setitem(x, 0, 2.0))
inside("an array without axes", lambda: np.array(1.0), lambda x: x, lambda x: setitem(x, (), 2.0))
inside("an array: added to in place", lambda: np.ones(2), lambda x: x, lambda x: np.add(x, 1, x))
inside(
    "a view, changed through its base",
    lambda: np.ones((2, 2))[0],
    lambda x: x,
    lambda x: setitem(x.base, 0, 2.0),
)
inside(
    "a masked array",
    lambda: np.ma.masked_array([1.0, 2.0]),
    lambda x: float(x.sum()),
    lambda x: setitem(x, 0, np.ma.masked),
)
inside(
    "a structured array",
    lambda: np.ones(1, "f8,f8"),
    lambda x: x[0][0].item(),
    lambda x: setitem(x["f0"], 0, 2.0),
)
inside("an object", lambda: SimpleNamespace(b=1.0), attrgetter("b"), lambda x: setattr(x, "b", 2.0))
inside(
    "an object in an object",
    lambda: SimpleNamespace(a=SimpleNamespace(b=1.0)),
    attrgetter("a.b"),
    lambda x: setattr(x.a, "b", 2.0),
)
inside(
    "a read-only view of a dict",
    lambda: _Proxied({"b": 1.0}),
    lambda x: x.view["b"],
    lambda x: x.under.update(b=2.0),
)
inside(
    "a tensor: its data",
    lambda: tg.Tensor([1.0, 1.0]),
    lambda x: x,
    lambda x: setattr(x, "data", np.array([2.0, 1.0])),
)
inside(
    "an optimizer that is not the step's: its lr",
    lambda: _other(),
    attrgetter("lr"),
    lambda x: setattr(x, "lr", 2.0),
)
inside(
    "a context of decimals",
    lambda: [Decimal(1)],
    lambda x: float(x[0]),
    lambda x: setitem(x, 0, Decimal(2)),
)


class _Proxied:
    def __init__(self, under: dict[str, float]) -> None:
        self.under, self.view = under, MappingProxyType(under)


def _other() -> Any:
    return tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=1.0)


@dataclass
class Settings:
    beta: float


Pair = namedtuple("Pair", "a b")


class Choice(enum.Enum):
    ONE = 1.0
    TWO = 2.0


class Slots:
    __slots__ = ("beta",)

    def __init__(self, beta: float) -> None:
        self.beta = beta


inside("a dataclass", lambda: Settings(1.0), attrgetter("beta"), lambda x: setattr(x, "beta", 2.0))
inside(
    "an object with __slots__",
    lambda: Slots(1.0),
    attrgetter("beta"),
    lambda x: setattr(x, "beta", 2.0),
)


def replaced(name: str, first: Any, read: Callable[[Any], Any], then: Any) -> None:
    """Register a kind: the attribute `held`, no plain setting, is another object later."""

    @kind(name, RAISED)
    def build(at: int) -> Case:
        model = layer(lambda self: read(self.held))
        model.held = first
        return Case(model, lambda case: setattr(model, "held", then))


replaced("replaced: a tuple", (1.0,), first, (2.0,))
replaced("replaced: a frozenset", frozenset(), lambda x: 1 + len(x), frozenset({1}))
replaced("replaced: a list", [1.0], first, [2.0])
replaced("replaced: an array", np.ones(2), lambda x: x, np.array([1.0, 2.0]))
replaced("replaced: an array of another shape", np.ones(2), lambda x: x, np.array([2.0]))
replaced("replaced: a namedtuple", Pair(1.0, 0), attrgetter("a"), Pair(2.0, 0))
replaced("replaced: an Enum member", Choice.ONE, attrgetter("value"), Choice.TWO)
replaced("replaced: a Fraction", Fraction(1), float, Fraction(2))
replaced("replaced: a Decimal", Decimal(1), float, Decimal(2))
replaced("replaced: a complex number", 1 + 0j, attrgetter("real"), 2 + 0j)
replaced("replaced: a range", range(1), len, range(2))
replaced("replaced: a slice", slice(0, 1), attrgetter("stop"), slice(0, 2))
replaced("replaced: a function", lambda: 1.0, lambda x: x(), lambda: 2.0)
replaced("replaced: a class", Settings, lambda x: len(x.__name__), Choice)
replaced("replaced: a builtin function", min, lambda x: x(1.0, 2.0), max)
replaced("replaced: a ufunc", np.sin, lambda x: x(1.0), np.cos)


@kind("what a weak reference leads to", RAISED)
def _(at: int) -> Case:
    target = Settings(1.0)
    model = layer(lambda self: self.reference().beta)
    model.reference = weakref.ref(target)

    def change(case: Case, kept: Any = target) -> None:
        kept.beta = 2.0

    return Case(model, change)


@kind("a weak reference whose target goes", RAISED)
def _(at: int) -> Case:
    alive = [Settings(1.0)]
    model = layer(lambda self: 1.0 if self.reference() else 2.0)
    model.reference = weakref.ref(alive[0])
    return Case(model, lambda case: alive.clear())
