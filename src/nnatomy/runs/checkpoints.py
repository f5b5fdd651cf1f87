"""Checkpoints and the log of a run: what its folder needs to continue exactly."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from nnatomy.errors import UserError
from nnatomy.printing import shown
from nnatomy.runs.folder import Run, load_arrays, save_arrays
from nnatomy.runs.options import PATH, SOURCE, options_of
from nnatomy.runs.request import Request
from nnatomy.saved import RESTORE, typed
from nnatomy.training.callbacks import named
from nnatomy.training.fit import Checkpoint
from nnatomy.training.loop import Callback, Loop, Position

EVERY = 10.0  # seconds between checkpoints, at least


class Checkpoints(Callback):
    """Writes `last` (all that the run needs to continue exactly) and `best` (the weights of the best epoch).

    At the end of epochs and inside long ones, no more often than every `seconds`, and whenever the run stops in good order.
    Of several hosts all bring the state together, and the first one writes.
    """

    def __init__(self, run: Run, seconds: float | None = None) -> None:
        self.run, self.seconds = run, EVERY if seconds is None else seconds
        self._written = time.perf_counter()
        self._asked = False
        self._best: float | None = None

    def after_step(self, loop: Loop) -> None:
        if loop.position.batch < loop.steps_per_epoch:  # the end of an epoch is saved after its validation
            self._save_now_and_then(loop)

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        self._save_now_and_then(loop)

    def end(self, loop: Loop) -> None:
        if loop.outcome != "failed":
            self.save(loop)

    def _save_now_and_then(self, loop: Loop) -> None:
        due = time.perf_counter() - self._written >= self.seconds
        if loop.agreed(due and not self._asked):
            self.save(loop)
        else:
            self._asked = due

    def save(self, loop: Loop) -> None:
        """Write both files, `best` first: a reader of `last` then finds what it refers to."""
        loop.read_losses()
        position = loop.position
        position.seconds = loop.elapsed()
        whole = loop.devices.to_host(loop.learner.plain(loop.state)) | {"external": loop.learner.external_state()}
        arrays, plain = flatten(whole)
        self._asked = False
        if not loop.devices.hosts.first:
            return
        if position.best is not None and position.best != self._best:
            saved = {"metric": loop.recipe.metric, "value": position.best, "epoch": position.best_epoch}
            save_arrays(self.run.best, loop.best, saved)
            self._best = position.best
        states = {name: getattr(callback, "state", None) for name, callback in named(loop.callbacks).items()}
        callbacks = {name: state for name, state in states.items() if state is not None}
        saved = {"plain": plain, "position": asdict(position), "callbacks": callbacks, "request": steady(self.run)}
        save_arrays(self.run.last, arrays, saved)
        self._written = time.perf_counter()


def load_checkpoint(run: Run) -> Checkpoint:
    """Return what `Checkpoints.save` wrote."""
    arrays, metadata = load_arrays(run.last)
    for name, value in steady(run).items():
        kept = metadata.get("request", {}).get(name, value)
        if kept != value:
            raise UserError(
                f"A run continues as it was requested. Received {run.folder / 'run.json'} with another {name}, {shown(value)} "
                f"instead of {shown(kept)}. {RESTORE}"
            )
    position = typed(Position, metadata.get("position"), f"{run.last}, position")
    best = load_arrays(run.best)[0] if position.best is not None else {}
    plain, callbacks = (metadata.get(name) for name in ("plain", "callbacks"))
    state = unflatten(arrays, typed(dict[str, Any], plain, f"{run.last}, plain"))
    kept = typed(dict[str, dict[str, Any]], callbacks, f"{run.last}, callbacks")
    return Checkpoint(state, position, best, kept, state.pop("external", {}))


def steady(run: Run) -> dict[str, Any]:
    """Return the options of a run that its continuation must share, in plain values: not where it computes, nor paths."""
    if not (run.folder / "run.json").exists():  # a fit that only keeps checkpoints
        return {}
    plain = run.record().request or {}
    names = [name for name, known in options_of(Request).items() if not known.where and known.type not in (SOURCE, PATH)]
    return {name: plain[name] for name in names if name in plain}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays and the plain values of a nested dictionary, by path."""
    arrays: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}/{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            if not value:
                plain[path] = {}
            more_arrays, more_plain = flatten(value, path)
            arrays.update(more_arrays)
            plain.update(more_plain)
        elif hasattr(value, "dtype"):
            arrays[path] = np.asarray(value)
        else:
            plain[path] = value
    return arrays, plain


def unflatten(arrays: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    """The nested dictionary that `flatten` flattened."""
    tree: dict[str, Any] = {}
    for path, value in [*arrays.items(), *plain.items()]:
        *parents, last = path.split("/")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return tree


class Log(Callback):
    """One line of metrics.jsonl for each epoch; a resumed run forgets the lines that it will write again."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def begin(self, loop: Loop) -> None:
        self.run.rewind([line for line in self.run.history() if line["epoch"] <= loop.position.epoch])

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        self.run.append(line)
