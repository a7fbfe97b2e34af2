"""Random programs, and checks that the package is right about them.

    python -m tests.fuzz --count 1000 --seed 0 [--torch] [--seconds N]

A *program* is a list of instructions over a few input arrays: `Call(operation, arguments,
settings)`, where arguments are the numbers of *registers*; registers 0 … n−1 are the inputs,
register n + i is the result of call i, and the loss is Σ w ⊙ register over those in
`program.weights`. Any other check can run on the same programs with these functions:

    program = generate(seed)            # everything follows from the seed
    registers, loss = run(program)      # run by the package: tensors with their graph, to be
                                        # differentiated, explained, captured …
    run(program, "arrays")              # the same lines of code on plain arrays
    run(program, "numpy")               # by definitions in NumPy that know nothing of the package
    run(program, "torch")               # by PyTorch, in float64
    source(program)                     # as Python code; the package runs this very text
    differentiate(program)              # values and gradients of all registers, without any rule
    failure = check(program)            # None, or the first thing that is wrong
    shrink(program, failure, test)      # the smallest program for which test(program) gives a
                                        # failure of the same kind; any test will do
    script(program, failure)            # a script that shows it

The parts: `operations` says what each operation means and how it may be written, `generate` draws
programs, `program` runs them, `reference` differentiates them by the complex step, `check`
compares, `shrink` makes them small.
"""

from .check import Failure, check, script
from .generate import generate
from .program import Call, Input, Program, Run, run, source
from .reference import Derivatives, differentiate
from .shrink import shrink

__all__ = [
    "Call",
    "Derivatives",
    "Failure",
    "Input",
    "Program",
    "Run",
    "check",
    "differentiate",
    "generate",
    "run",
    "script",
    "shrink",
    "source",
]
