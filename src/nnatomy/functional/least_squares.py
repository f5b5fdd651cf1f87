"""Least squares for layers that are linear in what they learn: targets as rows, and the triangle of all rows so far.

Which rows there are, and how the triangle is solved, is each architecture's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nnatomy import ops
from nnatomy.errors import UserError
from nnatomy.ops.indexing import one_hot
from nnatomy.tensor import Tensor


def target_rows(targets: Any, outputs: int, dtype: Any) -> Any:
    """Return T (batch, outputs): 1 at an example's class and 0 elsewhere, or the numbers to predict."""
    if np.dtype(targets.dtype).kind in "iu":
        return one_hot(targets, outputs, dtype=dtype)
    return targets.reshape(targets.shape[0], -1).astype(dtype)


def class_scores(outputs: Tensor) -> Tensor:
    """Return log max(y, 1e-6): least squares on 0 and 1 estimates the classes' probabilities, which softmax then normalizes."""
    return ops.log(ops.maximum(outputs, 1e-6))


def no_rows(columns: int, ridge: float = 0.0) -> dict[str, Any]:
    """Return no examples, and their triangle R (columns, columns): zeros in float64.

    Raises:
        UserError: for a ridge below 0
    """
    if not (ridge >= 0 and math.isfinite(ridge)):
        raise UserError(f"A ridge is a number of at least 0. Received {ridge!r}. Use ridge=1.0.")
    return {"R": np.zeros((columns, columns)), "N": np.zeros(())}


def add_rows(sums: Mapping[str, Tensor], rows: Tensor, mask: Any = None) -> dict[str, Tensor]:
    """Return R with rows in float64 added, the R of a QR factorization of R and these rows; and N, the examples so far.

    R^T R is the sum of products rows^T rows over all rows so far. The products themselves would square the condition number,
    and so lose twice as many digits. `mask` (batch,) is 0 where a row is padding, or None.

    Source: Golub and Van Loan, Matrix Computations, section 5.2.
    """
    if mask is not None:  # a row of zeros changes nothing
        rows = rows * mask.astype("float64").reshape(-1, 1)
    examples = rows.shape[0] if mask is None else mask.astype("float64").sum()
    return {"R": ops.qr_r(ops.concatenate([sums["R"], rows], axis=0)), "N": sums["N"] + examples}
