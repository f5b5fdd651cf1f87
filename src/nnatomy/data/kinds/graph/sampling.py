"""Neighbor sampling: the part of a graph that the examples of a batch see, with some of each node's neighbors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nnatomy.data.augment import BatchChange
from nnatomy.data.dataset import Batch
from nnatomy.data.fields import Field
from nnatomy.errors import UserError

__all__ = ["NeighborSampling"]


@dataclass(frozen=True)
class NeighborSampling(BatchChange):
    """Keep at most `counts[k]` random edges into each node that is k steps from a chosen one, and the nodes that they reach.

    The edges into a node are drawn without replacement, once: a node that is met again keeps those of its first, nearest step.
    As many counts as the model has layers; with counts of at least every degree, the chosen nodes see what they see in the
    whole graph. Source: Hamilton, Ying and Leskovec (2017), section 3.1 and algorithm 2.
    """

    counts: tuple[int, ...] = (10, 10)

    def fields(self, named: tuple[Field, ...]) -> tuple[Field, ...]:
        """Return the fields with nodes and edges that differ in number from batch to batch."""
        return tuple(field if field.per == "example" else replace(field, ragged=0) for field in named)

    def __call__(self, named: tuple[Field, ...], batch: Batch, rng: np.random.Generator) -> Batch:
        """Return the batch with a part of its graph, renumbered."""
        arrays = {field.name: array for field, array in zip(named, batch, strict=True)}
        if "chosen" not in arrays:
            raise UserError("Neighbors are sampled around nodes of one graph. Received many graphs. Leave the sampling out.")
        edges, chosen = arrays["edges"], arrays["chosen"]
        order = np.lexsort((rng.random(len(edges)), edges[:, 1]))  # by target, in random order
        degree = np.bincount(edges[:, 1], minlength=len(arrays["nodes"]))
        starts = np.cumsum(degree) - degree
        met = np.zeros(len(degree), bool)
        front, kept = np.unique(chosen), [np.zeros(0, np.int64)]
        met[front] = True
        for most in self.counts:
            taken = np.minimum(degree[front], most)
            rows = np.arange(taken.sum()) + np.repeat(starts[front] - (np.cumsum(taken) - taken), taken)
            kept.append(order[rows])
            reached = np.unique(edges[kept[-1], 0])
            front = reached[~met[reached]]
            met[front] = True
        nodes, joins = np.flatnonzero(met), np.sort(np.concatenate(kept))
        place = np.full(len(met), -1)
        place[nodes] = np.arange(len(nodes))
        parts = {"node": nodes, "edge": joins}
        return tuple(
            place[array[joins] if field.per == "edge" else array] if field.points_to == "nodes"
            else array[parts[field.per]] if field.per in parts else array
            for field, array in zip(named, batch, strict=True)
        )  # fmt: skip
