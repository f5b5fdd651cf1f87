"""The NumPy backend with kernels: the reference's functions, but calls that are worth it and supported run compiled."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from nnatomy.backends import numpy_reference
from nnatomy.backends.numpy_reference import *  # noqa: F403
from nnatomy.backends.numpy_reference import name  # noqa: F401

_KERNELS = (
    "conv", "conv_input", "conv_weight", "max_pool", "pool_gather", "pool_scatter",
    "lstm_scan", "lstm_scan_vjp", "gru_scan", "gru_scan_vjp", "rnn_scan", "rnn_scan_vjp",
    "attention", "attention_vjp",
)  # fmt: skip
"""Functions whose kernels are worth calling one by one. Others pay only in a plan, where many run without Python between."""


def _with_kernel(function_name: str) -> Callable[..., Any]:
    reference = getattr(numpy_reference, function_name)
    always = os.environ.get("NNATOMY_KERNELS") == "fast"

    @functools.wraps(reference)
    def function(*args: Any, **kwargs: Any) -> Any:
        from nnatomy.kernels import arrays

        found = arrays.call(function_name, args, kwargs, 0.0 if always else arrays.WORTH)
        return reference(*args, **kwargs) if found is None else found

    return function


for _name in _KERNELS:
    globals()[_name] = _with_kernel(_name)
