"""The checker of the operations is seen to fail: every wrong rule is caught."""

from __future__ import annotations

import pytest

import tinygrad_edu as tg
from tests import mutants
from tests.mutants import ALWAYS, MUTATIONS, Site, in_place, primitives, try_all
from tests.tools.operations import CASES

PRIMITIVES = primitives()


@pytest.mark.parametrize("name", PRIMITIVES)
def test_every_wrong_rule_is_caught(name: str) -> None:
    op = PRIMITIVES[name].op
    rules = op.rules
    tally = try_all(name, op)
    assert not tally.survivors
    assert op.rules is rules
    # what changes every rule there is must have been tried, and noticed, on each rule of this one
    assert tally.caught >= len(ALWAYS) * sum(map(bool, rules))
    assert tally.crashed < tally.caught / 10  # caught by what is compared, not by accident


def test_every_rule_has_a_line_of_the_table() -> None:
    assert set(PRIMITIVES) <= {row.name for row, _ in CASES}


def test_a_hole_in_the_checker_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mutants, "check", lambda row, shapes: None)
    assert mutants.main(["sqrt"]) == 1
    output = capsys.readouterr().out
    assert "survived: sqrt, input 0: sign flipped" in output
    assert "survived: sqrt, input 0: y · 1.001" in output


def test_an_unknown_operation_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutants.main(["sin", "sinc"]) == 2
    assert "no such operation: sinc" in capsys.readouterr().out


def test_the_command_prints_a_line_for_each_operation(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutants.main(["sin"]) == 0
    head, sine, total = capsys.readouterr().out.splitlines()
    assert head.split() == ["operation", "mutants", "caught", "crashed", "equivalent", "survivors"]
    assert sine.split()[0] == "sin"
    mutants_, *parts = map(int, sine.split()[1:])
    assert mutants_ == sum(parts) > 30
    assert total.split()[2:] == sine.split()[1:]


def test_a_rule_is_restored_when_something_goes_wrong() -> None:
    op = PRIMITIVES["exp"].op
    rules = op.rules
    with pytest.raises(KeyError), in_place(op, 0, ALWAYS["sign flipped"]):
        x = tg.Tensor(0.0, requires_grad=True)
        assert tg.grad(tg.exp(x), x) == -1
        raise KeyError
    assert op.rules is rules


def test_an_argument_that_the_rule_never_reads_makes_an_equivalent_mutant() -> None:
    tally = try_all("add", PRIMITIVES["add"].op)
    assert "input 1: zeros for input 0" in tally.equivalent
    assert "input 1: sign flipped" not in tally.equivalent


def test_a_mutation_sees_the_call_it_changes() -> None:
    seen: list[Site] = []

    def look(site: Site) -> object:
        seen.append(site)
        return site.error()

    op = PRIMITIVES["multiply"].op
    with in_place(op, 1, look) as watch:
        a, b = (tg.Tensor(number, requires_grad=True) for number in (2.0, 3.0))
        assert tg.grad(a * b, [a, b]) == [3.0, 2.0]
    assert [(site.i, site.y, site.inputs) for site in seen] == [(1, 6.0, (2.0, 3.0))]
    assert watch.applied and not watch.changed
    assert len(MUTATIONS) > 70
