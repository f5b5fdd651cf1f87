"""What several tasks need of scikit-learn's metrics."""

from __future__ import annotations

import warnings
from typing import Any


def quietly(function: Any, *args: Any) -> Any:
    """Return function(*args) without warnings about what a small split lacks; the score is NaN then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*args)
