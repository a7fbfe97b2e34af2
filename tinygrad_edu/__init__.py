"""tinygrad_edu: reverse-mode automatic differentiation on NumPy, to be read in one sitting.

engine     record what is computed, and sweep back over the record
ops        every differentiable function with its rule
windows    convolution and pooling
losses     cross-entropy and its kin, each with the short rule of the slides
tensor     Tensor: operators and methods, all taken from ops
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
verification, problems, expressions, functions, repair, wording, submissions
           `verify`: gradients derived by hand: are they right, and what is wrong with them

and what is at hand beside them, imported when it is asked for too:

saving     states in files that are whole, or refused
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
    from . import callbacks, metrics
    from .anomaly import detect_anomaly, first_nonfinite
    from .bridges import from_keras, to_keras
    from .explanation import Explanation, explain
    from .history import History
    from .problems import CannotCheck
    from .saving import load, load_checkpoint, save, save_checkpoint
    from .training import NonFiniteLoss, evaluate, fit, predict
    from .verification import Report, assert_right, verify

__version__ = "0.1.0"

__all__ = [
    "Buffer", "CannotCheck", "Explanation", "History", "NonFiniteLoss", "Parameter", "Report",
    "Tensor", "assert_right", "callbacks", "data", "detect_anomaly", "evaluate", "explain",
    "first_nonfinite", "fit", "from_keras", "grad", "init", "load", "load_checkpoint",
    "manual_seed", "metrics", "nn", "no_grad", "optim", "predict", "primitive", "save",
    "save_checkpoint", "to_keras", "verify",
]  # fmt: skip
__all__ += losses.__all__
__all__ += ops.__all__
__all__ += windows.__all__

_LATER = {
    "detect_anomaly": "anomaly",
    "first_nonfinite": "anomaly",
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
    "Report": "verification",
    "assert_right": "verification",
    "verify": "verification",
    "load": "saving",
    "load_checkpoint": "saving",
    "save": "saving",
    "save_checkpoint": "saving",
}
_LATER_MODULES = {"callbacks", "metrics"}


def __getattr__(name: str) -> Any:
    """Import what not every program needs when it is asked for, to keep `import` fast."""
    if name in _LATER_MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
