"""The command `python -m benchmarks`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from . import machine

MODULES = {"cold": "cold_training"}  # of commands; the others are named after theirs
BY_THREADS = ("peers", "parts", "sweeps")  # whose reports are kept for each number of threads
ALL = ("steps", "ops", "parts", "comparisons", "feeding", "memory", "cold", "peers", "sweeps")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    p = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time contestants against each other: in one process, in turns, as medians of "
        "ratios with their quartiles. They are first checked to compute the same.",
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--threads", type=_positive, default=1, help="of every library (1)")
    shared.add_argument("--write", action="store_true", help="keep the report in results/")
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (help, options) in COMMANDS.items():
        command = commands.add_parser(name, parents=[shared], help=help)
        for option, settings in options.items():
            command.add_argument(option, **settings)
    return p


def _natural(text: str) -> int:
    return 0 if text == "0" else _positive(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


def _count(default: int, help: str) -> dict[str, Any]:
    """Return the settings of an option that takes a positive integer."""
    return {"type": _positive, "default": default, "help": f"{help} ({default})"}


NETWORK = {"action": "append", "metavar": "NAME", "help": "only these (single, dual, mini, …)"}
# For each command its help and its options, in the order of the parameters of `run`.
COMMANDS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "steps": (
        "an operation, a training step and the import beside NumPy",
        {"--rounds": _count(101, "of each comparison")},
    ),
    "peers": (
        "seven networks in every framework that is installed",
        {"--network": NETWORK, "--rounds": _count(21, "of each comparison")},
    ),
    "sweeps": (
        "the time of a step over batch size, width, depth, dtype",
        {
            "--sweep": {"action": "append", "metavar": "NAME", "help": "only these (batch, …)"},
            "--rounds": _count(15, "of each point"),
            "--budget": _count(15, "seconds for the rounds of a point"),
            "--largest": _count(4096, "leave out larger sizes"),
        },
    ),
    "parts": (
        "how a step divides: products, other array work, calls",
        {"--network": NETWORK, "--rounds": _count(21, "of each comparison")},
    ),
    "comparisons": (
        "the share of comparisons in captured steps",
        {"--network": NETWORK, "--rounds": _count(7, "of two seconds each")},
    ),
    "ops": (
        "the time of every operation, recorded and with its backward",
        {"--rounds": _count(31, "of each operation")},
    ),
    "cold": (
        "from a cold process to the chapter's network trained",
        {
            "--rounds": _count(9, "of a process each"),
            "--epochs": _count(500, "the chapter's number"),
        },
    ),
    "memory": (
        "the peak of an epoch over the data itself",
        {
            "--epochs": _count(3, "one after the other"),
            "--samples": _count(48_000, "of 784 numbers"),
        },
    ),
    "feeding": (
        "ways to bring the batches of an epoch to the network",
        {
            "--rounds": _count(15, "of an epoch each"),
            "--samples": _count(12_000, "of 784 numbers"),
        },
    ),
    "all": (
        "all of them, each in a process of its own, with one thread, and the peers and sweeps "
        "with two as well; Keras' comparison is apart",
        {},
    ),
    "keras": (
        "training beside Keras: the same mathematics, accuracy, time and memory",
        {
            "--model": {
                "default": "S6",
                "metavar": "NAME",
                "help": "S2, S4, S5, S6 of the chapter, or FILE.py:NAME, a Sequential of your own "
                "(S6)",
            },
            "--epochs": {"type": _positive, "help": "trained side by side (the chapter's)"},
            "--rounds": {
                "type": _natural,
                "default": 7,
                "help": "of timed epochs; 0: no timing (7)",
            },
            "--dtype": {"choices": ("float32", "float64"), "default": "float32"},
            "--data": {
                "choices": ("auto", "fashion", "digits"),
                "default": "auto",
                "help": "Fashion-MNIST, or scikit-learn's small digits; auto: the first if it is "
                "found",
            },
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0, 1 if something is missing, 2 for wrong options."""
    arguments = sys.argv[1:] if arguments is None else arguments
    p = parser()
    options = p.parse_args(arguments)
    if options.command == "all":
        return _all(options.write)
    facts = machine.facts(machine.bind(options.threads))
    command = " ".join(["python -m benchmarks", *arguments])
    if options.command == "keras":
        return _keras(p, options, facts, command)
    # NumPy and similar libraries read the number of threads when they are imported: here.
    module = import_module(f".{MODULES.get(options.command, options.command)}", __package__)
    _check_names(p, options)
    settings = [getattr(options, option[2:]) for option in COMMANDS[options.command][1]]
    suffix = "" if options.threads == 1 else f"-{options.threads}-threads"
    more = [suffix] if options.command in BY_THREADS else []
    return int(module.run(*settings, facts, command, options.write, *more))


def _check_names(p: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exit with code 2 for an unknown network or sweep."""
    from . import cases, sweeps

    for option, known in (("network", cases.NETWORKS), ("sweep", sweeps.SWEEPS)):
        unknown = set(getattr(options, option, None) or ()) - known.keys()
        if unknown:
            p.error(f"--{option}: {', '.join(sorted(unknown))}; there are {', '.join(known)}")


def _all(write: bool) -> int:
    """Run every command in a process of its own; return the first exit code that is not 0."""
    commands = [[name, "--threads", "1"] for name in ALL]
    commands += [[name, "--threads", "2"] for name in ("peers", "sweeps")]
    codes = []
    for command in commands:
        print(f"\n=== {' '.join(command)}\n", flush=True)
        told = [sys.executable, "-m", "benchmarks", *command, *["--write"] * write]
        codes.append(subprocess.run(told).returncode)
    return next(filter(None, codes), 0)


def _keras(
    p: argparse.ArgumentParser, options: argparse.Namespace, facts: dict[str, Any], command: str
) -> int:
    try:
        import keras
    except ModuleNotFoundError as error:
        print(f"{error}: pip install 'tinygrad_edu[keras,models]'", file=sys.stderr)
        return 1
    keras.config.set_floatx(options.dtype)
    keras.config.set_dtype_policy(options.dtype)
    from . import beside_keras, tasks

    try:
        task = tasks.task(options.model, dtype=options.dtype, data=options.data)
    except (ValueError, FileNotFoundError) as error:
        p.error(str(error))
    task = tasks.shortened(task, options.epochs)
    return beside_keras.run(task, options.rounds, facts, command, options.write, options.dtype)


if __name__ == "__main__":
    sys.exit(main())
