"""Restore a trained model from a run's folder; it needs only the folder, and a user's own model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy import backends, data
from nnatomy.catalog import Architecture
from nnatomy.catalog import architecture as find_architecture
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.runs.folder import Run
from nnatomy.runs.known import KnownData
from nnatomy.runs.own import NOTHING, Own, again, own_model
from nnatomy.runs.prepare import Prepared, fitting, prepare, recipes_of, requested
from nnatomy.runs.records import DataRecord
from nnatomy.runs.request import Request, request_of
from nnatomy.saved import plain_values
from nnatomy.tasks import task_for
from nnatomy.training.precision import PRECISIONS

RECORDED = tuple(DataRecord.__dataclass_fields__)

AGAIN = "Restore them, or train again."
"""The remedy where a run's data have changed."""


@dataclass(frozen=True)
class Restored:
    """A run with its trained model."""

    prepared: Prepared
    run: Run
    own: Own = NOTHING
    """The user's objects that were given again, for its data."""


def restore(
    folder: str | Path | Restored, *, backend: str | None = None, device: str | None = None, own: Own = NOTHING
) -> tuple[Prepared, Run]:
    """Return the trained model of a run, with the weights of its best epoch, and its folder.

    `backend`, `device`: where it computes, if not where the run was trained. A run that was restored is returned as it is.
    Its data set has the preprocessing and the sizes of the one it was trained on, and no examples.
    """
    if isinstance(folder, Restored):
        return folder.prepared, folder.run
    run = Run.open(folder)
    request = on_backend(request_of(run), backend, device)
    own = again(own_names(run), own, run.folder, trains=False)
    backends.use(request.backend, request.device)
    named = find_architecture(request.architecture) if own.model is None else None  # first: it may bring its kind of data
    dataset = dataset_of(run)
    architecture: Architecture
    if named is not None:
        architecture, recipe = named, fitting(named, dataset, recipes_of(named, request))
    else:
        architecture, dataset = own_model(own, dataset)
        recipe = architecture.recipe
    recipe, precision = requested(recipe, request), PRECISIONS[request.precision]
    model = recipe.build(dataset, **recipe.options).astype(precision.master)
    prepared = Prepared(request, architecture, recipe, dataset, model, task_for(recipe, dataset, precision), own=own)
    load_best(model, run)
    return prepared, run


def architecture_of(run: Run) -> Architecture:
    """Return the architecture of a run, without its model. Raises UserError for a user's own, which no name finds."""
    again(own_names(run), NOTHING, run.folder, trains=False)
    return find_architecture(request_of(run).architecture)


def restore_with_data(
    run: Run, *, backend: str | None = None, device: str | None = None, own: Own = NOTHING,
    remedy: str = AGAIN,
) -> Prepared:  # fmt: skip
    """Return the trained model of a run with all its data, read again; `remedy` is for data that have changed."""
    own = again(own_names(run), own, run.folder, trains=True)
    request = on_backend(request_of(run), backend, device)
    prepared = prepare_again(run, request, own, remedy)
    load_best(prepared.model, run)
    return prepared


def prepare_again(run: Run, request: Request, own: Own, remedy: str) -> Prepared:
    """Return a run's request made real again. Raises UserError, which ends with `remedy`, where its data have changed.

    Files are checked before they are read, the rows of each split and the preprocessing afterwards.
    """
    known = check_files(run, request, own, remedy)
    prepared = prepare(request, own)
    known.check(prepared.dataset, given=isinstance(own.data, Dataset))
    if not _alike(prepared.dataset.preprocessing.to_json(), run.read_json("preprocessing.json")):
        raise UserError(
            f"A run keeps to the preprocessing it was trained with. Received {prepared.dataset.name}, which gives another. "
            "Use the version of nnatomy that trained the run, or start a new run."
        )
    return prepared


def check_files(run: Run, request: Request, own: Own = NOTHING, remedy: str = AGAIN) -> KnownData:
    """Return what a run knows of its data. Raises UserError where their files have changed, before they are read."""
    known = KnownData.of(run.folder, remedy)
    if own.data is None:
        source = request.data
        if own.model is None:  # an architecture may bring its kind of data
            found = find_architecture(request.architecture)
            source = source or recipes_of(found, request)[0].data
        known.check_files(str(source), request.labels)
    return known


def _alike(found: Any, saved: Any) -> bool:
    """Return True for equal plain values; numbers may differ by the rounding of another processor."""
    if isinstance(found, Mapping) and isinstance(saved, Mapping):
        return found.keys() == saved.keys() and all(_alike(found[key], saved[key]) for key in found)
    if isinstance(found, list | tuple) and isinstance(saved, list | tuple):
        return len(found) == len(saved) and all(map(_alike, found, saved))
    if isinstance(found, float) and isinstance(saved, int | float):
        return math.isclose(found, saved, rel_tol=1e-6, abs_tol=1e-12) or found != found
    return bool(found == saved)


def plain_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return what `described` reads: all of a data set but its examples and its preprocessing, in plain values."""
    found: dict[str, Any] = plain_values(DataRecord(**{name: getattr(dataset, name) for name in RECORDED}))
    return found


def described(saved: DataRecord, preprocessing: data.Preprocessing) -> Dataset:
    """Return the data set, without examples, of a `plain_dataset` and a preprocessing."""
    nothing = data.ArraySplit(tuple(np.zeros(0) for _ in saved.fields), saved.fields)
    facts = {name: getattr(saved, name) for name in RECORDED if name != "fields"}
    return Dataset(train=nothing, validation=nothing, test=nothing, preprocessing=preprocessing, notices=(), **facts)


def dataset_of(run: Run) -> Dataset:
    """Return the data set of a run, without examples, from its folder."""
    saved = run.read_json("preprocessing.json")
    preprocessing = data.preprocessing_from_json(saved, str(run.folder / "preprocessing.json"))
    return described(run.read_as("dataset.json", DataRecord), preprocessing)


def own_names(run: Run) -> dict[str, Any]:
    """Return the names of a user's own objects that a run's folder keeps, without those that were not given."""
    return {name: value for name, value in vars(run.record().own).items() if value is not None}


def on_backend(request: Request, backend: str | None, device: str | None) -> Request:
    """Return the same request on another backend or device, in its weights' precision: those of any run are read anywhere."""
    if backend is None and device is None:
        return request
    return replace(request, backend=backend or request.backend, device=device, precision=PRECISIONS[request.precision].master)


def load_best(model: Module, run: Run) -> None:
    """Give a model the weights of a run's best epoch, or the last ones where no epoch has ended yet."""
    model.load_state_dict(run.weights())
    model.eval()

