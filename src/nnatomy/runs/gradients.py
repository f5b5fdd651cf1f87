"""The record of gradients that training keeps: norms by layer after each epoch, in the run's gradients.jsonl."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from nnatomy.backends import compiles_by_shape
from nnatomy.inspect.recording import gradient_norms, gradients
from nnatomy.runs.folder import Run, write_atomically
from nnatomy.runs.records import GradientRecord
from nnatomy.saved import read_lines
from nnatomy.training.loop import Callback, Loop

EXAMPLES = 16  # on which gradients are taken: enough for a norm, too few to be noticed in an epoch's time
SHARE = 0.02  # of the run's time, at most


class GradientLog(Callback):
    """One line for each epoch: the norms of the loss's gradients and of the weights, by layer, on the same training examples.

    Taken in eval mode with the weights that the epoch ended with, so it draws no random number and changes nothing that is
    trained. An epoch is left out where the record would take more than SHARE of the time, and all are on a backend that
    compiles, where one pass that is not compiled would cost more than the epoch.
    """

    def __init__(self, run: Run) -> None:
        self.path = run.folder / "gradients.jsonl"
        self.run = run
        self.spent = 0.0

    def begin(self, loop: Loop) -> None:
        kept = [line for line in read_gradients(self.run) if line["epoch"] <= loop.position.epoch]
        if kept or self.path.exists():
            write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        began = loop.elapsed()
        objectives = loop.learner.objectives()
        if not objectives or compiles_by_shape() or (self.spent > SHARE * began and line["epoch"] > 1):
            return
        split = loop.dataset.train
        places = np.unique(np.linspace(0, len(split) - 1, min(EXAMPLES, len(split))).round().astype(int))
        learner, model = loop.learner, loop.learner.model
        with loop.weights(loop.state["model"]), np.errstate(all="ignore"):
            batch = learner.precision.evaluated(split.take(places))
            of = [(gradients(model, first_of(loss), *batch), own) for loss, own in objectives]
            found = gradient_norms({name: g for by_name, own in of for name, g in by_name.items() if name in own})
            weights = gradient_norms({name: np.asarray(p.data) for name, p in model.named_parameters()})
        told = {"epoch": line["epoch"], "examples": len(places), "gradients": found, "weights": weights}
        self.run.append(told, self.path.name)
        self.spent += loop.elapsed() - began


def first_of(loss: Any) -> Any:
    """Return a recipe's loss without its outputs."""
    return lambda *batch: loss(*batch)[0]


def read_gradients(run: Run) -> list[dict[str, Any]]:
    """Return the lines of a run's gradients.jsonl, none where it has none; a damaged line is left out: nothing rests on it."""
    path = run.folder / "gradients.jsonl"
    return list(read_lines(path, GradientRecord, repair=True)) if path.is_file() else []
