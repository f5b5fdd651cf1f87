"""A data set: three splits that yield arrays, the preprocessing that made them, and batches. Files are read elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from nnatomy.data import fields as batch_fields
from nnatomy.data.augment import augmented
from nnatomy.data.fields import Field
from nnatomy.errors import UserError
from nnatomy.saved import plain_values, typed
from nnatomy.showing import Face, Shown

if TYPE_CHECKING:
    from nnatomy.data.fingerprints import Origin

__all__ = [
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
    "generator",
]

Array = npt.NDArray[Any]
Batch = tuple[Array, ...]
Augment = Callable[[Array, np.random.Generator], Array]
Shuffle = int | np.random.Generator | Array | None


def generator(seed: int) -> np.random.Generator:
    """Return the NumPy generator that `seed` names; the same stream on every machine."""
    return np.random.Generator(np.random.Philox(seed))


class Split(ABC):
    """Examples that can be counted and taken by index; `fields` says what the arrays are that `take` returns."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """The meaning of each array of a batch; inputs and targets unless a split says otherwise."""
        return batch_fields.DEFAULT

    @property
    def ragged(self) -> bool:
        """True if batches of equally many examples may differ in shape."""
        return batch_fields.ragged(self.fields)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, indices: Array) -> Batch: ...

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self):,} examples of {', '.join(field.name for field in self.fields)}>"

    def lengths(self) -> Array | None:
        """Return the length of each example, by which batches are grouped; None where all are alike."""
        return None

    def all(self) -> Batch:
        """Return every example as one batch."""
        return self.take(np.arange(len(self)))


@dataclass(frozen=True, repr=False)
class ArraySplit(Split):
    """Examples held as arrays, for instance (inputs, targets) of equal length, or graphs joined to one."""

    arrays: tuple[Array, ...]
    named: tuple[Field, ...] = batch_fields.DEFAULT

    @property
    def fields(self) -> tuple[Field, ...]:
        return self.named

    def __len__(self) -> int:
        return batch_fields.count(self.named, self.arrays)

    def take(self, indices: Array) -> Batch:
        if batch_fields.per_row(self.named):
            return tuple(array[indices] for array in self.arrays)
        return batch_fields.take(self.named, self.arrays, indices)


@dataclass(frozen=True, repr=False)
class WindowSplit(Split):
    """Windows over one long text: `take` gives (tokens[B, T], next_tokens[B, T]), the second one place further on."""

    tokens: Array
    length: int
    stride: int

    @property
    def fields(self) -> tuple[Field, ...]:
        return Field("tokens", like="tokens"), Field("following", role="target", like="tokens")

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - self.length - 1) // self.stride + 1)

    def take(self, indices: Array) -> Batch:
        rows = np.asarray(indices)[:, None] * self.stride + np.arange(self.length)
        return self.tokens[rows], self.tokens[rows + 1]


@dataclass(frozen=True, repr=False)
class SeriesSplit(Split):
    """Windows over a series: `take` gives (past[B, T, F], future[B, H, outputs]); window i starts at row i * stride."""

    values: Array  # [rows, F]
    targets: tuple[int, ...]  # which columns are predicted
    past: int
    horizon: int
    stride: int = 1

    def __len__(self) -> int:
        return max(0, (len(self.values) - self.past - self.horizon) // self.stride + 1)

    def take(self, indices: Array) -> Batch:
        starts = np.asarray(indices)[:, None] * self.stride
        future = self.values[starts + self.past + np.arange(self.horizon)]
        return self.values[starts + np.arange(self.past)], future[:, :, list(self.targets)]


@dataclass(frozen=True, repr=False)
class RaggedSplit(Split):
    """Sequences of different lengths: `take` gives (tokens[B, T] padded to the batch's longest, lengths[B], labels[B])."""

    sequences: tuple[Array, ...]
    labels: Array
    padding: int = 0

    @property
    def fields(self) -> tuple[Field, ...]:
        tokens = Field("tokens", ragged=1, fill=self.padding, like="tokens")
        return tokens, Field("lengths"), Field("labels", role="target")

    def lengths(self) -> Array:
        return np.array([len(sequence) for sequence in self.sequences], np.int64)

    def __len__(self) -> int:
        return len(self.sequences)

    def take(self, indices: Array) -> Batch:
        chosen = [self.sequences[int(i)] for i in indices]
        lengths = np.array([len(s) for s in chosen], dtype=np.int64)
        tokens = np.full((len(chosen), int(lengths.max(initial=1))), self.padding, dtype=np.int64)
        for row, sequence in zip(tokens, chosen, strict=True):
            row[: len(sequence)] = sequence
        return tokens, lengths, self.labels[indices]


@dataclass(frozen=True, repr=False)
class SubsetSplit(Split):
    """Some examples of another split, by index."""

    whole: Split
    indices: Array

    @property
    def fields(self) -> tuple[Field, ...]:
        return self.whole.fields

    def lengths(self) -> Array | None:
        whole = self.whole.lengths()
        return None if whole is None else whole[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Array) -> Batch:
        return self.whole.take(self.indices[indices])


class Preprocessing(ABC):
    """The conversion of raw input to arrays; fitted on the training split only, and saved with the model as JSON.

    A dataclass of plain values is saved field by field, and each is compared with its declared type when it is read again.
    Another class overrides `to_json` and `from_json`.
    """

    kind: ClassVar[str]
    encoding: str = ""
    """Of the files for training, where they are texts in another encoding than UTF-8."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values from which `from_json` restores this object; includes "kind"."""
        return {"kind": self.kind, **plain_values(self)}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """Return what `to_json` described. Raises UserError for other values."""
        return typed(cls, saved)

    @abstractmethod
    def transform(self, raw: Any) -> Batch:
        """Return the model's inputs for raw input of this kind, without targets."""

    def raw(self, given: Any) -> Batch:
        """Return what an exported model takes for `given`: before numbers are scaled and categories become features."""
        return self.transform(given)

    def prepare(self, *raw: Array) -> Batch:
        """Return the inputs that `transform` gives, from what `raw` gives."""
        return raw

    def inverse(self, inputs: Any) -> Any:
        """Return inputs of the model, arrays or Tensors, in the units of the user's file; as they are if nothing was scaled."""
        return inputs

    def inverse_targets(self, targets: Array) -> Array:
        """Return targets or predictions in the units of the user's file; unchanged where nothing was scaled."""
        return targets


@dataclass(frozen=True)
class Column:
    """The inferred properties of one column of a table, to show to the user."""

    name: str
    type: str  # "numeric", "boolean", "categorical", "date", "text", "identifier", "constant", "empty"
    role: str  # "input", "target" or "left out"
    missing: int
    distinct: int
    examples: tuple[str, ...]
    outliers: int = 0


@dataclass(frozen=True)
class Timeline:
    """The raw series behind windows, for plotting scores over time."""

    times: Array  # datetime64[s], [rows]
    values: Array  # [rows, F], in the file's units
    columns: tuple[str, ...]
    window: int
    test_starts: Array  # first row of each test window
    labeled: tuple[tuple[str, str], ...] = ()  # labeled intervals, ISO times


@dataclass(frozen=True, repr=False)
class Dataset(Shown):
    """A data set ready for training; floats are float32, class ids and tokens int64."""

    name: str
    kind: str  # the name of a kind of data: "table", "image", "pairs", ...
    task: str  # the name of a task: "classification", "translation", "generation", ...
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    notices: tuple[str, ...]
    input_shape: tuple[int, ...]  # of one example
    description: str
    outputs: int  # classes, regression targets, vocabulary size, predicted columns
    columns: tuple[Column, ...] = ()
    timeline: Timeline | None = None
    ordered: bool = False  # whether the parts follow each other in time
    origin: Origin | None = None  # where it was read from; None for one that a user made

    def face(self) -> Face:
        sizes = {"training": len(self.train), "validation": len(self.validation), "test": len(self.test)}
        about = {"task": self.task, "example": " x ".join(map(str, self.input_shape)), "outputs": self.outputs}
        return Face.of(f"{self.name}: {self.description}", about | {k: f"{n:,}" for k, n in sizes.items()})

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of a batch."""
        return self.train.fields

    @property
    def input_fields(self) -> tuple[Field, ...]:
        """The fields that prediction has."""
        return tuple(field for field in self.train.fields if field.role == "input")


def split_of(arrays: Split | tuple[Array, ...]) -> Split:
    """Return arrays of equal length as a split, the last one its targets where there are several; a split as it is.

    Raises UserError where the lengths differ or there is no array.
    """
    if isinstance(arrays, Split):
        return arrays
    given = tuple(map(np.asarray, arrays))
    lengths = [len(array) if array.ndim else 0 for array in given]
    if not given or len(set(lengths)) > 1:
        raise UserError(f"Arrays of a batch have a row for each example. Received lengths {lengths}. Cut them alike.")
    names = [Field(f"inputs {n + 1}" if n else "inputs") for n in range(max(1, len(given) - 1))]
    return ArraySplit(given, (*names, Field("targets", role="target"))[: len(given)])


def batches(
    split: Split | tuple[Array, ...],
    batch_size: int,
    shuffle: Shuffle = None,
    *,
    drop_last: bool = False,
    augment: Augment | None = None,
    start: int = 0,
    part: Callable[[Array], Array] | None = None,
) -> Iterator[Batch]:
    """Yield the batches of one epoch of a split, or of arrays (X, y); `shuffle` alone decides their order and augmentation.

    `shuffle` is a seed, a generator (one permutation and one integer are drawn from it), a permutation, or None for the
    order of the split. Batch k is the same whether or not those before it were made: `start=k` continues an epoch exactly.
    `part` chooses which of a batch's indices are taken; all if None. Raises UserError where `batch_size` is below 1.
    """
    if batch_size < 1:
        raise UserError(f"A batch holds at least one example. Received batch size {batch_size}. Give 1 or more.")
    split = split_of(split)
    order, key = _order(len(split), shuffle)
    if isinstance(shuffle, int | np.random.Generator):
        order = _grouped(order, split.lengths(), batch_size, key)
    stop = len(order) - len(order) % batch_size if drop_last else len(order)
    for number in range(start, -(-stop // batch_size)):
        chosen = order[number * batch_size : min((number + 1) * batch_size, stop)]
        batch = split.take(chosen if part is None else part(chosen))
        if augment is not None:
            batch = augmented(augment, split.fields, batch, np.random.Generator(np.random.Philox(key=[key, number])))
        yield batch


WINDOW = 32  # batches among which examples of like length come together


def _grouped(order: Array, lengths: Array | None, batch_size: int, key: int) -> Array:
    """The order with examples of like length in one batch: sorted within a window of batches, which are then shuffled."""
    if lengths is None:
        return order
    rng = np.random.Generator(np.random.Philox(key=[key, 2**32]))
    parts = []
    for start in range(0, len(order), WINDOW * batch_size):
        window = order[start : start + WINDOW * batch_size]
        window = window[np.argsort(lengths[window], kind="stable")]
        whole = len(window) // batch_size * batch_size
        turns = rng.permutation(whole // batch_size)
        parts += [window[:whole].reshape(-1, batch_size)[turns].reshape(-1), window[whole:]]
    return np.concatenate(parts) if parts else order


def _order(n: int, shuffle: Shuffle) -> tuple[Array, int]:
    if shuffle is None:
        return np.arange(n), 0
    if isinstance(shuffle, np.ndarray):
        return shuffle, int(shuffle[0]) if len(shuffle) else 0
    rng = shuffle if isinstance(shuffle, np.random.Generator) else generator(shuffle)
    return rng.permutation(n), int(rng.integers(2**63))
