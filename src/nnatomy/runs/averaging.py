"""Averages of runs: of their predictions (ensembles), or of their weights (model soups, within one architecture)."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy import data, ops
from nnatomy.data.dataset import Dataset, Split
from nnatomy.data.fields import Field, select
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers.module import Module
from nnatomy.printing import print_text
from nnatomy.runs.answers import named
from nnatomy.runs.folder import Run, environment, finite, owned, save_arrays, starting
from nnatomy.runs.known import FILE as KNOWN_DATA
from nnatomy.runs.options import absolute_source
from nnatomy.runs.prepare import Prepared
from nnatomy.runs.restore import AGAIN, restore, restore_with_data
from nnatomy.runs.result import Result
from nnatomy.tasks import Answer, Evaluation, task_for
from nnatomy.tasks.classification import two_scores
from nnatomy.tasks.task import UsualLoss
from nnatomy.tensor import Tensor
from nnatomy.training.learners import GradientDescent

METHODS = ("weights", "predictions")
CARRIED = ("run.json", "environment.json", "preprocessing.json", "dataset.json", KNOWN_DATA, "best.safetensors")
"""The files of a member that a folder of averaged predictions keeps."""


class Ensemble(Module):
    """Several models as one: classes by the mean of the members' probabilities, numbers by the mean of their outputs.

    Scores come out as log(1/M sum_m softmax(z_m)), so that their softmax is that mean. `decide`: from each member's output to
    its scores. `inputs`: how many arrays each member reads of those given, one after the other; None where all read the same.
    """

    def __init__(
        self, members: Sequence[Module], decide: Sequence[Callable[[Any], Any]], inputs: Sequence[int] | None, classes: bool
    ) -> None:  # fmt: skip
        self.members = list(members)
        self._decide, self._inputs, self._classes = tuple(decide), inputs, classes

    def forward(self, *arrays: Tensor) -> Tensor:
        """Return the average of the members' outputs."""
        answers, first = [], 0
        for i, (member, decide) in enumerate(zip(self.members, self._decide)):
            last = len(arrays) if self._inputs is None else first + self._inputs[i]
            answers.append(decide(member(*arrays[first:last])))
            first = 0 if self._inputs is None else last
        if not self._classes:
            return sum(a.reshape(answers[0].shape) for a in answers) / len(answers)  # type: ignore[no-any-return]
        single = answers[0].shape[-1] == 1
        logs = [ops.log_softmax(two_scores(a), axis=-1) for a in answers]
        mean = ops.logsumexp(ops.stack(logs), axis=0) - math.log(len(logs))
        return mean[..., 1:] - mean[..., :1] if single else mean  # type: ignore[no-any-return]


@dataclass(frozen=True, repr=False)
class JoinedSplit(Split):
    """The same examples as several architectures read them: all their inputs, then the targets of the first."""

    parts: tuple[Split, ...]

    @property
    def ragged(self) -> bool:
        return any(part.ragged for part in self.parts)

    @property
    def fields(self) -> tuple[Field, ...]:
        inputs = [field for part in self.parts for field in part.fields if field.role == "input"]
        return (*inputs, *(field for field in self.parts[0].fields if field.role == "target"))

    def __len__(self) -> int:
        return len(self.parts[0])

    def take(self, indices: Any) -> tuple[Any, ...]:
        batches = [(part.fields, part.take(indices)) for part in self.parts]
        return (*(a for batch in batches for a in select(*batch, "input")), *select(*batches[0], "target"))


@dataclass(frozen=True)
class Averaged:
    """The result of `average`: the folder, its scores on the test split, and those of each run alone."""

    run: Run
    how: str
    metrics: dict[str, float]
    members: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Return the values that `nnatomy average --json` prints."""
        alone = {folder: finite(metrics) for folder, metrics in self.members.items()}
        return {"run": str(self.run.folder), "how": self.how, "metrics": finite(self.metrics), "members": alone}


def average(
    runs: Sequence[str | Path], *, how: str = "weights", out: str | Path | None = None, progress: bool = False,
    report: bool = True,
) -> Averaged:  # fmt: skip
    """Average trained runs on the same data and split; measure the average and each of them on the test split.

    "weights": the mean of the best epochs' weights (Wortsman et al. 2022), a run like any other. It means something
    for runs that started from the same weights. "predictions": the members' predictions are averaged each time; the folder
    holds the members and can be evaluated and used to predict. Raises UserError for runs that do not fit together.
    """
    if how not in METHODS:
        raise unknown_name("average", how, METHODS)
    if len(runs) < 2:
        raise UserError(f"An average needs two runs or more. Received {len(runs)}. Name more folders.")
    opened = [Run.open(folder) for folder in runs]
    members = [restore_with_data(run) for run in opened]
    for run, member in zip(opened[1:], members[1:]):
        check_alike(members[0], member, str(run.folder))
    state = mean_weights(members, [str(run.folder) for run in opened]) if how == "weights" else {}
    first = members[0]
    alone = {str(run.folder): m.task.evaluate(m.model, m.dataset.test).metrics for run, m in zip(opened, members)}
    made = Run.create(f"average-{first.architecture.name}", out)
    with owned(made.folder), starting(made.folder):
        words = ["nnatomy", "average", *alone, "--how", how]
        saved: dict[str, Any] = {"command": " ".join(words), "average": {"how": how, "runs": [*alone]}}
        if how == "weights":
            for name in ("preprocessing.json", "dataset.json", KNOWN_DATA):
                made.write_json(name, opened[0].read_json(name))
            made.write_json("run.json", {**opened[0].read_json("run.json"), **saved})
            made.write_json("environment.json", environment())
            save_arrays(made.best, state, {"average": [*alone]})
            first.model.load_state_dict(state)
            found = first.task.evaluate(first.model, first.dataset.test)
            result = Result(first, made, 0, 0.0, found.metrics, found)
            made.write_json("result.json", result.to_json())
            if report:
                from nnatomy.runs.report import write_report

                write_report(result)
        else:
            found = _evaluated(members, "test")
            for number, run in enumerate(opened, 1):
                place = made.folder / "members" / str(number)
                place.mkdir(parents=True)
                for file in CARRIED:
                    shutil.copyfile(run.folder / file, place / file)
            saved["average"]["members"] = [f"members/{number}" for number in range(1, len(opened) + 1)]
            made.write_json("run.json", saved)  # last: a folder with it is whole
    if progress:
        print_text(f"Averaged {how} of {len(opened)} runs.", file=sys.stderr)
    return Averaged(made, how, found.metrics, alone)


def mean_weights(members: Sequence[Prepared], names: Sequence[str]) -> dict[str, Any]:
    """The mean of the members' parameters and buffers, integers as the first has them.

    Raises UserError where architectures, shapes or the preprocessing differ.
    """
    first, states = members[0], [member.model.state_dict() for member in members]
    shapes = {name: a.shape for name, a in states[0].items()}
    for name, member, state in zip(names[1:], members[1:], states[1:]):
        other = {key: a.shape for key, a in state.items()}
        if member.architecture.name != first.architecture.name or other != shapes:
            differing = next((key for key in {**shapes, **other} if shapes.get(key) != other.get(key)), "the architecture")
            raise UserError(
                f"Weights are averaged within one architecture and its options. Received {name} ({member.architecture.name}), "
                f"which differs from {names[0]} ({first.architecture.name}) in {differing}. Average their predictions."
            )
        if member.dataset.preprocessing.to_json() != first.dataset.preprocessing.to_json():
            raise UserError(
                f"Weights are averaged behind one preprocessing. Received {name}, whose preprocessing differs. Average "
                "predictions."
            )
    return {
        name: np.mean([state[name] for state in states], axis=0, dtype=np.float64).astype(a.dtype) if a.dtype.kind == "f" else a
        for name, a in states[0].items()
    }


def check_alike(first: Prepared, other: Prepared, name: str) -> None:
    """Raise UserError unless two runs predict the same targets for the same test examples, which neither was trained on."""
    ours, theirs = first.dataset, other.dataset
    same = (ours.task, ours.outputs, ours.classes) == (theirs.task, theirs.outputs, theirs.classes)
    if same and len(ours.train) == len(theirs.train) and len(ours.test) == len(theirs.test):
        same = all(
            np.array_equal(_targets(getattr(ours, part), rows), _targets(getattr(theirs, part), rows))
            for part in ("train", "test") for rows in [np.arange(min(len(getattr(ours, part)), 2000))]
        )  # fmt: skip
    else:
        same = False
    if not same or _split_of(first) != _split_of(other):
        raise UserError(
            f"Runs work together on one data set and one split of it. Received {name}, whose data or split differ: one may "
            "have learned what another is tested on. Train them with the same --data, --limit and --split-seed."
        )


def evaluate_members(
    run: Run, source: Any, split: str, backend: str | None = None, device: str | None = None,
    remedy: str = AGAIN,
) -> tuple[Evaluation, Sequence[str]]:  # fmt: skip
    """The scores of averaged predictions on a split of the runs' own data, or on another file with targets; and its notices."""
    if source is None:
        own = [restore_with_data(member, backend=backend, device=device, remedy=remedy) for member in run.members]
        return _evaluated(own, split), []
    members = [restore(member.folder, backend=backend, device=device)[0] for member in run.members]
    found = [data.load_examples(absolute_source(source), member.dataset.preprocessing) for member in members]
    together = ensemble(members)
    return together.task.evaluate(together.model, _joined(members, [examples for examples, _ in found])), found[0][1]


def predict_members(
    run: Run, source: Any, backend: str | None = None, device: str | None = None
) -> tuple[Answer, Sequence[str]]:
    """Return averaged predictions for a file, and the notices about the file."""
    members = [restore(member.folder, backend=backend, device=device)[0] for member in run.members]
    found = [data.load_inputs(absolute_source(source), member.dataset.preprocessing) for member in members]
    arrays = found[0].arrays if _share(members) else tuple(a for inputs in found for a in inputs.arrays)
    together = ensemble(members)
    return named(together.task.answer(together.model, arrays), found[0]), found[0].notices


def ensemble(members: Sequence[Prepared]) -> Prepared:
    """Several trained models as one, with a task that measures them; where they read different inputs, splits are joined."""
    first = members[0]
    if not first.task.outputs_are:
        raise UserError(
            f"Predictions are averaged of class scores or numbers. Received runs for {first.task.name}. Average weights."
        )
    classes = first.task.outputs_are == "class scores"
    widths = None if _share(members) else [len(member.dataset.input_fields) for member in members]
    model = Ensemble([m.model for m in members], [m.recipe.decide for m in members], widths, classes)
    sets = [m.dataset for m in members]
    train, validation, test = ([getattr(d, part) for d in sets] for part in ("train", "validation", "test"))
    dataset: Dataset = replace(
        first.dataset, train=_joined(members, train), validation=_joined(members, validation), test=_joined(members, test)
    )
    loss = UsualLoss(type(first.task), dataset.fields, _as_it_is)
    recipe = replace(first.recipe, learn=GradientDescent(loss), decide=_as_it_is, sample=None)
    model.eval()
    return replace(first, recipe=recipe, dataset=dataset, model=model, task=task_for(recipe, dataset, first.task.precision))


def _evaluated(members: Sequence[Prepared], split: str) -> Evaluation:
    together = ensemble(members)
    return together.task.evaluate(together.model, getattr(together.dataset, split))


def _share(members: Sequence[Prepared]) -> bool:
    """Return True if all read the same arrays."""
    kinds = [member.dataset.preprocessing.to_json() for member in members]
    return all(kind == kinds[0] for kind in kinds)


def _targets(split: Split, rows: Any) -> Any:
    return select(split.fields, split.take(rows), "target")[0]


def _joined(members: Sequence[Prepared], parts: Sequence[Split]) -> Split:
    return parts[0] if _share(members) else JoinedSplit(tuple(parts))


def _split_of(prepared: Prepared) -> tuple[Any, ...]:
    request = prepared.request
    return request.data or prepared.architecture.recipes[0].data, request.splits_by, request.limit


def _as_it_is(outputs: Any) -> Any:
    return outputs


__all__ = ["Averaged", "Ensemble", "average", "ensemble"]
