"""Kinds of change: what belongs to training itself, and must be followed."""

from __future__ import annotations

from operator import setitem
from typing import Any

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import nn, optim

from .case import FOLLOWED, RAISED, REFUSED, Case, Factor, X, Y, adam, batch, kind, layer, sgd


def network() -> Any:
    return nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1))


def momentum(parameters: Any) -> Any:
    return optim.SGD(parameters, lr=0.05, momentum=0.9)


def followed(name: str, change: Any, model: Any = network, **more: Any) -> None:
    """Register a kind: `change(case)` does something to the training of a network."""

    @kind(name, more.pop("at_least", FOLLOWED))
    def build(at: int) -> Case:
        return Case(model(), change, **more)


def attribute(path: str, value: Any) -> Any:
    """Return a change that assigns to an attribute of the model or of the optimizer `moves`."""
    *way, name = path.split(".")

    def change(case: Case) -> None:
        target: Any = case if way and way[0] == "moves" else case.model
        for part in way:
            target = target[int(part)] if part.isdigit() else getattr(target, part)
        setattr(target, name, value)

    return change


# --- settings -------------------------------------------------------------------------------------


def dropped() -> Any:
    return nn.Sequential(nn.Linear(3, 4, rng=0), nn.Dropout(0.5, rng=0), nn.Linear(4, 2, rng=1))


def normalised() -> Any:
    return nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm1d(4), nn.Linear(4, 2, rng=1))


def leaky() -> Any:
    return nn.Sequential(nn.Linear(3, 4, rng=0), nn.LeakyReLU(0.01), nn.Linear(4, 2, rng=1))


followed("model.eval() with dropout", lambda case: case.model.eval(), dropped)
followed("model.eval() with batch normalisation", lambda case: case.model.eval(), normalised)
followed("one layer's training = False", attribute("1.training", False), dropped)
followed("Dropout: p", attribute("1.p", 0.1), dropped)
followed("Dropout: p = 0", attribute("1.p", 0.0), dropped)
followed(
    "Dropout: another generator",
    lambda case: setattr(case.model[1], "rng", np.random.default_rng(5)),
    dropped,
)
followed(
    "Dropout: its generator's state",
    lambda case: setattr(
        case.model[1].rng.bit_generator, "state", np.random.default_rng(5).bit_generator.state
    ),
    dropped,
)
followed("BatchNorm: momentum", attribute("1.momentum", 0.5), normalised)
followed("BatchNorm: momentum = None", attribute("1.momentum", None), normalised)
followed("BatchNorm: eps", attribute("1.eps", 0.1), normalised)
followed("LeakyReLU: negative_slope", attribute("1.negative_slope", 0.5), leaky)
followed("lr", attribute("moves.lr", 0.001))
followed("lr = 0", attribute("moves.lr", 0.0))
followed("lr of Adam", attribute("moves.lr", 0.001), optimizer=adam)
followed("momentum", attribute("moves.momentum", 0.5), optimizer=momentum)
followed("momentum, from none", attribute("moves.momentum", 0.5))
followed("momentum, to none", attribute("moves.momentum", 0.0), optimizer=momentum)
followed("nesterov", attribute("moves.nesterov", True), optimizer=momentum)
followed("weight_decay", attribute("moves.weight_decay", 0.1))
followed("betas", attribute("moves.betas", (0.5, 0.9)), optimizer=adam)
followed("eps of Adam", attribute("moves.eps", 0.1), optimizer=adam)


class Annealed(Factor):
    """A layer of one's own that looks at `training` and at a probability `p`."""

    p = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.p = 0.5

    def factor(self) -> Any:
        return 1 - self.p if self.training else 1.0


followed("own layer: eval()", lambda case: case.model.eval(), Annealed)
followed("own layer: self.p", attribute("p", 0.1), Annealed)


@kind("a setting of an optimizer of one's own", FOLLOWED)
def _(at: int) -> Case:
    class Clipped(optim.SGD):
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters, lr=0.05)
            self.bound = 0.05

        def update(self, w: Any, g: Any, state: Any, lr: Any) -> Any:
            return w - lr * np.clip(g, -self.bound, self.bound), state

    return Case(network(), attribute("moves.bound", 0.01), optimizer=Clipped)


# --- parameters, buffers, states ------------------------------------------------------------------


def _halve(tensor: Any) -> None:
    tensor.data = 0.5 * tensor.data


def _halve_buffer(case: Case) -> None:
    case.model.eval()
    _halve(case.model[1].running_var)


def _load(case: Case) -> None:
    case.model.load_state_dict({k: 0.5 * v for k, v in case.model.state_dict().items()})


def _load_optimizer(case: Case) -> None:
    state = case.moves.state_dict()
    state["settings"]["lr"] *= 0.5
    case.moves.load_state_dict(state)


def _load_fresh_optimizer(case: Case) -> None:
    case.moves.load_state_dict(adam(case.model.parameters()).state_dict())


def _average(case: Case) -> None:
    for p in case.model.parameters():
        p.data = 0.9 * p.data + 0.1 * np.ones_like(p.data)


def _by_columns(case: Case) -> None:
    case.model[0].weight.data = np.asfortranarray(0.5 * case.model[0].weight.data)


def _forget_state(case: Case) -> None:
    case.moves.state.clear()


def _drop_parameter(case: Case) -> None:
    case.moves.parameters.pop()


def _state_entry(case: Case) -> None:
    state = case.moves.state[0]
    state["momentum_buffer"] = state["momentum_buffer"] * 0.5


def _state_in_place(case: Case) -> None:
    case.moves.state[0]["momentum_buffer"][...] *= 0.5


followed("a parameter's data assigned", lambda case: _halve(case.model[0].weight))
followed("a parameter's data by columns in memory", _by_columns)
followed(
    "a buffer's data assigned",
    _halve_buffer,
    normalised,
)
followed("load_state_dict of the model", _load)
followed("load_state_dict of the optimizer", _load_optimizer, optimizer=adam)
followed("load_state_dict of a fresh optimizer", _load_fresh_optimizer, optimizer=adam)
followed("the optimizer's state forgotten", _forget_state, optimizer=momentum)
followed("an entry of the optimizer's state", _state_entry, optimizer=momentum)
followed("the optimizer's state in place", _state_in_place, optimizer=momentum)
# A gradient that no optimizer clears, and to which the step would add, is refused by name.
followed("a parameter taken from the optimizer", _drop_parameter, at_least=REFUSED)
followed("an average of weights put in (EMA)", _average)
followed("freezing", attribute("0.weight.requires_grad", False))
followed("float()", lambda case: case.model.float())


@kind("unfreezing", FOLLOWED)
def _(at: int) -> Case:
    model = network()
    model[0].weight.requires_grad = False
    return Case(model, attribute("0.weight.requires_grad", True))


@kind("a parameter replaced", REFUSED)
def _(at: int) -> Case:
    model = network()
    return Case(model, lambda case: setattr(model[0], "bias", nn.Parameter(np.ones(4))))


@kind("a parameter replaced by None", REFUSED)
def _(at: int) -> Case:
    model = nn.Sequential(nn.Linear(3, 2, rng=0), nn.LayerNorm(2))

    bias = vars(model[0])["bias"]

    def optimizer(parameters: Any) -> Any:
        return sgd([p for p in parameters if p is not bias])

    return Case(model, attribute("0.bias", None), optimizer=optimizer)


@kind("a buffer replaced", FOLLOWED)
def _(at: int) -> Case:
    model = normalised()

    def change(case: Case) -> None:
        model.eval()
        model[1].running_mean = nn.Buffer(np.ones(4))

    return Case(model, change)


@kind("two layers tied", FOLLOWED)
def _(at: int) -> Case:
    model: Any = nn.Sequential(
        nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=1), nn.Linear(3, 2, rng=2)
    )
    return Case(model, lambda case: setattr(model[1], "weight", model[0].weight))


class Listed(nn.Module):
    """Layers in a list."""

    def __init__(self) -> None:
        self.first = nn.Linear(3, 2, rng=0)
        self.rest = [nn.Tanh(), nn.LeakyReLU(0.5)]

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        for part in self.rest:
            x = part(x)
        return x


followed("a layer of Sequential replaced", lambda case: setattr(case.model, "1", nn.ReLU()))
followed("a layer added to Sequential", lambda case: setattr(case.model, "3", nn.Tanh()))
followed("a layer taken from Sequential", lambda case: delattr(case.model, "1"))
for _name, _change in {
    "a layer replaced in a list": lambda case: setitem(case.model.rest, 0, nn.Sigmoid()),
    "a layer added to a list": lambda case: case.model.rest.append(nn.Sigmoid()),
    "a layer taken from a list": lambda case: case.model.rest.pop(),
    "a list of layers replaced": lambda case: setattr(case.model, "rest", [nn.Sigmoid()]),
}.items():

    @kind(_name, RAISED)
    def _(at: int, change: Any = _change) -> Case:
        return Case(Listed(), change)


# --- steps by hand --------------------------------------------------------------------------------


def by_hand(name: str, at_least: str, step_of: Any, change: Any, **more: Any) -> None:
    """Register a kind: a step other than the usual one."""

    @kind(name, at_least, in_fit=False)
    def build(at: int) -> Case:
        return Case(network(), change, step=step_of, **more)


def _penalised(case: Case) -> Any:
    first: Any = case.model[0]

    def step(x: Any, y: Any) -> Any:
        loss = tg.mse_loss(case.model(x), y) + 0.1 * (first.weight**2).sum()
        case.moves.zero_grad()
        loss.backward()
        case.moves.step()
        return loss

    return step


def _clipped(case: Case) -> Any:
    def step(x: Any, y: Any) -> Any:
        loss = tg.mse_loss(case.model(x), y)
        case.moves.zero_grad()
        loss.backward()
        total = sum((p.grad**2).sum() for p in case.model.parameters())
        for p in case.model.parameters():
            p.grad = p.grad / np.maximum(1.0, np.sqrt(total) / 0.1)
        case.moves.step()
        return loss

    return step


def _accumulated(case: Case) -> Any:
    def step(x: Any, y: Any) -> Any:
        case.moves.zero_grad()
        for part in (slice(0, 2), slice(2, 4)):
            loss = 0.5 * tg.mse_loss(case.model(x[part]), y[part])
            loss.backward()
        case.moves.step()
        return loss

    return step


def _only_gradients(case: Case) -> Any:
    def step(x: Any, y: Any) -> Any:
        loss = tg.mse_loss(case.model(x), y)
        loss.backward()
        return loss

    return step


def _scheduled(case: Case) -> Any:
    return _penalised(case)


by_hand("clipping of gradients, with another lr", FOLLOWED, _clipped, attribute("moves.lr", 0.01))
by_hand(
    "two batches in one step, with another lr", FOLLOWED, _accumulated, attribute("moves.lr", 0.01)
)
by_hand(
    "gradients added to, then cleared",
    REFUSED,
    _only_gradients,
    lambda case: case.moves.zero_grad(),
)
by_hand(
    "a penalty, with freezing", FOLLOWED, _penalised, attribute("0.weight.requires_grad", False)
)


def _gradient_given(case: Case) -> None:
    case.model[0].weight.grad = np.ones((3, 4))


by_hand("a gradient put in before the call", REFUSED, _only_gradients, _gradient_given)


@kind("a schedule between the calls", FOLLOWED)
def _(at: int) -> Case:
    case = Case(network())
    schedule = optim.lr_scheduler.ExponentialLR(case.moves, 0.5)
    case.change = lambda case: schedule.step()
    return case


@kind("two steps that share a model", FOLLOWED, in_fit=False)
def _(at: int) -> Case:
    case = Case(network())
    other = tg.compile(_penalised(case))
    case.change = lambda case: other(*batch(case, 0))
    return case


@kind("a fit between the calls", FOLLOWED, in_fit=False)
def _(at: int) -> Case:
    def change(case: Case) -> None:
        tg.fit(case.model, X[0], Y[0], loss="mse", optimizer=case.moves, epochs=2, rng=0)

    return Case(network(), change)


@kind("another optimizer, out of a dict", RAISED, in_fit=False)
def _(at: int) -> Case:
    model = network()
    chosen = {"now": sgd(model.parameters())}

    def step_of(case: Case) -> Any:
        def step(x: Any, y: Any) -> Any:
            loss = tg.mse_loss(model(x), y)
            chosen["now"].zero_grad()
            loss.backward()
            chosen["now"].step()
            return loss

        return step

    return Case(model, lambda case: setitem(chosen, "now", adam(model.parameters())), step=step_of)


# --- arguments ------------------------------------------------------------------------------------


def given(name: str, at_least: str, step: Any, arguments: Any, change: Any = None) -> None:
    """Register a kind: `step(model, *args)` is a loss; `arguments(changed, call)` are the args
    after x and y."""

    @kind(name, at_least, in_fit=False)
    def build(at: int) -> Case:
        model = layer(lambda self: 1.0)
        changed = [False]

        def step_of(case: Case) -> Any:
            def whole(x: Any, y: Any, *more: Any) -> Any:
                loss = step(tg.mse_loss(model(x), y), *more)
                case.moves.zero_grad()
                loss.backward()
                case.moves.step()
                return loss

            return whole

        def args(case: Case, call: int) -> tuple[Any, ...]:
            return (*batch(case, call), *arguments(changed[0], call))

        return Case(model, lambda case: setitem(changed, 0, True), step=step_of, arguments=args)


BUFFER = np.ones(2)


def _same_object(changed: bool, call: int) -> tuple[Any, ...]:
    BUFFER[...] = 2.0 if changed else 1.0
    return (BUFFER,)


def _object(kept: Any, changed: bool) -> tuple[Any, ...]:
    kept.beta = 2.0 if changed else 1.0
    return (kept,)


class Config:
    """An argument of one's own."""

    beta = 1.0


CONFIG, LIST, DICT = Config(), [1.0], {"b": 1.0}
MODULES: list[Any] = [nn.Sequential(nn.Linear(3, 2, rng=seed)) for seed in (3, 4)]
for _p in (*MODULES[0].parameters(), *MODULES[1].parameters()):
    _p.requires_grad = False

given(
    "argument: an array of other values",
    FOLLOWED,
    lambda loss, a: loss * a.sum(),
    lambda changed, call: (np.full(2, 1.0 + changed),),
)
given(
    "argument: the same array, changed in place",
    FOLLOWED,
    lambda loss, a: loss * a.sum(),
    _same_object,
)
given(
    "argument: an array of another shape",
    FOLLOWED,
    lambda loss, a: loss * a.sum(),
    lambda changed, call: (np.ones(2 + changed),),
)
given(
    "argument: an array of another dtype",
    FOLLOWED,
    lambda loss, a: loss * a.sum(),
    lambda changed, call: (np.full(2, 1 / 3, np.float32 if changed else np.float64),),
)
given(
    "argument: an array by columns",
    FOLLOWED,
    lambda loss, a: loss * (a * a).sum(),
    lambda changed, call: (np.full((2, 3), 1 / 3, order="F" if changed else "C") + changed,),
)
given(
    "argument: a view with steps",
    FOLLOWED,
    lambda loss, a: loss * (a * a).sum(),
    lambda changed, call: (np.arange(8.0)[:: 2 if changed else 1][:4],),
)
given(
    "argument: an array without axes",
    FOLLOWED,
    lambda loss, a: loss * a,
    lambda changed, call: (np.array(1.0 + changed),),
)
given(
    "argument: a tensor",
    FOLLOWED,
    lambda loss, a: loss * a.sum(),
    lambda changed, call: (tg.Tensor([1.0, 1.0 + changed]),),
)
given(
    "argument: a number", FOLLOWED, lambda loss, a: loss * a, lambda changed, call: (1.0 + changed,)
)
given(
    "argument: 1, then True",
    FOLLOWED,
    lambda loss, a: loss * (2.0 if a is True else 1.0),
    lambda changed, call: (True if changed else 1,),
)
given(
    "argument: 0.0, then -0.0",
    FOLLOWED,
    lambda loss, a: loss * (2 + np.copysign(1.0, a)),
    lambda changed, call: (-0.0 if changed else 0.0,),
)
given(
    "argument: a NumPy scalar",
    FOLLOWED,
    lambda loss, a: loss * a,
    lambda changed, call: (np.float64(1.0 + changed),),
)
given(
    "argument: a flag",
    FOLLOWED,
    lambda loss, a: loss * (2.0 if a else 1.0),
    lambda changed, call: (changed,),
)
given(
    "argument: None, then a number",
    FOLLOWED,
    lambda loss, a: loss * (a or 1.0),
    lambda changed, call: (2.0 if changed else None,),
)
given(
    "argument: a string",
    FOLLOWED,
    lambda loss, a: loss * len(a),
    lambda changed, call: ("two" if changed else "1",),
)
given(
    "argument: one more",
    FOLLOWED,
    lambda loss, *a: loss * (1 + len(a)),
    lambda changed, call: (0,) * changed,
)
given(
    "argument: a list of numbers",
    FOLLOWED,
    lambda loss, a: (loss * a).sum(),
    lambda changed, call: ([1.0, 1.0 + changed],),
)
given(
    "argument: another number at each call",
    RAISED,
    lambda loss, a: loss * a,
    lambda changed, call: (1.0 + call * (1 + changed),),
)
given(
    "argument: a tuple",
    RAISED,
    lambda loss, a: loss * a[0],
    lambda changed, call: ((1.0 + changed,),),
)
given(
    "argument: an object whose attribute changes",
    RAISED,
    lambda loss, a: loss * a.beta,
    lambda changed, call: _object(CONFIG, changed),
)
given(
    "argument: a list whose entry changes",
    RAISED,
    lambda loss, a: loss * float(a[0]),
    lambda changed, call: (setitem(LIST, 0, 1.0 + changed), LIST)[1:],
)
given(
    "argument: a dict whose entry changes",
    RAISED,
    lambda loss, a: loss * a["b"],
    lambda changed, call: (DICT.update(b=1.0 + changed), DICT)[1:],
)
given(
    "argument: a dict of arrays",
    RAISED,
    lambda loss, a: loss * a["b"].sum(),
    lambda changed, call: ({"b": np.full(2, 1.0 + changed)},),
)
given(
    "argument: another module",
    FOLLOWED,
    lambda loss, a: loss * a[0].weight.mean(),
    lambda changed, call: (MODULES[changed],),
)
given(
    "argument: so large that the loss overflows",
    FOLLOWED,
    lambda loss, a: loss * a.sum(),
    lambda changed, call: (np.full(2, 1e308 if changed else 1.0),),
)
followed("lr so large that the loss overflows (NonFiniteLoss in fit)", attribute("moves.lr", 1e200))
