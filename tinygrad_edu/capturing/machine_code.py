"""Machine code: compiled by a process of its own, kept in the user's cache, loaded without Numba.

A file in the cache is named after all that its code depends on: the source, the files of this
package that it is compiled with, Numba's version and the processor. It begins with a sum over its
contents; what does not agree with it, or belongs to somebody else, is compiled anew.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np

from .compiler import MATMUL
from .service import service

__all__ = ["compiled"]

# Elsewhere LLVM has to load the code, which takes a tenth of a second and 50 MB.
FORM = "linked" if sys.platform == "linux" and platform.machine() == "x86_64" else "object"
_EXECUTED = mmap.PROT_READ | mmap.PROT_EXEC if FORM == "linked" else 0
_SUM = 32  # bytes
_COMPILED_WITH = ("mathematics", "products", "compiler", "linking")
_loaded: dict[str, tuple[Callable[[int], int], Any]] = {}  # functions, and what keeps their code


def compiled(source: str) -> Callable[[int], int]:
    """The function `run` of a generated module, as machine code.

    Raises:  ImportError without the extra `native`; RuntimeError where Numba fails
    """
    key = _key(source)
    if key not in _loaded:
        path = _folder() / f"{key}.code"
        code = _kept(path)
        if code is None:
            code = _made(source)
            _keep(path, code)
        head, _, rest = code.partition(b"\n")
        begin, *places = head.decode().split()
        outside = {name: int(place) for name, _, place in (x.partition("=") for x in places)}
        load = _mapped if FORM == "linked" else _by_llvm
        address, keeper = load(rest, int(begin), outside)
        # The interpreter's lock is held while it runs, as for any function of NumPy.
        run = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)
        _loaded.setdefault(key, (run, keeper))  # what somebody runs is never let go
    return _loaded[key][0]


def _key(source: str) -> str:
    """What the machine code depends on, as a name."""
    found = sha256(f"{FORM} {_processor()} {source}".encode())
    for name in ("numba", "llvmlite"):
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ImportError("backend='numba' needs Numba: pip install 'tinygrad_edu[native]'")
        found.update(Path(spec.origin).with_name("_version.py").read_bytes())
    for name in _COMPILED_WITH:
        found.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return found.hexdigest()[:32]


def _processor() -> str:
    """The processor and what it can do."""
    if FORM == "object":
        from llvmlite import binding as llvm

        return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        first = takewhile(str.strip, lines)  # one of them: they are alike
        return "".join(line for line in first if line.startswith(("vendor", "model", "flags")))


# --- the cache ------------------------------------------------------------------------------------


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tinygrad_edu" / "native"


def _kept(path: Path) -> bytes | None:
    """What a file in the cache holds; None if it is not what was written there."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read()
    except OSError:
        return None
    is_ours = not hasattr(os, "geteuid") or (
        status.st_uid == os.geteuid() and not status.st_mode & 0o022
    )
    code = data[_SUM:]
    return code if is_ours and _sum(path, code) == data[:_SUM] else None


def _keep(path: Path, code: bytes) -> None:
    """Write a file into the cache, whole or not at all; where that cannot be, the next process
    compiles again."""
    fresh = path.with_suffix(f".{os.getpid()}-{get_ident()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(fresh, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(_sum(path, code) + code)
        fresh.replace(path)


def _sum(path: Path, code: bytes) -> bytes:
    return sha256(path.name.encode() + code).digest()


def _made(source: str) -> bytes:
    """What the compiler makes of a module."""
    return service.compiled(source, FORM)


# --- loading --------------------------------------------------------------------------------------


def _mapped(code: bytes, begin: int, outside: dict[str, int]) -> tuple[int, Any]:
    """The address of `run` in a copy of the code that can be executed."""
    memory = mmap.mmap(-1, len(code), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(code)
    # Through NumPy's own library the C library's functions are found too.
    numpy = ctypes.CDLL(sys.modules["numpy._core._multiarray_umath"].__file__)
    for name, place in outside.items():
        address = _matmul(name) if name in MATMUL else _address(numpy, name)
        memory[place : place + 8] = address.to_bytes(8, sys.byteorder)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    if protect(ctypes.c_void_p(start), ctypes.c_size_t(len(code)), _EXECUTED):
        error = ctypes.get_errno()
        raise OSError(error, f"machine code may not be executed here: {os.strerror(error)}")
    return start + begin, memory


def _by_llvm(code: bytes, begin: int, outside: dict[str, int]) -> tuple[int, Any]:
    """The same by LLVM, from an object file."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for name in outside:
        llvm.add_symbol(name, _matmul(name))
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address("run"), engine


def _address(library: ctypes.CDLL, name: str) -> int:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


class _Ufunc(ctypes.Structure):
    """The first fields of a ufunc in memory, behind the head of every object.

    Source:  PyUFuncObject in numpy/ufuncobject.h
    """

    _fields_ = (
        ("numbers", ctypes.c_int * 4),  # of inputs, outputs and both; the identity
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
    )


def _matmul(name: str) -> int:
    """The address of NumPy's inner loop for products of matrices of one dtype."""
    loops = _Ufunc.from_address(id(np.matmul) + object.__basicsize__)
    return loops.functions[np.matmul.types.index(MATMUL[name])] or 0
