"""Linking: what an object file holds as one piece of code, and what cannot be that."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from tinygrad_edu.capturing import machine_code
from tinygrad_edu.capturing.linking import linked

llvm = pytest.importorskip("llvmlite.binding")
pytestmark = pytest.mark.skipif(machine_code.FORM != "linked", reason="for Linux on x86-64")

CONSTANTS = """
@small = internal constant [2 x i64] [i64 3, i64 4], align 8
@large = internal constant [2 x i64] [i64 50, i64 60], align 64
declare i64 @labs(i64)
define i64 @other(i64 %i) {
  ret i64 7
}
define i64 @run(i64 %i) {
  %a = getelementptr [2 x i64], ptr @small, i64 0, i64 %i
  %b = getelementptr [2 x i64], ptr @large, i64 0, i64 %i
  %x = load i64, ptr %a
  %y = load i64, ptr %b
  %z = call i64 @labs(i64 -1000)
  %s = add i64 %x, %y
  %t = add i64 %s, %z
  ret i64 %t
}
"""


def object_file(text: str) -> bytes:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        reloc="pic", codemodel="small"
    )
    data: bytes = machine.emit_object(llvm.parse_assembly(text))
    return data


def run_at(code: bytes, begin: int, outside: dict[str, int]) -> Any:
    start, memory = machine_code._mapped(code, begin, outside)
    return ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(start), memory


def test_code_finds_its_constants_wherever_it_lies() -> None:
    code, begin, outside = linked(object_file(CONSTANTS), "run")
    assert begin > 0 and list(outside) == ["labs"]
    places = [run_at(code, begin, outside) for _ in range(2)]
    assert [run(i) for run, _ in places for i in (0, 1)] == [1053, 1064] * 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("@x = global i64 5\ndefine ptr @run() {\n ret ptr @x\n}", "with variables"),
        ("@x = external global i64\ndefine ptr @run() {\n ret ptr @x\n}", "the address of x"),
    ],
)
def test_code_that_needs_more_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        linked(object_file(text), "run")
