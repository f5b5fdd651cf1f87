"""Data sets, readers for users' own files, and batches; `load` turns any source into a Dataset."""

from nnatomy.data.augment import Augmentation, augmentation
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
from nnatomy.data.examples import load_examples
from nnatomy.data.folds import Fold
from nnatomy.data.inputs import Inputs, load_inputs, preprocessing_from_json
from nnatomy.data.load import KINDS, TASKS, load, names

__all__ = [
    "KINDS",
    "TASKS",
    "ArraySplit",
    "Augmentation",
    "Column",
    "Dataset",
    "Fold",
    "Inputs",
    "Preprocessing",
    "RaggedSplit",
    "SeriesSplit",
    "Split",
    "SubsetSplit",
    "Timeline",
    "WindowSplit",
    "augmentation",
    "batches",
    "load",
    "load_examples",
    "load_inputs",
    "names",
    "preprocessing_from_json",
]
