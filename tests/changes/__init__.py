"""Changes of what a step reads: is each followed, refused by name, or raised in time?

case       a kind of change, as a row of the table
kept       numbers that a model keeps, in attributes and objects
names      numbers that code reaches by a name, or asks the system for
moving     what changes by itself: counters, iterators, random numbers, clocks
code       methods, classes, functions and hooks that are replaced
training   what belongs to training: settings, weights, states, arguments
routes     the same training eagerly and captured, and the outcome

`python -m tests.changes` runs them all.
"""

from . import code, kept, moving, names, training
from .case import FOLLOWED, KINDS, RAISED, REFUSED, SILENT, Case, Kind
from .routes import Verdict, at_least, by_compile, by_fit, eager, same

__all__ = [
    "FOLLOWED",
    "KINDS",
    "RAISED",
    "REFUSED",
    "SILENT",
    "Case",
    "Kind",
    "Verdict",
    "at_least",
    "by_compile",
    "by_fit",
    "code",
    "eager",
    "kept",
    "moving",
    "names",
    "same",
    "training",
]
