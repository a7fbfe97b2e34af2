"""tinygrad_edu: reverse-mode automatic differentiation on NumPy, to be read in one sitting.

engine     record what is computed, and sweep back over the record
ops        every differentiable function with its rule
losses     cross-entropy and its kin, each with the short rule of the slides
tensor     Tensor: operators and methods, all taken from ops
dispatch   which NumPy function is which operation
init       first values of weights
nn         Module, Linear, Sequential, activations
optim      SGD
data       one-hot rows and mini-batches

and two readers of what was recorded, which are imported when they are first asked for:

explanation, tracing, naming, reading, algebra, matrices, notation
           `explain`: the derivation of a gradient, printed and checked
verification, claims, problems, grammar, expressions, functions, evaluation, derivations, edits,
repair, report, wording, submissions
           `verify`: gradients derived by hand: are they right, and what is wrong with them
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import data, init, losses, nn, ops, optim
from .engine import grad, no_grad, primitive
from .losses import *
from .ops import *
from .tensor import Parameter, Tensor

if TYPE_CHECKING:
    from .explanation import Explanation, explain
    from .problems import CannotCheck
    from .report import Report
    from .verification import assert_right, verify

__version__ = "0.1.0"

__all__ = [
    "CannotCheck", "Explanation", "Parameter", "Report", "Tensor", "assert_right", "data",
    "explain", "grad", "init", "nn", "no_grad", "optim", "primitive", "verify",
]  # fmt: skip
__all__ += losses.__all__
__all__ += ops.__all__

_LATER = {
    "Explanation": "explanation",
    "explain": "explanation",
    "CannotCheck": "problems",
    "Report": "report",
    "assert_right": "verification",
    "verify": "verification",
}


def __getattr__(name: str) -> Any:
    """Import what not every program needs when it is asked for, to keep `import` fast."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
