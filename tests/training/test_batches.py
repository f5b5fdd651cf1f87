"""Batches on their way to a compiled step: padded, lengthened, and made ahead by a thread in the same order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from nnatomy.backends import backend
from nnatomy.data import ArraySplit, fields
from nnatomy.data.fields import Field
from nnatomy.errors import UserError
from nnatomy.training.batches import Feed, few_lengths, prefetch

pytestmark = pytest.mark.any_kernels


def test_padded_repeats_rows_and_marks_them() -> None:
    x, y = np.arange(6).reshape(3, 2), np.array([7, 8, 9])
    (wide, labels), mask = fields.pad_rows(fields.DEFAULT, (x, y), 8)
    np.testing.assert_array_equal(wide, x[[0, 1, 2, 0, 1, 2, 0, 1]])
    np.testing.assert_array_equal(labels, [7, 8, 9, 7, 8, 9, 7, 8])
    np.testing.assert_array_equal(mask, [True] * 3 + [False] * 5)


@pytest.mark.parametrize(("steps", "expected"), [(1, 16), (16, 16), (17, 24), (25, 32), (33, 48), (59, 64), (65, 96)])
def test_sequences_have_few_lengths(steps: int, expected: int) -> None:
    tokens, lengths = np.arange(2 * steps).reshape(2, steps), np.array([steps, 1])
    named = Field("tokens", ragged=1), Field("lengths")
    wide, same = fields.round_lengths(named, (tokens, lengths), few_lengths)
    assert wide.shape == (2, expected)
    np.testing.assert_array_equal(wide[:, :steps], tokens)
    assert same is lengths


def test_prefetch_keeps_the_order_and_goes_no_further_than_asked() -> None:
    made: list[int] = []

    def prepare(item: int) -> int:
        made.append(item)
        return item * item

    for number, value in enumerate(prefetch(range(20), prepare, most=2)):
        assert value == number * number
        time.sleep(0.002)
        assert len(made) <= number + 5  # two in the queue, one in the thread's hands, one here
    assert made == list(range(20))


def test_what_is_raised_while_a_batch_is_made_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("the third")

    seen: list[int] = []
    with pytest.raises(ValueError, match="the third"):
        list(prefetch(items(), seen.append))
    assert seen == [1, 2]


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    made = prefetch(iter(range(10**9)), lambda item: item)
    assert next(made) == 0
    made.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


GRAPHS = (
    Field("nodes", per="node", ragged=0), Field("edges", per="edge", ragged=0, points_to="nodes"),
    Field("graph_of", per="node", ragged=0, points_to="sizes"), Field("sizes"), Field("targets", role="target"),
)  # fmt: skip


def graphs(rng: np.random.Generator, sizes: list[int]) -> tuple[np.ndarray, ...]:
    """Random graphs as one: `joined` of one each."""
    return fields.joined(GRAPHS, [
        (rng.normal(size=(n, 2)), rng.integers(0, n, (2 * n, 2)), np.zeros(n, np.int64), np.array([n]), rng.integers(0, 3, 1))
        for n in sizes
    ])  # fmt: skip


def test_a_graph_is_taken_whole() -> None:
    """Its nodes and edges come with it, renumbered, in any order and several times; joined again they are the same."""
    rng = np.random.default_rng(0)
    whole = graphs(rng, [3, 1, 5, 2])
    alone = [fields.take(GRAPHS, whole, np.array([k])) for k in range(4)]
    assert [len(nodes) for nodes, *_ in alone] == [3, 1, 5, 2]
    assert [len(edges) for _, edges, *_ in alone] == [6, 2, 10, 4]
    for a, b in zip(fields.joined(GRAPHS, alone), whole, strict=True):
        assert np.array_equal(a, b)
    chosen = [2, 0, 2]
    for a, b in zip(
        fields.take(GRAPHS, whole, np.array(chosen)), fields.joined(GRAPHS, [alone[k] for k in chosen]), strict=True
    ):
        assert np.array_equal(a, b)
        assert a.dtype == b.dtype


def test_what_pads_graphs_touches_no_graph() -> None:
    """On a compiled backend a batch has few shapes: dead edges join a dead node, which belongs to a dead graph."""
    batch = graphs(np.random.default_rng(1), [3, 17, 5])
    with backend("jax"):
        split = ArraySplit(batch, GRAPHS)
        (placed,) = Feed()(split, 3)
    nodes, edges, graph_of, sizes, targets = (np.asarray(a) for a in placed.batch)
    assert len(nodes) == len(graph_of) == 32
    assert len(edges) == 64
    assert len(sizes) == len(targets) == 4
    assert np.asarray(placed.mask).tolist() == [True, True, True, False]
    for found, true in zip((nodes, edges, graph_of, sizes, targets), batch, strict=True):
        assert np.array_equal(found[: len(true)], true)
    assert (edges[len(batch[1]) :] == 25).all()
    assert (graph_of[25:] == 3).all()
    assert placed.examples == 3


def test_a_graph_is_never_cut() -> None:
    """A graph was once cut to one node on JAX, which trained without an error."""
    one = tuple(field for field in GRAPHS if field.per != "example")[:2]
    batch = graphs(np.random.default_rng(1), [9])[:2]
    for name in ("numpy", "jax"):
        with backend(name):
            (placed,) = Feed()(ArraySplit(batch, one), 4)
        assert [a.shape for a in placed.batch] == [(9, 2), (18, 2)]
    for refused in (lambda: fields.pad_rows(one, batch, 4), lambda: list(fields.parts(GRAPHS, batch, 2))):
        with pytest.raises(UserError, match=r"by examples\. Received the field 'nodes', which has one entry for each node"):
            refused()
    feed = Feed()
    feed.devices.count = 2  # of this instance
    with pytest.raises(UserError, match="divided among devices by examples"):
        feed(ArraySplit(batch, one), 4)
