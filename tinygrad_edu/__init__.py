"""tinygrad_edu: reverse-mode automatic differentiation on NumPy, to be read in one sitting.

engine     record what is computed, and sweep back over the record
ops        every differentiable function with its rule
windows    convolution and pooling
losses     cross-entropy and its kin, each with the short rule of the slides
tensor     Tensor: operators and methods, all taken from ops
hooks      functions that see a gradient on its way
dispatch   which NumPy function is which operation
init       first values of weights
module     Module: a function with parameters and buffers
nn         Linear, Sequential, activations, dropout, normalisation, embedding
optim      SGD, Adam, AdamW; lr_scheduler: learning-rate schedules
data       one-hot rows and mini-batches

and two readers of what was recorded, which are imported when they are first asked for:

explanation, tracing, naming, reading, algebra, matrices, notation
           `explain`: the derivation of a gradient, printed and checked
verification, problems, expressions, functions, repair, wording, submissions
           `verify`: gradients derived by hand: are they right, and what is wrong with them

and what helps who writes operations and layers, imported in the same way:

rulecheck, checking, slopes, guessing, layouts
           `check_rule`, `gradcheck`: rules held against slopes that were measured
testing    `check_layer`: what must hold for every layer
function   Function, with `forward(ctx, …)` and `backward(ctx, g)`
anomaly    `detect_anomaly`, `first_nonfinite`: where the first NaN came from
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import data, init, losses, nn, ops, optim, windows
from .engine import grad, no_grad, primitive
from .init import manual_seed
from .losses import *
from .ops import *
from .tensor import Buffer, Parameter, Tensor
from .windows import *

if TYPE_CHECKING:
    from . import testing
    from .anomaly import detect_anomaly, first_nonfinite
    from .checking import GradientError, gradcheck
    from .explanation import Explanation, explain
    from .function import Function
    from .problems import CannotCheck
    from .rulecheck import check_rule
    from .verification import Report, assert_right, verify

__version__ = "0.1.0"

__all__ = [
    "Buffer", "CannotCheck", "Explanation", "Function", "GradientError", "Parameter", "Report",
    "Tensor", "assert_right", "check_rule", "data", "detect_anomaly", "explain", "first_nonfinite",
    "grad", "gradcheck", "init", "manual_seed", "nn", "no_grad", "optim", "primitive", "testing",
    "verify",
]  # fmt: skip
__all__ += losses.__all__
__all__ += ops.__all__
__all__ += windows.__all__

_LATER = {
    "GradientError": "checking",
    "check_rule": "rulecheck",
    "gradcheck": "checking",
    "detect_anomaly": "anomaly",
    "first_nonfinite": "anomaly",
    "Function": "function",
    "Explanation": "explanation",
    "explain": "explanation",
    "CannotCheck": "problems",
    "Report": "verification",
    "assert_right": "verification",
    "verify": "verification",
}
_LATER_MODULES = {"testing"}


def __getattr__(name: str) -> Any:
    """Import what not every program needs when it is asked for, to keep `import` fast."""
    if name in _LATER_MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
