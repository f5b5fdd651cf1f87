"""Rows that only fill a batch up to its full size, rows that weigh more than others, and means over examples that heed both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from nnatomy import ops
from nnatomy.backends import B
from nnatomy.backends.dtypes import is_floating
from nnatomy.errors import UserError

__all__ = ["batch_mean", "masked_examples", "rows_that_count"]

_mask: ContextVar[Any] = ContextVar("mask", default=None)


@contextmanager
def masked_examples(mask: Any) -> Iterator[None]:
    """A block in which examples whose `mask` (batch, booleans) is False do not count.

    A compiler makes one program for each shape, so a short last batch is padded with copies of its own rows. What mixes
    examples then leaves the copies out: the means and sums of losses (sum_i m_i l_i / sum_i m_i), batch statistics, and
    negatives taken from the batch. All else works on each row by itself, and a row that counts nowhere has no gradient: loss,
    gradients and running statistics are those of the smaller batch. None masks nothing.

    Of floating type, `mask` has the examples' weights, 0 for copies: each example's loss is multiplied by its weight
    (sum_i w_i l_i / number of w_i > 0), and batch statistics count all examples alike.
    """
    token = _mask.set(mask)
    try:
        yield
    finally:
        _mask.reset(token)


def rows_that_count(x: Any) -> Any:
    """Booleans (rows, 1, ..., 1) for the rows of x, or None where all count: outside `masked_examples`, and for one number.

    Rows are the examples, or the steps of the first example, then of the second, and so on. Raises UserError for another
    number of rows.
    """
    mask = _mask.get()
    if mask is None or not x.shape:
        return None
    return _by_row(mask > 0 if is_floating(mask.dtype) else mask, x)


def _weights(x: Any) -> Any:
    """The weights (rows, 1, ..., 1) of the rows of x in its type, or None where all are 1."""
    mask = _mask.get()
    return None if mask is None or not x.shape or not is_floating(mask.dtype) else _by_row(mask, x).astype(x.dtype)


def _by_row(mask: Any, x: Any) -> Any:
    rows, batch = x.shape[0], mask.shape[0]
    if rows % batch:
        raise UserError(
            f"A padded batch of {batch} examples needs losses and statistics over its examples. Received {rows} rows. "
            "Let the loss keep examples on its first axis."
        )
    each = B.broadcast_to(mask[:, None], (batch, rows // batch)).reshape((rows,))
    return each.reshape((rows,) + (1,) * (len(x.shape) - 1))


def sum_and_count(x: Any) -> tuple[Any, Any]:
    """The sum of x, by weight, over the rows that count, and how many elements that are (at least 1)."""
    kept = rows_that_count(x)
    if kept is None:
        return ops.sum(x), max(x.size, 1)
    each, weights = x.size // x.shape[0], _weights(x)
    return ops.sum(ops.where(kept, x if weights is None else x * weights, 0.0)), B.maximum(kept.sum(), 1).astype(x.dtype) * each


def batch_mean(x: Any) -> Any:
    """The mean of all elements of x (examples, ...), with which a loss of one's own ends: see `masked_examples`."""
    if rows_that_count(x) is None:
        return ops.mean(x)
    total, count = sum_and_count(x)
    return total / count
