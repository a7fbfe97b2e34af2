"""The command `python -m tests.fuzz`; see `--help`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections import Counter
from functools import partial
from typing import Any

from .captured import BACKENDS, check_captured
from .check import Failure, check, script
from .generate import generate
from .program import Program
from .shrink import shrink

ABOUT = """\
Run random programs and compare the package with an independent reverse mode: values of all
registers, gradients of inputs and of intermediate results, with and without create_graph, second
derivatives of every fourth program, inputs left unchanged.

Program number i has the seed SEED + i, and everything about it follows from that: a failure is
seen again with `--seed THAT --count 1`. The first program that fails is made as small as it can
be and printed as a script that shows the difference; the exit code is then 1."""


def main(arguments: list[str] | None = None) -> int:
    """The command; what it returns is the exit code."""
    options = _options().parse_args(arguments)
    if options.backend == "numba" and importlib.util.find_spec("numba") is None:
        print("--backend numba needs Numba, which is not installed here", file=sys.stderr)
        return 2
    if options.torch and importlib.util.find_spec("torch") is None:
        print("--torch needs PyTorch, which is not installed here", file=sys.stderr)
        return 2
    started = time.monotonic()
    operations: Counter[str] = Counter()
    told: Counter[str] = Counter()
    programs = failures = 0
    for seed in range(options.seed, options.seed + options.count):
        if options.seconds is not None and time.monotonic() - started > options.seconds:
            break
        program = generate(seed, options.length)
        programs += 1
        operations.update(call.operation for call in program.calls)
        captured = partial(check_captured, backend=options.backend)
        test = captured if options.captured else partial(check, torch=options.torch)
        failure = captured(program, told=told) if options.captured else test(program)
        if failure:
            failures += 1
            _show(program, failure, options.torch, captured if options.captured else None)
            if failures == options.failures:
                break
    counts = " ".join(f"{name} {n}" for name, n in sorted(operations.items()))
    print(
        f"{programs} programs, {operations.total()} instructions, "
        f"{time.monotonic() - started:.1f} s, {failures} failures; "
        f"{len(operations)} operations: {counts}"
    )
    for what, n in told.most_common():
        print(f"{n} {what}")
    return 1 if failures else 0


def _show(program: Program, failure: Failure, torch: bool, captured: Any) -> None:
    def test(smaller: Program) -> Failure | None:
        if captured is not None:
            found: Failure | None = captured(smaller)
            return found
        second = "second" in failure.kind
        return check(smaller, torch=torch and "torch" in failure.kind, second=second)

    small, found = shrink(program, failure, test)
    print(f"# seed {program.seed}: {len(program.calls)} instructions, here {len(small.calls)}")
    print(script(small, found), flush=True)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.fuzz",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=_whole, default=1000, help="programs to run (1000)")
    parser.add_argument("--seed", type=_whole, default=0, help="seed of the first one (0)")
    parser.add_argument(
        "--length", type=_whole, help="attempted instructions (1 to 12, as the seed says)"
    )
    parser.add_argument("--torch", action="store_true", help="compare with PyTorch as well")
    parser.add_argument(
        "--captured",
        action="store_true",
        help="instead, capture each as a training step and compare three steps on new data, bit "
        "for bit, with the step itself",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="numpy",
        help="of the captured steps: numba compares machine code to rounding, a program takes "
        "seconds; interpreted has Python run the same kernels, which is quick",
    )
    parser.add_argument("--seconds", type=float, help="start no program after so many seconds")
    parser.add_argument("--failures", type=_whole, default=1, help="stop after so many (1)")
    return parser


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number is wanted, received {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
