"""Reductions over segments: rows that bear the same number, such as the messages that reach one node of a graph."""

from __future__ import annotations

from typing import Any

from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.ops import indexing, pointwise
from nnatomy.ops.primitive import primitive


def segment_sum(values: Any, segments: Any, count: int) -> Any:
    """Return y (count, ...) with y[s] = sum of values[i] over all i with segments[i] = s; 0 for a segment without rows.

    Args:
        values: (n, ...)
        segments: integers (n,) from 0 to count - 1, in any order
        count: how many segments there are
    """
    rows = _rows("segment_sum", values, segments)
    return indexing.add_rows(values, rows=rows, shape=(count, *values.shape[1:]))


def segment_mean(values: Any, segments: Any, count: int) -> Any:
    """Return y (count, ...) with the mean of each segment's rows; 0 for a segment without rows. Arguments as `segment_sum`."""
    total = segment_sum(values, segments, count)
    ones = B.ones((values.shape[0],), dtype=values.dtype)
    sizes = B.maximum(B.add_rows((count,), indexing.raw(segments), ones), 1).astype(values.dtype)
    return total / sizes.reshape((count,) + (1,) * (len(values.shape) - 1))


@primitive(lambda g, y, values, rows, shape: _to_largest(g, indexing.raw(y), indexing.raw(values), rows))
def _segment_max(values: Any, *, rows: Any, shape: tuple[int, ...]) -> Any:
    return B.max_rows(shape, rows, values)


def _to_largest(g: Any, y: Any, values: Any, rows: Any) -> Any:
    """g at the largest rows of each segment, in equal parts where several are the largest."""
    hits = (values == y[rows]).astype(values.dtype)
    ties = B.maximum(B.add_rows(y.shape, rows, hits), 1).astype(values.dtype)
    return indexing.embedding(g, rows) * (hits / ties[rows])


def segment_max(values: Any, segments: Any, count: int) -> Any:
    """Return y (count, ...) with the largest entry of each segment's rows; 0 for a segment without rows.

    The gradient of a maximum goes to the rows that have it, in equal parts. Arguments as `segment_sum`.
    """
    rows = _rows("segment_max", values, segments)
    return _segment_max(values, rows=rows, shape=(count, *values.shape[1:]))


def segment_softmax(scores: Any, segments: Any, count: int) -> Any:
    """Return y[i] = e^scores[i] / sum of e^scores[j] over all j of the same segment, shaped as the scores (n, ...).

    Each segment's largest score is subtracted first, so that nothing overflows. Arguments as `segment_sum`.
    """
    rows = _rows("segment_softmax", scores, segments)
    shape = (count, *scores.shape[1:])
    largest = B.max_rows(shape, rows, indexing.raw(scores))  # a constant: the softmax does not depend on it
    e = pointwise.exp(scores - largest[rows])
    return e / indexing.embedding(segment_sum(e, rows, count), rows)


def _rows(name: str, values: Any, segments: Any) -> Any:
    found = indexing.raw(segments)
    if tuple(found.shape) != tuple(values.shape[:1]):
        raise UserError(
            f"{name}() needs one segment for each row. Received rows {tuple(values.shape)} and segments {tuple(found.shape)}. "
            "Give segments of shape (rows,)."
        )
    return found
