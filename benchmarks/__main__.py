"""The command `python -m benchmarks`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from . import machine


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
    facts = machine.facts(machine.bind(options.threads))
    command = " ".join(["python -m benchmarks", *arguments])
    # NumPy and its kin read the number of threads when they are imported, which is here.
    if options.command == "steps":
        from . import steps

        return steps.run(options.rounds, facts, command, options.write)
    if options.command == "keras":
        return _keras(p, options, facts, command)
    from . import cases, peers

    unknown = set(options.network or ()) - cases.NETWORKS.keys()
    if unknown:
        p.error(f"--network: {', '.join(sorted(unknown))}; there are {', '.join(cases.NETWORKS)}")
    return peers.run(options.network, options.rounds, facts, command, options.write)


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
