"""Kinds of change: a number that code reaches by a name, or asks Python or the system for."""

from __future__ import annotations

import builtins
import contextvars
import functools
import logging
import os
import random
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from operator import setitem
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np

import tinygrad_edu as tg

from .case import FOLLOWED, RAISED, Case, kind, layer, module


def in_module(name: str, source: str, change: Callable[[Any], Any]) -> None:
    """Register a kind: `factor()` of a module with this source, in which `change` changes
    something."""

    @kind(name, RAISED)
    def build(at: int) -> Case:
        code = module(source)
        return Case(layer(lambda self: code.factor()), lambda case: change(code))


def assign(name: str, value: Any) -> Callable[[Any], Any]:
    return lambda code: setattr(code, name, value)


in_module("global: a number", "beta = 1.0\ndef factor(): return beta", assign("beta", 2.0))
in_module(
    "global: a flag", "on = True\ndef factor(): return 1.0 if on else 2.0", assign("on", False)
)
in_module(
    "global: an entry of a list",
    "beta = [1.0]\ndef factor(): return beta[0]",
    lambda code: setitem(code.beta, 0, 2.0),
)
in_module(
    "global: an entry of a dict",
    "beta = {'b': 1.0}\ndef factor(): return beta['b']",
    lambda code: code.beta.update(b=2.0),
)
in_module(
    "global: read by globals()[…]",
    "beta = 1.0\ndef factor(): return globals()['beta']",
    assign("beta", 2.0),
)
in_module(
    "global: deleted, a builtin shows",
    "abs = lambda x: 1.0\ndef factor(): return abs(-2.0)",
    lambda code: delattr(code, "abs"),
)
in_module(
    "global: absent at first, NameError caught",
    "def factor():\n  try:\n    return beta\n  except NameError:\n    return 1.0",
    assign("beta", 2.0),
)
in_module(
    "global: an attribute of a class",
    "class C:\n  b = 1.0\ndef factor(): return C.b",
    lambda code: setattr(code.C, "b", 2.0),
)
in_module(
    "global: an attribute of a metaclass",
    "class M(type):\n  b = 1.0\nclass C(metaclass=M): pass\ndef factor(): return C.b",
    lambda code: setattr(code.M, "b", 2.0),
)
in_module(
    "global: an attribute of a function",
    "def factor(): return factor.b\nfactor.b = 1.0",
    lambda code: setattr(code.factor, "b", 2.0),
)
in_module(
    "a default argument, changed inside",
    "def factor(b=[1.0]): return b[0]",
    lambda code: setitem(code.factor.__defaults__[0], 0, 2.0),
)
in_module(
    "__defaults__ of a function",
    "def factor(b=1.0): return b",
    lambda code: setattr(code.factor, "__defaults__", (2.0,)),
)
in_module(
    "__kwdefaults__ of a function",
    "def factor(*, b=1.0): return b",
    lambda code: setattr(code.factor, "__kwdefaults__", {"b": 2.0}),
)
in_module(
    "__code__ of a function",
    "def factor(): return 1.0\ndef other(): return 2.0",
    lambda code: setattr(code.factor, "__code__", code.other.__code__),
)
in_module(
    "a function of a module, replaced", "def factor(): return 1.0", assign("factor", lambda: 2.0)
)
in_module(
    "a function that a function calls, replaced",
    "def inner(): return 1.0\ndef factor(): return inner()",
    assign("inner", lambda: 2.0),
)
in_module(
    "what functools.cache remembers",
    "import functools\nsource = [1.0]\n@functools.cache\ndef factor(): return source[0]",
    lambda code: (setitem(code.source, 0, 2.0), code.factor.cache_clear()),
)
in_module(
    "a type registered with singledispatch",
    "import functools\n@functools.singledispatch\ndef g(x): return 1.0\ndef factor(): return g(0)",
    lambda code: code.g.register(int, lambda x: 2.0),
)
in_module(
    "keywords of a functools.partial",
    "import functools\ndef g(b): return b\npart = functools.partial(g, b=1.0)\n"
    "def factor(): return part()",
    lambda code: code.part.keywords.update(b=2.0),
)
in_module(
    "a local variable of a function that has ended (nonlocal)",
    "def make():\n  b = 1.0\n  def get(): return b\n"
    "  def put():\n    nonlocal b\n    b = 2.0\n  return get, put\nfactor, put = make()",
    lambda code: code.put(),
)
in_module(
    "a subclass registered with __subclasses__",
    "class C: pass\ndef factor(): return 1.0 + len(C.__subclasses__())",
    lambda code: setattr(code, "kept", type("D", (code.C,), {})),
)


@kind("import mycfg; mycfg.beta", RAISED)
def _(at: int) -> Case:
    mycfg = module("beta = 1.0")
    return Case(layer(lambda self: mycfg.beta), lambda case: setattr(mycfg, "beta", 2.0))


@kind("from mycfg import beta, later imported anew", RAISED)
def _(at: int) -> Case:
    user = module("beta = 1.0\ndef factor(): return beta", "user")
    return Case(layer(lambda self: user.factor()), lambda case: setattr(user, "beta", 2.0))


@kind("import inside forward, of a module that is replaced", RAISED)
def _(at: int) -> Case:
    def factor(self: Any) -> Any:
        import mycfg_of_changes  # type: ignore[import-not-found]

        return mycfg_of_changes.beta

    name = "mycfg_of_changes"
    sys.modules[name] = module("beta = 1.0", name)
    case = Case(layer(factor), lambda case: setitem(sys.modules, name, module("beta = 2.0", name)))
    case.undo.callback(sys.modules.pop, name)
    return case


@kind("a closure: a number in a list", RAISED)
def _(at: int) -> Case:
    beta = [1.0]
    return Case(layer(lambda self: beta[0]), lambda case: setitem(beta, 0, 2.0))


@kind("a closure of the loss", RAISED)
def _(at: int) -> Case:
    beta = [1.0]

    def loss(prediction: Any, target: Any) -> Any:
        return beta[0] * tg.mse_loss(prediction, target)

    return Case(layer(lambda self: 1.0), lambda case: setitem(beta, 0, 2.0), loss=loss)


@kind("a closure of the step", RAISED, in_fit=False)
def _(at: int) -> Case:
    beta = 1.0

    def step_of(case: Case) -> Any:
        def step(x: Any, y: Any) -> Any:
            loss = tg.mse_loss(case.model(x), y) * beta
            case.moves.zero_grad()
            loss.backward()
            case.moves.step()
            return loss

        return step

    def change(case: Case) -> None:
        nonlocal beta
        beta = 2.0

    return Case(layer(lambda self: 1.0), change, step=step_of)


@kind("a method bound to an object", RAISED)
def _(at: int) -> Case:
    class Loss:
        beta = 1.0

        def __call__(self, prediction: Any, target: Any) -> Any:
            return self.beta * tg.mse_loss(prediction, target)

    loss = Loss()
    return Case(layer(lambda self: 1.0), lambda case: setattr(loss, "beta", 2.0), loss=loss)


@kind("a context variable", RAISED)
def _(at: int) -> Case:
    beta = contextvars.ContextVar("beta", default=1.0)
    return Case(layer(lambda self: beta.get()), lambda case: beta.set(2.0))


@kind("a variable of the thread", RAISED)
def _(at: int) -> Case:
    own = threading.local()
    own.beta = 1.0
    return Case(layer(lambda self: own.beta), lambda case: setattr(own, "beta", 2.0))


@kind("os.environ", RAISED)
def _(at: int) -> Case:
    name = "CHANGES_BETA"
    os.environ[name] = "1"
    case = Case(
        layer(lambda self: float(os.environ[name])), lambda case: setitem(os.environ, name, "2")
    )
    case.undo.callback(os.environ.pop, name)
    return case


@kind("os.getenv with a default", RAISED)
def _(at: int) -> Case:
    name = "CHANGES_GAMMA"
    case = Case(
        layer(lambda self: float(os.getenv(name, "1"))), lambda case: setitem(os.environ, name, "2")
    )
    case.undo.callback(os.environ.pop, name, None)
    return case


def in_folder(name: str, read: Callable[[Path], Any], change: Callable[[Path], Any]) -> None:
    """Register a kind: something about a file, which holds "1" at first."""

    @kind(name, RAISED)
    def build(at: int) -> Case:
        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name, "beta")
        path.write_text("1")
        case = Case(layer(lambda self: read(path)), lambda case: change(path))
        case.undo.callback(folder.cleanup)
        return case


in_folder(
    "a file: what it says", lambda path: float(path.read_text()), lambda path: path.write_text("2")
)
in_folder(
    "a file: whether it is there",
    lambda path: 1.0 if path.exists() else 2.0,
    lambda path: path.unlink(),
)
in_folder("a file: its size", lambda path: path.stat().st_size, lambda path: path.write_text("22"))
in_folder(
    "a file: an array in it",
    lambda path: np.loadtxt(path).item(),
    lambda path: path.write_text("2"),
)
in_folder(
    "a folder: how many files it has",
    lambda path: len(list(path.parent.iterdir())),
    lambda path: Path(path.parent, "another").write_text(""),
)


@kind("a clock, of which an hour passes", RAISED)
def _(at: int) -> Case:
    now = [7200.0]
    case = Case(layer(lambda self: time.time() // 3600), lambda case: setitem(now, 0, 10800.0))
    case.patch(time, "time", lambda: now[0])
    return case


def global_setting(
    name: str, read: Callable[[Any], Any], change: Callable[[Case], Callable[[], Any]]
) -> None:
    """Register a kind: a setting of Python or NumPy; `change` returns what puts it back."""

    @kind(name, RAISED)
    def build(at: int) -> Case:
        model = layer(lambda self: 1 + crc32(str(read(self)).encode()) % 997 / 997)
        return Case(model, lambda case: case.undo.callback(change(case)))


def _later(function: Callable[..., Any], before: Any) -> Callable[[], Any]:
    return lambda: function(before)


def _seterr(case: Case) -> Callable[[], Any]:
    before = np.seterr(under="warn" if np.geterr()["under"] != "warn" else "raise")
    return lambda: np.seterr(under=before["under"])


def _options(case: Case) -> Callable[[], Any]:
    before = np.get_printoptions()["precision"]
    np.set_printoptions(precision=before + 1)
    return lambda: np.set_printoptions(precision=before)


def _limit(case: Case) -> Callable[[], Any]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + 100)
    return _later(sys.setrecursionlimit, before)


def _level(case: Case) -> Callable[[], Any]:
    logger = logging.getLogger("changes")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    return _later(logger.setLevel, before)


def _folder(case: Case) -> Callable[[], Any]:
    before = os.getcwd()
    os.chdir("/")
    return _later(os.chdir, before)


def _thread(case: Case) -> Callable[[], Any]:
    thread = threading.current_thread()
    before = thread.name
    thread.name = before + "…"
    return lambda: setattr(thread, "name", before)


def _filter(case: Case) -> Callable[[], Any]:
    before = list(warnings.filters)
    warnings.simplefilter("ignore", append=True)
    return lambda: setitem(warnings.filters, slice(None), before)  # type: ignore[call-overload]


global_setting("np.seterr", lambda self: len(np.geterr()["under"]), _seterr)
global_setting("np.set_printoptions", lambda self: len(f"{np.array(1 / 3)!r}") / 50, _options)
global_setting("sys.setrecursionlimit", lambda self: sys.getrecursionlimit() / 1000, _limit)
global_setting(
    "the level of a logger", lambda self: 1.0 + logging.getLogger("changes").level, _level
)
global_setting("the current folder", lambda self: len(os.getcwd()) / 50, _folder)
global_setting(
    "the name of the thread", lambda self: len(threading.current_thread().name) / 50, _thread
)
global_setting("the filters of warnings", lambda self: len(warnings.filters) / 50, _filter)


@kind("the legacy seed of NumPy, read from its state", RAISED)
def _(at: int) -> Case:
    before = np.random.get_state()
    np.random.seed(1)
    case = Case(
        layer(lambda self: 1.0 + float(np.random.get_state()[1][0] % 7)),  # type: ignore[index]
        lambda case: np.random.seed(2),
    )
    case.undo.callback(np.random.set_state, before)
    return case


@kind("the state of Python's random", RAISED)
def _(at: int) -> Case:
    before = random.getstate()
    random.seed(1)
    case = Case(layer(lambda self: 1.0 + random.getstate()[1][7] % 7), lambda case: random.seed(2))
    case.undo.callback(random.setstate, before)
    return case


# --- functions that are replaced ------------------------------------------------------------------


@kind("a builtin function, replaced", RAISED)
def _(at: int) -> Case:
    return Case(
        layer(lambda self: round(1.0)), lambda case: case.patch(builtins, "round", lambda x: 2 * x)
    )


@kind("a NumPy function, replaced: called on a tensor", RAISED)
def _(at: int) -> Case:
    class Layer(tg.nn.Linear):
        def forward(self, x: Any) -> Any:
            return np.tanh(super().forward(x))

    return Case(Layer(3, 2, rng=0), lambda case: case.patch(np, "tanh", np.sin))


@kind("a NumPy function, replaced: called on an array", RAISED)
def _(at: int) -> Case:
    table = np.array([1.0, 2.0])
    return Case(
        layer(lambda self: float(np.max(table))), lambda case: case.patch(np, "max", np.min)
    )


@kind("a function of this library, replaced: called by a layer of one's own", RAISED)
def _(at: int) -> Case:
    class Layer(tg.nn.Linear):
        def forward(self, x: Any) -> Any:
            return tg.tanh(super().forward(x))

    return Case(Layer(3, 2, rng=0), lambda case: case.patch(tg, "tanh", tg.sigmoid))


@kind("a function of this library, replaced: called by a layer of this library", RAISED)
def _(at: int) -> Case:
    model = tg.nn.Sequential(tg.nn.Linear(3, 2, rng=0), tg.nn.Tanh())
    return Case(model, lambda case: case.patch(tg.ops, "tanh", tg.sigmoid))


@kind("the loss of a module, replaced", RAISED)
def _(at: int) -> Case:
    mine = SimpleNamespace(loss=tg.mse_loss)

    def loss(prediction: Any, target: Any) -> Any:
        return mine.loss(prediction, target)

    def other(prediction: Any, target: Any) -> Any:
        return 2.0 * tg.mse_loss(prediction, target)

    model = tg.nn.Linear(3, 2, rng=0)
    return Case(model, lambda case: setattr(mine, "loss", other), loss=loss)


@kind("functools.wraps around a function that is replaced", RAISED)
def _(at: int) -> Case:
    inner = SimpleNamespace(factor=lambda self: 1.0)

    @functools.wraps(inner.factor)
    def factor(self: Any) -> Any:
        return inner.factor(self)

    return Case(layer(factor), lambda case: setattr(inner, "factor", lambda self: 2.0))


@kind("equal numbers that are other objects", FOLLOWED)
def _(at: int) -> Case:
    model = layer(lambda self: self.scale * 1.0)
    model.scale = 1.5

    def change(case: Case) -> None:
        model.scale = float("1.5")
        model.w.data = model.w.data * 2  # else nothing would be seen to change

    return Case(model, change)


@kind("a NumPy function, replaced: called by an operation of this library", RAISED)
def _(at: int) -> Case:
    model = tg.nn.Sequential(tg.nn.Linear(3, 2, rng=0), tg.nn.Sigmoid())
    return Case(model, lambda case: case.patch(np, "exp", lambda x, *out: np.exp2(x, *out)))
