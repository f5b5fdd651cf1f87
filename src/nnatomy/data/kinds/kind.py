"""A kind of data: everything about its data, in one object. Nothing else in the library checks which kind it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.columns import is_frame
from nnatomy.data.dataset import Batch, Dataset, Preprocessing, Split
from nnatomy.data.kinds.looks import Look, look_at
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.sets import Named
from nnatomy.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nnatomy.data.requests import RequestReader
    from nnatomy.tensor import Tensor

__all__ = ["BARELY", "NO", "PERHAPS", "SURELY", "ExportedInputs", "InputSpec", "Kind"]

Array = npt.NDArray[Any]
P = TypeVar("P", bound=Preprocessing)
NO, BARELY, PERHAPS, SURELY = range(4)
"""Confidence that a kind can read a source. BARELY: only where no other kind can, so that its reader reports the fault."""


@dataclass(frozen=True)
class InputSpec:
    """An input of an exported model: its name, the shape of one example, its type, what it holds, and a value to try."""

    name: str
    shape: tuple[int, ...]
    type: str  # "float32", "float64", "int64" or "string"
    holds: str
    typical: float | str = 0


class ExportedInputs:
    """The inputs of an exported model, which takes what a user has, and the way from them to the network's and back.

    This class is for a kind whose model takes the network's inputs as they are; a kind that prepares them overrides the rest.
    """

    pads_ends = False
    """True if examples shorter than the input are padded at their ends, so that a model may not look ahead."""

    def __init__(self, dataset: Dataset, *inputs: InputSpec) -> None:
        self.dataset = dataset
        self.inputs = inputs

    def encode(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Return the network's inputs for raw ones, in operations that are exported with the network."""
        return raw

    def decode(self, *inputs: Array) -> Batch:
        """Return raw inputs that become (nearly) these inputs of the network."""
        return inputs

    def made_up(self, rng: np.random.Generator, count: int) -> Batch:
        """Return random inputs of the network, `count` examples."""
        return (rng.normal(size=(count, *self.dataset.input_shape)).astype(np.float32),)

    def awkward(self, raw: Batch) -> Batch:
        """Return raw examples with what is hard in them: what is missing, what was never seen before."""
        return raw


class Kind(ABC, Generic[P]):
    """A kind of data: how a source is recognized and read, and how its examples are predicted, served, exported and shown.

    A folder in `data/kinds/` holds one as `KIND`; `register` adds one that is elsewhere. `name` is that of the preprocessing,
    which is saved with every run. Only `recognize`, `read`, `inputs` and `limits` must be written; what else is left out
    is refused in one sentence.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    """In the plural: "images"."""
    preprocessing: type[P]
    forms: ClassVar[tuple[str, ...]] = ()
    """Values of `Dataset.kind`, by which recipes choose: the kind's own name unless its data take the form of other kinds."""
    options: ClassVar[frozenset[str]] = frozenset()
    """Which options of `load` its readers take (see `reading.OPTIONS`), and "groups"."""
    endings: ClassVar[tuple[str, ...]] = ()
    """Of the files that it reads, for errors and help: ".csv". What is in a file decides, not its name."""
    folders: ClassVar[str] = ""
    """The folders that it reads, for errors: "one sub-folder of pictures for each class"."""
    sets: ClassVar[Mapping[str, Named]] = {}
    """Sets that have names."""
    labels_optional: ClassVar[bool] = False
    """True if an architecture that needs no targets can take labeled data of this kind."""
    ragged: ClassVar[bool] = False
    """True if examples differ in length, so that batches of equally many have other shapes."""

    def named(self, source: str) -> Named | None:
        """Return the set with this name where `sets` does not list it, such as "gymnasium:Acrobot-v1"; else None."""
        return None

    def value(self, value: Any, reading: Reading) -> Dataset | None:
        """Return a Python value that is data of this kind as a data set, such as an environment; None for other values."""
        return None

    def fitted(self, dataset: Dataset) -> P:
        """Return a data set's preprocessing, which is one of this kind."""
        assert isinstance(dataset.preprocessing, self.preprocessing)
        return dataset.preprocessing

    def takes_form(self, accepted: tuple[str, ...]) -> bool:
        """Return True if data of this kind can take one of the forms that an architecture accepts."""
        return any(form in accepted for form in self.forms or (self.name,))

    @abstractmethod
    def recognize(self, source: Source, reading: Reading) -> int:
        """Return how well the kind can read a source that exists: NO, BARELY, PERHAPS or SURELY."""

    @abstractmethod
    def read(self, source: Source, reading: Reading) -> Dataset:
        """Return the data set in a source. Rows are split by `reading` alone, and everything is fitted on training rows."""

    @abstractmethod
    def inputs(self, source: Source, preprocessing: P, raw: bool = False) -> Inputs:
        """Return the model's inputs in a file or folder; with `raw`, those of an exported model."""

    @abstractmethod
    def limits(self, dataset: Dataset) -> str:
        """Return what the preprocessing does to inputs that are new to it, as sentences for the model card."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return the files that a source consists of, which a run's fingerprint is made from; a folder's visible files."""
        if not path.is_dir():
            return (path,)
        found = (p for p in path.rglob("*") if not any(part.startswith(".") for part in p.relative_to(path).parts))
        return tuple(sorted(p for p in found if p.is_file()))

    def given(self, value: Any, preprocessing: P, raw: bool = False) -> Inputs:
        """Return the model's inputs in a Python value: a data frame is read as a file is."""
        if is_frame(value):
            return self.inputs(Source("frame", value), preprocessing, raw)
        raise UserError(f"A model of {self.noun} is given a file or folder. Received {type(value).__name__}. Give a path.")

    def examples(self, source: Source, preprocessing: P) -> tuple[Split, tuple[str, ...]]:
        """Return the labeled examples in a file or folder, and what was noticed."""
        raise UserError(f"Models of {self.noun} are not evaluated on files. Received {source}. Call them with arrays.")

    def given_examples(self, value: Any, preprocessing: P) -> tuple[Split, tuple[str, ...]]:
        """Return the labeled examples in a Python value, and what was noticed; a data frame is read as a file is."""
        if is_frame(value):
            return self.examples(Source("frame", value), preprocessing)
        raise UserError(f"A model of {self.noun} is evaluated on files. Received {type(value).__name__}. Give a path.")

    def reader(self, preprocessing: P, input_shape: tuple[int, ...]) -> RequestReader:
        """Return the reader of HTTP requests to a model."""
        raise UserError(
            f"A service needs a kind of data that HTTP requests can carry. Received {self.noun}. "
            "Use nnatomy predict, or predict from Python."
        )

    def exported(self, dataset: Dataset) -> ExportedInputs:
        """Return the inputs of an exported model. Raises UserError, the reason, where none can be exported."""
        raise UserError(f"Not every kind of data has an ONNX form. Received {self.noun}. Use --to safetensors.")

    def made(self, inputs: Array, dataset: Dataset) -> tuple[dict[str, Array], dict[str, Callable[[Path], None]]]:
        """Return examples that a model made, (n, ...), as a user wants them: columns, and functions that write files.

        The file that shows all of them together is named "samples".
        """
        raise UserError(f"Models of {self.noun} make no examples. Received a request for some. Use nnatomy predict.")

    def of_arrays(self, name: str, x: Any, y: Any, reading: Reading) -> Dataset | None:
        """Return the data set of arrays in Python that are of this kind; None where they are not."""
        return None

    def look(self, dataset: Dataset) -> Look:
        """Return how examples look, for reports and views."""
        return look_at(dataset)

    def show(self, axes: Axes, example: Batch, dataset: Dataset) -> None:
        """Draw the inputs of one example, a batch of one."""
        self.look(dataset).show(axes, example)
