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

and what is imported when it is first asked for: training

training   `fit`, `evaluate`, `predict`, in Keras' words
callbacks, metrics, history, progress
           what happens beside it, what it is measured by, what it leaves, how it is shown

and two readers of what was recorded:

explanation, tracing, naming, reading, algebra, matrices, notation
           `explain`: the derivation of a gradient, printed and checked
verification, claims, problems, grammar, expressions, functions, evaluation, derivations, edits,
repair, report, wording, submissions
           `verify`: gradients derived by hand: are they right, and what is wrong with them

and what helps who writes operations and layers, imported in the same way:

rulecheck, checking, slopes, guessing, layouts
           `check_rule`, `gradcheck`: rules held against slopes that were measured
testing    `check_layer`: what must hold for every layer
function   Function, with `forward(ctx, …)` and `backward(ctx, g)`
anomaly    `detect_anomaly`, `first_nonfinite`: where the first NaN came from
and what is at hand beside them, imported when it is asked for too:

pictures, drawing, layout
           `picture`: a recorded graph to look at
summaries  `summary`: a table of a model's layers, and what they cost
saving, files
           `save`, `load` and checkpoints: states in files that are whole, or refused
bridges, keras_layers, keras_files, keras_settings
           `from_keras`, `to_keras`: networks from Keras and to it
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
    from . import callbacks, metrics, testing
    from .anomaly import detect_anomaly, first_nonfinite
    from .bridges import from_keras, to_keras
    from .checking import GradientError, gradcheck
    from .explanation import Explanation, explain
    from .function import Function
    from .history import History
    from .pictures import Picture, picture
    from .problems import CannotCheck
    from .report import Report
    from .rulecheck import check_rule
    from .saving import load, load_checkpoint, save, save_checkpoint
    from .summaries import Summary, summary
    from .training import NonFiniteLoss, evaluate, fit, predict
    from .verification import assert_right, verify

__version__ = "0.1.0"

__all__ = [
    "Buffer", "CannotCheck", "Explanation", "Function", "GradientError", "History",
    "NonFiniteLoss", "Parameter", "Picture", "Report", "Summary", "Tensor", "assert_right",
    "callbacks", "check_rule", "data", "detect_anomaly", "evaluate", "explain",
    "first_nonfinite", "fit", "from_keras", "grad", "gradcheck", "init", "load",
    "load_checkpoint", "manual_seed", "metrics", "nn", "no_grad", "optim", "picture", "predict",
    "primitive", "save", "save_checkpoint", "summary", "testing", "to_keras", "verify",
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
    "from_keras": "bridges",
    "to_keras": "bridges",
    "Explanation": "explanation",
    "explain": "explanation",
    "History": "history",
    "NonFiniteLoss": "training",
    "evaluate": "training",
    "fit": "training",
    "predict": "training",
    "CannotCheck": "problems",
    "Report": "report",
    "assert_right": "verification",
    "verify": "verification",
    "load": "saving",
    "load_checkpoint": "saving",
    "Picture": "pictures",
    "picture": "pictures",
    "save": "saving",
    "Summary": "summaries",
    "summary": "summaries",
    "save_checkpoint": "saving",
}
_LATER_MODULES = {"callbacks", "metrics", "testing"}


def __getattr__(name: str) -> Any:
    """Import what not every program needs when it is asked for, to keep `import` fast."""
    if name in _LATER_MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
