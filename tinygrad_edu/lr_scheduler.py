"""Learning-rate schedules: lr as a function of the number of epochs.

A schedule is one formula, `rate(t)`: the learning rate after t steps of the schedule, usually
epochs. `scheduler.step()` counts them and sets the optimizer's `lr`. For your own schedule use
`LambdaLR` with a function, or a class with `rate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import cos, inf, pi
from typing import Any

from .arrays import NameMissing

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "ReduceLROnPlateau",
    "StepLR",
]


class LRScheduler:
    """Base class of the schedules. Your own class has `rate(t)`; `self.base_lr` is the optimizer's
    initial lr. A schedule sets the whole lr, so use one schedule at a time.

    Raises:  TypeError if there is no optimizer with an `lr`
    Source:  torch.optim.lr_scheduler.LRScheduler
    Example:
        >>> import tinygrad_edu as tg
        >>> class Warmup(LRScheduler):
        ...     def rate(self, t):
        ...         return self.base_lr * min(1, (t + 1) / 4)
        >>> optimizer = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=0.4)
        >>> scheduler = Warmup(optimizer)
        >>> optimizer.lr
        0.1
        >>> scheduler.step()
        >>> optimizer.lr
        0.2
    """

    def __init__(self, optimizer: Any) -> None:
        if not hasattr(optimizer, "lr"):
            raise TypeError(
                f"{type(self).__name__} takes an optimizer, received {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        self.base_lr: float = optimizer.lr
        self.last_epoch = 0
        optimizer.lr = self.rate(0)

    def rate(self, t: int) -> float:
        """Return the learning rate after t steps. Each class defines it."""
        raise NotImplementedError(f"{type(self).__name__} has no rate()")

    def step(self) -> None:
        """Count one epoch and set the optimizer's new lr."""
        lr = self.rate(self.last_epoch + 1)
        self.optimizer.lr = lr
        self.last_epoch += 1

    def get_last_lr(self) -> list[float]:
        """Return the current lr, in a list as in PyTorch."""
        return [self.optimizer.lr]

    def state_dict(self) -> dict[str, Any]:
        """Return the plain attributes of the schedule.

        Example:
            >>> import tinygrad_edu as tg
            >>> optimizer = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=0.4)
            >>> StepLR(optimizer, 10).state_dict()
            {'step_size': 10, 'gamma': 0.1, 'base_lr': 0.4, 'last_epoch': 0}
        """
        return {k: v for k, v in vars(self).items() if isinstance(v, (bool, int, float, str))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of a schedule of the same class, and set the lr that belongs to
        it.

        Raises:  KeyError if names are missing or unknown; the schedule is then unchanged
        """
        own = self.state_dict()
        if own.keys() != state.keys():
            raise NameMissing(
                f"the state does not fit {type(self).__name__}: expected {[*own]}, "
                f"received {[*state]}"
            )
        vars(self).update(state)
        self.optimizer.lr = self.rate(self.last_epoch)


class LambdaLR(LRScheduler):
    """base_lr · lr_lambda(t), for any function of the number of steps.

    Source:  torch.optim.lr_scheduler.LambdaLR
    Example:
        >>> import tinygrad_edu as tg
        >>> optimizer = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=0.4)
        >>> scheduler = LambdaLR(optimizer, lambda t: 1 / (1 + t))
        >>> scheduler.step()
        >>> optimizer.lr
        0.2
    """

    def __init__(self, optimizer: Any, lr_lambda: Callable[[int], float]) -> None:
        self.lr_lambda = lr_lambda
        super().__init__(optimizer)

    def rate(self, t: int) -> float:
        return self.base_lr * self.lr_lambda(t)


class StepLR(LRScheduler):
    """base_lr · gamma^⌊t / step_size⌋: the lr is multiplied by gamma every step_size steps.

    Raises:  as `LRScheduler`; ValueError for a step_size below 1
    Source:  torch.optim.lr_scheduler.StepLR
    Example:
        >>> import tinygrad_edu as tg
        >>> optimizer = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=0.4)
        >>> scheduler = StepLR(optimizer, 10, gamma=0.5)
        >>> [scheduler.rate(t) for t in (9, 10, 25)]
        [0.4, 0.2, 0.1]
    """

    def __init__(self, optimizer: Any, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = _positive("step_size", step_size), gamma
        super().__init__(optimizer)

    def rate(self, t: int) -> float:
        return float(self.base_lr * self.gamma ** (t // self.step_size))


class ExponentialLR(LRScheduler):
    """base_lr · gammaᵗ.

    Source:  torch.optim.lr_scheduler.ExponentialLR
    Example:
        >>> import tinygrad_edu as tg
        >>> optimizer = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=0.4)
        >>> scheduler = ExponentialLR(optimizer, 0.5)
        >>> [scheduler.rate(t) for t in (0, 1, 2)]
        [0.4, 0.2, 0.1]
    """

    def __init__(self, optimizer: Any, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, t: int) -> float:
        return float(self.base_lr * self.gamma**t)


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base_lr − eta_min)(1 + cos(πt / T_max))/2: falls to eta_min in T_max steps.

    Raises:  as `LRScheduler`; ValueError for a T_max below 1
    Source:  I. Loshchilov, F. Hutter, "SGDR", 2017; torch.optim.lr_scheduler.CosineAnnealingLR
    Example:
        >>> import tinygrad_edu as tg
        >>> optimizer = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=0.4)
        >>> scheduler = CosineAnnealingLR(optimizer, 10)
        >>> [round(scheduler.rate(t), 6) for t in (0, 5, 10)]
        [0.4, 0.2, 0.0]
    """

    def __init__(self, optimizer: Any, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = _positive("T_max", T_max), eta_min
        super().__init__(optimizer)

    def rate(self, t: int) -> float:
        return self.eta_min + (self.base_lr - self.eta_min) * (1 + cos(pi * t / self.T_max)) / 2


class LinearLR(LRScheduler):
    """base_lr times a factor that changes linearly from start_factor to end_factor in total_iters
    steps.

    Raises:  as `LRScheduler`; ValueError for total_iters below 1
    Source:  torch.optim.lr_scheduler.LinearLR
    Example:
        >>> import tinygrad_edu as tg
        >>> optimizer = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=0.4)
        >>> scheduler = LinearLR(optimizer, 0.5, total_iters=2)
        >>> [round(scheduler.rate(t), 6) for t in (0, 1, 2, 9)]
        [0.2, 0.3, 0.4, 0.4]
    """

    def __init__(
        self,
        optimizer: Any,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = _positive("total_iters", total_iters)
        super().__init__(optimizer)

    def rate(self, t: int) -> float:
        part = min(t, self.total_iters) / self.total_iters
        return self.base_lr * (self.start_factor + (self.end_factor - self.start_factor) * part)


class ReduceLROnPlateau(LRScheduler):
    """Multiply lr by `factor` when a measure has not improved for more than `patience` epochs.

    Call `step(measure)`, for example with the validation loss. An improvement is a measure that is
    smaller (`mode="min"`) or larger (`"max"`) than the best so far by more than `threshold`: a
    fraction of the best (`threshold_mode="rel"`) or a number (`"abs"`). After a change, the next
    `cooldown` epochs are not counted. lr does not go below min_lr; changes below eps are skipped.

    Raises:  as `LRScheduler`; ValueError for a factor that is not below 1 or an unknown mode
    Source:  torch.optim.lr_scheduler.ReduceLROnPlateau
    Example:
        >>> import tinygrad_edu as tg
        >>> optimizer = tg.optim.SGD([tg.Tensor(1.0, requires_grad=True)], lr=0.4)
        >>> scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
        >>> for loss in (2.0, 2.0, 2.0):
        ...     scheduler.step(loss)
        >>> optimizer.lr
        0.2
    """

    def __init__(
        self,
        optimizer: Any,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if not 0 <= factor < 1:
            raise ValueError(f"factor must be in [0, 1), received {factor!r}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                "mode must be 'min' or 'max' and threshold_mode 'rel' or 'abs', received "
                f"{mode!r} and {threshold_mode!r}"
            )
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.min_lr, self.eps = cooldown, min_lr, eps
        self.best = inf if mode == "min" else -inf
        self.num_bad_epochs = self.cooldown_counter = 0
        super().__init__(optimizer)

    def rate(self, t: int) -> float:
        """Return the current lr: it depends on the measures, not on t."""
        return float(self.optimizer.lr)

    def step(self, metrics: Any = None) -> None:
        """Count one epoch that ended with this measure.

        Raises:  TypeError if no measure is given
        """
        if metrics is None:
            raise TypeError("ReduceLROnPlateau.step(measure) needs the measure of the epoch")
        measure = float(metrics)
        self.last_epoch += 1
        if self._is_better(measure):
            self.best, self.num_bad_epochs = measure, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            lr = max(self.optimizer.lr * self.factor, self.min_lr)
            if self.optimizer.lr - lr > self.eps:
                self.optimizer.lr = lr
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _is_better(self, measure: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * measure < sign * self.best * (1 - sign * self.threshold)
        return sign * measure < sign * self.best - self.threshold


def _positive(name: str, n: Any) -> int:
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"{name} must be an integer of at least 1, received {n!r}")
    return n
