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

and what is imported when it is first asked for: training

training   `fit`, `evaluate`, `predict`, in Keras' words
callbacks, metrics, history, progress
           what happens beside it, what it is measured by, what it leaves, how it is shown

and two readers of what was recorded:

explanation, tracing, naming, reading, algebra, matrices, notation
           `explain`: the derivation of a gradient, printed and checked
verification, problems, expressions, functions, repair, wording, submissions
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
    from . import callbacks, metrics
    from .explanation import Explanation, explain
    from .history import History
    from .problems import CannotCheck
    from .training import NonFiniteLoss, evaluate, fit, predict
    from .verification import Report, assert_right, verify

__version__ = "0.1.0"

__all__ = [
    "CannotCheck", "Explanation", "History", "NonFiniteLoss", "Parameter", "Report", "Tensor",
    "assert_right", "callbacks", "data", "evaluate", "explain", "fit", "grad", "init", "metrics",
    "nn", "no_grad", "optim", "predict", "primitive", "verify",
]  # fmt: skip
__all__ += losses.__all__
__all__ += ops.__all__

_LATER = {
    "Explanation": "explanation",
    "explain": "explanation",
    "History": "history",
    "NonFiniteLoss": "training",
    "evaluate": "training",
    "fit": "training",
    "predict": "training",
    "CannotCheck": "problems",
    "Report": "verification",
    "assert_right": "verification",
    "verify": "verification",
}
_LATER_MODULES = {"callbacks", "metrics"}


def __getattr__(name: str) -> Any:
    """Import what not every program needs when it is asked for, to keep `import` fast."""
    if name in _LATER_MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
