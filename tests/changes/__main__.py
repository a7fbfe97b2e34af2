"""The command `python -m tests.changes`; see `--help`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from . import FOLLOWED, KINDS, Kind, Verdict, at_least, by_compile, by_fit

ABOUT = """\
Change what a step reads, in more than three hundred ways, before the call 3, 50 and 1,000, and say
what became of it.

  compile    tg.compile with its defaults, each call compared with the step itself. After the change
             numbers that differ must end in an error within the calls that the documentation
             promises: 1,000 on NumPy, 20,000 natively
  fit        fit with its defaults, beside compile=False: the same weights or the same error
  fit-true   fit(compile=True), which may also refuse or raise as tg.compile does

followed: as without. refused: CannotCapture before a weight moves. raised: an error in time.
silent: other numbers and no error. The exit code is 1 if any is silent, or worse than its row in
the table wants. A change that is undone before the next sample cannot be seen, and is not here."""

MOMENTS = (3, 50, 1000)
LONGEST = 1000  # as many further calls are compared after a change at this call or later
ROUTES = ("compile", "fit", "fit-true")
Run = Callable[[Kind, int], Verdict | None]


def routes(names: Sequence[str], backend: str) -> dict[str, Run]:
    """Return the function of each route; it gives None for a kind that the route cannot take."""

    def compiled(row: Kind, at: int) -> Verdict:
        return by_compile(row, at, 1000 if at >= LONGEST else 40, backend)

    def fitted(row: Kind, at: int, compile: bool | str) -> Verdict | None:
        return by_fit(row, at, compile=compile) if row.in_fit else None

    every: dict[str, Run] = {
        "compile": compiled,
        "fit": partial(fitted, compile="auto"),
        "fit-true": partial(fitted, compile=True if backend == "numpy" else backend),
    }
    return {name: every[name] for name in names}


def wanted(row: Kind, route: str) -> str:
    """Return the outcome that a row wants at least; `fit` with its defaults must always follow."""
    return FOLLOWED if route == "fit" else row.at_least


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _options().parse_args(arguments)
    if options.backend == "numba" and importlib.util.find_spec("numba") is None:
        print("--backend numba needs Numba, which is not installed here", file=sys.stderr)
        return 2
    rows = [row for name, row in KINDS.items() if options.only in name]
    every = routes(options.routes, options.backend)
    started, counts = time.monotonic(), Counter[tuple[str, int, str]]()
    wrong: list[str] = []
    print(f"{'kind':<62} " + "".join(f"{f'{r} {at}':<14}" for r in every for at in options.moments))
    for row in rows:
        cells = []
        for route, run in every.items():
            for at in options.moments:
                verdict = run(row, at)
                cells.append("-" if verdict is None else verdict.outcome)
                if verdict is None:
                    continue
                counts[route, at, verdict.outcome] += 1
                if not at_least(verdict.outcome, wanted(row, route)):
                    told = f"{verdict.outcome}, wanted {wanted(row, route)}: {verdict.detail}"
                    wrong.append(f"{row.name}, {route}, call {at}: {told}")
        print(f"{row.name:<62.62} " + "".join(f"{cell:<14}" for cell in cells), flush=True)
    print()
    for route in every:
        for at in options.moments:
            of_each = {o: n for (r, m, o), n in counts.items() if (r, m) == (route, at)}
            told = ", ".join(f"{n} {outcome}" for outcome, n in sorted(of_each.items()))
            print(f"{route}, changed at call {at}: {told}")
    silent = sum(n for (_, _, outcome), n in counts.items() if outcome == "silent")
    print(f"{len(rows)} kinds, {silent} silent, {time.monotonic() - started:.0f} s")
    for line in wrong:
        print(line)
    return 1 if wrong else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.changes",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="kinds whose name has this text")
    parser.add_argument(
        "--moments", type=int, nargs="+", default=MOMENTS, metavar="CALL", help="default: 3 50 1000"
    )
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=ROUTES[:2])
    parser.add_argument("--backend", choices=["numpy", "numba"], default="numpy")
    return parser


if __name__ == "__main__":
    sys.exit(main())
