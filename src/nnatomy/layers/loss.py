"""Losses as layers; the formulas are in functional/losses.py, likelihoods.py and margins.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnatomy import functional as F
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.layers import checks
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "CosineEmbeddingLoss", "CosineSimilarity", "CrossEntropyLoss", "DiceLoss",
    "GaussianNLLLoss", "HingeEmbeddingLoss", "HingeLoss", "HuberLoss", "InfoNCELoss", "KLDivLoss", "L1Loss", "MSELoss",
    "MarginRankingLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "NLLLoss", "PairwiseDistance",
    "PoissonNLLLoss", "SigmoidFocalLoss", "SmoothL1Loss", "SoftMarginLoss", "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]  # fmt: skip


def _reduction(name: str, *more: str) -> str:
    if name not in ("mean", "sum", "none", *more):
        raise UserError(
            f"reduction must be {', '.join(('mean', 'sum', 'none', *more))}. Received {name!r}. "
            'Use reduction="mean".'
        )
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


class MarginRankingLoss(Module):
    """max(0, margin - t (x1 - x2)): which of two scores should be the larger."""

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        self.margin, self.reduction = margin, _reduction(reduction)

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return F.margin_ranking_loss(input1, input2, target, self.margin, self.reduction)


class HingeEmbeddingLoss(Module):
    """x for pairs with target 1, max(0, margin - x) for pairs with target -1, x being a distance."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        self.margin, self.reduction = margin, _reduction(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.hinge_embedding_loss(input, target, self.margin, self.reduction)


class MultiLabelMarginLoss(Module):
    """The hinge loss of several classes of which several are right: those listed before the first -1."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = _reduction(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.multilabel_margin_loss(input, target, self.reduction)


class MultiLabelSoftMarginLoss(Module):
    """Binary cross-entropy of scores, its mean over classes."""

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        self.weight, self.reduction = _buffer(weight), _reduction(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.multilabel_soft_margin_loss(input, target, self.weight, self.reduction)


class GaussianNLLLoss(Module):
    """Minus the log-likelihood of a normal distribution whose mean and variance a network gives."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        checks.positive("GaussianNLLLoss", "eps", eps)
        self.full, self.eps, self.reduction = full, eps, _reduction(reduction)

    def forward(self, input: Any, target: Any, var: Any) -> Any:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(Module):
    """Minus the log-likelihood of a Poisson distribution whose rate, or its logarithm, a network gives."""

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean") -> None:
        self.log_input, self.full, self.eps, self.reduction = log_input, full, eps, _reduction(reduction)

    def forward(self, log_input: Any, target: Any) -> Any:
        return F.poisson_nll_loss(log_input, target, self.log_input, self.full, self.eps, self.reduction)


class CTCLoss(Module):
    """Minus the log-probability of a sequence over all its alignments to the steps of another (Graves et al. 2006)."""

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        self.blank, self.reduction, self.zero_infinity = blank, _reduction(reduction), zero_infinity

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Any:
        how = (self.blank, self.reduction, self.zero_infinity)
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, *how)


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


class TripletMarginWithDistanceLoss(Module):
    """max(0, d(a, p) - d(a, n) + margin) for any distance d; the Euclidean one if None."""

    def __init__(
        self, *, distance_function: Callable[[Any, Any], Any] | None = None, margin: float = 1.0, swap: bool = False,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        self.distance_function, self.margin, self.swap = distance_function, margin, swap
        self.reduction = _reduction(reduction)

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        how: dict[str, Any] = {"distance_function": self.distance_function, "margin": self.margin, "swap": self.swap}
        return F.triplet_margin_with_distance_loss(anchor, positive, negative, reduction=self.reduction, **how)


class CosineSimilarity(Module):
    """The cosine of the angle between two inputs, over axis `dim`."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim, self.eps = dim, eps

    def forward(self, x1: Any, x2: Any) -> Any:
        return F.cosine_similarity(x1, x2, axis=self.dim, eps=self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps over the last axis."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.p, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Any, x2: Any) -> Any:
        return F.pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)


class InfoNCELoss(Module):
    """Finds each query's own key among the batch's."""

    def __init__(self, temperature: float = 0.1, reduction: str = "mean") -> None:
        self.temperature, self.reduction = temperature, _reduction(reduction)

    def forward(self, query: Any, key: Any) -> Any:
        return F.info_nce_loss(query, key, self.temperature, self.reduction)
