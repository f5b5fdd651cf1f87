"""Losses as layers; the formulas are in functional/losses.py."""

from __future__ import annotations

from typing import Any

from nnatomy import functional as F
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CosineEmbeddingLoss", "CrossEntropyLoss", "DiceLoss", "HingeLoss", "HuberLoss",
    "InfoNCELoss", "KLDivLoss", "L1Loss", "MSELoss", "MultiMarginLoss", "NLLLoss", "SigmoidFocalLoss", "SmoothL1Loss",
    "SoftMarginLoss", "TripletMarginLoss",
]  # fmt: skip


def _reduction(name: str, *more: str) -> str:
    if name not in ("mean", "sum", "none", *more):
        raise UserError(f"reduction must be {', '.join(('mean', 'sum', 'none', *more))}. Received {name!r}.")
    return name


def _buffer(weight: Any) -> Tensor | None:
    return None if weight is None else Tensor(B.asarray(weight.data if isinstance(weight, Tensor) else weight))


class MSELoss(Module):
    """(input - target)^2."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = _reduction(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.mse_loss(input, target, self.reduction)


class L1Loss(Module):
    """|input - target|."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = _reduction(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.l1_loss(input, target, self.reduction)


class HuberLoss(Module):
    """Squared near 0, linear beyond delta."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        self.reduction, self.delta = _reduction(reduction), delta

    def forward(self, input: Any, target: Any) -> Any:
        return F.huber_loss(input, target, self.reduction, self.delta)


class SmoothL1Loss(Module):
    """Squared near 0, |input - target| - beta / 2 beyond beta."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        self.reduction, self.beta = _reduction(reduction), beta

    def forward(self, input: Any, target: Any) -> Any:
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class BCELoss(Module):
    """Binary cross-entropy of probabilities."""

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        self.weight, self.reduction = _buffer(weight), _reduction(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Module):
    """Binary cross-entropy of scores."""

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        self.weight, self.reduction, self.pos_weight = _buffer(weight), _reduction(reduction), _buffer(pos_weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class CrossEntropyLoss(Module):
    """Cross-entropy of scores (batch, classes, ...) with class numbers or probabilities."""

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        self.weight, self.ignore_index, self.reduction = _buffer(weight), ignore_index, _reduction(reduction)
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return F.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class NLLLoss(Module):
    """Minus the log-probability of the target's class."""

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        self.weight, self.ignore_index, self.reduction = _buffer(weight), ignore_index, _reduction(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class HingeLoss(Module):
    """max(0, margin - t x) with targets of -1 and 1."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        self.margin, self.reduction = margin, _reduction(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.hinge_loss(input, target, self.margin, self.reduction)


class SoftMarginLoss(Module):
    """ln(1 + e^(-t x)) with targets of -1 and 1."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = _reduction(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.soft_margin_loss(input, target, self.reduction)


class MultiMarginLoss(Module):
    """The hinge loss of several classes."""

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean") -> None:
        self.p, self.margin, self.weight, self.reduction = p, margin, _buffer(weight), _reduction(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, self.reduction)


class SigmoidFocalLoss(Module):
    """Binary cross-entropy that fades where the score is already right."""

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "mean") -> None:
        self.alpha, self.gamma, self.reduction = alpha, gamma, _reduction(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.sigmoid_focal_loss(input, target, self.alpha, self.gamma, self.reduction)


class DiceLoss(Module):
    """1 minus the Dice overlap of probabilities and targets (batch, channels, *space)."""

    def __init__(self, smooth: float = 1.0, reduction: str = "mean") -> None:
        self.smooth, self.reduction = smooth, _reduction(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.dice_loss(input, target, self.smooth, self.reduction)


class KLDivLoss(Module):
    """t (ln t - input), input being log-probabilities."""

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        self.reduction, self.log_target = _reduction(reduction, "batchmean"), log_target

    def forward(self, input: Any, target: Any) -> Any:
        return F.kl_div(input, target, self.reduction, self.log_target)


class CosineEmbeddingLoss(Module):
    """Moves pairs with target 1 toward one direction, and pairs with target -1 away from each other."""

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        self.margin, self.reduction = margin, _reduction(reduction)

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return F.cosine_embedding_loss(input1, input2, target, self.margin, self.reduction)


class TripletMarginLoss(Module):
    """max(0, |a - p| - |a - n| + margin)."""

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: str = "mean"
    ) -> None:
        self.margin, self.p, self.eps, self.swap, self.reduction = margin, p, eps, swap, _reduction(reduction)

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        return F.triplet_margin_loss(anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction)


class InfoNCELoss(Module):
    """Finds each query's own key among the batch's."""

    def __init__(self, temperature: float = 0.1, reduction: str = "mean") -> None:
        self.temperature, self.reduction = temperature, _reduction(reduction)

    def forward(self, query: Any, key: Any) -> Any:
        return F.info_nce_loss(query, key, self.temperature, self.reduction)
