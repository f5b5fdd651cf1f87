"""Times of a training step of each architecture by its default recipe, next to its PyTorch twin: a table of docs/results.md.

    python benchmarks/steps.py            # all architectures; the machine should have nothing else to do
    python benchmarks/steps.py mlp lstm   # replaces their rows alone

Ours is a step of the training loop, from taking the batch to the updated weights. The twin's is forward, backward and update
of PyTorch in eager mode, with the same batch size, optimizer and clipping. The two take turns step by step in one process.
Ours runs on two threads. The twin's steps run on one and on two in turn, and the faster of its two medians counts. The medians
leave out the first steps, in which ours is compiled.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch

import nnatomy as nn
from nnatomy.catalog import Architecture, architecture, architectures
from nnatomy.data.dataset import batches
from nnatomy.errors import UserError
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.folder import write_atomically
from nnatomy.runs.prepare import choose
from nnatomy.training.callbacks import Callback
from nnatomy.training.learners import GradientDescent
from nnatomy.training.loop import Loop
from results.steps import Row, read, written
from results.table import PAGE
from results.twin import Twin

THREADS, WARM, STEPS, SECONDS = 2, 12, 80, 20.0


class Turns(Callback):
    """Lets the twin take a step after each of ours, and notes the seconds of both."""

    def __init__(self, twin: Twin, examples: list[tuple[Any, ...]]) -> None:
        self.twin, self.batches = twin, cycle(examples)
        self.ours: list[float] = []
        self.theirs: list[float] = []

    def before_epoch(self, loop: Loop) -> None:
        self.left = time.perf_counter()

    def after_step(self, loop: Loop) -> None:
        self.ours.append(time.perf_counter() - self.left)
        batch = next(self.batches)
        torch.set_num_threads(1 + len(self.theirs) % THREADS)
        began = time.perf_counter()
        self.twin.step(batch)
        self.theirs.append(time.perf_counter() - began)
        taken = len(self.ours)
        if taken >= WARM + STEPS or (taken >= 2 * WARM and sum(self.ours[WARM:]) + sum(self.theirs[WARM:]) > SECONDS):
            loop.position.stopped = "enough steps were timed"
            loop.interrupted = True
        self.left = time.perf_counter()


def row_of(wanted: Architecture) -> Row | None:
    """The row of an architecture; None where nothing follows a gradient, or there is no twin."""
    recipe = wanted.recipes[0]
    if not isinstance(recipe.learn, GradientDescent) or not (wanted.folder / "torch_twin.py").exists():
        return None
    _, dataset = choose(wanted, recipe.data, [recipe], seed=0, offline=True)
    twin = Twin(wanted, recipe, recipe.learn, dataset, 0)
    twin.model.train()
    some = list(islice(batches(dataset.train, recipe.batch_size, np.random.default_rng(0), augment=recipe.augment), 16))
    whole = [batch for batch in some if len(batch[0]) == len(some[0][0])]
    turns = Turns(twin, whole)
    fit_recipe(recipe, dataset, callbacks=[turns])
    ours = statistics.median(turns.ours[WARM:])
    theirs = min(statistics.median(turns.theirs[WARM + threads :: THREADS]) for threads in range(THREADS))
    times = f"{1000 * ours:.2f}", f"{1000 * theirs:.2f}", f"{theirs / ours:.2f}"
    return Row(wanted.name, recipe.data, str(recipe.batch_size), *times)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures; all if not given")
    given = parser.parse_args(words)
    nn.set_num_threads(THREADS)
    try:
        for wanted in [architecture(name) for name in given.names or architectures()]:
            row = row_of(wanted)
            if row is None:
                continue
            print(" ".join(row), file=sys.stderr)
            page = PAGE.read_text(encoding="utf-8")
            order = list(architectures())
            rows = [one for one in read(page) if one.architecture != row.architecture] + [row]
            write_atomically(PAGE, written(page, sorted(rows, key=lambda one: order.index(one.architecture))))
    except UserError as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
