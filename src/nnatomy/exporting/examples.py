"""Raw examples to check an exported model on: those of a run's test data, converted back to users' form, or made-up ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nnatomy.data import fields
from nnatomy.data.dataset import generator
from nnatomy.data.kinds import ExportedInputs
from nnatomy.errors import UserError
from nnatomy.runs.prepare import Prepared, prepare

Arrays = tuple[np.ndarray[Any, Any], ...]


def examples(restored: Prepared, inputs: ExportedInputs, count: int) -> tuple[Arrays, bool]:
    """Return raw inputs of `count` examples, and True if they are the run's own; without its data they are made up."""
    if restored.task.export_inputs() is not None:  # they are not data
        return inputs.made_up(generator(0), count), False
    try:
        split = prepare(replace(restored.request, offline=True), restored.own).dataset.test
        places = np.linspace(0, len(split) - 1, count).round().astype(np.int64)
        return inputs.decode(*fields.select(split.fields, split.take(places), "input")), True
    except UserError:
        return inputs.decode(*inputs.made_up(generator(0), count)), False
