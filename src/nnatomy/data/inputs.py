"""New data for a trained model: inputs to predict from, and labeled examples to evaluate on, read by the model's own kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnatomy.data import kinds
from nnatomy.data.dataset import Preprocessing, Split
from nnatomy.data.kinds import kind_of
from nnatomy.data.reading import Inputs, Source
from nnatomy.errors import UserError
from nnatomy.files import check_source
from nnatomy.printing import listed, shown
from nnatomy.saved import RESTORE

__all__ = ["Inputs", "load_examples", "load_inputs", "preprocessing_from_json"]


def preprocessing_from_json(saved: Any, where: str = "The preprocessing") -> Preprocessing:
    """Return the preprocessing that `to_json` wrote. Raises UserError, which names the file `where` it was, for others."""
    name = saved.get("kind") if isinstance(saved, Mapping) else None
    if not isinstance(name, str) or name not in kinds.names():
        raise UserError(f"{where}: kind must be one of {listed(kinds.names())}. Received {shown(name)}. {RESTORE}")
    try:
        restored: Preprocessing = kinds.kind(name).preprocessing.from_json(saved)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:  # of a kind that reads in its own way
        raise UserError(f"{where} must describe a preprocessing. Received {shown(error)}. {RESTORE}") from None
    return restored


def load_inputs(source: Any, preprocessing: Preprocessing, raw: bool = False) -> Inputs:
    """Return the model's inputs for a file of the kind it was trained on, or for a value such as an array or a data frame.

    Targets in it are passed over. With `raw`, the inputs are those of an exported model: see `Preprocessing.raw`.
    Raises UserError where the file is absent or does not fit what was trained on.
    """
    owner = kind_of(preprocessing)
    if not isinstance(source, str | Path):
        return owner.given(source, preprocessing, raw)
    return owner.inputs(_existing(source, preprocessing), preprocessing, raw)


def load_examples(source: Any, preprocessing: Preprocessing) -> tuple[Split, tuple[str, ...]]:
    """Return the examples in a file of the kind a model was trained on, targets included, and what was noticed.

    A value such as arrays (X, y) or a data frame takes the place of its file.

    Raises UserError where the source is absent, holds no targets, or does not fit what was trained on.
    """
    owner = kind_of(preprocessing)
    if not isinstance(source, str | Path):
        return owner.given_examples(source, preprocessing)
    return owner.examples(_existing(source, preprocessing), preprocessing)


def _existing(source: str | Path, preprocessing: Preprocessing) -> Source:
    found = Source(source, encoding=preprocessing.encoding)
    check_source(found.path)
    return found
