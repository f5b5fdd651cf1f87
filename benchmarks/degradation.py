"""The degradation study of He et al. (2015), section 4.2: errors of plain and residual networks as depth grows, as a table.

    python benchmarks/degradation.py                                 # digits, 20 and 56 layers, one seed: about 3 minutes
    python benchmarks/degradation.py --data cifar10 --depths 20 56   # the paper's data, of which 10,000 images: an hour

Every network has the recipe of `resnet` for the data, and its first weights of the seed. Errors are those of the epoch with the
smallest validation loss, in evaluation mode and without augmentation. A higher *training* error of the deeper network is the
degradation: overfitting would lower it. `gradient` is the norm of the loss's gradient by the input of the first block, divided
by that by the output of the last block, before training.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

import numpy as np

import nnatomy as nn
from nnatomy.architectures.convolutional.resnet.model import gradients_by_block
from nnatomy.architectures.convolutional.resnet.recipe import build_for
from nnatomy.benchmark.report import in_markdown
from nnatomy.catalog import architecture
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.prepare import choose
from nnatomy.training.recipe import Recipe

HEADER = ("layers", "network", "seed", "gradient", "training loss", "training error", "test error", "seconds")


def row(recipe: Recipe, dataset: Dataset, depth: int, residual: bool, seed: int) -> tuple[str, ...]:
    changed = replace(recipe, options={**recipe.options, "depth": depth, "residual": residual})
    nn.seed(seed)
    x, targets = dataset.train.take(np.arange(64))
    norms = gradients_by_block(build_for(dataset, **changed.options), nn.tensor(x), nn.tensor(targets))
    began = time.perf_counter()
    fitted = fit_recipe(changed, dataset, seed)
    train, test = (fitted.task.evaluate(fitted.model, part).metrics for part in (dataset.train, dataset.test))
    return (
        str(depth), "residual" if residual else "plain", str(seed), f"{norms[0] / norms[-1]:,.1f}", f"{train['loss']:.3f}",
        f"{1 - train['accuracy']:.1%}", f"{1 - test['accuracy']:.1%}", f"{time.perf_counter() - began:.0f}",
    )  # fmt: skip


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="digits or cifar10 (digits)")
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 56], metavar="N", help="layers, 6n + 2 (20 56)")
    parser.add_argument("--epochs", type=int, help="the recipe's if not given")
    parser.add_argument("--seeds", type=int, default=1, help="how many (1)")
    given = parser.parse_args(words)
    try:
        recipe, dataset = choose(architecture("resnet"), given.data)
        recipe = replace(recipe, epochs=given.epochs or recipe.epochs)
        rows = []
        for depth in given.depths:
            for residual in (False, True):
                for seed in range(given.seeds):
                    rows.append(row(recipe, dataset, depth, residual, seed))
                    print(*rows[-1], file=sys.stderr)
    except UserError as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 2
    print(f"{recipe.epochs} epochs on {dataset.name}, {len(dataset.train):,} training examples\n")
    print(in_markdown((HEADER, rows)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
