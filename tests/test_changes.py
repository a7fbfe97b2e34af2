"""`tests.changes`: no kind of change is missed in silence, and its checker finds what is broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from tests.changes import (
    FOLLOWED,
    KINDS,
    RAISED,
    SILENT,
    Kind,
    at_least,
    by_compile,
    by_fit,
    eager,
    same,
)
from tests.changes.__main__ import main
from tests.changes.case import Case, layer
from tests.tools.long import one_in

HIDDEN = KINDS["os.environ"]


def test_there_are_many_kinds_of_change() -> None:
    assert len(KINDS) > 300
    assert sum(row.in_fit for row in KINDS.values()) > 280


def test_every_kind_changes_what_the_step_itself_gives() -> None:
    for row in KINDS.values():
        if not row.by_itself:
            changed, unchanged = eager(row, 3, 5), eager(row, 3, 5, changing=False)
            alike = [
                same(a, b) for a, b in zip(changed.snapshots, unchanged.snapshots, strict=False)
            ]
            assert alike[:2] == [True, True], row.name
            assert not all(alike) or len(changed.snapshots) == 2, row.name


def test_every_kind_is_the_same_each_time() -> None:
    for row in KINDS.values():
        first, second = eager(row, 3, 4), eager(row, 3, 4)
        assert all(map(same, first.snapshots, second.snapshots)), row.name


PARTS = 8


@pytest.mark.parametrize("part", one_in(4, range(PARTS)))
def test_compile_misses_no_kind_in_silence(part: int) -> None:
    for row in [*KINDS.values()][part::PARTS]:
        found = by_compile(row, 3, calls=8)
        assert at_least(found.outcome, row.at_least), (row.name, found)


@pytest.mark.parametrize("part", one_in(4, range(PARTS)))
def test_fit_trains_what_it_trains_eagerly_whatever_changes(part: int) -> None:
    for row in [*KINDS.values()][part::PARTS]:
        if row.in_fit:
            found = by_fit(row, 3, more=100)
            assert found.outcome == FOLLOWED, (row.name, found)


def test_fit_with_compile_true_is_compared_as_well() -> None:
    for row in [*KINDS.values()][::25]:
        if row.in_fit:
            found = by_fit(row, 3, compile=True)
            assert at_least(found.outcome, row.at_least), (row.name, found)


@pytest.mark.parametrize(
    "assign",
    [
        lambda model, moves: setattr(model, "scale", float("1.5")),
        lambda model, moves: setattr(model, "mode", "".join(["a", "b"])),
        lambda model, moves: setattr(model, "scale", np.float64(1.5)),
        lambda model, moves: setattr(moves, "betas", (float("0.5"), float("0.9"))),
        lambda model, moves: setattr(moves, "lr", float("0.01")),
        lambda model, moves: model.train(),
    ],
    ids=["a number", "a string", "a NumPy scalar", "a tuple", "lr", "training"],
)
def test_equal_values_that_are_other_objects_trace_nothing_anew(assign: Any) -> None:
    model = layer(lambda self: self.scale if self.mode == "ab" and self.training else 2.0)
    model.scale, model.mode = np.float64(1.5), "ab"
    case = Case(model, optimizer=lambda p: tg.optim.Adam(p, lr=0.01, betas=(0.5, 0.9)))
    step = tg.compile(case.step(case))
    assign(model, case.moves)
    for call in range(30):
        assign(model, case.moves)
        step(*case.arguments(case, call))
    assert sum(map(len, step.programs.values())) == 1


@pytest.mark.parametrize(
    "count",
    [
        lambda self: setattr(self, "calls", self.calls + 1),
        lambda self: self.seen.append(0),
        lambda self: self.table.__setitem__(0, self.table[0] + 1),
        lambda self: self.named.update(calls=self.named["calls"] + 1),
    ],
    ids=["a number", "a list", "an array", "a dict"],
)
def test_what_tracing_changes_in_python_stays_changed_as_the_docs_say(count: Any) -> None:
    def factor(self: Any) -> float:
        count(self)
        return 1.0

    model = layer(factor)
    model.calls, model.seen, model.table, model.named = 0, [], np.zeros(1), {"calls": 0}
    case, before = Case(model), model.w.data.copy()
    with pytest.raises(tg.CannotCapture):
        tg.compile(case.step(case))(*case.arguments(case, 0))
    assert model.calls + len(model.seen) + model.table[0] + model.named["calls"] > 0
    np.testing.assert_array_equal(model.w.data, before)
    told = " ".join(str(tg.compile.__doc__).split())
    assert "Python state that it changes, such as a list that it appends to, stays changed" in told


# --- the checker is shown what is broken ----------------------------------------------------------


def test_a_step_that_is_not_compared_is_silent() -> None:
    found = by_compile(HIDDEN, 3, calls=5, check=False)
    assert found.outcome == SILENT
    assert "since call 3" in found.detail


def test_a_fit_that_misses_the_change_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tg.fit

    def deaf(*args: Any, **settings: Any) -> Any:
        if settings["compile"] is not False:
            settings["callbacks"] = []
        return whole(*args, **settings)

    monkeypatch.setattr(tg, "fit", deaf)
    assert by_fit(HIDDEN, 3).outcome == SILENT


def test_a_fit_that_swallows_an_error_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tg.fit

    def mild(*args: Any, **settings: Any) -> Any:
        try:
            return whole(*args, **settings)
        except OSError:
            if settings["compile"] is False:
                raise

    monkeypatch.setattr(tg, "fit", mild)
    assert by_fit(KINDS["a step that fails from one call on"], 3).outcome == SILENT


def test_a_compile_that_moves_a_weight_and_then_refuses_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(function: Any, **settings: Any) -> Any:
        def step(*args: Any) -> Any:
            function(*args)
            raise tg.CannotCapture("too late")

        return step

    monkeypatch.setattr(tg, "compile", late)
    assert by_compile(HIDDEN, 3).outcome == "broken"


def test_an_error_without_a_difference_is_a_false_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    def nervous(function: Any, **settings: Any) -> Any:
        calls = []

        def step(*args: Any) -> Any:
            calls.append(args)
            if len(calls) == 2:
                raise RuntimeError("nothing has changed")
            return function(*args)

        return step

    monkeypatch.setattr(tg, "compile", nervous)
    assert by_compile(HIDDEN, 5).outcome == "false alarm"


def test_a_step_that_is_not_captured_at_all_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tg, "compile", lambda function, **settings: function)
    for row in (HIDDEN, KINDS["a step that fails from one call on"], KINDS["itertools.count"]):
        assert by_compile(row, 3, calls=5).outcome == FOLLOWED


# --- the command ----------------------------------------------------------------------------------


def test_the_command_prints_a_table_and_is_content(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "attribute: a flag", "--moments", "3", "20"]) == 0
    printed = capsys.readouterr().out
    assert "compile 3" in printed and "fit 20" in printed
    assert "fit, changed at call 20: 1 followed" in printed
    assert "1 kinds, 0 silent" in printed


def test_the_command_fails_where_something_is_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unchecked(function: Any, backend: str) -> Any:
        return whole(function, backend=backend, check=False)

    whole = tg.compile
    monkeypatch.setattr(tg, "compile", unchecked)
    arguments = ["--only", HIDDEN.name, "--moments", "3", "--routes", "compile"]
    assert main(arguments) == 1
    assert "1 kinds, 1 silent" in capsys.readouterr().out


def test_the_command_fails_where_a_row_wants_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(at: int) -> Case:
        model = layer(lambda self: self.calls.append(0) or 1.0)
        model.calls = []
        return Case(model)

    row = Kind("refused, and wanted to be followed", FOLLOWED, build, by_itself=True)
    monkeypatch.setitem(KINDS, row.name, row)
    assert main(["--only", row.name, "--moments", "3", "--routes", "compile"]) == 1
    assert "refused, wanted followed" in capsys.readouterr().out
    assert RAISED not in capsys.readouterr().out
