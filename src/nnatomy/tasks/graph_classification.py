"""Classification of whole graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from nnatomy.data.dataset import Dataset
from nnatomy.tasks.baselines import Baseline, FittedBaseline
from nnatomy.tasks.classification import Classification, fitted_logistic, prior
from nnatomy.tasks.parts import Array
from nnatomy.training.recipe import Recipe

DEGREES = 8  # the last one counts all from here on


def statistics(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Logistic regression on a graph's size, the mean of its nodes' features, and how many nodes have which degree."""

    def features(nodes: Array, edges: Array, graph_of: Array, sizes: Array, *rest: Array) -> Array:
        degree = np.minimum(np.bincount(edges[:, 1], minlength=len(nodes)), DEGREES - 1)
        found = np.zeros((len(sizes), nodes.shape[1] + DEGREES))
        np.add.at(found, graph_of, np.concatenate([nodes, np.eye(DEGREES)[degree]], axis=1))
        return np.concatenate([found / np.maximum(sizes, 1)[:, None], sizes[:, None] / 10], axis=1)

    return fitted_logistic(dataset, features)


class GraphClassification(Classification):
    """Accuracy and its kin over graphs; outputs are one score a class for each graph."""

    name = "graph classification"
    by_row = False
    explains = ""
    baselines: ClassVar[Mapping[str, Baseline]] = {"majority class": prior, "logistic regression": statistics}
