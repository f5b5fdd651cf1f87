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
from nnatomy.data.fingerprints import Fingerprint, digest, fingerprint
from nnatomy.data.folds import Fold
from nnatomy.data.inputs import Inputs, load_examples, load_inputs, preprocessing_from_json
from nnatomy.data.load import changed, from_arrays, from_frame, from_value, load, names
from nnatomy.data.reading import TASKS, Parts, Reading, Source

__all__ = [
    "TASKS",
    "ArraySplit",
    "Augmentation",
    "Column",
    "Dataset",
    "Fingerprint",
    "Fold",
    "Inputs",
    "Parts",
    "Preprocessing",
    "RaggedSplit",
    "Reading",
    "SeriesSplit",
    "Source",
    "Split",
    "SubsetSplit",
    "Timeline",
    "WindowSplit",
    "augmentation",
    "batches",
    "changed",
    "digest",
    "fingerprint",
    "from_arrays",
    "from_frame",
    "from_value",
    "load",
    "load_examples",
    "load_inputs",
    "names",
    "preprocessing_from_json",
]
