"""How many threads matrix products use: chosen once before training, not in each step.

The BLAS under NumPy uses every processor by default. That is fast for large products on an idle
machine. If other programs are running, its threads wait for each other at the end of each
product, and training becomes ten times slower. So `blas_threads` looks at the size of the
products and, with "auto", at the load of the machine:

    small products         unchanged: BLAS uses one thread for them
    a busy machine         as many threads as there are idle processors
    a limit that is set    kept: "auto" never uses more threads than BLAS would
    OMP_NUM_THREADS set    unchanged, as with OPENBLAS_NUM_THREADS or MKL_NUM_THREADS

With another number of threads BLAS adds in another order, and the last digits differ. With
"auto" they depend on the load of the machine, so a seed no longer determines a result to the
bit. That is why it must be asked for: `tg.fit(..., threads="auto")`.

Only the package threadpoolctl (extra `threads`) can set the number; without it nothing is
changed.
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

SINGLE_THREAD_PRODUCT = 64**3  # multiplications up to which OpenBLAS uses one thread
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
    """Set the number of BLAS threads while the block runs, given the size of its largest product.

    threads   a number, or "auto" as described above; None: change nothing
    Yields:   the number, or None if nothing was changed

    The number applies to the whole process. "auto" inside of "auto", also in another Python thread,
    changes nothing. Blocks with numbers must not overlap in two threads: the one that ends last
    would restore the number of the other.

    Raises:   ImportError for a number without threadpoolctl, ValueError if `threads` is no number
              of threads
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
    """Return how many processors this process may use that no other process keeps busy; at least 1.

    Computed from the system's load of the last minute, less the share of this process; all
    processors if the system has no such figure.

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
