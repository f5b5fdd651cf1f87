"""`predict` with an exported model: the file, the description next to it and ONNX Runtime give the outputs of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy import data
from nnatomy.catalog import architecture as find_architecture
from nnatomy.errors import UserError
from nnatomy.exporting.exporting import DESCRIPTION
from nnatomy.interchange.onnx import run, session
from nnatomy.printing import shown
from nnatomy.runs.answers import named
from nnatomy.runs.options import absolute_source
from nnatomy.runs.prepare import fitting
from nnatomy.runs.progress import log
from nnatomy.runs.records import DataRecord
from nnatomy.runs.restore import described
from nnatomy.saved import read_json, typed
from nnatomy.tasks import Answer, Task, task_for
from nnatomy.training.recipe import Recipe

Array = np.ndarray[Any, Any]
Arrays = tuple[Array, ...]
PIECE = 256  # examples in one call
EXPORT = "Export the run again."


@dataclass(frozen=True)
class Description:
    """The description next to a model, as far as it is read again."""

    format: str
    architecture: str
    dataset: DataRecord
    preprocessing: Mapping[str, Any]


def predict_exported(model: str | Path, source: Any, *, progress: bool = False) -> Answer:
    """Return the predictions of an exported .onnx file for a file of data; the first column names the rows.

    Needs the description that was written next to the model. With `progress`, notices about the data are printed.
    """
    path = Path(model).expanduser()
    task = _task(path)
    if task.export_inputs() is not None:
        raise UserError(f"{path} takes no data. Received {source}. Call it as MODEL.md says.")
    opened = _Opened(path, task)
    inputs = data.load_inputs(absolute_source(source), task.dataset.preprocessing, raw=True)
    if progress:
        log(inputs.notices)
    return named(task.answer_from(opened, inputs.arrays), inputs)


def _task(path: Path) -> Task:
    """The task of the description next to a model."""
    if not path.is_file():
        raise UserError(
            f"The file must exist. Received {path}, which does not. Name a run, or a file that nnatomy export wrote."
        )
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise UserError(
            f"A model is used with the description that was exported with it. Received {beside}, which is absent. Copy it "
            "there."
        )
    saved = typed(Description, read_json(beside, EXPORT), str(beside), EXPORT, other_keys=True)
    if saved.format != DESCRIPTION:
        raise UserError(f"{beside} must have the format {DESCRIPTION!r}. Received {shown(saved.format)}. {EXPORT}")
    architecture = find_architecture(saved.architecture)  # first: it may bring its kind of data
    dataset = described(saved.dataset, data.preprocessing_from_json(saved.preprocessing, str(beside)))
    recipe: Recipe = fitting(architecture, dataset)
    return task_for(replace(recipe, decide=lambda outputs: outputs), dataset)  # the exported model has decided


class _Opened:
    """An exported model: from raw inputs to the decoded first output."""

    def __init__(self, path: Path, task: Task) -> None:
        self._path = path
        try:
            self._session = session(path)
        except UserError:
            raise
        except Exception:  # ONNX Runtime raises its own types
            raise UserError(f"A model is a whole ONNX file. Received {path}, which is damaged or another. {EXPORT}") from None
        self._shapes = [given.shape for given in self._session.get_inputs()]
        if self._session.get_outputs()[0].name.rstrip("_") != task.gives[0][0]:
            raise _apart(path)

    def __call__(self, inputs: Arrays) -> Array:
        """Return the model's first output in float64; text shorter than its window is padded with 0, and has more steps."""
        if len(inputs) < len(self._shapes):
            raise _apart(self._path)
        inputs = inputs[: len(self._shapes)]  # the rest is for the task's prediction
        try:
            parts = [self._run(tuple(a[i : i + PIECE] for a in inputs)) for i in range(0, len(inputs[0]), PIECE)]
        except Exception as problem:  # ONNX Runtime raises its own types
            raise _apart(self._path) from problem
        return np.concatenate(parts).astype(np.float64)

    def _run(self, inputs: Arrays) -> Array:
        return np.asarray(run(self._session, *(_filled(a, shape) for a, shape in zip(inputs, self._shapes)))[0])


def _apart(path: Path) -> UserError:
    return UserError(
        f"A model and the description next to it belong together. Received {path} with that of another model. {EXPORT}"
    )


def _filled(array: Array, shape: list[Any]) -> Array:
    if array.dtype.kind not in "iu" or array.ndim != 2:
        return array
    return np.pad(array, ((0, 0), (0, max(shape[1] - array.shape[1], 0))))
