"""How many threads the matrix products take: decided once before a training, not in its steps.

The library under NumPy (its BLAS) takes every processor that it sees. That pays for large products
on an idle machine. Where other programs are at work its threads wait for each other at the end of
each product, and training becomes slower by the factor ten. So `blas_threads` looks at the size of
the products and, with "auto", at what the machine is doing:

    small products         left alone: the library itself takes one thread for them
    a busy machine         as many threads as there are processors with nothing to do
    a limit that is set    kept: "auto" never takes more threads than the library has
    OMP_NUM_THREADS set    left alone: you have decided, as with OPENBLAS_NUM_THREADS or MKL's

With another number of threads the library adds in another order, and the last digits differ. What
"auto" takes depends on the load of the machine, so that a seed does not decide a result to the bit
any more. Therefore nothing does so unless it is asked to: `tg.fit(..., threads="auto")`.

Only the package threadpoolctl (extra `threads`) can tell the library; without it all stays as it
is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import exp
from threading import Lock
from time import perf_counter, process_time
from typing import Any

__all__ = ["blas_threads", "free_processors"]

SINGLE_THREAD_PRODUCT = 64**3  # multiplications up to which OpenBLAS takes one thread by itself
PRODUCT_PER_THREAD = 1_000_000  # … and those that are worth another one
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_imported = perf_counter()
_auto = Lock()  # held by the block that has decided


@contextmanager
def blas_threads(threads: int | str | None = "auto", *, multiplications: int) -> Iterator[Any]:
    """Run the block with so many threads for matrix products, the largest of that size.

    threads   a number, or "auto": as it says above; None: leave all as it is
    Gives:    the number, None where all is left as it is

    The number is one of the whole process. "auto" inside "auto", also in another thread of Python,
    leaves it alone; blocks with numbers must not overlap in two threads: the one that ends last
    would leave the number of the other behind.

    Raises:   ImportError for a number without threadpoolctl, ValueError for what is no number of
              threads
    Source:   threadpoolctl, OpenBLAS' interface/gemm.c
    Example:
        >>> with blas_threads("auto", multiplications=32 * 30 * 10) as threads:
        ...     print(threads)
        None
    """
    if not (threads is None or threads == "auto" or (type(threads) is int and threads > 0)):
        raise ValueError(
            f"threads must be a whole number of at least 1, 'auto' or None, received {threads!r}"
        )
    by_itself = multiplications <= SINGLE_THREAD_PRODUCT or any(map(os.environ.get, VARIABLES))
    if threads is None or (threads == "auto" and by_itself):
        yield None
        return
    try:
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
    except ImportError as error:
        if threads == "auto":
            yield None
            return
        raise ImportError(
            f"threads={threads} needs threadpoolctl: pip install 'tinygrad_edu[threads]', or set "
            f"OMP_NUM_THREADS={threads} before Python starts"
        ) from error
    automatic = threads == "auto"
    if automatic and not _auto.acquire(blocking=False):  # another block has decided
        yield None
        return
    try:
        blas = ThreadpoolController().select(user_api="blas")
        if automatic:
            most = max((pool["num_threads"] for pool in blas.info()), default=1)
            threads = max(1, min(most, free_processors(), multiplications // PRODUCT_PER_THREAD))
        with blas.limit(limits=threads):
            yield threads
    finally:
        if automatic:
            _auto.release()


def free_processors() -> int:
    """How many processors this process may use and no other process keeps busy; at least 1.

    Taken from the system's load of the last minute, less what this process has contributed. Where
    the system does not tell, all.

    Example:
        >>> 1 <= free_processors() <= os.cpu_count()
        True
    """
    processors = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        processors = len(os.sched_getaffinity(0))
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):
        return processors
    # The load is a mean in which a minute ago counts 1/e. We are in it with our own work.
    used = process_time()
    lived = max(used, perf_counter() - _imported)
    own = used / lived * (1 - exp(-lived / 60))
    others = max(0.0, load - own)
    return max(1, int(processors - others + 0.3))  # a little is always going on
