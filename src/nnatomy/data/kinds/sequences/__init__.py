"""Sequences of numbers, made on the spot, for architectures that read series. They come from no file."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.kind import NO, ExportedInputs, InputSpec, Kind
from nnatomy.data.kinds.sequences.sequences import SequencePreprocessing, sequences
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.data.sets import Made
from nnatomy.errors import UserError


class SequencesKind(Kind[SequencePreprocessing]):
    """Whole sequences with one number to be found."""

    name = "sequences"
    noun = "sequences"
    forms = ("series",)
    preprocessing = SequencePreprocessing
    options = frozenset({"window"})
    sets = {name: Made(partial(sequences, name)) for name in ("narma10", "adding_problem")}

    def recognize(self, source: Source, reading: Reading) -> int:
        return NO

    def read(self, source: Source, reading: Reading) -> Dataset:
        raise UserError(f"Sequences are made, not read. Received {source}. Use nnatomy.data.from_arrays for your own.")

    def inputs(self, source: Source, preprocessing: SequencePreprocessing, raw: bool = False) -> Inputs:
        raise UserError(f"A model of sequences is not given files. Received {source}. Call it from Python with arrays.")

    def given(self, value: Any, preprocessing: SequencePreprocessing, raw: bool = False) -> Inputs:
        arrays = preprocessing.transform(np.asarray(value))
        return Inputs(arrays, tuple(str(n + 1) for n in range(len(value))))

    def reader(self, preprocessing: SequencePreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.sequences.request import SequenceReader

        return SequenceReader(preprocessing, input_shape[0])

    def exported(self, dataset: Dataset) -> ExportedInputs:
        return ExportedInputs(
            dataset, InputSpec("sequence", dataset.input_shape, "float32", "steps and their numbers, as they are")
        )

    def limits(self, dataset: Dataset) -> str:
        return f"It sees sequences of {' × '.join(map(str, dataset.input_shape))} (steps × numbers)."


KIND = SequencesKind()
