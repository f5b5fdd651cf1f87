"""Greedy and beam search for a model that writes a sequence token by token; one function for all such models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nnatomy.backends import B
from nnatomy.graph import no_grad
from nnatomy.tensor import wrap

__all__ = ["Decoder", "Found", "search"]

Array = np.ndarray[Any, Any]
State = Any
"""A Tensor whose first axis is the rows of a batch, or a tuple of such states."""


class Decoder(Protocol):
    """A model that `search` can write with."""

    def begin(self, *inputs: Any) -> State:
        """Return the state before the first token, for the inputs of a batch."""
        ...

    def step(self, state: State, tokens: Any) -> tuple[Any, State]:
        """Return the scores of the next token (rows, vocabulary) and the next state, after `tokens` (rows)."""
        ...


@dataclass(frozen=True)
class Found:
    """The result of a search: the best hypothesis of each row."""

    tokens: Array
    """(rows, steps), without the start token; `end` and what follows it are `end`."""
    scores: Array
    """log p(tokens) / length^penalty, (rows,)."""


def search(
    step: Callable[[State, Any], tuple[Any, State]], state: State, rows: int, *, start: int, end: int, longest: int,
    beam: int = 1, length_penalty: float = 0.0, never: tuple[int, ...] = (),
) -> Found:  # fmt: skip
    """Return the likeliest sequences by beam search; with `beam` 1, the likeliest token at each step (greedy search).

    Each step extends every hypothesis by every token and keeps the `beam` best that have not ended. A hypothesis that ends
    among the `beam` best is complete; a row is done when `beam` hypotheses are, or no other can overtake them. Complete ones
    are compared by log p / length^length_penalty, the end token counted; 0 compares log p, which favors short sequences.

    Args:
        step: as `Decoder.step`
        state: before the first token, for `rows` rows
        start, end: the tokens that start and end every sequence
        longest: the most tokens of a sequence, the end included; an unfinished sequence is returned as it is
        never: tokens that are not written

    Source: Sutskever, Vinyals and Le (2014), section 3.2. Wu et al. (2016), section 7, divide by the length to a power; their
    equation 14 counts five tokens more.
    """
    width = beam
    state = _rows(state, np.repeat(np.arange(rows), width))
    live = np.full((rows, width), -np.inf)
    live[:, 0] = 0.0  # all hypotheses of a row are the empty one: count it once
    written = np.full((rows, width, longest), end, np.int64)
    last = np.full(rows * width, start, np.int64)
    best, tokens = np.full(rows, -np.inf), np.full((rows, longest), end, np.int64)
    complete = np.zeros(rows, np.int64)
    length = 0
    with no_grad(), np.errstate(divide="ignore"):
        while length < longest:
            scores, state = step(state, wrap(B.asarray(last)))
            log_p = log_softmax(np.asarray(scores.data, np.float64)).reshape(rows, width, -1)
            log_p[..., list(never)] = -np.inf
            length += 1
            candidates = live[..., None] + log_p
            ended = candidates[..., end].copy()
            candidates[..., end] = -np.inf
            order, values = largest(candidates.reshape(rows, -1), width)
            # a hypothesis that ends is complete if fewer than `beam` of all candidates are better
            better = (values[:, None, :] > ended[..., None]).sum(-1) + (ended[:, None, :] > ended[..., None]).sum(-1)
            closes = (better < width) & (ended > -np.inf) & (complete < width)[:, None]
            final = np.where(closes, ended / length**length_penalty, -np.inf)
            winner, value = final.argmax(1), final.max(1)
            wins = value > best
            best[wins], tokens[wins] = value[wins], written[wins, winner[wins]]
            complete += closes.sum(1)
            parent, token = np.divmod(order, log_p.shape[-1])
            written = np.take_along_axis(written, parent[..., None], 1)
            written[..., length - 1] = token
            live = values
            # log p only falls, so the largest length gives the best that a hypothesis may reach
            done = (complete >= width) | (live.max(1) / longest**length_penalty <= best)
            live[done] = -np.inf
            if done.all():
                break
            state = _rows(state, (np.arange(rows)[:, None] * width + parent).reshape(-1))
            last = token.reshape(-1)
    cut = live / longest**length_penalty
    winner, value = cut.argmax(1), cut.max(1)
    wins = (value > best) & (value > -np.inf)
    best[wins], tokens[wins] = value[wins], written[wins, winner[wins]]
    return Found(tokens[:, : max(1, length)], best)


def largest(values: Array, count: int) -> tuple[Array, Array]:
    """Return the places and values of the `count` largest of each row, largest first; of equals the first one."""
    if count == 1:
        places = values.argmax(1)[:, None]
    else:
        count = min(count, values.shape[1])
        places = np.argpartition(-values, count - 1, axis=1)[:, :count]
        inside = np.lexsort((places, -np.take_along_axis(values, places, 1)), axis=1)
        places = np.take_along_axis(places, inside, 1)
    return places, np.take_along_axis(values, places, 1)


def log_softmax(scores: Array) -> Array:
    """Return ln softmax of the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _rows(state: State, rows: Array) -> State:
    """The state with the rows of these numbers, in this order."""
    if isinstance(state, tuple):
        return tuple(_rows(part, rows) for part in state)
    return state[B.asarray(rows)]
