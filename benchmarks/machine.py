"""The machine, the versions and the threads, on which figures depend besides the code.

Nothing here imports NumPy: the number of threads is read by each library when it is imported.
"""

from __future__ import annotations

import os
import platform
from typing import Any

VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
PACKAGES = (
    "tinygrad_edu",
    "numpy",
    "keras",
    "tensorflow",
    "torch",
    "jax",
    "scikit-learn",
    "mygrad",
    "autograd",
    "numba",
    "threadpoolctl",
)


def bind(threads: int) -> str:
    """Give every library the same number of threads, and where the system lets us the whole
    process as many processors, which also holds those that read no variable; says what was done.
    """
    for variable in VARIABLES:
        os.environ[variable] = str(threads)
    # Without TensorFlow's start messages between the lines of the table.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    told = f"{threads} thread{'s' if threads > 1 else ''} for BLAS, OpenMP and TensorFlow's pools"
    if not hasattr(os, "sched_setaffinity"):
        return told
    processors = sorted(os.sched_getaffinity(0))[-threads:]
    os.sched_setaffinity(0, processors)
    return f"{told}, the process on {len(processors)} of {os.cpu_count()} processors"


def facts(threads: str) -> dict[str, Any]:
    """Return the machine, the versions and the threads, as listed in every report."""
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: v for name in PACKAGES if (v := _version(name))},
        "threads": threads,
    }


def pools() -> list[str]:
    """Return the loaded BLAS libraries with their numbers of threads; nothing without
    threadpoolctl.
    """
    try:
        from threadpoolctl import threadpool_info  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        return []
    return [
        f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', '')}): "
        f"{pool['num_threads']}"
        for pool in threadpool_info()
    ]


def sentence(facts: dict[str, Any]) -> str:
    """Return these facts as a line of text."""
    versions = ", ".join(f"{name} {v}" for name, v in facts["versions"].items())
    return (
        f"{facts['processor']}, {facts['system']}, Python {facts['python']}, {versions}; "
        f"{facts['threads']}"
    ) + "".join(f"; {pool}" for pool in facts.get("pools", ()))


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # not in what is timed

    for distribution in (name, f"{name}-cpu"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            pass
    return None
