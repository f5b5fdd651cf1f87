"""Classification of nodes: the classes of some nodes of a graph are known, those of the others are predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from nnatomy.data.dataset import Dataset
from nnatomy.tasks.baselines import Baseline, FittedBaseline, arrays_of
from nnatomy.tasks.classification import Classification, fitted_logistic, prior
from nnatomy.tasks.parts import Array
from nnatomy.training.recipe import Recipe

STEPS = 50  # of label propagation


def own_features(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Logistic regression on a node's own features, without its neighbors."""

    def features(nodes: Array, edges: Array, chosen: Array, *rest: Array) -> Array:
        return nodes[chosen]

    return fitted_logistic(dataset, features)


def label_propagation(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Each node takes the mean of its neighbors' class probabilities, again and again; labeled nodes keep theirs.

    Source: Zhu and Ghahramani (2002). Features are not used.
    """
    _, edges, labeled = arrays_of(dataset.train, "input")[:3]
    (classes,) = arrays_of(dataset.train, "target")
    known = np.eye(dataset.outputs)[classes]
    share = known.mean(axis=0)

    def outputs(nodes: Array, edges: Array, chosen: Array, *rest: Array) -> Array:
        p = np.tile(share, (len(nodes), 1))
        degree = np.maximum(np.bincount(edges[:, 1], minlength=len(nodes)), 1)[:, None]
        for _ in range(STEPS):
            p[labeled] = known
            new = np.zeros_like(p)
            np.add.at(new, edges[:, 1], p[edges[:, 0]])
            p = np.where(np.bincount(edges[:, 1], minlength=len(nodes))[:, None] > 0, new / degree, p)
        p[labeled] = known
        return np.asarray(np.log(np.maximum(p, 1e-12))[chosen])

    return FittedBaseline(outputs, 0, STEPS * len(edges) * dataset.outputs // max(len(labeled), 1), f"{STEPS} steps")


class NodeClassification(Classification):
    """Accuracy and its kin over nodes; outputs are one score a class for each chosen node."""

    name = "node classification"
    by_row = False
    batch_size = 1 << 20  # a batch costs the whole graph, however few nodes are chosen
    explains = ""
    baselines: ClassVar[Mapping[str, Baseline]] = {
        "majority class": prior, "logistic regression": own_features, "label propagation": label_propagation,
    }  # fmt: skip
