"""A folder with nodes.csv and edges.csv, and graphs.csv where it holds many graphs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnatomy.data.csvfile import RawTable, read_csv
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.graph.graphs import RawGraph, graph_dataset
from nnatomy.data.reading import Reading
from nnatomy.errors import UserError, unknown_name

__all__ = ["GraphFiles", "is_graph_folder", "read_folder"]

Array = npt.NDArray[np.int64]
TARGETS = ("label", "class", "target", "y")
"""Columns that are the target unless another is named; without them it is the last one."""
SPLITS = ("split", "mask")
PARTS = {"train": 0, "training": 0, "validation": 1, "val": 1, "valid": 1, "dev": 1, "test": 2}


def is_graph_folder(path: Path) -> bool:
    """Return True for a folder with nodes.csv and edges.csv."""
    return path.is_dir() and (path / "nodes.csv").is_file() and (path / "edges.csv").is_file()


@dataclass(frozen=True)
class GraphFiles:
    """The contents of a folder: the graph, its target and its published parts, where there are any."""

    raw: RawGraph
    target: str = ""
    labels: tuple[str, ...] = ()
    """Of the nodes of one graph or of many graphs, "" where there is none; empty where the target is not there."""
    parts: tuple[str, ...] = ()


def read_files(path: Path, target: str | None = None, needed: bool = True) -> GraphFiles:
    """Return what a folder holds.

    Args:
        target: the column that is the target; a usual name or the last column of the examples' file if None
        needed: whether it must be there

    Raises UserError for ids that are not unique, and for edges and nodes of what is not there.
    """
    nodes, edges = read_csv(path / "nodes.csv"), read_csv(path / "edges.csv")
    many = (path / "graphs.csv").is_file()
    graphs = read_csv(path / "graphs.csv") if many else None
    owner = _column(nodes, ("graph", "graph_id"), "which graph a node belongs to") if many else None
    ids = _column(nodes, ("node", "id", "node_id"), "", {owner} if owner else set())
    examples, key = (graphs, _column(graphs, ("graph", "id", "graph_id"))) if graphs is not None else (nodes, ids)
    chosen = _target(examples, target, {key, *SPLITS}, path, needed)
    split = next((name for name in SPLITS if name in examples.columns and name != chosen), None)
    of_graph = _places(graphs.columns[key], nodes.columns[owner], "graphs.csv", "nodes.csv") if graphs and owner else None
    names: tuple[object, ...] = tuple(nodes.columns[ids])
    if owner:
        names = tuple(zip(nodes.columns[owner], nodes.columns[ids], strict=True))
    _unique(names, "nodes.csv")
    source, end = _ends(edges)
    in_graph = edges.columns.get(owner) if owner else None
    if owner and in_graph is None and len(set(nodes.columns[ids])) == len(names):  # ids are enough
        names = tuple(nodes.columns[ids])
    ends: list[Array] = []
    for cells in (edges.columns[source], edges.columns[end]):
        named: Iterable[object] = zip(in_graph, cells, strict=True) if in_graph else cells
        ends.append(_places(names, named, "nodes.csv", "edges.csv"))
    if of_graph is not None and (apart := np.flatnonzero(of_graph[ends[0]] != of_graph[ends[1]])).size:
        raise UserError(f"An edge joins nodes of one graph. Received another in row {apart[0] + 2} of edges.csv. Correct it.")
    left = {ids, owner, *(() if many else (chosen, split))}
    raw = RawGraph(
        tuple(nodes.columns[ids]), {name: cells for name, cells in nodes.columns.items() if name not in left},
        np.stack(ends, axis=1), {name: cells for name, cells in edges.columns.items() if name not in (source, end, owner)},
        of_graph, tuple(graphs.columns[key]) if graphs is not None else (),
        nodes.delimiter,
    )  # fmt: skip
    labels = examples.columns[chosen] if chosen else ()
    return GraphFiles(raw, chosen, tuple(labels), tuple(examples.columns[split]) if split else ())


def read_folder(path: Path, reading: Reading) -> Dataset:
    """Return the data set of a folder; a column "split" of train, validation and test holds unless there is a fold."""
    found = read_files(path, reading.use("target"))
    official: tuple[Array, Array, Array] | None = None
    notices: tuple[str, ...] = ()
    if found.parts:
        labeled = [part for part, label in zip(found.parts, found.labels, strict=True) if label]
        wrong = next((part for part in labeled if part and part.lower() not in PARTS), None)
        if wrong is not None:
            raise UserError(f"A split is train, validation or test. Received {wrong!r} in {path}. Correct it.")
        numbered = np.array([PARTS.get(part.lower(), -1) for part in labeled])
        official = (np.flatnonzero(numbered == 0), np.flatnonzero(numbered == 1), np.flatnonzero(numbered == 2))
        if not all(map(len, official)):
            raise UserError(f"Published splits are train, validation and test. Received {path} without one of them. Add it.")
        notices = ("The splits are those of its split column.",)
    return graph_dataset(
        path.name, found.raw, found.labels, reading, target=found.target, official=official, notices=notices
    )  # fmt: skip


def _column(table: RawTable, usual: Sequence[str], what: str = "", but: set[str] | None = None) -> str:
    """The column with one of the usual names; without one, the first, or an error where `what` says why it is needed."""
    found = next((name for name in usual if name in table.columns), None)
    if found is None and what:
        raise UserError(f"The column {usual[0]!r} says {what}. Received {table.source} without it. Add it.")
    return found or next(name for name in table.columns if name not in (but or set()))


def _ends(edges: RawTable) -> tuple[str, str]:
    if {"source", "target"} <= edges.columns.keys():
        return "source", "target"
    names = [name for name in edges.columns if name not in ("graph", "graph_id")]
    if len(names) < 2:
        raise UserError(f"An edge has two ends. Received {edges.source} with the column {names[0]!r} alone. Add another.")
    return names[0], names[1]


def _target(table: RawTable, asked: str | None, but: set[str], path: Path, needed: bool) -> str:
    able = [name for name in table.columns if name not in but]
    if asked is not None and (needed or asked in table.columns):
        if asked not in able:
            raise unknown_name("target", asked, able)
        return asked
    found = next((name for name in able if name.lower() in TARGETS), able[-1] if able else None)
    if found is None and needed:
        raise UserError(f"Training needs a target. Received {path} with ids alone. Add a column of classes.")
    return found if found is not None and needed else ""


def _unique(names: Sequence[object], file: str) -> None:
    if len(set(names)) < len(names):
        twice = next(name for n, name in enumerate(names) if name in names[:n])
        raise UserError(f"Ids are unique. Received {twice!r} more than once in {file}. Rename one.")


def _places(known: Iterable[object], wanted: Iterable[object], file: str, where: str) -> Array:
    """Return the rows of the wanted names. Raises UserError for an unknown name."""
    place = {name: n for n, name in enumerate(known)}
    names = list(wanted)
    unknown = next((n for n, name in enumerate(names) if name not in place), None)
    if unknown is not None:
        raise UserError(
            f"What {where} names is in {file}. Received {names[unknown]!r} in row {unknown + 2} of {where}. Correct it."
        )
    return np.array([place[name] for name in names], np.int64)
