"""The command `python -m benchmarks`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from . import machine

ALL = ("steps", "ops", "parts", "comparisons", "feeding", "memory", "cold", "peers", "sweeps")


def parser() -> argparse.ArgumentParser:
    """What can be said on the command line."""
    p = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time contestants against each other: in one process, in turns, as medians of "
        "ratios with their quartiles. What is compared has first been seen to compute the same.",
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--threads", type=_positive, default=1, help="of every library (1)")
    shared.add_argument("--write", action="store_true", help="keep the report in results/")
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")

    steps = commands.add_parser(
        "steps", parents=[shared], help="an operation, a training step and the import beside NumPy"
    )
    steps.add_argument("--rounds", type=_positive, default=101, help="of each comparison (101)")

    peers = commands.add_parser(
        "peers", parents=[shared], help="seven networks in every framework that is installed"
    )
    peers.add_argument("--rounds", type=_positive, default=21, help="of each comparison (21)")
    peers.add_argument(
        "--network", action="append", metavar="NAME", help="only these (single, dual, mini, …)"
    )

    sweeps = commands.add_parser(
        "sweeps", parents=[shared], help="the time of a step over batch size, width, depth, dtype"
    )
    sweeps.add_argument("--sweep", action="append", metavar="NAME", help="only these (batch, …)")
    sweeps.add_argument("--rounds", type=_positive, default=15, help="of each point (15)")
    sweeps.add_argument(
        "--budget",
        type=_positive,
        default=15,
        metavar="SECONDS",
        help="for the rounds of a point (15)",
    )
    sweeps.add_argument(
        "--largest", type=_positive, default=4096, metavar="SIZE", help="leave out what is larger"
    )

    parts = commands.add_parser(
        "parts", parents=[shared], help="how a step divides: products, other array work, calls"
    )
    parts.add_argument("--rounds", type=_positive, default=21, help="of each comparison (21)")
    parts.add_argument(
        "--network", action="append", metavar="NAME", help="only these (single, dual, mini, …)"
    )

    comparisons = commands.add_parser(
        "comparisons", parents=[shared], help="the share of comparisons in captured steps"
    )
    comparisons.add_argument("--rounds", type=_positive, default=7, help="of two seconds each (7)")
    comparisons.add_argument(
        "--network", action="append", metavar="NAME", help="only these (single, dual, mini, …)"
    )

    ops = commands.add_parser(
        "ops", parents=[shared], help="what every operation costs, recorded and swept back over"
    )
    ops.add_argument("--rounds", type=_positive, default=31, help="of each operation (31)")

    cold = commands.add_parser(
        "cold", parents=[shared], help="from a cold process to the chapter's network trained"
    )
    cold.add_argument("--rounds", type=_positive, default=9, help="of a process each (9)")
    cold.add_argument("--epochs", type=_positive, default=500, help="the chapter's are 500")

    memory = commands.add_parser(
        "memory", parents=[shared], help="the peak of an epoch over the data itself"
    )
    memory.add_argument("--epochs", type=_positive, default=3, help="one after the other (3)")
    memory.add_argument("--samples", type=_positive, default=48_000, help="of 784 numbers (48000)")

    feeding = commands.add_parser(
        "feeding", parents=[shared], help="ways to bring the batches of an epoch to the network"
    )
    feeding.add_argument("--rounds", type=_positive, default=15, help="of an epoch each (15)")
    feeding.add_argument("--samples", type=_positive, default=12_000, help="of 784 numbers (12000)")

    commands.add_parser(
        "all", parents=[shared],
        help="all of them, each in a process of its own, with one thread, and the peers and sweeps "
        "with two as well; Keras' comparison is apart",
    )  # fmt: skip

    keras = commands.add_parser(
        "keras",
        parents=[shared],
        help="training beside Keras: the same mathematics, as accurate, as fast, as light?",
    )
    keras.add_argument(
        "--model", default="S6", metavar="NAME",
        help="S2, S4, S5, S6 of the chapter, or FILE.py:NAME, a Sequential of your own (S6)",
    )  # fmt: skip
    keras.add_argument("--epochs", type=_positive, help="trained side by side (the chapter's)")
    keras.add_argument(
        "--rounds", type=_natural, default=7, help="of timed epochs; 0: no timing (7)"
    )
    keras.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    keras.add_argument(
        "--data", choices=("auto", "fashion", "digits"), default="auto",
        help="Fashion-MNIST, or scikit-learn's small digits; auto: the first if it is found",
    )  # fmt: skip
    return p


def _natural(text: str) -> int:
    return 0 if text == "0" else _positive(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0, 1 if something is missing, 2 for wrong options."""
    arguments = sys.argv[1:] if arguments is None else arguments
    p = parser()
    options = p.parse_args(arguments)
    if options.command == "all":
        return _all(options.write)
    facts = machine.facts(machine.bind(options.threads))
    command = " ".join(["python -m benchmarks", *arguments])
    # NumPy and its kin read the number of threads when they are imported, which is here.
    if options.command == "steps":
        from . import steps

        return steps.run(options.rounds, facts, command, options.write)
    if options.command == "keras":
        return _keras(p, options, facts, command)
    if options.command == "ops":
        from . import ops

        return ops.run(options.rounds, facts, command, options.write)
    if options.command == "cold":
        from . import cold_training

        return cold_training.run(options.rounds, options.epochs, facts, command, options.write)
    if options.command == "memory":
        from . import memory

        return memory.run(options.epochs, options.samples, facts, command, options.write)
    if options.command == "feeding":
        from . import feeding

        return feeding.run(options.rounds, options.samples, facts, command, options.write)
    suffix = "" if options.threads == 1 else f"-{options.threads}-threads"
    if options.command == "sweeps":
        from . import sweeps

        unknown = set(options.sweep or ()) - sweeps.SWEEPS.keys()
        if unknown:
            p.error(f"--sweep: {', '.join(sorted(unknown))}; there are {', '.join(sweeps.SWEEPS)}")
        return sweeps.run(
            options.sweep, options.rounds, options.budget, options.largest, facts, command,
            options.write, suffix,
        )  # fmt: skip
    from . import cases, parts, peers

    unknown = set(options.network or ()) - cases.NETWORKS.keys()
    if unknown:
        p.error(f"--network: {', '.join(sorted(unknown))}; there are {', '.join(cases.NETWORKS)}")
    if options.command == "comparisons":
        from . import comparisons

        return comparisons.run(options.network, options.rounds, facts, command, options.write)
    run = {"peers": peers.run, "parts": parts.run}[options.command]
    return run(options.network, options.rounds, facts, command, options.write, suffix)


def _all(write: bool) -> int:
    """Every command in a process of its own; the first exit code that is not 0."""
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
