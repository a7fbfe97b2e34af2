"""Check all the submissions of `tests.hostile`; see there."""

from __future__ import annotations

import argparse

from tinygrad_edu.verifying.limits import sandbox_trouble

from . import DIFFERENTIATING, FORGERIES, HONEST, MISBEHAVING, complaints, run

TABLES = {
    "forgeries": FORGERIES,
    "differentiating": DIFFERENTIATING,
    "misbehaving": MISBEHAVING,
    "odd but honest": HONEST,
}


def main() -> int:
    """Check all of them; print what is not as it must be, and the counts."""
    parser = argparse.ArgumentParser(description="Check all the submissions of tests.hostile.")
    parser.add_argument("--sandbox", choices=("auto", "off"), default="auto")
    parser.add_argument("--only", help="names that begin so")
    parser.add_argument("-v", action="store_true", help="print every row")
    options = parser.parse_args()
    sandbox = options.sandbox == "auto" and not sandbox_trouble()
    failed = 0
    for title, table in TABLES.items():
        chosen = [one for one in table if sandbox or not one.harms]
        chosen = [one for one in chosen if one.name.startswith(options.only or "")]
        if not chosen:
            continue
        result = run(chosen, sandbox)
        wrong = complaints(result, chosen)
        failed += len(wrong)
        for name, row in result.rows.items() if options.v else ():
            print(f"    {name}: {row.code} {row.reason or row.first().get('reason', '')}"[:160])
        print(f"{title}: {len(chosen)}, as they must be but {len(wrong)} ({result.seconds:.0f} s)")
        for complaint in wrong:
            print(f"  {complaint[:300]}")
    print("with the sandbox" if sandbox else "without a sandbox")
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
