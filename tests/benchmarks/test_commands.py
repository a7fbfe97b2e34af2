"""The commands run with the smallest settings, and tell what they are asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as tg
from benchmarks import (
    __main__,
    cases,
    cold,
    cold_training,
    feeding,
    machine,
    memory,
    ops,
    parts,
    peers,
    report,
    sweeps,
    timing,
)
from benchmarks.cases import Network
from benchmarks.cold_training import PROGRAMS
from benchmarks.timing import Timing
from models.datasets import breast_cancer
from tests.tools.long import long

ROOT = Path(__file__).parents[2]
FACTS: dict[str, Any] = {
    "processor": "p",
    "system": "s",
    "python": "3",
    "versions": {},
    "threads": "1 thread for all",
}
TINY = Network("tiny", (5, 4, 3), batch=6, steps=3)
FEW = ["NumPy, hand-optimised", "tinygrad_edu, eager", "tinygrad_edu, captured"]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for what is written."""
    for module in (report, peers, sweeps, parts):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    return tmp_path


def read(results: Path, name: str) -> tuple[dict[str, Any], str]:
    """The JSON and the Markdown of a report."""
    told = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    assert told["command"] == "the command"
    text = (results / f"{name}.md").read_text(encoding="utf-8")
    assert text.index("<!-- table -->") < text.index("|") < text.index("<!-- end -->")
    for line in text.splitlines():
        if line.startswith("![") and line.endswith(")"):
            picture = results / line[line.index("](") + 2 : -1]
            assert picture.read_bytes().startswith(b"\x89PNG")
    return told, text


# --- operations -----------------------------------------------------------------------------------

# Of those names in `tg` that are no operations with a gradient.
NO_GRADIENT = {"one_hot"}


def test_every_operation_is_in_the_table() -> None:
    named = {row.name.partition(",")[0] for row in ops.rows()}
    offered = {*tg.ops.__all__, *tg.losses.__all__, *tg.windows.__all__}
    assert offered - NO_GRADIENT <= named


@pytest.mark.parametrize("row", list(ops.rows()), ids=lambda row: row.name)
def test_an_operation_and_pytorchs_give_the_same(row: ops.Row) -> None:
    with np.errstate(all="ignore"):
        found = ops.contestants(row)  # compares values and gradients
        for call in found.values():
            call()
    assert ("PyTorch, backward" in found) == (row.torch is not None and ops._torch() is not None)


def test_an_operation_that_differs_is_found() -> None:
    pytest.importorskip("torch")
    x = np.ones((2, 2), np.float32)
    wrong = ops.Row("wrong", tg.sin, np.sin, lambda torch, a: torch.sin(a) * 1.001, (x,))
    with pytest.raises(AssertionError, match="wrong"):
        ops.contestants(wrong)


def test_the_table_of_operations(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "rows", lambda rows=ops.rows: [next(rows())])
    assert ops.run(1, FACTS, "the command", True) == 0
    told, text = read(results, "ops")
    assert told["chains"].keys() == ops.CHAIN.keys()
    assert list(told["operations"]) == ["negative"]
    assert "| sigmoid |" in text and "2.5 µs" in text


# --- steps ----------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "NETWORKS", {"tiny": TINY})
    monkeypatch.setattr(peers, "PEERS", {n: peers.PEERS[n] for n in (peers.REFERENCE, *FEW)})


@pytest.mark.usefixtures("small")
def test_peers_write_a_picture_too(results: Path) -> None:
    assert peers.run(None, 1, FACTS, "the command", True, "-2-threads") == 0
    told, _ = read(results, "peers-2-threads")
    ((_, timings),) = told["cases"].items()
    assert list(timings) == ["the matrix products alone", peers.REFERENCE, *FEW]


@pytest.mark.usefixtures("small")
def test_parts_add_up_to_the_step(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(ways: dict[str, Any], **settings: Any) -> dict[str, Timing]:
        seconds = {"products": 2.0} | {n: 3.0 if n.endswith("calls") else 10.0 for n in ways}
        seconds["products"] = 2.0
        return {n: Timing(seconds[n], seconds[n] / 2, 0, 0) for n in ways}

    monkeypatch.setattr(parts, "compare", counted)
    monkeypatch.setattr(parts, "WAYS", dict(list(parts.WAYS.items())[:3]))
    assert parts.run(None, 1, FACTS, "the command", True) == 0
    told, text = read(results, "parts")
    split = told["networks"]["tiny"]["eager"]
    assert split == {"products": 2.0, "array work": 5.0, "calls": 3.0}
    assert "5 s (50 %)" in text


def test_a_network_without_arithmetic_has_as_many_layers() -> None:
    for network in cases.NETWORKS.values():
        bare = parts.without_arithmetic(network)
        assert len(bare.sizes) == len(network.sizes)
        assert (bare.k == 1) == (network.k == 1)
        assert max(bare.sizes) <= 2


@pytest.mark.usefixtures("small")
def test_sweeps(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "CONTESTANTS", FEW)
    monkeypatch.setattr(sweeps, "LONGEST", 2)
    few = {
        "batch": (sweeps.by_batch, [1, 4, 5000], "samples"),
        "depth": (sweeps.by_depth, [1, 3], "layers"),
        "dtype": (sweeps.by_dtype, ["mini float32", "mini float64"], "networks"),
    }
    monkeypatch.setattr(sweeps, "SWEEPS", few)
    assert sweeps.run(None, 1, 1, 4096, FACTS, "the command", True) == 0
    told, text = read(results, "sweeps")
    assert {name: list(points) for name, points in told["sweeps"].items()} == {
        "batch": ["1", "4"],
        "depth": ["1", "3"],
        "dtype": ["mini float32", "mini float64"],
    }
    assert told["sweeps"]["batch"]["4"]["fastest peer"] == FEW[0]
    assert told["left out"] == dict.fromkeys(sweeps.COMPILED, "not beyond 2 layers")
    assert text.count("](sweep-") == 3


@pytest.mark.parametrize("name", sweeps.SWEEPS)
def test_every_point_is_a_network_of_its_size(name: str) -> None:
    make, points, _ = sweeps.SWEEPS[name]
    for point in points:
        network = make(point)
        size = {"batch": network.batch, "width": network.sizes[1], "depth": len(network.sizes) - 1}
        assert size.get(name, f"{network.name}") == point
        assert network.dtype == ("float64" if "float64" in str(point) else "float32")


def test_a_budget_ends_the_rounds_after_three() -> None:
    calls = []
    timing.compare({"a": lambda: calls.append(1)}, rounds=50, slice_seconds=0, budget=0)
    few = len(calls)
    calls.clear()
    timing.compare({"a": lambda: calls.append(1)}, rounds=50, slice_seconds=0)
    assert few < 10 < 50 < len(calls)


# --- feeding, memory, cold starts -----------------------------------------------------------------


def test_all_ways_to_feed_give_the_same_batches(results: Path) -> None:
    assert feeding.run(1, 70, FACTS, "the command", True) == 0
    told, _ = read(results, "feeding")
    assert len(told["cases"]) == 6
    assert all(list(case) == list(feeding.WAYS) for case in told["cases"].values())


def test_the_memory_of_an_epoch(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["NumPy by hand", "tinygrad_edu, eager", "tinygrad_edu, captured"]
    names += ["tinygrad_edu, Numba"] * (find_spec("numba") is not None)
    for table in ("BY_TRACE", "PROGRAMS"):
        monkeypatch.setattr(memory, table, {name: memory.PROGRAMS[name] for name in names})
    assert memory.run(3, 3000, FACTS, "the command", True) == 0
    told, _ = read(results, "memory")
    for name in names:
        assert told["traced"][name]["data"] == 3000 * (784 + 10) * 4
        over = told["traced"][name]["over"]
        assert min(over) > 0 and max(over) < memory.LIMIT
        assert over[2] < 1.05 * over[1]  # it does not grow from epoch to epoch


@long
def test_processes_from_a_cold_start(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [cold_training.BY_HAND, "tinygrad_edu"]
    programs = {name: cold_training.PROGRAMS[name] for name in wanted}
    monkeypatch.setattr(cold_training, "PROGRAMS", programs)
    assert cold_training.run(1, 2, FACTS, "the command", True) == 0
    told, text = read(results, "cold")
    for name in wanted:
        assert told["processes"][name]["process"][0] > told["processes"][name]["epoch"][0] > 0
    assert "| tinygrad_edu |" in text and "| 1.1 |" in text


@pytest.fixture(scope="module")
def chapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data, for two epochs."""
    folder, data = tmp_path_factory.mktemp("chapter"), breast_cancer()
    np.savez(
        folder / "data.npz", x=data.x_train, y=data.y_train, x_val=data.x_val, y_val=data.y_val
    )
    (folder / "network.json").write_text('{"epochs": 2}')
    return folder


@pytest.mark.parametrize("name", dict.fromkeys(name.split(", ")[0] for name in PROGRAMS))
def test_every_program_trains_the_chapters_network(name: str, chapter: Path) -> None:
    needs = {"PyTorch": "torch", "JAX": "jax"}
    if name in needs:
        pytest.importorskip(needs[name])
    full = next(program for program in PROGRAMS if program.startswith(name))
    expected = PROGRAMS[cold_training.BY_HAND]()(chapter, {"epochs": 2})
    if name == "JAX":  # which would leave its settings behind
        told: dict[str, Any] = cold.measured(chapter, full, {})
    else:
        told = PROGRAMS[full]()(chapter, {"epochs": 2})
    for key in ("score", "val_loss"):
        assert told[key] == pytest.approx(expected[key], rel=1e-9)


def test_the_loop_on_numba_trains_the_chapters_network(chapter: Path) -> None:
    pytest.importorskip("numba")
    expected = PROGRAMS[cold_training.BY_HAND]()(chapter, {"epochs": 2})
    told = cold_training.on_numba()(chapter, {"epochs": 2})
    for key in ("score", "val_loss"):
        assert told[key] == pytest.approx(expected[key], rel=1e-9)


def test_a_program_that_trains_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"score": 0.9, "val_loss": 0.1, "process": 1.0}

    def measured(folder: Path, name: str, environment: dict[str, str]) -> dict[str, float]:
        return told if name == cold_training.BY_HAND else told | {"val_loss": 0.1001}

    monkeypatch.setattr(cold_training, "measured", measured)
    with pytest.raises(AssertionError, match="tinygrad_edu"):
        cold_training.race(1, 2)


def test_what_is_missing_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(name='torch')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    for module, name in (("cold", "PyTorch, eager"), ("memory", "PyTorch, eager")):
        arguments = [str(tmp_path), name] if module == "cold" else [name, "100", "1", "grown"]
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": path},
            cwd=tmp_path,
        )
        assert json.loads(done.stdout) == {"lacks": "torch"}


# --- the command line -----------------------------------------------------------------------------


def test_all_runs_every_command_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    def noted(command: list[str]) -> subprocess.CompletedProcess[str]:
        ran.append(command[3:])
        return subprocess.CompletedProcess(command, 3 if command[3] == "ops" else 0)

    monkeypatch.setattr(subprocess, "run", noted)
    assert __main__.main(["all", "--write"]) == 3
    assert [command[0] for command in ran] == [*__main__.ALL, "peers", "sweeps"]
    assert all(command[1] == "--threads" and command[-1] == "--write" for command in ran)


def test_the_threads_stand_in_the_report() -> None:
    pytest.importorskip("threadpoolctl")
    np.ones((2, 2)) @ np.ones((2, 2))
    told = machine.sentence(FACTS | {"pools": machine.pools()})
    assert told.startswith("p, s, Python 3") and "blas" in told


def test_a_command_with_options_that_do_not_fit() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for arguments, message in [
        (["sweeps", "--sweep", "colour"], "--sweep: colour; there are batch, width, depth, dtype"),
        (["parts", "--network", "huge"], "--network: huge; there are single, dual"),
        (["ops", "--rounds", "0"], "expected an integer of at least 1"),
    ]:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *arguments],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 2
        assert message in done.stderr
