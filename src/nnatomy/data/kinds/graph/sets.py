"""Graphs that have names: Zachary's karate club, graphs with a motif, and Cora."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Dataset, generator
from nnatomy.data.kinds.graph.graphs import NODES, Columns, GraphPreprocessing, RawGraph, dataset_of, graph_dataset, undirected
from nnatomy.data.npz import read_arrays
from nnatomy.data.reading import Reading, Source
from nnatomy.data.sets import Made, Named, Public

__all__ = ["SETS"]

Array = npt.NDArray[Any]

# Who met whom outside the club (Zachary 1977, figure 1), members counted from 0: each with those of a larger number.
KARATE = {
    0: (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 17, 19, 21, 31), 1: (2, 3, 7, 13, 17, 19, 21, 30),
    2: (3, 7, 8, 9, 13, 27, 28, 32), 3: (7, 12, 13), 4: (6, 10), 5: (6, 10, 16), 6: (16,), 8: (30, 32, 33), 9: (33,),
    13: (33,), 14: (32, 33), 15: (32, 33), 18: (32, 33), 19: (33,), 20: (32, 33), 22: (32, 33), 23: (25, 27, 29, 32, 33),
    24: (25, 27, 31), 25: (31,), 26: (29, 33), 27: (33,), 28: (31, 33), 29: (32, 33), 30: (32, 33), 31: (32, 33), 32: (33,),
}  # fmt: skip
MEMBERS, INSTRUCTOR, OFFICER = 34, 0, 33
INSTRUCTORS = (*range(9), 10, 11, 12, 13, 16, 17, 19, 21)  # members of his club after the split


def _karate(reading: Reading) -> Dataset:
    """Return the club. The two leaders are labeled; of the others every third is for validation, the rest for testing."""
    edges = np.array([(a, b) for a, others in KARATE.items() for b in others], np.int64)
    raw = RawGraph(tuple(str(member) for member in range(MEMBERS)), {}, edges)
    labels = ["instructor" if member in INSTRUCTORS else "officer" for member in range(MEMBERS)]
    others = np.array([member for member in range(MEMBERS) if member not in (INSTRUCTOR, OFFICER)])
    held = np.arange(len(others)) % 3 == 0
    return graph_dataset(
        "karate", raw, labels, reading, target="faction",
        official=(np.array([INSTRUCTOR, OFFICER]), others[held], others[~held]),
        description="34 members of a karate club and their 78 friendships, before it split in two (Zachary 1977)",
    )  # fmt: skip


# Three graphs of five nodes and six edges. A house and K2,3 have nodes of the same degrees.
MOTIFS = {
    "bow tie": ((0, 1), (1, 2), (2, 0), (0, 3), (3, 4), (4, 0)),
    "house": ((0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (4, 1)),
    "K2,3": ((0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)),
}
RING = (6, 14)  # nodes of the ring that a motif is tied to
GRAPHS = 900


def _motifs(reading: Reading) -> Dataset:
    """Return rings with one of three motifs tied to each: nodes and edges are equally many, only the wiring differs."""
    rng = generator(reading.seed)
    labels: list[str] = []
    edges: list[Array] = []
    graph_of: list[int] = []
    start = 0
    for number in range(GRAPHS):
        motif = list(MOTIFS)[number % len(MOTIFS)]
        ring = int(rng.integers(RING[0], RING[1] + 1))
        joins = [(node, (node + 1) % ring) for node in range(ring)] + [(a + ring, b + ring) for a, b in MOTIFS[motif]]
        joins.append((int(rng.integers(ring)), ring + int(rng.integers(5))))
        order = rng.permutation(ring + 5)  # so that a node's number says nothing
        edges.append(order[np.array(joins)] + start)
        graph_of += [number] * (ring + 5)
        labels.append(motif)
        start += ring + 5
    raw = RawGraph(
        tuple(map(str, range(start))), {}, np.concatenate(edges), {}, np.array(graph_of), tuple(map(str, range(GRAPHS)))
    )
    return graph_dataset(
        "motifs", raw, labels, reading, target="motif",
        description=f"{GRAPHS} rings with a bow tie, a house or K2,3 tied to each, which differ in their wiring alone",
    )  # fmt: skip


TOPICS = (  # in the order of their numbers in the published files
    "Theory", "Reinforcement_Learning", "Genetic_Algorithms", "Neural_Networks", "Probabilistic_Methods", "Case_Based",
    "Rule_Learning",
)  # fmt: skip


def _cora(source: Source, reading: Reading) -> Dataset:
    """Return Cora with its published parts: 20 papers a topic, 500 and 1,000; each paper's words add up to 1."""
    found = read_arrays(source.path)
    papers, words = (int(size) for size in found["feat_shape"])
    nodes = np.zeros((papers, words), np.float32)
    rows = np.repeat(np.arange(papers), np.diff(found["feat_indptr"]))
    nodes[rows, found["feat_indices"]] = found["feat_data"]
    nodes /= np.maximum(nodes.sum(axis=1, keepdims=True), 1)
    edges, _ = undirected(found["edge_index"].T.astype(np.int64))
    train, validation, test = (np.flatnonzero(found[f"{part}_mask"]) for part in ("train", "val", "test"))
    parts = reading.only(
        train, validation, test,
        "Scores on Cora are those of its published parts. Received a fold. Leave out --cv, or choose other data.",
    )  # fmt: skip
    names = tuple(f"word {n}" for n in range(words))
    plain = Columns(names, (0.0,) * words, (1.0,) * words, ((),) * words)
    preprocessing = GraphPreprocessing(NODES, TOPICS, "topic", plain)
    everything = np.arange(papers)
    return dataset_of("cora", preprocessing, (nodes, edges, everything), everything, found["y"].astype(np.int64), parts)


SETS: dict[str, Named] = {
    "karate": Made(_karate, "embedded"),
    "motifs": Made(_motifs),
    "cora": Public(
        "graph/cora.npz",
        "2,708 papers, their 1,433 words and 5,278 citations; seven topics (McCallum et al. 2000, parts of Yang et al. 2016)",
        sha256="6d2292cb04bd545b8f5a4b49e4b5af71631b6edcaebc35bb790c4c222f48a4dc",
        read=_cora,
    ),
}
