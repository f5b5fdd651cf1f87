"""Graphs: nodes with features and the edges between them. One graph whose nodes have classes, or many that have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnatomy.data.dataset import ArraySplit, Batch, Dataset, Split
from nnatomy.data.fields import take
from nnatomy.data.kinds.graph.files import GraphFiles, is_graph_folder, read_files, read_folder
from nnatomy.data.kinds.graph.graphs import GraphPreprocessing, fields_of, undirected
from nnatomy.data.kinds.graph.sampling import NeighborSampling
from nnatomy.data.kinds.graph.sets import SETS
from nnatomy.data.kinds.kind import NO, SURELY, Kind
from nnatomy.data.kinds.looks import Look, look_at
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.splits import class_ids
from nnatomy.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["KIND", "NeighborSampling", "fields_of", "undirected"]


class GraphKind(Kind[GraphPreprocessing]):
    """One graph, whose nodes are the examples, or many graphs, which are."""

    name = "graph"
    noun = "graphs"
    preprocessing = GraphPreprocessing
    options = frozenset({"target", "types"})
    folders = "nodes.csv and edges.csv of a graph"
    sets = SETS
    ragged = True

    def recognize(self, source: Source, reading: Reading) -> int:
        return SURELY if is_graph_folder(source.path) else NO

    def read(self, source: Source, reading: Reading) -> Dataset:
        return read_folder(source.path, reading)

    def inputs(self, source: Source, preprocessing: GraphPreprocessing, raw: bool = False) -> Inputs:
        found = _files(source, preprocessing, needed=False)
        names = found.raw.ids if found.raw.graph_of is None else found.raw.graphs
        notices: tuple[str, ...] = ()
        if preprocessing.ids and (new := len(set(found.raw.ids) - set(preprocessing.ids))):
            notices = (f"{new} nodes are not those of training; the model knows of them what their neighbors say.",)
        return Inputs(preprocessing.transform(found.raw), names, notices)

    def examples(self, source: Source, preprocessing: GraphPreprocessing) -> tuple[Split, tuple[str, ...]]:
        found = _files(source, preprocessing)
        labeled = np.array([n for n, label in enumerate(found.labels) if label], np.int64)
        ids = class_ids([found.labels[n] for n in labeled], preprocessing.classes, source)
        inputs = take(preprocessing.fields, preprocessing.transform(found.raw), labeled)
        return ArraySplit((*inputs, ids), preprocessing.fields), ()

    def limits(self, dataset: Dataset) -> str:
        if self.fitted(dataset).ids:
            return "Its nodes have no features but who they are, so it knows the nodes of its training graph only."
        return "Edges are read in both directions; numbers far from those of its training nodes are not cut off."

    def look(self, dataset: Dataset) -> Look:
        return look_at(dataset, self.fitted(dataset).feature_names)

    def show(self, axes: Axes, example: Batch, dataset: Dataset) -> None:
        from nnatomy.data.kinds.graph.drawing import draw_example

        draw_example(axes, example)


def _files(source: Source, preprocessing: GraphPreprocessing, needed: bool = True) -> GraphFiles:
    """The contents of a folder, for a model of one graph or of many."""
    if not is_graph_folder(source.path):
        raise UserError(f"A model of graphs takes a folder with nodes.csv and edges.csv. Received {source}. Name a folder.")
    found = read_files(source.path, preprocessing.target, needed)
    if not preprocessing.takes(found.raw):
        one, many = "one graph, without graphs.csv", "many graphs, with graphs.csv"
        wanted, came = (one, many) if found.raw.graphs else (many, one)
        raise UserError(f"This model was trained on {wanted}. Received {source}, which is {came}. Name another folder.")
    return found


KIND = GraphKind()
