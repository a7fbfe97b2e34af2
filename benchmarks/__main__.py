"""The command `python -m benchmarks`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

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
    return p


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
    from . import cases, peers

    unknown = set(options.network or ()) - cases.NETWORKS.keys()
    if unknown:
        p.error(f"--network: {', '.join(sorted(unknown))}; there are {', '.join(cases.NETWORKS)}")
    return peers.run(options.network, options.rounds, facts, command, options.write)


if __name__ == "__main__":
    sys.exit(main())
