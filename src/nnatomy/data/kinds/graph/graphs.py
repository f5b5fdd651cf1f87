"""Graphs as arrays: columns of nodes and edges as numbers, and the data set of one graph or of many. No reading of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.cells import is_numeric, numbers
from nnatomy.data.csvfile import RawTable
from nnatomy.data.dataset import ArraySplit, Batch, Dataset, Preprocessing
from nnatomy.data.fields import Field, take
from nnatomy.data.reading import Parts, Reading
from nnatomy.data.scaling import scale
from nnatomy.data.writing import AS_IS, Writing, learned_numbers
from nnatomy.errors import UserError, unknown_name
from nnatomy.saved import Positive

__all__ = ["Columns", "GraphPreprocessing", "RawGraph", "fields_of", "graph_dataset", "undirected"]

Array = npt.NDArray[Any]
NODES, GRAPHS = "node classification", "graph classification"
DEGREES = 8  # features of nodes without columns, where there are many graphs; the last one counts all higher degrees
MOST_VALUES = 64  # the most different words of a column that become one feature each

CHOSEN, SIZES, TARGETS = Field("chosen", points_to="nodes"), Field("sizes"), Field("targets", role="target")


def fields_of(many: bool, edge_features: bool = False) -> tuple[Field, ...]:
    """Return what the arrays of a batch are. An example is a node of one graph (`chosen` numbers it), or one of many graphs.

    nodes (nodes, features); edges (edges, 2), source and target; chosen (examples,), or graph_of (nodes,) and sizes (graphs,),
    how many nodes a graph has; edge_features (edges, features) where edges have any; targets (examples,).
    """
    ragged = 0 if many else None  # one graph is the same in every batch
    nodes, edges = Field("nodes", per="node", ragged=ragged), Field("edges", per="edge", ragged=ragged, points_to="nodes")
    graph_of = Field("graph_of", per="node", ragged=ragged, points_to="sizes")
    described = (Field("edge_features", per="edge", ragged=ragged),) if edge_features else ()
    return (nodes, edges, *((graph_of, SIZES) if many else (CHOSEN,)), *described, TARGETS)


@dataclass(frozen=True)
class RawGraph:
    """Nodes and edges as a file has them: columns of text, and whole numbers that join nodes."""

    ids: tuple[str, ...]
    columns: Mapping[str, Sequence[str]]
    edges: Array  # int64, (edges, 2)
    edge_columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    graph_of: Array | None = None  # int64, (nodes,), where there are many
    graphs: tuple[str, ...] = ()
    delimiter: str = ""
    """Of the file; it says which decimal sign is usual."""


def undirected(edges: Array) -> tuple[Array, Array]:
    """Return every edge in both directions, each once and in order, and for each the row that it comes from."""
    both = np.concatenate([edges, edges[:, ::-1]]).reshape(-1, 2)
    found, first = np.unique(both, axis=0, return_index=True)
    return found, first % max(len(edges), 1)


@dataclass(frozen=True)
class Columns:
    """Columns of text as numbers: standardized by the training rows, or one feature for each word of theirs."""

    names: tuple[str, ...]
    means: tuple[float, ...]  # of columns of numbers
    deviations: tuple[Positive, ...]
    words: tuple[tuple[str, ...], ...]  # of columns of words; empty for a column of numbers
    writings: Mapping[str, Writing] = field(default_factory=dict)  # of columns of numbers in files

    @classmethod
    def fit(
        cls, columns: Mapping[str, Sequence[str]], rows: Array, types: Mapping[str, str] | None = None, delimiter: str = ""
    ) -> tuple[Columns, tuple[str, ...]]:
        """Fit on some rows, and return notices about how numbers are written, which all rows say.

        Raises UserError for a column of words with too many different ones.
        """
        known = {name: kind for name, kind in (types or {}).items() if name in columns}
        found = learned_numbers(RawTable({n: list(c) for n, c in columns.items()}, "the graph", delimiter=delimiter), known)
        means: list[float] = []
        deviations: list[float] = []
        words: list[tuple[str, ...]] = []
        for name, written in columns.items():
            cells = found.table.columns.get(name, written)
            seen = [cells[row] for row in rows if cells[row]]
            words_alone = name in known and name not in found.kinds
            distinct: tuple[str, ...] = tuple(sorted(set(seen))) if words_alone or not all(map(is_numeric, seen)) else ()
            values = numbers(() if distinct else seen)
            values = values[np.isfinite(values)]
            if len(distinct) > MOST_VALUES:
                raise UserError(
                    f"A column of words has at most {MOST_VALUES} different ones. Received {len(distinct)} in {name!r}. "
                    "Remove the column or merge its words."
                )
            words.append(distinct)
            means.append(float(values.mean()) if len(values) else 0.0)
            deviations.append(float(scale(values)) if len(values) else 1.0)
        fitted = cls(tuple(columns), tuple(means), tuple(deviations), tuple(words), found.writings)
        return fitted, found.notices

    @property
    def features(self) -> tuple[str, ...]:
        """Their names."""
        pairs = zip(self.names, self.words, strict=True)
        return tuple(f"{name}={word}" if word else name for name, words in pairs for word in words or ("",))

    def encode(self, columns: Mapping[str, Sequence[str]], rows: int, source: object) -> Array:
        """Return the features (rows, features); a missing number is the mean, an unknown word has none of its column's.

        Raises UserError where a column is absent or a number is none.
        """
        parts = [np.zeros((rows, 0), np.float32)]
        for name, mean, deviation, words in zip(self.names, self.means, self.deviations, self.words, strict=True):
            if name not in columns:
                raise UserError(
                    f"The model knows the columns {', '.join(self.names)}. Received {source} without {name!r}. Add the column."
                )
            cells = columns[name]
            if words:
                parts.append(np.array([[cell == word for word in words] for cell in cells], np.float32).reshape(rows, -1))
                continue
            plain = self.writings.get(name, AS_IS).plain(RawTable({name: list(cells)}, str(source)), name, "numeric")
            values = numbers(plain)
            wrong = next((cell for cell, value in zip(cells, values, strict=True) if cell and not np.isfinite(value)), None)
            if wrong is not None:
                raise UserError(f"The column {name!r} holds numbers. Received {wrong!r} in {source}. Correct the cell.")
            values = np.where(np.isnan(values), mean, values)
            parts.append(((values - mean) / deviation).astype(np.float32)[:, None])
        return np.concatenate(parts, axis=1)


NO_COLUMNS = Columns((), (), (), ())


@dataclass(frozen=True)
class GraphPreprocessing(Preprocessing):
    """Columns of nodes and edges as numbers.

    Nodes without columns have their ids as features in one graph, and their degrees in many (Xu et al. 2019, section 7).
    """

    kind: ClassVar[str] = "graph"
    task: str
    classes: tuple[str, ...]
    target: str = ""
    columns: Columns = NO_COLUMNS
    edge_columns: Columns = NO_COLUMNS
    ids: tuple[str, ...] = ()

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of the nodes."""
        return self.ids or self.columns.features or tuple(f"degree {n}" for n in range(DEGREES))

    @property
    def fields(self) -> tuple[Field, ...]:
        """The arrays of a batch."""
        return fields_of(self.task == GRAPHS, bool(self.edge_columns.names))

    def takes(self, raw: RawGraph) -> bool:
        """Return True if a graph is one where the model was trained on one, or many where on many."""
        return (raw.graph_of is None) == (self.task == NODES)

    def encode(self, raw: RawGraph, source: object = "the graph") -> tuple[Array, Array, tuple[Array, ...]]:
        """Return nodes, edges and what follows what points to examples: the features of edges, where there are any."""
        edges, rows = undirected(raw.edges)
        if self.ids:
            place = {name: n for n, name in enumerate(self.ids)}
            known = np.array([place.get(name, -1) for name in raw.ids], np.int64)
            nodes = (known[:, None] == np.arange(len(self.ids))).astype(np.float32)
        elif self.columns.names:
            nodes = self.columns.encode(raw.columns, len(raw.ids), source)
        else:
            nodes = np.eye(DEGREES, dtype=np.float32)[np.minimum(np.bincount(edges[:, 1], minlength=len(raw.ids)), DEGREES - 1)]
        if not self.edge_columns.names:
            return nodes, edges, ()
        return nodes, edges, (self.edge_columns.encode(raw.edge_columns, len(raw.edges), source)[rows],)

    def transform(self, raw: RawGraph) -> Batch:
        """Return the model's inputs; every node of one graph is chosen."""
        nodes, edges, rest = self.encode(raw)
        return (nodes, edges, *self.examples(raw), *rest)

    def examples(self, raw: RawGraph) -> Batch:
        """Return `chosen`, or `graph_of` and `sizes`."""
        if self.task == NODES:
            return (np.arange(len(raw.ids)),)
        if raw.graph_of is None:
            return np.zeros(len(raw.ids), np.int64), np.array([len(raw.ids)])
        return raw.graph_of, np.bincount(raw.graph_of, minlength=len(raw.graphs))


def graph_dataset(
    name: str, raw: RawGraph, labels: Sequence[str], reading: Reading, *, target: str = "class",
    official: tuple[Array, Array, Array] | None = None, description: str = "", notices: tuple[str, ...] = (),
) -> Dataset:  # fmt: skip
    """Return the data set of one graph, whose nodes have labels, or of many (`raw.graph_of`), which have them.

    Args:
        labels: a class for each node or graph; an example without one ("") is in no split
        official: numbers of the labeled examples of published splits, which hold unless there is a fold

    Raises UserError where there is one class only, or too few examples of one.
    """
    task = NODES if raw.graph_of is None else GRAPHS
    classes = tuple(sorted(set(labels) - {""}))
    if len(classes) < 2:
        raise UserError(
            f"Classes must be two or more. Received {len(classes)} in {target!r} of {name}. Choose a --target."
        )
    place = {label: n for n, label in enumerate(classes)}
    labeled = np.array([n for n, label in enumerate(labels) if label], np.int64)
    ids = np.array([place[labels[n]] for n in labeled], np.int64)
    parts = reading.part(len(labeled), ids, classes, official=official)
    rows = labeled[parts.train]
    nodes, joins = rows, np.arange(len(raw.edges))
    if raw.graph_of is not None:
        nodes = np.flatnonzero(np.isin(raw.graph_of, rows))
        joins = np.flatnonzero(np.isin(raw.graph_of[raw.edges[:, 0]], rows))
    types = reading.use("types", {})
    if unknown := next((column for column in types if column not in {*raw.columns, *raw.edge_columns}), None):
        raise unknown_name("column", unknown, [*raw.columns, *raw.edge_columns])
    columns, said = Columns.fit(raw.columns, nodes, types, raw.delimiter)
    edge_columns, also = Columns.fit(raw.edge_columns, joins, types, raw.delimiter)
    preprocessing = GraphPreprocessing(
        task, classes, target, columns, edge_columns, raw.ids if task == NODES and not raw.columns else ()
    )
    inputs = preprocessing.transform(raw)
    return dataset_of(name, preprocessing, inputs, labeled, ids, parts, (*notices, *said, *also), description)


def dataset_of(
    name: str, preprocessing: GraphPreprocessing, inputs: Batch, labeled: Array, ids: Array, parts: Parts,
    notices: tuple[str, ...] = (), description: str = "",
) -> Dataset:  # fmt: skip
    """Return the data set of encoded graphs; `ids` (labeled,) are the classes of the examples `labeled`."""
    named = preprocessing.fields
    splits = [ArraySplit((*take(named, inputs, labeled[rows]), ids[rows]), named) for rows in parts]
    nodes, edges = len(inputs[0]), len(inputs[1]) // 2
    examples = f"{nodes:,} nodes" if preprocessing.task == NODES else f"{len(inputs[3]):,} graphs with {nodes:,} nodes"
    text = description or f"{examples} and {edges:,} edges, {len(preprocessing.classes)} classes"
    return Dataset(
        name, "graph", preprocessing.task, splits[0], splits[1], splits[2], preprocessing.classes, preprocessing, notices,
        (inputs[0].shape[1],), text, len(preprocessing.classes),
    )  # fmt: skip
