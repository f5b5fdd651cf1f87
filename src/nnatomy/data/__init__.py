"""Data sets, readers for users' own files, and batches; `load` turns any source into a Dataset."""

from nnatomy.data.dataset import (
    ArraySplit,
    Column,
    Dataset,
    Preprocessing,
    RaggedSplit,
    SeriesSplit,
    Split,
    SubsetSplit,
    Timeline,
    WindowSplit,
    batches,
)
from nnatomy.data.load import KINDS, TASKS, load, names

__all__ = [
    "KINDS",
    "TASKS",
    "ArraySplit",
    "Column",
    "Dataset",
    "Preprocessing",
    "RaggedSplit",
    "SeriesSplit",
    "Split",
    "SubsetSplit",
    "Timeline",
    "WindowSplit",
    "batches",
    "load",
    "names",
]
