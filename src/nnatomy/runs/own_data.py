"""Data that a user gives in Python: arrays, a data frame, a Dataset; and a substitute where it is not given again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy import data
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.runs.request import DataRequest


@dataclass(frozen=True)
class Absent:
    """Data or a loss of a run that was not given again; whatever needs it says so."""

    name: str

    def __call__(self, model: Any, *batch: Any) -> tuple[Any, Any]:
        raise UserError(f"This run's loss is your own, {self.name}. Received none. Give loss= to nn.load_run.")


def data_name(given: Any) -> str:
    """Return the name of a user's data in a run's folder."""
    if isinstance(given, Dataset | Absent):
        return given.name
    if _is_arrays(given):
        return "arrays"
    return "frame" if hasattr(given, "columns") else (given if isinstance(given, type) else type(given)).__name__


def load_own(
    given: Any, request: DataRequest, wanted: tuple[str, ...] | None = None, accepts: tuple[str, ...] = ()
) -> Dataset:
    """Return arrays, a frame or a Dataset as a data set. Raises UserError for another value, and for options of no effect."""
    if isinstance(given, Absent):
        raise UserError(f"This run's data are your own, {given.name}. Received none. Give data= to nn.load_run.")
    if isinstance(given, Dataset):
        _refuse(request, "a Dataset", ())
        return given
    if _is_arrays(given):
        _refuse(request, "arrays", ("limit",))
        x, y = given if isinstance(given, tuple | list) else (given, None)
        return data.from_arrays(x, y, accepts=accepts, seed=request.splits_by, limit=request.limit)
    if hasattr(given, "columns"):
        return data.from_frame(
            given, request.target, accepts=accepts or ("table",), tasks=wanted, keep=request.keep, types=request.types,
            labels=request.labels, window=request.window, horizon=request.horizon, groups=request.groups,
            seed=request.splits_by, limit=request.limit,
        )  # fmt: skip
    found = data.from_value(given, seed=request.splits_by, limit=request.limit)
    if found is not None:
        _refuse(request, f"an object of {data_name(given)}", ("limit",))
        return found
    raise UserError(
        f"Data are a name, a path, arrays (X, y), a data frame, an environment or a Dataset. Received "
        f"{type(given).__name__}. Convert it."
    )


def _is_arrays(given: Any) -> bool:
    return isinstance(given, np.ndarray) or (isinstance(given, tuple | list) and len(given) == 2)


def _refuse(request: DataRequest, what: str, allowed: tuple[str, ...]) -> None:
    for name in ("target", "keep", "types", "labels", "window", "horizon", "tokens", "limit", "groups"):
        if name not in allowed and getattr(request, name):
            raise UserError(f"The option {name} says how a file is read. Received it with {what}. Leave it out.")
