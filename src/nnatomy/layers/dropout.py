"""Dropout layers: active in train(), silent in eval(). Masks come from `generator`, by default the shared one."""

from __future__ import annotations

from typing import Any

from nnatomy import functional as F
from nnatomy.errors import UserError
from nnatomy.layers import checks
from nnatomy.layers.module import Module
from nnatomy.random import Generator

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout", "StochasticDepth"]


class _Dropout(Module):
    def __init__(self, p: float = 0.5, *, generator: Generator | None = None) -> None:
        checks.probability(type(self).__name__, p)
        self.p = float(p)
        self._generator = generator


class Dropout(_Dropout):
    """Each element is 0 with probability p, else divided by 1 - p (Srivastava et al. 2014)."""

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training, self._generator)


class Dropout1d(_Dropout):
    """Drops whole channels of (batch, channels, length)."""

    def forward(self, x: Any) -> Any:
        return F.dropout1d(x, self.p, self.training, self._generator)


class Dropout2d(_Dropout):
    """Drops whole channels of (batch, channels, height, width)."""

    def forward(self, x: Any) -> Any:
        return F.dropout2d(x, self.p, self.training, self._generator)


class Dropout3d(_Dropout):
    """Drops whole channels of (batch, channels, depth, height, width)."""

    def forward(self, x: Any) -> Any:
        return F.dropout3d(x, self.p, self.training, self._generator)


class AlphaDropout(_Dropout):
    """Dropout for SELU networks: mean and variance stay (Klambauer et al. 2017)."""

    def forward(self, x: Any) -> Any:
        return F.alpha_dropout(x, self.p, self.training, self._generator)


class FeatureAlphaDropout(_Dropout):
    """AlphaDropout of whole channels of (batch, channels, ...)."""

    def forward(self, x: Any) -> Any:
        return F.feature_alpha_dropout(x, self.p, self.training, self._generator)


class StochasticDepth(Module):
    """Drops a residual branch for each example ("row") or the whole batch ("batch") with probability p (Huang et al. 2016)."""

    def __init__(self, p: float, mode: str = "row", *, generator: Generator | None = None) -> None:
        checks.probability("StochasticDepth", p)
        if mode not in ("row", "batch"):
            raise UserError(f'StochasticDepth needs mode "row" or "batch". Received {mode!r}. Use mode="row".')
        self.p, self.mode = p, mode
        self._generator = generator

    def forward(self, x: Any) -> Any:
        return F.stochastic_depth(x, self.p, self.mode, self.training, self._generator)
