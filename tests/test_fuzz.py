"""Random programs agree with a reverse mode without rules; and the fuzzer finds what is broken."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache
from io import StringIO
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests import fuzz
from tests.fuzz import Call, Failure, Input, Program, check, differentiate, generate, run, source
from tests.fuzz.__main__ import main
from tests.fuzz.operations import OPERATIONS
from tests.fuzz.program import literal, subscript
from tests.fuzz.reference import jacobian
from tests.fuzz.shrink import is_valid
from tinygrad_edu import engine, losses, numpy_functions, ops
from tinygrad_edu.engine import Box


@pytest.mark.parametrize("first", range(0, 150, 30))
def test_random_programs_are_right(first: int) -> None:
    for seed in range(first, first + 30):
        program = generate(seed)
        failure = check(program)
        assert failure is None, fuzz.script(program, failure)


def test_random_programs_agree_with_pytorch() -> None:
    pytest.importorskip("torch")
    for seed in range(150, 250):
        program = generate(seed)
        failure = check(program, torch=True)
        assert failure is None, fuzz.script(program, failure)


# --- the fuzzer finds what is broken --------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]
BUGS: dict[str, Plant] = {}


def bug(plant: Plant) -> Plant:
    BUGS[plant.__name__] = plant
    return plant


def rule(primitive: Any, place: int, wrong: Callable[..., Any]) -> Plant:
    """A wrong rule in place of the one for the array in this place."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        op = primitive.op
        patch.setattr(op, "rules", (*op.rules[:place], wrong, *op.rules[place + 1 :]))

    return plant


def _assigned(g: Any, y: Any, x: Any, index: Any) -> Any:
    """g where the entries came from, but one that was taken twice gets only the last."""
    result = np.zeros(x.shape, x.dtype)
    result[index] = g.value if isinstance(g, Box) else g
    return tg.Tensor(result) if isinstance(g, Box) else result


BUGS |= {
    "tanh: y not squared": rule(ops.tanh, 0, lambda g, y, x: g * (1 - y)),
    "tanh: the recorded gradient is a constant": rule(
        ops.tanh,
        0,
        lambda g, y, x: g * (1 - (y.value * y.value if isinstance(y, Box) else y * y)),
    ),
    "exp: multiplies in place": rule(
        ops.exp, 0, lambda g, y, x: g * y if isinstance(g, Box) else np.multiply(g, y, out=y)
    ),
    "subtract: sign": rule(ops.subtract, 1, lambda g, y, a, b: g),
    "divide: factor": rule(ops.divide, 1, lambda g, y, a, b: -g * a / b),
    "power: no logarithm": rule(ops.power, 1, lambda g, y, a, b: g * y),
    "getitem: entries taken twice count once": rule(ops.getitem, 0, _assigned),
    "sum: keepdims forgotten": rule(
        ops.sum,
        0,
        lambda g, y, x, axis, keepdims: ops.broadcast_to(
            g if axis is None else np.expand_dims(g, axis), x.shape
        ),
    ),
    "mean: count of all entries": rule(
        ops.mean,
        0,
        lambda g, y, x, axis, keepdims: ops.broadcast_to(
            (g / max(x.size, 1)).reshape(ops._kept(x, axis)), x.shape
        ),
    ),
    "var: ddof forgotten": rule(
        ops.var, 0, lambda g, y, x, axis, ddof, keepdims: ops._var_rule(g, y, x, axis, 0, keepdims)
    ),
    "max: every entry": rule(
        ops.max, 0, lambda g, y, x, axis, keepdims: g.reshape(ops._kept(x, axis)) + 0 * x
    ),
    "softmax: without its sum": rule(ops.softmax, 0, lambda g, y, x, axis: g * y * (1 - y)),
    "log_softmax: last axis": rule(
        ops.log_softmax,
        0,
        lambda g, y, x, axis: g - np.exp(y) * g.sum(axis=-1, keepdims=True),
    ),
    "where: the other side": rule(
        ops.where, 2, lambda g, y, condition, a, b: np.where(condition, g, 0.0)
    ),
    "clip: everywhere": rule(ops.clip, 0, lambda g, y, x, a_min, a_max: g),
    "matmul: T for stacks of matrices": rule(
        ops.matmul,
        0,
        lambda g, y, a, b: ops._matmul_left(g, y, a, b) if b.ndim < 3 else g @ b.T,
    ),
    "transpose: not the inverse": rule(
        ops.transpose, 0, lambda g, y, x, axes: np.transpose(g, axes)
    ),
    "concatenate: in reverse": rule(
        ops._concatenate,
        0,
        lambda i, g, y, *arrays, axis: ops._cut(i, g[::-1], y, *arrays, axis=axis),
    ),
}


@bug
def unbroadcast_takes_one_of_the_copies(patch: pytest.MonkeyPatch) -> None:
    """In place of the sum over a broadcast axis."""

    def summed_to(x: Any, shape: tuple[int, ...]) -> Any:
        x = np.asarray(x)[(0,) * (np.ndim(x) - len(shape))]
        for axis, (n, m) in enumerate(zip(shape, x.shape, strict=True)):
            x = x.take(range(1), axis) if n == 1 != m else x
        return x

    patch.setattr(engine, "summed_to", summed_to)
    patch.setattr(ops.sum_to.op, "forward", summed_to)


@bug
def unbroadcast_keeps_the_dtype(patch: pytest.MonkeyPatch) -> None:
    right = engine.unbroadcast
    patch.setattr(
        engine,
        "unbroadcast",
        lambda g, x: right(g, x if isinstance(g, Box) else np.empty(x.shape, np.asarray(g).dtype)),
    )


@bug
def sweep_looks_at_first_arguments_only(patch: pytest.MonkeyPatch) -> None:
    def depending_on(nodes: Any, wanted: Any) -> Any:
        needed = set(wanted)
        for node in nodes:
            if any(isinstance(arg, Box) and arg in needed for arg in node.record[2][:1]):
                needed.add(node)
        return needed

    patch.setattr(engine, "depending_on", depending_on)


@bug
def sweep_visits_in_the_wrong_order(patch: pytest.MonkeyPatch) -> None:
    """Before all errors have arrived at a tensor that was used several times."""
    right = engine.recorded_results

    def recorded_results(output: Box) -> list[Box]:
        *rest, last = right(output)
        return [*sorted(rest, key=lambda node: -node.record[0]), last]

    patch.setattr(engine, "recorded_results", recorded_results)


@bug
def numpy_minimum_is_our_maximum(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(numpy_functions.UFUNCS, np.minimum, ops.maximum)


@bug
def losses_forget_the_mean(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(losses, "_error_per_entry", lambda g, reduction, x: g)


@cache
def _program(seed: int) -> Program:
    return generate(seed)


@pytest.mark.parametrize("name", BUGS)
def test_planted_bugs_are_found_and_made_small(name: str) -> None:
    for seed in range(1500):
        program = _program(seed)
        with pytest.MonkeyPatch.context() as patch:
            BUGS[name](patch)
            failure = check(program, second=True)
            if failure is None:
                continue
            small, found = fuzz.shrink(program, failure, lambda p: check(p, second=True))
        assert found.kind == failure.kind
        assert len(small.calls) <= 3, source(small)
        assert check(small, second=True) is None  # it was the planted bug, and it is gone again
        return
    pytest.fail("it was not found")


def test_the_reference_is_right_whatever_is_broken() -> None:
    programs = [_program(seed) for seed in range(40)]
    right = [differentiate(program) for program in programs]
    with pytest.MonkeyPatch.context() as patch:
        for plant in BUGS.values():
            plant(patch)
        assert any(check(program) for program in programs)
        for program, before in zip(programs, right, strict=True):
            for kind, again in zip(before, differentiate(program), strict=True):
                for x, y in zip(kind, again, strict=True):
                    np.testing.assert_array_equal(x, y)


def test_the_definitions_do_not_know_the_package() -> None:
    path = Path(fuzz.__file__).with_name("operations.py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(name.name.startswith("tinygrad_edu") for name in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module != "tinygrad_edu"


def test_errors_are_found_as_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(g: Any, y: Any, x: Any) -> Any:
        raise ArithmeticError("no")

    rule(ops.sin, 0, failing)(monkeypatch)
    x = Input(np.array([0.5]), "variable")
    program = Program((x,), (Call("sin", (0,)),), {1: np.array([2.0])})
    failure = check(program)
    assert failure is not None
    assert failure.kind == "grad raised ArithmeticError"
    assert "in the rule of sin" in failure.received


# --- each comparison can fail ---------------------------------------------------------------------


def _sin_times_constant() -> Program:
    """sin(x) ⊙ c, and the same program each time, with arrays of its own."""
    inputs = (Input(np.array([0.5, 1.0]), "variable"), Input(np.array([2.0, 3.0]), "constant"))
    calls = (Call("sin", (0,)), Call("multiply", (2, 1)))
    return Program(inputs, calls, {3: np.array([1.0, -1.0])})


right_grad, right_sin, right_backward = tg.grad, tg.sin, tg.Tensor.backward


def _grad(change: Callable[..., Any]) -> Callable[..., Any]:
    """`tg.grad` with every gradient changed: change(g, x, output, create_graph)."""

    def grad(output: Any, wrt: Any, gradient: Any = None, create_graph: bool = False) -> Any:
        found = right_grad(output, wrt, gradient, create_graph)
        return [change(g, x, output, create_graph) for g, x in zip(found, wrt, strict=True)]

    return grad


def _read_only(g: Any, x: Any, output: Any, create_graph: bool) -> Any:
    if not create_graph:
        g.flags.writeable = False
    return g


def _product(loss: Any) -> Any:
    """sin(x) ⊙ c, from which the loss is computed as (w ⊙ product).sum()."""
    return loss.record[2][0].record[2][1]


def _in_the_tensor(g: Any, x: Any, output: Any, create_graph: bool) -> Any:
    """A right gradient, in the memory of a result."""
    if create_graph:
        return g
    held = _product(output).value
    held[...] = g
    return held


def _not_for_results(g: Any, x: Any, output: Any, create_graph: bool) -> Any:
    return g if x.is_leaf else g + 1


def _not_twice(g: Any, x: Any, output: Any, create_graph: bool) -> Any:
    return g.detach() if create_graph else g


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        ("value", "sin", lambda x: right_sin(x) + 1e-7),
        ("shape", "sin", lambda x: right_sin(x).reshape(1, 2)),
        ("dtype", "sin", lambda x: tg.astype(right_sin(x), np.float32)),
        ("on arrays", "sin", lambda x: right_sin(x) if isinstance(x, tg.Tensor) else np.cos(x)),
        ("on arrays", "sin", lambda x: right_sin(x if isinstance(x, Box) else tg.Tensor(x))),
        ("gradient", "grad", _grad(lambda g, x, output, create_graph: g * (1 + 1e-7))),
        ("gradient: form", "grad", _grad(lambda g, x, output, create_graph: g.reshape(2, 1))),
        ("gradient: form", "grad", _grad(lambda g, x, output, create_graph: [*g])),
        ("gradient: memory", "grad", _grad(_read_only)),
        ("gradient: memory", "grad", _grad(_in_the_tensor)),
        (
            "create_graph",
            "grad",
            _grad(lambda g, x, output, create_graph: g * (1 + 1e-15) if create_graph else g),
        ),
        ("gradient by a result", "grad", _grad(_not_for_results)),
        ("second derivative", "grad", _grad(_not_twice)),
    ],
)
def test_each_comparison_can_fail(
    kind: str, name: str, wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(_sin_times_constant(), second=True) is None
    monkeypatch.setattr(tg, name, wrong)
    failure = check(_sin_times_constant(), second=True)
    assert failure is not None
    assert failure.kind == kind


def _left_twice(loss: Any) -> None:
    right_backward(loss, retain_graph=True)
    right_backward(loss)


def _writes_to(place: int) -> Callable[[Any], None]:
    """Writes to the operand in this place of sin(x) ⊙ c."""

    def backward(loss: Any) -> None:
        operand = _product(loss).record[2][place]
        right_backward(loss)
        operand.value[0] *= 1 + 1e-15

    return backward


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("backward", _left_twice),
        ("backward", lambda loss: None),
        ("result changed", _writes_to(0)),
        ("input changed", _writes_to(1)),
    ],
)
def test_what_backward_leaves_is_compared(
    kind: str, wrong: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tg.Tensor, "backward", wrong)
    failure = check(_sin_times_constant())
    assert failure is not None
    assert failure.kind == kind


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("torch: value", lambda torch, x: torch.cos(x)),
        ("torch: shape", lambda torch, x: torch.sin(x).reshape(2, 1)),
        ("torch: gradient", lambda torch, x: torch.sin(x).detach() + 0 * x),
        (
            "torch: second derivative",
            lambda torch, x: torch.sin(x).detach() + (x - x.detach()) * torch.cos(x).detach(),
        ),
    ],
)
def test_pytorch_is_compared(
    kind: str, wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    assert check(_sin_times_constant(), torch=True) is None
    monkeypatch.setitem(OPERATIONS, "sin", replace(OPERATIONS["sin"], torch=wrong))
    failure = check(_sin_times_constant(), torch=True)
    assert failure is not None
    assert failure.kind == kind


# --- the reference itself -------------------------------------------------------------------------


def test_jacobians() -> None:
    x, m = np.array([0.5, -1.0]), np.array([[1.0, 2.0], [3.0, 4.0]])
    tanh = jacobian(Call("tanh", (0,)), [x], 0, 2)
    np.testing.assert_allclose(tanh, np.diag(1 - np.tanh(x) ** 2), rtol=1e-14)
    np.testing.assert_array_equal(jacobian(Call("matmul", (0, 1)), [m, x], 1, 2), m)
    np.testing.assert_array_equal(jacobian(Call("max", (0,)), [x], 0, 1), [[1.0, 0.0]])
    twice = jacobian(Call("getitem", (0,), {"index": np.array([1, 1])}), [x], 0, 2)
    np.testing.assert_array_equal(twice, [[0.0, 1.0], [0.0, 1.0]])


def test_gradients_and_what_they_were_added_up_from() -> None:
    """x·x − 2x at 3: the derivative is 2x − 2 = 4, of terms of 6 and of 2."""
    inputs = (Input(np.array(3.0), "variable"), Input(2.0, "number"))
    calls = (
        Call("multiply", (0, 0)),
        Call("multiply", (1, 0)),
        Call("subtract", (2, 3)),
    )
    found = differentiate(Program(inputs, calls, {4: np.array(1.0)}))
    assert found.values[4] == 3.0
    assert found.gradients[0] == 4.0
    assert found.sizes[0] == 8.0
    assert found.gradients[2] == 1.0


# --- what the programs are ------------------------------------------------------------------------


def test_every_operation_and_every_spelling_occurs() -> None:
    """In 2,000 programs; the names are those that the package has, so a new one has to be added."""
    occurred = {
        (call.operation, call.spelling % len(OPERATIONS[call.operation].spellings))
        for seed in range(2000)
        for call in generate(seed).calls
    }
    operations = {name for name, _ in occurred}
    assert {*ops.__all__, *losses.__all__} <= operations
    assert {(name, k) for name, op in OPERATIONS.items() for k in range(len(op.spellings))} == (
        occurred
    )


def test_programs_have_what_makes_them_hard() -> None:
    programs = [_program(seed) for seed in range(200)]
    used = [[i for call in p.calls for i in call.arguments] for p in programs]
    assert sum(len(set(u)) < len(u) for u in used) > 100  # registers used several times
    assert {x.kind for p in programs for x in p.inputs} == {
        "variable",
        "constant",
        "array",
        "number",
    }
    arrays = [x.value for p in programs for x in p.inputs if isinstance(x.value, np.ndarray)]
    assert {x.ndim for x in arrays} >= {0, 1, 2, 3, 4}
    assert {np.float64, np.float32, np.int64, np.bool_} == {x.dtype.type for x in arrays}
    assert any(x.size == 0 for x in arrays)


def test_a_seed_is_a_program() -> None:
    assert source(generate(7)) == source(generate(7)) != source(generate(8))
    assert len(generate(7, length=40).calls) > 20


def test_generated_programs_are_valid() -> None:
    assert all(is_valid(_program(seed)) for seed in range(100))


def test_source_is_what_was_run() -> None:
    for seed in range(50):
        program = _program(seed)
        space: dict[str, Any] = {}
        exec(source(program), space)
        assert space["loss"].numpy().tobytes() == run(program).loss.numpy().tobytes()


@pytest.mark.parametrize(
    "value",
    [
        1,
        -1,
        2.5,
        None,
        True,
        "mean",
        (),
        (0, -1),
        Ellipsis,
        slice(None, None, -2),
        (slice(1, None), None, 0),
        (..., np.array([0, 0])),
        np.array([True, False]),
        [1, 0],
        np.array([[0.1, 2.0]]),
        np.array(3),
        np.zeros((0, 2)),
        np.zeros(0, int),
        np.array([0.1], np.float32),
        (slice(None),),
        np.float32,
    ],
    ids=str,
)
def test_settings_as_code(value: Any) -> None:
    again = eval(literal(value), {"np": np})
    assert type(again) is type(value)
    assert repr(again) == repr(value)
    if isinstance(value, (int, slice, tuple)):
        assert repr(eval(f"np.s_[{subscript(value)}]", {"np": np})) == repr(value)


# --- shrinking ------------------------------------------------------------------------------------


def _fails_if(test: Callable[[Program], bool]) -> Callable[[Program], Failure | None]:
    return lambda program: Failure("found", "", "") if test(program) else None


def test_shrinking_keeps_what_is_needed_and_nothing_else() -> None:
    def reused(program: Program) -> bool:
        operations = [call.operation for call in program.calls]
        return "sin" in operations and "matmul" in operations

    program = next(p for p in map(generate, count()) if reused(p))
    small, _ = fuzz.shrink(program, Failure("found", "", ""), _fails_if(reused))
    assert is_valid(small)
    assert sorted(call.operation for call in small.calls) == ["matmul", "sin"]
    assert all(x.value.size <= 1 for x in small.inputs)
    assert all(call.spelling == 0 for call in small.calls)


def test_shrinking_simplifies_settings_and_numbers() -> None:
    index = (np.array([[-2, 1, 1], [0, 2, 2]]), slice(None, None, -1))
    x = Input(np.arange(12.0).reshape(3, 4) + 0.123, "variable")
    program = Program((x,), (Call("getitem", (0,), {"index": index}),), {1: np.ones((2, 3, 4))})

    def repeats(program: Program) -> bool:
        """Some entry is taken twice."""
        places = [
            np.arange(np.size(x.value)).reshape(np.shape(x.value))[call.settings["index"]]
            for x, call in zip(program.inputs, program.calls, strict=False)
        ]
        return any(len(np.unique(p)) < p.size for p in places)

    small, _ = fuzz.shrink(program, Failure("found", "", ""), _fails_if(repeats))
    np.testing.assert_array_equal(small.inputs[0].value, [1.0])
    np.testing.assert_array_equal(small.calls[0].settings["index"], [0, 0])


def test_shrinking_stops_after_so_many_attempts() -> None:
    program, tried = generate(1, length=30), list[Program]()

    def test(candidate: Program) -> Failure | None:
        tried.append(candidate)
        return None

    small, _ = fuzz.shrink(program, Failure("found", "", ""), test, attempts=7)
    assert len(tried) == 7
    assert small is program


# --- the command ----------------------------------------------------------------------------------


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "20", "--seed", "200"]) == 0
    summary = capsys.readouterr().out
    assert summary.startswith("20 programs, ")
    assert " s, 0 failures; " in summary
    assert summary.count("\n") == 1
    counts = summary.split(": ")[1].split()
    programs = [generate(seed) for seed in range(200, 220)]
    added = sum(call.operation == "add" for program in programs for call in program.calls)
    assert added
    assert ("add", str(added)) in pairwise(counts)


def test_command_ends_when_time_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "1000000", "--seconds", "0"]) == 0
    assert capsys.readouterr().out.startswith(("0 programs", "1 programs"))


def test_command_prints_a_script_that_shows_the_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    BUGS["getitem: entries taken twice count once"](monkeypatch)
    assert main(["--count", "200"]) == 1
    script, summary = capsys.readouterr().out.rstrip().rsplit("\n", 1)
    assert script.startswith("# seed ")
    assert "import tinygrad_edu as tg" in script
    assert " 1 failures; " in summary
    with redirect_stdout(StringIO()) as printed:
        exec(script, {})
    assert printed.getvalue().splitlines() == ["received: [1.]", "expected: [2.]"]
    seed = script.split()[2].rstrip(":")
    assert main(["--count", "1", "--seed", seed]) == 1  # the seed alone brings it back


def test_command_goes_on_to_so_many_failures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    BUGS["subtract: sign"](monkeypatch)
    assert main(["--count", "200", "--failures", "2"]) == 1
    assert capsys.readouterr().out.count("# seed ") == 2


@pytest.mark.parametrize("wrong", ["--count=-1", "--count=many", "--sed=1", "--seconds=x"])
def test_command_refuses_wrong_options(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([wrong])
    assert stopped.value.code == 2
    assert wrong.split("=")[0] in capsys.readouterr().err


def test_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "independent reverse mode" in capsys.readouterr().out


def test_command_says_when_pytorch_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["--torch"]) == 2
    assert "not installed" in capsys.readouterr().err
