"""Kinds of change: methods, classes and hooks that are replaced."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import nn

from .case import FOLLOWED, RAISED, REFUSED, Case, Factor, adam, kind, layer


class Scaled(Factor):
    """A layer with methods to replace."""

    def factor(self) -> Any:
        return self.helper()

    def helper(self) -> Any:
        return 1.0

    @staticmethod
    def constant() -> Any:
        return 1.0


def scaled(**members: Any) -> Any:
    """Return a layer of a class of its own that derives from Scaled."""
    return type("Scaled", (Scaled,), members)()


def doubled(self: Any, x: Any) -> Any:
    return 2 * (x @ self.w)


def one() -> Any:
    return scaled()


def two() -> Any:
    return 2.0


# --- layers of one's own --------------------------------------------------------------------------

OWN: dict[str, Callable[[Case, Any], Any]] = {
    "layer.forward = f": lambda case, m: setattr(m, "forward", MethodType(doubled, m)),
    "layer.helper = f": lambda case, m: setattr(m, "helper", two),
    "layer.__class__ = a subclass": lambda case, m: setattr(
        m, "__class__", type("Other", (type(m),), {"forward": doubled})
    ),
    "forward of the class": lambda case, m: setattr(type(m), "forward", doubled),
    "a helper of the class": lambda case, m: setattr(type(m), "helper", lambda self: 2.0),
    "a helper of its base class": lambda case, m: case.patch(Scaled, "helper", lambda self: 2.0),
    "__bases__ of the class": lambda case, m: setattr(
        type(m), "__bases__", (type("Between", (Scaled,), {"helper": lambda self: 2.0}),)
    ),
    "__call__ of the class": lambda case, m: setattr(type(m), "__call__", doubled),
    "Module.__call__": lambda case, m: case.patch(
        nn.Module, "__call__", lambda self, x: 2 * self.forward(x)
    ),
    "a property put over an attribute": lambda case, m: setattr(
        type(m), "factor", property(lambda self: lambda: 2.0)
    ),
    "__getattribute__ put into the class": lambda case, m: setattr(
        type(m),
        "__getattribute__",
        lambda self, name: two if name == "helper" else object.__getattribute__(self, name),
    ),
    "__mul__ of tensors": lambda case, m: case.patch(
        tg.Tensor, "__mul__", lambda self, x: tg.multiply(self, 2 * x)
    ),
}
for _name, _change in OWN.items():

    def _build(at: int, change: Any = _change) -> Case:
        model = one()
        return Case(model, lambda case: change(case, model))

    kind(f"own layer: {_name}", RAISED)(_build)


@kind("own layer: a method of an object that it holds", RAISED)
def _(at: int) -> Case:
    class Helper:
        def value(self) -> float:
            return 1.0

    model = layer(lambda self: self.helper.value())
    model.helper = Helper()
    return Case(model, lambda case: setattr(Helper, "value", lambda self: 2.0))


@kind("own layer: a static method", RAISED)
def _(at: int) -> Case:
    model = type("Scaled", (Scaled,), {"factor": lambda self: self.constant()})()
    return Case(model, lambda case: setattr(type(model), "constant", staticmethod(two)))


# --- layers of this library -----------------------------------------------------------------------


def _network() -> Any:
    return nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1))


def _double(self: Any, x: Any) -> Any:
    return 2 * tg.linear(x, self.weight, self.bias)


class Doubled(nn.Linear):
    """A subclass with another forward."""

    forward = _double


LIBRARY: dict[str, Callable[[Case, Any], Any]] = {
    "linear.forward = f": lambda case, m: setattr(m[0], "forward", MethodType(_double, m[0])),
    "linear.__class__ = a subclass": lambda case, m: setattr(m[0], "__class__", Doubled),
    "Linear.forward = f": lambda case, m: case.patch(nn.Linear, "forward", _double),
    "Tanh.forward = f": lambda case, m: case.patch(nn.Tanh, "forward", lambda self, x: 2 * x),
    "Tanh.__call__ = f": lambda case, m: setattr_new(case, nn.Tanh, "__call__", lambda s, x: 2 * x),
    "Sequential.forward = f": lambda case, m: case.patch(
        nn.Sequential, "forward", lambda self, x: 2 * self[2](self[1](self[0](x)))
    ),
    "sequential.forward = f": lambda case, m: setattr(m, "forward", lambda x: 2 * m[2](m[0](x))),
    "a layer replaced by one of one's own": lambda case, m: setattr(m, "1", layer_of_ones()),
    "a subclass's layer put in": lambda case, m: setattr(m, "1", type("Sub", (nn.ReLU,), {})()),
}


def setattr_new(case: Case, target: Any, name: str, value: Any) -> None:
    """Set an attribute that the class itself has not, until the run is over."""
    setattr(target, name, value)
    case.undo.callback(delattr, target, name)


def layer_of_ones() -> Any:
    class Own(nn.Module):
        def forward(self, x: Any) -> Any:
            return np.sin(x)

    return Own()


for _name, _change in LIBRARY.items():

    def _library(at: int, change: Any = _change) -> Case:
        model = _network()
        return Case(model, lambda case: change(case, model))

    kind(f"library's layer: {_name}", RAISED)(_library)


# --- optimizers -----------------------------------------------------------------------------------


def _half(self: Any, w: Any, g: Any, state: Any, lr: Any) -> Any:
    return w - 0.5 * lr * g, state


def _unmoved(self: Any) -> None:
    for p in self.parameters:
        p.data = p.data * 0.5


class Half(tg.optim.SGD):
    """A subclass with another rule."""

    update = _half


OPTIMIZERS: dict[str, Callable[[Case, Any], Any]] = {
    "optimizer.update = f": lambda case, o: setattr(o, "update", MethodType(_half, o)),
    "optimizer.step = f": lambda case, o: setattr(o, "step", MethodType(_unmoved, o)),
    "optimizer.__class__ = a subclass": lambda case, o: setattr(o, "__class__", Half),
    "SGD.update = f": lambda case, o: case.patch(tg.optim.SGD, "update", _half),
    "Optimizer.step = f": lambda case, o: case.patch(tg.optim.Optimizer, "step", _unmoved),
    "optimizer.zero_grad = f": lambda case, o: setattr(o, "zero_grad", lambda: None),
}
for _name, _change in OPTIMIZERS.items():

    def _optimizer(at: int, change: Any = _change) -> Case:
        return Case(_network(), lambda case: change(case, case.moves))

    kind(f"optimizer: {_name}", RAISED)(_optimizer)


@kind("optimizer: Adam._adapted = f", RAISED)
def _(at: int) -> Case:
    def moved(self: Any, w: Any, g: Any, state: Any, lr: Any) -> Any:
        return w - lr * g, state

    return Case(
        _network(), lambda case: case.patch(tg.optim.Adam, "_adapted", moved), optimizer=adam
    )


@kind("optimizer: first_state of one's own", RAISED)
def _(at: int) -> Case:
    class Kept(tg.optim.Optimizer):
        decay = 0.9

        def first_state(self, w: Any) -> Any:
            return {"v": np.zeros_like(w)}

        def update(self, w: Any, g: Any, state: Any, lr: Any) -> Any:
            v = self.decay * state["v"] + g
            return w - lr * v, {"v": v}

    return Case(
        _network(), lambda case: setattr(Kept, "decay", 0.5), optimizer=lambda p: Kept(p, lr=0.01)
    )


# --- rules, hooks, surroundings of a call ---------------------------------------------------------


@kind("a rule of a primitive of one's own reads a number", RAISED)
def _(at: int) -> Case:
    scale = [1.0]

    @tg.primitive(lambda g, y, x: g * scale[0] * np.ones_like(x))
    def same(x: Any) -> Any:
        return x * 1.0

    class Layer(Factor):
        def forward(self, x: Any) -> Any:
            return same(x @ self.w)

    return Case(Layer(), lambda case: scale.__setitem__(0, 2.0))


@kind("a primitive of one's own reads a number", RAISED)
def _(at: int) -> Case:
    scale = [1.0]

    @tg.primitive(lambda g, y, x: g)
    def scaled_by(x: Any) -> Any:
        return x * scale[0]

    class Layer(Factor):
        def forward(self, x: Any) -> Any:
            return scaled_by(x @ self.w)

    return Case(Layer(), lambda case: scale.__setitem__(0, 2.0))


@kind("a hook registered with a parameter", REFUSED)
def _(at: int) -> Case:
    model = _network()
    return Case(model, lambda case: model[0].weight.register_hook(lambda g: 0.5 * g))


@kind("a hook taken away", REFUSED)
def _(at: int) -> Case:
    model = _network()
    handle: Any = model[0].weight.register_hook(lambda g: 0.5 * g)
    return Case(model, lambda case: handle.remove())


@kind("detect_anomaly around the calls", FOLLOWED, in_fit=False)
def _(at: int) -> Case:
    model = layer(lambda self: 1.0)

    def change(case: Case) -> None:
        case.undo.enter_context(tg.detect_anomaly())
        model.w.data = model.w.data * 2  # else nothing would be seen to change

    return Case(model, change)


@kind("no_grad around the calls", RAISED, in_fit=False)
def _(at: int) -> Case:
    return Case(layer(lambda self: 1.0), lambda case: case.undo.enter_context(tg.no_grad()))
