"""Rows that only fill a batch up to its full size, and how means over examples leave them out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from nnatomy import ops
from nnatomy.backends import B
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
    rows, batch = x.shape[0], mask.shape[0]
    if rows % batch:
        raise UserError(
            f"A padded batch of {batch} examples needs losses and statistics over its examples. Received {rows} rows. "
            "Let the loss keep examples on its first axis."
        )
    each = B.broadcast_to(mask[:, None], (batch, rows // batch)).reshape((rows,))
    return each.reshape((rows,) + (1,) * (len(x.shape) - 1))


def sum_and_count(x: Any) -> tuple[Any, Any]:
    """The sum of x over the rows that count, and how many elements that are (at least 1)."""
    kept = rows_that_count(x)
    if kept is None:
        return ops.sum(x), max(x.size, 1)
    each = x.size // x.shape[0]
    return ops.sum(ops.where(kept, x, 0.0)), B.maximum(kept.sum(), 1).astype(x.dtype) * each


def batch_mean(x: Any) -> Any:
    """The mean of all elements of x (examples, ...), with which a loss of one's own ends: see `masked_examples`."""
    if rows_that_count(x) is None:
        return ops.mean(x)
    total, count = sum_and_count(x)
    return total / count
