"""Using a trained run: evaluate it, predict and sample with it, from its folder or as an object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnatomy import data
from nnatomy.data.dataset import Dataset, Split
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers.module import Module
from nnatomy.runs import baselines as without_network
from nnatomy.runs.answers import named
from nnatomy.runs.folder import Run
from nnatomy.runs.options import absolute_source
from nnatomy.runs.own import NOTHING, Own
from nnatomy.runs.prepare import Prepared
from nnatomy.runs.progress import log
from nnatomy.runs.restore import Restored, restore, restore_with_data
from nnatomy.showing import Face, Shown
from nnatomy.tasks import Answer, Evaluation, Task
from nnatomy.training.recipe import Recipe

SAMPLES = 64
"""Examples that are made where no number is given."""
SPLITS = ("train", "validation", "test")
NEW_DATA = "Restore them, or give them as new data: nnatomy evaluate RUN --data FILE."


@dataclass(frozen=True, repr=False)
class Evaluated(Shown, Evaluation):
    """Metrics of a run, next to those of predictors without a network."""

    baselines: without_network.Beside | None = None
    """None where there are none."""

    def face(self) -> Face:
        return Face.of("Scores", self.metrics, "" if self.baselines is None else self.baselines.headline)


class TrainedRun(Restored):
    """A run with its trained model, ready to be used."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder

    @property
    def model(self) -> Module:
        """The model with the weights of the best epoch, in evaluation mode."""
        return self.prepared.model

    @property
    def task(self) -> Task:
        """The task that measures it."""
        return self.prepared.task

    @property
    def recipe(self) -> Recipe:
        """The recipe that trained it."""
        return self.prepared.recipe

    @property
    def dataset(self) -> Dataset:
        """The data that it was trained on: preprocessing, classes and sizes, without examples."""
        return self.prepared.dataset

    def evaluate(self, data: Any = None, split: str = "test", *, baselines: bool = True) -> Evaluated:
        """Return the metrics on a split of the run's own data, or on other data with targets; see `nn.evaluate`."""
        return evaluate(self, data, split, baselines=baselines)

    def predict(self, data: Any) -> Answer:
        """Return predictions; see `nn.predict`."""
        return predict(self, data)

    def sample(
        self, count: int = SAMPLES, seed: int = 0, label: str | None = None, *, prompt: str | None = None,
        temperature: float | None = None, top_k: int | None = None,
    ) -> str | Answer:  # fmt: skip
        """Return something that the model makes; see `nn.sample`."""
        return sample(self, count, seed, label, prompt=prompt, temperature=temperature, top_k=top_k)


def load_run(
    folder: str | Path, *, model: Any = None, data: Any = None, task: Any = None, loss: Any = None, optimizer: Any = None,
    backend: str | None = None, device: str | None = None,
) -> TrainedRun:  # fmt: skip
    """Return the trained run in a folder; it needs only the folder, and the objects that you passed.

    >>> run = nn.load_run("runs/mlp")  # doctest: +SKIP
    >>> run.model, run.predict("new.csv"), run.evaluate().metrics  # doctest: +SKIP

    Args:
        model, data, task, loss, optimizer: as given to `nn.train`, where they were your own; all but the model are only needed
            to evaluate
        backend, device: where the model computes, if not where it was trained

    Raises UserError where the folder is not a run, or its weights do not fit the model.
    """
    own = Own(model, data, task, loss, optimizer)
    prepared, run = restore(folder, backend=backend, device=device, own=own)
    return TrainedRun(prepared, run, own)


def evaluate(
    run: str | Path | TrainedRun, data: Any = None, split: str = "test", *, baselines: bool = True,
    backend: str | None = None, device: str | None = None, progress: bool = False,
) -> Evaluated:  # fmt: skip
    """Return the metrics of a trained run on one split of its own data, or on other data that have targets.

    Args:
        run: a folder, or what `load_run` returned
        data: a file, arrays (X, y) or a frame
        baselines: measure predictors without a network on the same data; they are fitted on the run's own training rows, and
            left out with a notice where these are no longer there
        backend, device: where they are measured, if not where the run was trained
        progress: print what was noticed in the data
    """
    folder = _folder(run)
    if split not in SPLITS:
        raise UserError(f"--split is train, validation or test. Received {split!r}. Use --split test.")
    if folder.members:
        from nnatomy.runs.averaging import evaluate_members

        found, notices = evaluate_members(folder, data, split, backend, device, NEW_DATA)
        if progress:
            log(notices)
        return Evaluated(found.metrics, found.arrays)
    if data is None:
        own = run.own if isinstance(run, TrainedRun) else NOTHING
        prepared = restore_with_data(folder, backend=backend, device=device, own=own, remedy=NEW_DATA)
        examples: Split = getattr(prepared.dataset, split)
        found = prepared.task.evaluate(prepared.model, examples, part=split)
        simple = without_network.measure(prepared.task, examples) if baselines else None
    else:
        prepared, _ = restore(run, backend=backend, device=device)
        examples, notices = _examples(data, prepared)
        if progress:
            log(notices)
        found = prepared.task.evaluate(prepared.model, examples)
        own = run.own if isinstance(run, TrainedRun) else NOTHING
        simple = without_network.measure(
            prepared.task, examples, fitted_on=lambda: restore_with_data(folder, own=own).task
        ) if baselines else None  # fmt: skip
        if progress and simple is not None and not simple.scores:
            log([f"Baselines were left out: {next(iter(simple.left_out.values()))}"])
    return Evaluated(found.metrics, found.arrays, without_network.beside(prepared.task, found, simple))


def predict(
    run: str | Path | TrainedRun, data: Any, *, backend: str | None = None, device: str | None = None, progress: bool = False
) -> Answer:
    """Return the predictions of a trained run; the first column names the rows.

    Args:
        run: a folder, or what `load_run` returned
        data: a file, an array or a frame; targets are not needed
        backend, device: where they are computed, if not where the run was trained
        progress: print what was noticed in the data
    """
    folder = _folder(run)
    if folder.members:
        from nnatomy.runs.averaging import predict_members

        answer, notices = predict_members(folder, data, backend, device)
        if progress:
            log(notices)
        return answer
    prepared, _ = restore(run, backend=backend, device=device)
    inputs = _inputs(data, prepared)
    if progress:
        log(inputs.notices)
    return named(prepared.task.answer(prepared.model, inputs.arrays), inputs)


def sample(
    run: str | Path | TrainedRun, count: int = SAMPLES, seed: int = 0, label: str | None = None, *, prompt: str | None = None,
    temperature: float | None = None, top_k: int | None = None, backend: str | None = None, device: str | None = None,
) -> str | Answer:  # fmt: skip
    """Return something that a trained run makes: a text, or new examples as columns or files.

    Args:
        run: a folder, or what `load_run` returned
        count: new examples; a text is one
        seed: of the noise that examples are made from, and of the tokens that are drawn
        label: the class of all examples, for a conditional model: one that has `classes`, and `sample(count, labels)`
        prompt: the text that a text continues, if not a line break
        temperature: below 1 likely tokens become likelier; 0 writes the likeliest
        top_k: draw from so many likeliest tokens; 0 draws from all
        backend, device: where they are computed, if not where the run was trained

    Raises UserError for a run that makes nothing, and for options of texts where it makes none. Without a prompt, a seed and
    other options of texts, the sample is that of the run's report.
    """
    if count < 1:
        raise UserError(f"--count is at least 1. Received {count}. Use 1 or more.")
    if not 0 <= seed < 2**64:
        raise UserError(f"--seed is from 0 to 2^64 - 1. Received {seed}. Use 0.")
    prepared, _ = restore(run, backend=backend, device=device)
    if label is not None:
        if not getattr(prepared.model, "classes", 0):
            raise UserError(
                f"--label is for models that make examples of one class. Received {label!r} for a run of "
                f"{prepared.architecture.name}, which takes no classes. Leave it out."
            )
        if label not in prepared.dataset.classes:
            raise unknown_name("class", label, prepared.dataset.classes)
        return prepared.task.sample(prepared.model, count, seed, prepared.dataset.classes.index(label))
    writes, given = prepared.task.can("write"), {"prompt": prompt, "temperature": temperature, "top_k": top_k}
    asked: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name, value in asked.items():
        if not writes:
            raise UserError(
                f"--{name.replace('_', '-')} is for models that write text. Received {value!r} for a run of "
                f"{prepared.architecture.name}, which writes none. Leave it out."
            )
    if writes and (asked or seed or prepared.recipe.sample is None):
        return prepared.task.write(prepared.model, seed=seed, **asked)
    if prepared.recipe.sample is not None:
        return prepared.recipe.sample(prepared.model, prepared.dataset)
    return prepared.task.sample(prepared.model, count, seed)


def _folder(run: str | Path | TrainedRun) -> Run:
    return run.run if isinstance(run, TrainedRun) else Run.open(run)


def _examples(given: Any, prepared: Prepared) -> tuple[Any, Any]:
    return data.load_examples(absolute_source(given), prepared.dataset.preprocessing)


def _inputs(given: Any, prepared: Prepared) -> data.Inputs:
    return data.load_inputs(absolute_source(given), prepared.dataset.preprocessing)
