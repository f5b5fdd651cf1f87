"""Reconstruction, next to as many principal components as the maps of the code have numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import ClassVar

from nnatomy.architectures.autoencoders.convolutional_autoencoder.model import halved
from nnatomy.data.dataset import Dataset
from nnatomy.tasks import Baseline, FittedBaseline, Reconstruction
from nnatomy.tasks.reconstruction import mean_example, principal
from nnatomy.training.recipe import Recipe


def code_size(dataset: Dataset, recipe: Recipe) -> int:
    """Return the numbers in the code of a recipe's model for a data set."""
    options = recipe.options
    size = (dataset.input_shape[1], dataset.input_shape[2])
    for _ in options["channels"]:
        size = halved(size, options["kernel"], options["form"])
    return int(options["channels"][-1]) * prod(size)


def same_code(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """As many principal components as the smallest code has numbers."""
    sized = [replace(r, options={**r.options, "code": code_size(dataset, r)}) for r in recipes if "channels" in r.options]
    return principal(dataset, sized)


class MapReconstruction(Reconstruction):
    """The reconstruction's explained fraction of the variance."""

    baselines: ClassVar[Mapping[str, Baseline]] = {"mean": mean_example, "principal components": same_code}
