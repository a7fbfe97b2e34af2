"""The command `python -m benchmarks`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time an operation, a training step and the import against NumPy, in turns in "
        "one process, and print medians of the ratios with their quartiles.",
    )
    parser.add_argument("--rounds", type=int, default=101, help="rounds of each comparison (101)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the BLAS (1)")
    parser.add_argument("--write", action="store_true", help=f"keep the results in {RESULTS.name}/")
    options = parser.parse_args()
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    for variable in VARIABLES:  # read when NumPy is imported, so NumPy is imported below
        os.environ[variable] = str(options.threads)

    from .cases import NETWORKS, add_contestants, import_contestants, step_contestants
    from .timing import Timing, compare, machine

    cases: dict[str, tuple[dict[str, Timing], str, float | None]] = {}
    timings = compare(add_contestants(), rounds=options.rounds)
    cases["one addition, 8×8"] = timings, "recorded add", 4.0
    for network in NETWORKS:
        timings = compare(step_contestants(network), rounds=options.rounds)
        cases[f"training step {network.name}: {network}"] = (
            timings, "tinygrad_edu, eager", network.limit,
        )  # fmt: skip
    timings = compare(import_contestants(), rounds=max(3, options.rounds // 4))
    cases["import, whole process"] = timings, "import tinygrad_edu", 1.3

    lines = [
        "| what | contestant | time | ratio | quartiles | limit |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for what, (timings, subject, limit) in cases.items():
        for name, t in timings.items():
            bound = f"{limit:g}" if name == subject and limit else ""
            lines.append(
                f"| {what} | {name} | {_readable(t.seconds)} | {t.ratio:.2f} | "
                f"{t.low:.2f} … {t.high:.2f} | {bound} |"
            )
            what = ""
    facts = machine(options.threads)
    about = f"{facts['processor']}, {facts['system']}, Python {facts['python']}, " + ", ".join(
        f"{name} {v}" for name, v in facts["versions"].items()
    ) + f", BLAS threads: {options.threads}, rounds: {options.rounds}"  # fmt: skip
    table = "\n".join(lines)
    print(f"{table}\n\n{about}")
    if options.write:
        RESULTS.mkdir(exist_ok=True)
        command = f"python -m benchmarks --rounds {options.rounds} --threads {options.threads}"
        (RESULTS / "steps.md").write_text(
            f"# Eager steps against NumPy\n\n`{command} --write`\n\n{about}\n\nThe ratio is to the "
            "first contestant of its block, within the same round: median and quartiles.\n\n"
            f"{table}\n",
            encoding="utf-8",
        )
        data = {"command": command, "machine": facts, "rounds": options.rounds} | {
            "cases": {
                what: {name: vars(t) for name, t in timings.items()}
                for what, (timings, _, _) in cases.items()
            }
        }
        (RESULTS / "steps.json").write_text(
            json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return 0


def _readable(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


if __name__ == "__main__":
    sys.exit(main())
