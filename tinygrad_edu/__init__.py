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
"""

from . import data, init, losses, nn, ops, optim
from .engine import grad, no_grad, primitive
from .losses import *
from .ops import *
from .tensor import Parameter, Tensor

__version__ = "0.1.0"

__all__ = ["Parameter", "Tensor", "data", "grad", "init", "nn", "no_grad", "optim", "primitive"]
__all__ += losses.__all__
__all__ += ops.__all__
