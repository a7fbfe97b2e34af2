"""`python -m models`: train the chapter's networks on its data, and print the results.

python -m models                 all of them, with the chapter's settings
python -m models minibatch       one of them
python -m models explain         the derivations of their gradients, nothing is trained
python -m models --help          the settings that can be changed
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tinygrad_edu as tg

from . import networks
from .datasets import DatasetError, Split, breast_cancer, digits, fashion_mnist, find_fashion_mnist

SETTINGS = ("units", "batch_size", "learning_rate", "l1", "l2")


@dataclass(frozen=True)
class Run:
    """One network as the chapter trains it."""

    system: str  # its number in the chapter
    network: str  # the name of its class
    epochs: int
    quick: int  # epochs with --quick
    settings: dict[str, Any] = field(default_factory=dict)
    chapter: float | None = None  # the validation score on the slides or in their notebook
    top: float | None = None  # where the chapter's picture of the loss ends


PENALTY = {"l2": 0.01}
SCORE = 0.978021978021978
SLIP_SCORE = 0.8150833333333334  # with the chapter's slip in the gradient of the output bias
BINARY = {
    "single": [Run("S1", "SingleLayer", 10_000, 1000, PENALTY, SCORE, top=0.3)],
    "dual": [Run("S2", "DualLayer", 20_000, 2000, PENALTY, SCORE, top=0.3)],
    "random-init": [Run("S3", "RandomInitNetwork", 500, 100, PENALTY)],
    "minibatch": [
        Run("S4", "MinibatchNetwork", 500, 50, {**PENALTY, "batch_size": 32}, SCORE),
        Run("S4", "MinibatchNetwork", 500, 50, {**PENALTY, "batch_size": 128}, SCORE),
    ],
}
MULTICLASS = {
    "fashion": Run("S5", "MultiClassNetwork", 40, 3, {"units": 100, "batch_size": 256}, SLIP_SCORE),
    "digits": Run("S5", "MultiClassNetwork", 40, 10, {"units": 100, "batch_size": 32}),
}
NAMES = [*BINARY, "multiclass"]
EXPLAIN = "explain"


@dataclass
class Result:
    """A trained network and how long it took."""

    run: Run
    network: networks.SingleLayer
    data: Split
    epochs: int
    seconds: float

    @property
    def title(self) -> str:
        batch = getattr(self.network, "batch_size", None)
        detail = f", batches of {batch}" if batch else ""
        return f"{self.run.system} {self.run.network} on {self.data.name}{detail}"

    @property
    def stem(self) -> str:
        batch = getattr(self.network, "batch_size", None)
        return f"{self.run.system}-{self.run.network}" + (f"-batch{batch}" if batch else "")

    @property
    def score(self) -> float:
        return self.network.score(self.data.x_val, self.data.y_val)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    p = argparse.ArgumentParser(
        prog="python -m models",
        description="Train the chapter's networks (S1-S5) on its data, print the results beside "
        "the chapter's own figures, and draw its pictures.",
        epilog="Settings that are not given are the chapter's. To change a setting, name a network "
        "that has it.",
    )
    p.add_argument(
        "name",
        nargs="?",
        choices=[*NAMES, EXPLAIN],
        metavar="NAME",
        help="one network: single (S1), dual (S2), random-init (S3), minibatch (S4) or "
        f"multiclass (S5); or {EXPLAIN}: print the derivations of all of them",
    )
    for name, least, kind, help in (
        ("epochs", 0, int, "passes over all samples"),
        ("units", 1, int, "units in the hidden layer"),
        ("batch-size", 1, int, "samples in a mini-batch"),
        ("learning-rate", 0, float, "length of a step (0.1)"),
        ("l1", 0, float, "weight of Σ|w| in the loss"),
        ("l2", 0, float, "weight of Σw²/2 in the loss"),
    ):
        letter = "N" if kind is int else "X"
        p.add_argument(f"--{name}", type=_at_least(least, kind), metavar=letter, help=help)
    p.add_argument("--quick", action="store_true", help="few epochs, to see that it works")
    data = p.add_argument_group("data of the multi-class network")
    data.add_argument(
        "--data",
        choices=("auto", "fashion", "digits"),
        default="auto",
        help="Fashion-MNIST, or scikit-learn's small digits; auto: the first if it is found",
    )
    data.add_argument("--folder", metavar="DIR", help="folder of the four Fashion-MNIST files")
    data.add_argument(
        "--download", action="store_true", help="fetch Fashion-MNIST (30 MB) if it is not found"
    )
    p.add_argument("--latex", metavar="FILE", help=f"{EXPLAIN}: also as a LaTeX document")
    p.add_argument(
        "--lang", choices=("en", "ko"), default="en", help=f"{EXPLAIN}: English or Korean (en)"
    )
    output = p.add_argument_group("pictures")
    output.add_argument(
        "--pictures", metavar="DIR", default="pictures", help="folder for them (pictures/)"
    )
    output.add_argument("--no-pictures", action="store_true", help="write none")
    return p


def _at_least(least: int, kind: type[int] | type[float]) -> Callable[[str], float]:
    what = "an integer" if kind is int else "a number"

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"expected {what} of at least {least}, got {text!r}")
        return value

    return parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0, 1 if something needed is missing, 2 for wrong options."""
    p = parser()
    options = p.parse_args(arguments)
    given = {name: v for name in SETTINGS if (v := getattr(options, name)) is not None}
    if options.name == EXPLAIN:
        return _explain(p, options)
    if (problem := _problem(options, given)) is not None:
        p.error(problem)
    try:
        return _train(options, [options.name] if options.name else NAMES, given)
    except (DatasetError, OSError, ModuleNotFoundError, tg.NonFiniteLoss) as error:
        print(f"python -m models: {error}", file=sys.stderr)
        if isinstance(error, (DatasetError, FileNotFoundError)):
            print(
                "On this command line: --folder DIR, --download, or --data digits.", file=sys.stderr
            )
        return 1
    except KeyboardInterrupt:
        print("python -m models: interrupted", file=sys.stderr)
        return 130


def _explain(p: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    own = ["--lang", options.lang, *(["--latex", options.latex] if options.latex else [])]
    if options != p.parse_args([EXPLAIN, *own]):
        p.error(f"{EXPLAIN} takes no option but --lang and --latex: it trains nothing")
    from .derivations import document, pages

    if options.latex:
        Path(options.latex).write_text(document(), encoding="utf-8")
    print("\n\n\n".join(pages(lang=options.lang)))
    return 0


def _problem(options: argparse.Namespace, given: dict[str, Any]) -> str | None:
    """Return a sentence about options that do not fit together, or None."""
    files = options.folder or options.download
    if options.latex or options.lang != "en":
        return f"--latex and --lang are for {EXPLAIN}"
    if not options.name and (given or options.epochs is not None):
        return "settings are for one network: name it, for example `python -m models dual`"
    if options.name in BINARY and (files or options.data != "auto"):
        return (
            f"{options.name} is trained on breast cancer; --data, --folder and --download are "
            "for multiclass"
        )
    if options.data == "digits" and files:
        return "--folder and --download are for Fashion-MNIST, not for --data digits"
    lacking = [name for name in given if options.name and name not in _settings_of(options.name)]
    return f"{options.name} has no --{lacking[0].replace('_', '-')}" if lacking else None


def _settings_of(name: str) -> set[str]:
    """Return the settings that a network's constructor takes."""
    import inspect

    kind = MULTICLASS["fashion"].network if name == "multiclass" else BINARY[name][0].network
    return set(inspect.signature(getattr(networks, kind).__init__).parameters)


def _train(options: argparse.Namespace, names: list[str], given: dict[str, Any]) -> int:
    try:
        from rich.console import Console
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: pip install -e '.[models]'"
        ) from error
    # Without a terminal Rich would fold the table to 80 columns.
    console = Console() if sys.stdout.isatty() else Console(width=110, no_color=True)
    folder = None if options.no_pictures else Path(options.pictures)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)  # before the work, not after it
        if not os.access(folder, os.W_OK):
            raise PermissionError(
                f"nothing can be written to {folder}: give another --pictures DIR"
            )
    runs = _runs(options, names, given, console)  # data that is missing is missed now
    results: list[Result] = []
    try:
        for run, data in runs:
            results.append(_fit(run, data, options, given, console))
    except KeyboardInterrupt:
        console.print(f"interrupted; {len(results)} of {len(runs)} networks were trained")
    if results:
        _print_table(results, console)
    if folder is not None and results:
        console.print("Pictures:")
        for result in results:
            for path in _draw(result, folder):
                console.print(f"  {path}", highlight=False, soft_wrap=True)
    return 0 if len(results) == len(runs) else 130


def _runs(
    options: argparse.Namespace, names: list[str], given: dict[str, Any], console: Any
) -> list[tuple[Run, Split]]:
    binary = [run for name in names if name in BINARY for run in BINARY[name]]
    if "batch_size" in given:
        binary = binary[:1]  # the same network twice otherwise
    cancer = breast_cancer() if binary else None
    runs = [(run, cancer) for run in binary if cancer]
    return runs + [_multiclass(options, console)] * ("multiclass" in names)


def _multiclass(options: argparse.Namespace, console: Any) -> tuple[Run, Split]:
    wanted = options.data == "fashion" or options.folder or options.download
    if options.data != "digits" and (wanted or find_fashion_mnist()):
        return MULTICLASS["fashion"], fashion_mnist(options.folder, download=options.download)
    if options.data == "auto":
        console.print(
            "Fashion-MNIST was not found, so the multi-class network gets scikit-learn's digits.\n"
            "  --folder DIR says where it is, --download fetches it (30 MB), and on Debian there\n"
            "  is the package dataset-fashion-mnist.",
            highlight=False,
        )
    return MULTICLASS["digits"], digits()


def _fit(
    run: Run, data: Split, options: argparse.Namespace, given: dict[str, Any], console: Any
) -> Result:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    epochs = options.epochs if options.epochs is not None else run.epochs
    if options.quick and options.epochs is None:
        epochs = run.quick
    network: networks.SingleLayer = getattr(networks, run.network)(**{**run.settings, **given})
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task(f"{run.system} {run.network}", total=epochs, loss="")
        step = max(1, epochs // 200)

        def show(epoch: int, logs: dict[str, float]) -> None:
            if (epoch + 1) % step == 0:
                loss = f"loss {network.losses[-1]:.4f}"
                progress.update(task, completed=epoch + 1, loss=loss)

        start = time.perf_counter()
        callbacks = [tg.callbacks.LambdaCallback(on_epoch_end=show)]
        network.fit(data.x_train, data.y_train, epochs, data.x_val, data.y_val, callbacks=callbacks)
        seconds = time.perf_counter() - start
    if network.history.interrupted:
        raise KeyboardInterrupt
    return Result(run, network, data, epochs, seconds)


def _print_table(results: list[Result], console: Any) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)  # 80 columns are enough
    table.add_column("network", no_wrap=True)
    table.add_column("data", no_wrap=True)
    for heading in ("batch", "epochs", "loss", "score", "chapter", "time"):
        table.add_column(heading, justify="right")
    for result in results:
        run = result.run
        table.add_row(
            f"{run.system} {run.network}",
            result.data.name,
            str(getattr(result.network, "batch_size", "all")),
            f"{result.epochs:,}",
            f"{result.network.losses[-1]:.4f}" if result.epochs else "-",
            f"{result.score:.6f}",
            f"{run.chapter:.6f}" if run.chapter is not None else "-",
            f"{result.seconds:.1f} s",
        )
    console.print(table)
    notes = (
        "loss: of the last epoch; score: share of validation samples predicted right;\n"
        "chapter: that share in the chapter, with its own settings."
    )
    for name, source in {(r.data.name, r.data.source) for r in results if r.data.image_shape}:
        notes += f"\nImages: {name}, from {source}."
    if any(r.run.chapter == SLIP_SCORE and r.epochs == r.run.epochs for r in results):
        notes += (
            "\nThe chapter's S5 has a slip: the gradient of its output bias is summed over the"
            "\nclasses too. With the right gradient its own code gives 0.814750 as well."
        )
    console.print(notes, highlight=False)


def _draw(result: Result, folder: Path) -> Iterator[Path]:
    from . import pictures

    network, title = result.network, result.title
    stem = folder / result.stem

    def file(what: str) -> Path:
        return stem.with_name(f"{stem.name}-{what}.png")

    if result.epochs:
        yield pictures.loss_curves(network, f"{title}: loss", file("loss"), result.run.top)
        yield pictures.accuracy_curves(network, f"{title}: accuracy", file("accuracy"))
    if network.w_history:
        yield pictures.weight_path(network, f"{title}: path of two weights", file("weights"))
    if isinstance(network, networks.MultiClassNetwork) and result.data.image_shape:
        yield pictures.sample_sheet(
            network, result.data, f"{title}: predicted classes", file("samples")
        )


if __name__ == "__main__":
    sys.exit(main())
