"""The documentation is true: examples in docstrings, the code of README and docs/.

pytest's own collection of docstrings passes over decorated functions, which most operations are;
`documented` below finds everything that a module defines.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

import models
import tinygrad_edu as tg
from tests.tools.long import long

ROOT = Path(__file__).parents[1]
OPTIONAL = {"llvmlite", "matplotlib", "numba", "pooch", "rich", "sklearn"}  # of extras


class Documented(NamedTuple):
    """Something with a name in a module, and what is written about it."""

    module: ModuleType
    name: str
    thing: Any

    @property
    def full_name(self) -> str:
        return f"{self.module.__name__}.{self.name}".rstrip(".")

    @property
    def doc(self) -> str:
        return self.thing.__doc__ or ""

    @property
    def examples(self) -> list[doctest.Example]:
        return doctest.DocTestParser().get_examples(self.doc, self.full_name)


def modules_of(package: ModuleType) -> Iterator[ModuleType]:
    """The package and its modules; without those that need what is not installed."""
    yield package
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        try:
            yield importlib.import_module(info.name)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in OPTIONAL:
                raise


def documented(module: ModuleType) -> Iterator[Documented]:
    """The module itself, its functions and classes, and their methods and properties."""
    yield Documented(module, "", module)
    for name, thing in vars(module).items():
        if getattr(inspect.unwrap(thing), "__module__", None) != module.__name__:
            continue  # imported from elsewhere, or no function or class
        if inspect.isclass(thing):
            yield Documented(module, name, thing)
            for attribute, member in vars(thing).items():
                if isinstance(member, (classmethod, staticmethod)):
                    member = member.__func__
                if isinstance(member, property) or (
                    inspect.isfunction(member) and member.__qualname__.startswith(f"{name}.")
                ):
                    yield Documented(module, f"{name}.{attribute}", member)
        elif inspect.isroutine(thing):
            yield Documented(module, name, thing)


CORE = [entry for module in modules_of(tg) for entry in documented(module)]
CHAPTER = [entry for module in modules_of(models) for entry in documented(module)]
WITH_EXAMPLES = [entry for entry in [*CORE, *CHAPTER] if entry.examples]


@pytest.mark.parametrize("entry", WITH_EXAMPLES, ids=lambda entry: entry.full_name)
def test_examples(entry: Documented) -> None:
    names = {"np": np, "tg": tg, **vars(entry.module)}
    test = doctest.DocTest(entry.examples, names, entry.full_name, None, None, entry.doc)
    told: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(told)


def test_examples_are_found_wherever_they_may_stand() -> None:
    found = {entry.full_name for entry in WITH_EXAMPLES}
    assert found >= {
        "tinygrad_edu.recording.no_grad",  # a class
        "tinygrad_edu.ops.broadcast_to",  # a decorated function
        "tinygrad_edu.ops.add",  # a NumPy ufunc, declared with its documentation
        "tinygrad_edu.ops.sigmoid",  # decorated twice
        "tinygrad_edu.ops.dot",  # a plain function
        "tinygrad_edu.tensor.Tensor.backward",  # a method
        "tinygrad_edu.nn.Linear",
        "models.reference.softmax",
    }


# Public names without an example, and why.
INSIDE = "works inside the engine; the examples of grad, backward and primitive show it at work"
COMPILING = "works inside compile, whose example shows it at work"
FITTING = "works inside fit and evaluate, whose examples show it at work"
PROCESSES = "works in processes that the command starts; docs/verifying.md shows what it prints"
NO_EXAMPLE = {
    **dict.fromkeys(
        (
            "tinygrad_edu.verifying.elsewhere.Conversation",
            "tinygrad_edu.verifying.limits.die_with_parent",
            "tinygrad_edu.verifying.limits.restrict",
            "tinygrad_edu.verifying.student.main",
            "tinygrad_edu.verifying.worker.answer",
            "tinygrad_edu.verifying.worker.main",
            "tinygrad_edu.verifying.worker.serve",
        ),
        PROCESSES,
    ),
    "tinygrad_edu.capture_gate.CannotCapture": COMPILING,
    "tinygrad_edu.capture_gate.CaptureGate": COMPILING,
    "tinygrad_edu.capture_gate.all_finite": COMPILING,
    "tinygrad_edu.training.callbacks.as_callbacks": FITTING,
    "tinygrad_edu.training.callbacks.hooks": FITTING,
    "tinygrad_edu.training.keras_losses.as_loss": FITTING,
    "tinygrad_edu.training.keras_losses.checked_function": FITTING,
    "tinygrad_edu.training.keras_losses.unwrapped": FITTING,
    **dict.fromkeys(
        (
            f"tinygrad_edu.training.{name}"
            for name in (
                "measures.check_loss",
                "measures.loss_of",
                "measures.number",
                "measures.checked_output",
                "samples.as_rows",
                "samples.dtype_of",
                "samples.converted",
                "samples.as_input",
                "samples.is_input",
                "stepping.cause",
                "stepping.nonfinite_parameter",
                "stepping.Stepper",
            )
        ),
        FITTING,
    ),
    "tinygrad_edu.training.metrics.as_metrics": FITTING,
    "tinygrad_edu.training.keras_losses.match_target_shape": FITTING,
    "tinygrad_edu.training.metrics.direction": FITTING,
    "tinygrad_edu.training.keras_losses.name_of": FITTING,
    "tinygrad_edu.training.keras_losses.takes_probabilities": FITTING,
    "tinygrad_edu.training.metrics.sum_over_samples": FITTING,
    "tinygrad_edu.training.keras_losses.per_sample_loss": FITTING,
    "tinygrad_edu.numpy_functions.call_function": "called by NumPy; np.where(t, …) is its example",
    "tinygrad_edu.numpy_functions.call_ufunc": "called by NumPy; np.exp(t) is its example",
    "tinygrad_edu.engine.Box": INSIDE,
    "tinygrad_edu.operation.Op": INSIDE,
    "tinygrad_edu.operation.Primitive": "a type for annotations",
    "tinygrad_edu.gradients.backward": "is Tensor.backward, which has one",
    "tinygrad_edu.engine.unbroadcast": INSIDE,
    "tinygrad_edu.engine.recorded_results": INSIDE,
    "tinygrad_edu.engine.box": INSIDE,
    "tinygrad_edu.engine.depending_on": INSIDE,
    "tinygrad_edu.engine.sweep": INSIDE,
    "tinygrad_edu.gradients.first_error": INSIDE,
    "tinygrad_edu.engine.variable_record": INSIDE,
    "tinygrad_edu.engine.as_recorded": INSIDE,
    "tinygrad_edu.engine.Observer": INSIDE,
    "tinygrad_edu.keras.files.Weights": "needs h5py; docs/coming-from-keras.md reads files",
    "tinygrad_edu.keras.files.opened": "needs h5py; docs/coming-from-keras.md reads files",
    "tinygrad_edu.nn.ReLU": "tinygrad_edu.relu has one",
    "tinygrad_edu.nn.Sigmoid": "tinygrad_edu.sigmoid has one",
    "tinygrad_edu.nn.Softmax": "tinygrad_edu.softmax has one",
    "tinygrad_edu.nn.Tanh": "tinygrad_edu.tanh has one",
}
PUBLIC = [
    entry
    for entry in CORE
    if entry.name and "." not in entry.name and not entry.name.startswith("_")
]


@pytest.mark.parametrize("entry", PUBLIC, ids=lambda entry: entry.full_name)
def test_every_public_function_and_class_has_a_docstring_with_an_example(entry: Documented) -> None:
    assert entry.doc.strip()
    if "tinygrad_edu.capturing." in entry.full_name:
        return  # works inside of compile, whose example shows it at work
    if entry.full_name in NO_EXAMPLE:
        assert not entry.examples, "has an example now: take it off the list"
    else:
        assert entry.examples


def test_the_list_of_exceptions_names_what_exists() -> None:
    assert NO_EXAMPLE.keys() <= {entry.full_name for entry in PUBLIC}


def test_every_public_method_and_module_has_a_docstring() -> None:
    for entry in CORE:
        if not any(part.startswith("_") for part in entry.name.split(".")):
            assert inspect.getdoc(entry.thing), entry.full_name  # its own, or of what it overrides


def test_everything_that_the_package_offers_is_documented() -> None:
    names = {id(entry.thing) for entry in PUBLIC}
    for name in tg.__all__:
        thing = getattr(tg, name)
        assert inspect.ismodule(thing) or id(thing) in names, name


# --- README and docs/ -----------------------------------------------------------------------------

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"^```python\n(.*?)^```\n(?:\s*^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
NEEDS = re.compile(r"^<!-- needs: (.*?) -->$", re.MULTILINE)  # packages that are extras


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_in_order_and_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page.read_text(encoding="utf-8")
    for needed in ",".join(NEEDS.findall(text)).split(","):
        if needed:
            pytest.importorskip(needed.strip())
    monkeypatch.chdir(tmp_path)  # where files that a page writes may lie
    blocks = list(FENCE.finditer(text))
    assert len(blocks) == text.count("```python")
    names: dict[str, Any] = {"__name__": page.stem}
    for block in blocks:
        code, expected = block.groups()
        lines_before = text.count("\n", 0, block.start(1))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            # With the path of the page, so that the source of a function can be found.
            exec(compile("\n" * lines_before + code, str(page), "exec"), names)
        assert printed.getvalue() == (expected or ""), f"{page.name}, line {lines_before + 1}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_reference_has_every_public_name() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    modules = set(re.findall(r"automodule:: ([\w.]+)", reference))
    for name in tg.__all__:
        thing = getattr(tg, name)
        module = thing.__name__ if inspect.ismodule(thing) else thing.__module__
        assert module in modules or name in reference, f"{name} of {module}"


@long
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    options = ["-q", "-W", "--keep-going", "-d", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "docs", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "reference.html").read_text(encoding="utf-8")
    found = {name.rpartition(".")[2] for name in re.findall(r'id="(tinygrad_edu[.\w]+)"', page)}
    public = set(tg.__all__)
    for thing in (getattr(tg, name) for name in tg.__all__):
        public |= set(getattr(thing, "__all__", ())) if inspect.ismodule(thing) else set()
    modules = {name for name in tg.__all__ if inspect.ismodule(getattr(tg, name))}
    assert public - modules - {"lr_scheduler"} <= found
