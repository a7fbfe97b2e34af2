"""Capture: a training step, run once on tensors, as a straight-line program.

compiled      `compile`: one program for each kind of arguments
capture       run a step with everything recorded, and write down what it does
surroundings  what a step finds around it by name, and whether it has changed
lowering      an operation as the NumPy calls that it is made of
calls         calls, and the values that they read and write
program       the calls of a step in their order, and the memory that they share
lanes         what is done to all parameters alike, done to all at once
memory        memory that arrays are cut out of
checks        what is asked of each row, asked once for all batches
homes         where programs find the arrays of parameters and optimizers, and leave them
replay        a program with these arrays, and when it applies
runs          one call after the other, with nothing of the user's in between
rates         learning rates, which may change between calls
listing       the program as the backprop that a student would write
native        the same program as machine code, by Numba: a table of kernels
kernels       the loops of a program, as the text of Python functions, put together from:
texts         what kernels have in common: names, places, loops
formulas      what is done with one entry, as text
expansions    calls that are several, in the words that kernels have
nests         sums over any axes
moves         operations that only move entries
machine_code  what is compiled of kernels, kept on disk, and loaded without Numba
service       the process that compiles, as seen from here
compiler      that process
linking       an object file as code that may lie anywhere
mathematics   exponentials and logarithms that a loop applies to many numbers at once
products      matrix products in the registers of the processor
"""
