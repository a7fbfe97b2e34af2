"""The compiler: a process of its own that makes machine code of generated modules.

    python -m tinygrad_edu.capturing.compiler        messages in: a form, and a source in the next
                                                     line; for each one out: machine code

Numba and LLVM take a second to start and a hundred megabytes, of which nothing is needed any more
once there is machine code. So the process ends when nobody can ask it for more, or has not for a
while, and with the first source that it fails on. The code stands alone: `run`, its kernels and
their constants, with no way back into Python. A kernel may therefore neither raise an error nor ask
for memory.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import traceback
from threading import Timer
from typing import IO, Any, NoReturn

from .linking import linked

__all__ = ["MATMUL", "compiled", "message", "received"]

# The inner loops of np.matmul, which kernels call, and what NumPy calls their dtypes.
MATMUL = {"numpy_matmul_float32": "ff->f", "numpy_matmul_float64": "dd->d"}
IDLE = 10.0  # seconds without work, after which the process ends
_HEAD, _MARK = struct.Struct("<8sQ"), b"compiler"  # of a message: what it is, its length


def compiled(source: str, form: str) -> bytes:
    """The function `run` of a module, and before it a line that says where it begins, and where the
    addresses of functions from outside belong: `1024 pow=4102`.

    form    "linked": machine code that may lie anywhere; or "object", which LLVM can load: its line
            has no places, and of the functions from outside only those that LLVM does not know

    Raises:  ValueError for a module that cannot stand alone
    """
    from llvmlite import binding as llvm

    # Loops over many arrays are checked for overlaps at run time, however many pairs there are.
    llvm.set_option("", "-runtime-memory-check-threshold=1000")
    for name in MATMUL:  # nobody calls it here
        llvm.add_symbol(name, 1)
    made: dict[str, Any] = {}
    exec(compile(source, "<step>", "exec"), made)
    module = llvm.parse_assembly(made["run"].inspect_llvm())
    for function in module.functions:
        if function.name == made["run"].native_name:
            function.name = "run"
        elif not function.is_declaration:
            function.linkage = "internal"
    how = {"reloc": "pic", "codemodel": "small"} if form == "linked" else {"jit": True}
    machine = llvm.Target.from_triple(module.triple).create_target_machine(
        llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), 3, **how
    )
    # Seen together, the functions raise no errors; what would tell Python of them is then dropped.
    passes = llvm.create_new_module_pass_manager()
    passes.add_ipsccp_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    outside = [function.name for function in module.functions if function.is_declaration]
    if python := [name for name in outside if name.startswith(("Py", "NRT_", "numba_"))]:
        raise ValueError(f"the kernels raise errors or ask for memory: {', '.join(python)}")
    code: bytes = machine.emit_object(module)
    begin = 0
    places = dict.fromkeys((name for name in MATMUL if name in outside), 0)
    if form == "linked":
        code, begin, places = linked(code, "run")
    return " ".join([str(begin), *(f"{n}={i}" for n, i in places.items())]).encode() + b"\n" + code


def message(content: bytes) -> bytes:
    """What is sent between the compiler and who asks it."""
    return _HEAD.pack(_MARK, len(content)) + content


def received(stream: IO[bytes]) -> bytes | None:
    """The content of the next message; None where the stream ends, or holds something else."""
    head = stream.read(_HEAD.size)
    mark, size = _HEAD.unpack(head) if len(head) == _HEAD.size else (b"", 0)
    content = stream.read(size) if mark == _MARK else b""
    return content if mark == _MARK and len(content) == size else None


def _serve() -> NoReturn:
    """Compile what is asked for, one after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for who asks, and waits
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anybody prints goes where errors go
    while True:
        end = Timer(IDLE, os._exit, (0,))
        end.daemon = True
        end.start()
        asked = received(sys.stdin.buffer)
        end.cancel()
        if asked is None:
            os._exit(0)
        form, _, source = asked.decode().partition("\n")
        try:
            code = compiled(source, form)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)  # at once: it is waited for
        answers.write(message(code))
        answers.flush()


if __name__ == "__main__":
    # Numba would look for SciPy's BLAS, for 0.3 seconds. This process is nobody else's.
    sys.modules.update(scipy=None)  # type: ignore[call-overload]
    _serve()
