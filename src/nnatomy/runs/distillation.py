"""Knowledge distillation: a student learns from a trained run's outputs as well as from the targets (Hinton et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy import functional as F
from nnatomy import random
from nnatomy.catalog import architecture
from nnatomy.data.dataset import Dataset, Split, batches
from nnatomy.data.fields import Field, select
from nnatomy.errors import UserError
from nnatomy.runs.averaging import check_alike, ensemble
from nnatomy.runs.folder import Run
from nnatomy.runs.prepare import Prepared
from nnatomy.runs.request import OF_THE_TEACHER, request_of
from nnatomy.runs.restore import check_files, restore_with_data
from nnatomy.runs.result import Result
from nnatomy.runs.train import train
from nnatomy.tasks import forward
from nnatomy.tasks.classification import two_scores
from nnatomy.tensor import Tensor
from nnatomy.training.callbacks import Callback
from nnatomy.training.learners import LearnerSpec
from nnatomy.training.learners.learner import Loss
from nnatomy.training.recipe import Recipe

Array = np.ndarray[Any, Any]

LARGEST = 2**30
"""The most bytes that the teacher's outputs may take."""


def distill(
    student: Any,
    teacher: str | Path,
    *,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
    report: bool = True,
    **options: Any,
) -> Result:
    """Train a model on the data and the split of a run, or of averaged predictions, with its outputs as soft targets.

    The loss is `Distillation`, whose `temperature` and `soft` are options; the others are those of `train`, without the data.
    Raises UserError for a teacher that does not fit.
    """
    run = Run.open(teacher)
    first = run.members[0] if run.members else run
    request = request_of(first)
    if "own" not in first.read_json("run.json"):
        check_files(first, request)
    for name in options:
        if name in OF_THE_TEACHER:
            raise UserError(f"A student learns from its teacher's data. Received {name}. Leave it out.")
    own = {name: getattr(request, name) for name in OF_THE_TEACHER if name != "data"} | {"split_seed": request.splits_by}
    data = request.data or architecture(request.architecture).recipes[0].data
    return train(
        student, data, out=out, callbacks=callbacks, progress=progress, report=report, teacher=str(Path(teacher).resolve()),
        **own, **options,
    )  # fmt: skip


class Distillation:
    """(1 - soft) L(z, y) + soft T^2 H(softmax(v / T), softmax(z / T)): the loss and the teacher's cross-entropy.

    z are the student's scores, v the teacher's, y the targets. T^2 keeps the size of the gradient, whose limit for large T is
    (z - v) / classes for scores of mean 0. Numbers instead of classes: (1 - soft) L(z, y) + soft mean (z - v)^2.
    Batches are (inputs..., softmax(v / T) or v, y).
    """

    def __init__(self, recipe: Recipe, classes: bool, temperature: float, soft: float) -> None:
        self.recipe, self.classes, self.temperature, self.soft = recipe, classes, temperature, soft
        self.loss: Loss = next(iter(recipe.learn.losses.values()))

    def __call__(self, model: Any, *batch: Tensor) -> tuple[Tensor, Any]:
        *inputs, answers, targets = batch
        hard, outputs = self.loss(model, *inputs, targets)
        return (1 - self.soft) * hard + self.soft * self.distillation_loss(self.recipe.decide(outputs), answers), outputs

    def distillation_loss(self, z: Tensor, answers: Tensor) -> Tensor:
        """Return the teacher's term of the loss.

        T^2 H(softmax(v / T), softmax(z / T)) for classes, mean (z - v)^2 for numbers.

        Args:
            z: student scores, (batch, classes)
            answers: softmax(v / T) of the teacher's scores v, or v itself for numbers; same shape

        Source: Hinton, Vinyals and Dean (2015), section 2.
        """
        if not self.classes:
            return F.mse_loss(z.reshape(answers.shape), answers)  # type: ignore[no-any-return]
        scores = two_scores(z)
        rows = (-1, scores.shape[-1])
        cross_entropy: Tensor = F.cross_entropy(scores.reshape(*rows) / self.temperature, answers.reshape(*rows))
        return self.temperature**2 * cross_entropy


@dataclass(frozen=True, repr=False)
class SplitWithTeacher(Split):
    """Examples with a teacher's outputs before their targets."""

    whole: Split
    answers: Array

    @property
    def fields(self) -> tuple[Field, ...]:
        *inputs, targets = self.whole.fields
        return *inputs, Field("answers", role="target"), targets

    def lengths(self) -> Array | None:
        return self.whole.lengths()

    def __len__(self) -> int:
        return len(self.whole)

    def take(self, indices: Array) -> tuple[Array, ...]:
        batch = self.whole.take(indices)
        return (*batch[:-1], self.answers[indices], batch[-1])


def add_teacher_outputs(prepared: Prepared) -> tuple[Dataset, LearnerSpec]:
    """Return the student's data with the teacher's outputs for each unchanged training example, and the loss.

    Raises UserError for a teacher of another task, data set or split, and where the outputs would not fit into memory.
    """
    request = prepared.request
    if not 0 <= request.soft <= 1:
        raise UserError(f"--soft must be from 0 to 1. Received {request.soft:g}. Use, for example, --soft 0.5.")
    run = Run.open(str(request.teacher))
    kept = random.default.state_dict()
    members = []
    for member in run.members or [run]:
        found = restore_with_data(member, backend=request.backend, device=request.device)
        check_alike(prepared, found, str(run.folder))
        members.append(found)
    random.default.load_state_dict(kept)
    teacher = ensemble(members) if len(members) > 1 else members[0]
    classes = prepared.task.outputs_are == "class scores"
    if not prepared.task.outputs_are or not prepared.task.needs_targets or prepared.recipe.learn.losses == {}:
        task = prepared.task.name
        raise UserError(
            f"A teacher predicts classes or numbers. Received {prepared.architecture.name} for {task}. Use nnatomy train."
        )
    answers = _answers(teacher, classes, request.temperature)
    learn = prepared.recipe.learn.with_loss(Distillation(prepared.recipe, classes, request.temperature, request.soft))
    return replace(prepared.dataset, train=SplitWithTeacher(prepared.dataset.train, answers)), learn


def _answers(teacher: Prepared, classes: bool, temperature: float) -> Array:
    parts: list[Array] = []
    for batch in batches(teacher.dataset.train, 256):
        exact = teacher.task.precision.evaluated(select(teacher.dataset.fields, batch, "input"))
        scores = np.asarray(teacher.recipe.decide(forward(teacher.model, exact)).data)
        if classes:
            scores = np.asarray(F.softmax(two_scores(scores) / temperature, axis=-1))
        parts.append(scores.astype(np.float32))
        if len(teacher.dataset.train) * parts[0][0].nbytes > LARGEST:
            raise UserError(
                f"A teacher's outputs must fit into {LARGEST >> 20} MiB. Received {len(teacher.dataset.train):,} examples. "
                "Train the teacher with --limit."
            )
    return np.concatenate(parts)


__all__ = ["Distillation", "distill"]
