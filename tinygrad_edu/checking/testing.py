"""`check_layer`: a test for a layer in one line of pytest.

    def test_my_layer() -> None:
        check_layer(MyLayer(3, 2), (5, 3))

It is for layers what scikit-learn's `check_estimator` is for estimators: it checks properties that
all layers share, and says for each failure how to mend it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..arrays import Array
from ..engine import VARIABLE, Box, as_recorded, recorded_results
from ..gradients import grad
from ..module import Module
from ..recording import no_grad
from ..tensor import Tensor
from .gradients import GradientError, checked_gradients, near, quiet
from .rules import Domain

Shape = tuple[int, ...]
__tracebackhide__ = True  # pytest shows the line of the test, not these
LIMIT = 3000  # entries whose slopes are measured one by one


class LayerError(AssertionError):
    """Raised for a layer that fails checks: `failures` holds a sentence for each.

    Example:
        >>> print(LayerError("Scale", {"dtypes": "it gives float64 for float32"}))
        Scale fails 1 check:
          dtypes: it gives float64 for float32
    """

    def __init__(self, name: str, failures: dict[str, str]) -> None:
        self.failures = failures
        many = "check" if len(failures) == 1 else "checks"
        lines = [f"  {check}: {told}".replace("\n", "\n    ") for check, told in failures.items()]
        super().__init__("\n".join([f"{name} fails {len(failures)} {many}:", *lines]))


def check_layer(
    layer: Module,
    input_shapes: Shape | Sequence[Shape],
    *,
    domain: Domain = (-1.5, 1.5),
    samples: bool = True,
    skip: Sequence[str] = (),
) -> None:
    """Check properties that every layer must have, on copies of the layer.

    parameters    `parameters()` yields every tensor that the layer trains
    gradients     those of inputs and parameters agree with slopes, in training and in eval()
    inputs        neither inputs nor parameters are changed, results are not overwritten
    random        random numbers come from the layer's own generator
    training      eval() is repeatable and changes no state, train() reaches all submodules; a
                  running buffer is updated by the layer's `momentum`
    state         state_dict() holds the whole state, and load_state_dict() restores it
    dtypes        a float32 layer returns float32 for float32, and its parameters stay float32
    samples       in eval() a sample's result does not depend on the others, and an empty batch is
                  accepted (`samples=False` if the first axis is not the samples)
    errors        inputs of another shape are accepted, or refused with a ValueError, TypeError or
                  IndexError that has a message

    `input_shapes` is the shape of the input, or a list with one for each. Pass a small layer: the
    slope of each entry is measured. `domain` is the range of the inputs, (low, high), or a function
    (rng, shape) → array, for example for class indices. `skip` names checks that do not apply.

    Raises:  LayerError with all failures; TypeError for what is no Module
    Source:  sklearn.utils.estimator_checks.check_estimator
    Example:
        >>> import tinygrad_edu as tg
        >>> check_layer(tg.nn.Linear(3, 2), (4, 3))
        >>> class Leaky(tg.nn.Module):
        ...     def forward(self, x):
        ...         return x * np.array(2.0)[None]
        >>> try:
        ...     check_layer(Leaky(), (4, 3))
        ... except LayerError as error:
        ...     print(error.failures["dtypes"].partition(";")[0])
        with parameters and inputs of float32 it gives float64
    """
    if not isinstance(layer, Module):
        raise TypeError(f"check_layer takes an instance of nn.Module, received {layer!r:.80}")
    parts = input_shapes if isinstance(input_shapes, (tuple, list)) else [input_shapes]
    if not all(isinstance(n, (int, tuple, list)) for n in parts) or parts is not input_shapes:
        raise TypeError(
            "check_layer: the shape of the input is a tuple, such as (5, 3), or a list with one "
            f"for each input, received {input_shapes!r:.60}"
        )
    shapes = (
        [input_shapes] if not input_shapes or isinstance(input_shapes[0], int) else input_shapes
    )
    trial = _Trial(layer, [tuple(shape) for shape in shapes], domain)  # type: ignore[arg-type]
    if unknown := set(skip) - CHECKS.keys():
        raise ValueError(f"check_layer has no checks {sorted(unknown)}; there are {[*CHECKS]}")
    failures = {}
    with quiet():
        for name, check in CHECKS.items():
            if name in skip or (name == "samples" and not samples):
                continue
            try:
                check(trial)
            except _Fails as failure:
                failures[name] = str(failure)
            except GradientError as failure:
                failures[name] = str(failure)
            except Exception as failure:
                notes = "\n".join(getattr(failure, "__notes__", []))
                failures[name] = f"raised {type(failure).__name__}: {failure}\n{notes}".rstrip()
                if name == "parameters":  # the layer cannot be called
                    break
    if failures:
        raise LayerError(type(layer).__name__, failures)


class _Fails(Exception):
    """Raised by a check that failed; the message says how to mend it."""


class _Trial:
    """A layer with inputs to try it on. Each check takes copies of the layer."""

    def __init__(self, layer: Module, shapes: Sequence[Shape], domain: Domain) -> None:
        self.layer, self.shapes, self.domain = layer, shapes, domain
        self.inputs = self.draw(shapes)

    def draw(self, shapes: Sequence[Shape], seed: int = 0) -> list[Array]:
        rng = np.random.default_rng(seed)
        if callable(self.domain):
            return [np.asarray(self.domain(rng, shape)) for shape in shapes]
        return [rng.uniform(*self.domain, shape) for shape in shapes]

    def copy(self, training: bool) -> Module:
        return copy.deepcopy(self.layer).train(training)


def _output(layer: Module, inputs: Sequence[Any]) -> Tensor:
    """Return the layer's result for copies of the inputs; floating ones are variables."""
    y = layer(*[Tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs])
    if not isinstance(y, Tensor):
        raise _Fails(
            f"for tensors it gives a {type(y).__name__}, expected one Tensor; a layer with several "
            "results is checked as one that stacks them"
        )
    return y


def _value(layer: Module, inputs: Sequence[Any]) -> Array:
    with no_grad():
        return _output(layer, inputs).value


# --- the checks -----------------------------------------------------------------------------------


def _parameters(trial: _Trial) -> None:
    layer = trial.copy(True)
    y = _output(layer, trial.inputs)
    if not np.isfinite(y.value).all():
        raise _Fails(f"it gives {y.value} for ordinary inputs; give a `domain` that it is made for")
    named = dict(layer.named_parameters())
    for name, parameter in named.items():
        if parameter.record is None:
            continue  # frozen
        if parameter.value.dtype.kind != "f":
            raise _Fails(f"{name} is {parameter.dtype}; parameters are floating")
    inputs = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in trial.inputs]
    y = layer(*inputs)
    known = {id(x) for x in (*inputs, *named.values())}
    nodes = recorded_results(y) if y.record is not None else []
    leaves = [x for node in nodes for x in node.record[2] if isinstance(x, Box)]
    for leaf in leaves:
        if leaf.record is not None and leaf.record[1] is VARIABLE and id(leaf) not in known:
            raise _Fails(
                f"it computes with a variable of shape {leaf.value.shape} that parameters() does "
                "not find, so no optimizer moves it and no file keeps it; make it an nn.Parameter "
                "and an attribute, or put it in a list, tuple or dict that is one (not in a set, a "
                "global or a closure)"
            )


def _gradients(trial: _Trial) -> None:
    size = sum(x.size for x in trial.inputs if x.dtype.kind == "f")
    named = [(n, p) for n, p in trial.layer.named_parameters() if p.record is not None]
    if size + sum(p.size for _, p in named) > LIMIT:
        raise _Fails(f"more than {LIMIT} numbers to measure the slopes of; give a smaller layer")
    for training in (True, False):
        original = trial.copy(training).to(np.float64)

        def f(*args: Any) -> Any:
            layer = copy.deepcopy(original)  # noqa: B023  (called at once)
            parameters = dict(layer.named_parameters())
            for (name, _), new in zip(named, args[len(trial.inputs) :], strict=True):
                # For this call the parameter is the result that is differentiated.
                linked = as_recorded(new) if isinstance(new, Box) else None
                parameters[name].value = new if linked is None else linked.value
                parameters[name].record = None if linked is None else linked.record
            return layer(*args[: len(trial.inputs)])

        f.__name__ = f"{type(trial.layer).__name__} in {'training' if training else 'eval()'}"
        wide = dict(original.named_parameters())
        arrays = [*trial.inputs, *(wide[name].value.copy() for name, _ in named)]
        names = [*(f"input {i}" for i in range(len(trial.inputs))), *(name for name, _ in named)]
        if len(trial.inputs) == 1:
            names[0] = "the input"
        checked_gradients(f, arrays, names)


def _inputs(trial: _Trial) -> None:
    for training in (True, False):
        layer = trial.copy(training)
        inputs = [x.copy() for x in trial.inputs]
        tensors = [Tensor(x) for x in inputs]  # sharing memory, as with a user's batch
        before = {name: p.value.copy() for name, p in layer.named_parameters()}
        y = layer(*tensors)
        kept = y.value.copy()
        if isinstance(y, Tensor) and y.record is not None:
            y.backward(np.ones(y.shape))
        for i, (x, was) in enumerate(zip(inputs, trial.inputs, strict=True)):
            if x.tobytes() != was.tobytes():
                raise _Fails(
                    f"input {i} was changed in place; compute a new array (x = x − 1, not x −= 1)"
                )
        for name, p in layer.named_parameters():
            if p.value.tobytes() != before[name].tobytes():
                raise _Fails(
                    f"{name} is changed by the forward pass; only optimizers change parameters, "
                    "what follows the data is an nn.Buffer"
                )
        layer(*(Tensor(x) for x in trial.draw(trial.shapes, seed=1)))
        if y.value.tobytes() != kept.tobytes():
            raise _Fails(
                "a result is overwritten by the next call; give a new array each time, no buffer "
                "that is used again"
            )


def _random(trial: _Trial) -> None:
    state = np.random.get_state(legacy=False)["state"]
    one, other = trial.copy(True), trial.copy(True)
    for _ in range(2):
        a, b = _value(one, trial.inputs), _value(other, trial.inputs)
        after = np.random.get_state(legacy=False)["state"]
        if after["pos"] != state["pos"] or not np.array_equal(after["key"], state["key"]):
            raise _Fails(
                "it draws from NumPy's global source; keep a Generator of its own "
                "(self.rng = init.as_random(rng) in __init__)"
            )
        if a.tobytes() != b.tobytes():
            raise _Fails(
                "two copies of it give different numbers in training: it draws from a source that "
                "is not its own; keep a Generator in it (self.rng = init.as_random(rng))"
            )


def _training(trial: _Trial) -> None:
    layer = trial.copy(True)
    for _ in range(2):
        _value(layer, trial.inputs)
    layer.eval()
    if any(module.training for module in layer.modules()) or trial.copy(False).training:
        raise _Fails("eval() leaves parts of it in training; do not override train() or `training`")
    before = layer.state_dict()
    first = _value(layer, trial.inputs)
    for name, now in layer.state_dict().items():
        if now.tobytes() != before[name].tobytes():
            raise _Fails(
                f"{name} changes in eval(); update it in `if self.training:` only, else prediction "
                "depends on what was predicted before"
            )
    if first.tobytes() != _value(layer, trial.inputs).tobytes():
        raise _Fails(
            "in eval() it gives other numbers each time; what is random belongs in "
            "`if self.training:`"
        )
    _momentum(trial)


def _momentum(trial: _Trial) -> None:
    """Check that a running buffer moves by the fraction that `momentum` says."""
    layer = trial.copy(True)
    for path, module in layer.named_modules():
        momentum = getattr(module, "momentum", None)
        if not isinstance(momentum, float):
            continue
        buffers = {n: b for n, b in module.named_buffers() if b.value.dtype.kind == "f"}
        steps = []
        for _ in range(3):
            steps.append({name: b.value.copy() for name, b in buffers.items()})
            _value(layer, trial.inputs)
        for name in buffers:
            one, two = steps[1][name] - steps[0][name], steps[2][name] - steps[1][name]
            moving = np.abs(one) > 1e-6
            if moving.any() and not near(two[moving], (1 - momentum) * one[moving], 1e-6):
                part = 1 - float((two[moving] * one[moving]).sum() / (one[moving] ** 2).sum())
                raise _Fails(
                    f"{f'{path}.' if path else ''}{name} goes {part:.3g} of the way to the batch's "
                    f"value, momentum={momentum:g} says {momentum:g}: "
                    "running ← (1 − momentum) · running + momentum · batch's"
                )


def _state(trial: _Trial) -> None:
    learnt = trial.copy(True)
    rng = np.random.default_rng(5)
    for p in learnt.parameters():
        p.value = (p.value + rng.normal(scale=0.1, size=p.shape)).astype(p.dtype)
    for seed in (2, 3):
        _value(learnt, trial.draw(trial.shapes, seed))
    learnt.eval()
    state = learnt.state_dict()
    fresh = trial.copy(False)
    fresh.load_state_dict(state)
    a, b = _value(learnt, trial.inputs), _value(fresh, trial.inputs)
    if not near(a, b, 1e-12 if a.dtype == np.float64 else 1e-6):
        raise _Fails(
            "a fresh copy that has loaded its state_dict() gives other numbers: what it learnt is "
            f"not all in {sorted(state)}; keep it as nn.Parameter or nn.Buffer, and assign to its "
            ".data"
        )
    again = fresh.state_dict()
    for name, array in state.items():
        if again[name].tobytes() != array.tobytes() or again[name].dtype != array.dtype:
            raise _Fails(f"{name} is another after load_state_dict(); do not override it")


def _dtypes(trial: _Trial) -> None:
    for training in (True, False):
        layer = trial.copy(training).to(np.float32)
        inputs = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in trial.inputs]
        y = _output(layer, inputs)
        wide = _value(trial.copy(training), trial.inputs)
        if y.dtype != np.float32 and wide.dtype.kind == "f":
            raise _Fails(
                f"with parameters and inputs of float32 it gives {y.dtype}; an array of float64 "
                "stands in the forward pass (np.ones, np.float64): use Python numbers, or give it "
                "the dtype of x"
            )
        for name, part in [*layer.named_parameters(), *layer.named_buffers()]:
            if part.value.dtype == np.float64:
                raise _Fails(f"{name} has become float64 in the forward pass; keep its dtype")
        if y.record is not None:
            for g in grad(
                y, [p for p in layer.parameters() if p.record], gradient=np.ones(y.shape)
            ):
                if g.dtype != np.float32:
                    raise _Fails(f"a gradient is {g.dtype} in a layer of float32")
        if not near(y.value.astype(float), wide.astype(float), 1e-3):
            raise _Fails("in float32 it gives other numbers than in float64, by more than rounding")


def _samples(trial: _Trial) -> None:
    layer = trial.copy(False)
    m = trial.shapes[0][0] if trial.shapes[0] else 0
    whole = _value(layer, trial.inputs)
    if not m or whole.shape[:1] != (m,):
        raise _Fails(
            f"for inputs of {trial.shapes} it gives {whole.shape}: the first axis is the samples; "
            "say check_layer(..., samples=False) if that is meant"
        )
    for i in range(m):
        alone = _value(layer, [x[i : i + 1] for x in trial.inputs])
        if not near(alone[0], whole[i], 1e-6 if whole.dtype == np.float32 else 1e-9):
            raise _Fails(
                f"in eval() sample {i} gives {alone[0]} by itself and {whole[i]} among {m}: it "
                "depends on the batch; take statistics over a batch in training only, and over "
                "axes other than the first"
            )
    try:
        none = _value(layer, [x[:0] for x in trial.inputs])
    except (ValueError, TypeError) as refusal:
        if not str(refusal):
            raise _Fails("no samples are refused without a word; say why") from refusal
        return
    except Exception as failure:
        raise _Fails(
            f"no samples at all raise {type(failure).__name__}: {failure}; give an empty result or "
            "a ValueError that says why not"
        ) from failure
    if none.shape != (0, *whole.shape[1:]):
        raise _Fails(f"no samples give {none.shape}, expected {(0, *whole.shape[1:])}")


def _errors(trial: _Trial) -> None:
    for shape in dict.fromkeys(_other_shapes(trial.shapes)):
        layer = trial.copy(False)
        try:
            _value(layer, trial.draw(shape))
        except (ValueError, TypeError, IndexError) as refusal:
            if not str(refusal).strip():
                raise _Fails(
                    f"inputs {shape} are refused without a word; say what was expected and received"
                ) from refusal
        except _Fails:
            raise
        except Exception as failure:
            raise _Fails(
                f"inputs {shape} raise {type(failure).__name__}: {failure}; check the shape first "
                "and raise a ValueError that says what was expected and received"
            ) from failure


def _other_shapes(shapes: Sequence[Shape]) -> Iterator[tuple[Shape, ...]]:
    """Yield the shapes with one more column, one axis less, one axis more in the first input."""
    first, *others = shapes
    if first:
        yield ((*first[:-1], first[-1] + 1), *others)
        yield (first[:-1], *others)
    yield ((*first, 2), *others)


CHECKS: dict[str, Callable[[_Trial], None]] = {
    "parameters": _parameters,
    "inputs": _inputs,
    "random": _random,
    "gradients": _gradients,
    "training": _training,
    "state": _state,
    "dtypes": _dtypes,
    "samples": _samples,
    "errors": _errors,
}
