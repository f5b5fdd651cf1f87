"""Plain text as sentences with masked tokens: which tokens were there, and how two sentences belong together."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnatomy.data.dataset import Dataset, Split
from nnatomy.data.formats import PLAIN
from nnatomy.data.kinds.kind import BARELY, NO, PERHAPS, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Look, Words
from nnatomy.data.kinds.passages.passages import PassagePreprocessing, documents_of, load_passages, masked_pairs
from nnatomy.data.kinds.passages.stories import stories
from nnatomy.data.lines import lines
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.data.sets import Made
from nnatomy.data.wordpiece import UNKNOWN
from nnatomy.errors import UserError


class PassagesKind(Kind[PassagePreprocessing]):
    """Pairs of sentences, as numbers of word pieces, some of them masked."""

    name = "passages"
    noun = "plain text in sentences"
    preprocessing = PassagePreprocessing
    options = frozenset({"window", "encoding", "tokens", "pairs"})
    endings = (".txt",)
    sets = {"stories": Made(stories)}

    def recognize(self, source: Source, reading: Reading) -> int:
        if source.format != PLAIN:
            return NO
        return BARELY if reading.any_task else PERHAPS  # a plain text is a text first

    def read(self, source: Source, reading: Reading) -> Dataset:
        return load_passages(source, reading)

    def inputs(self, source: Source, preprocessing: PassagePreprocessing, raw: bool = False) -> Inputs:
        if not source.text.strip():
            raise UserError(f"A file of texts has one a line. Received {source}, which is empty. Add lines.")
        return self.given(lines(source.text), preprocessing, raw)

    def given(self, value: Any, preprocessing: PassagePreprocessing, raw: bool = False) -> Inputs:
        texts = [value] if isinstance(value, str) else value
        if not (isinstance(texts, list | tuple) and texts and all(isinstance(text, str) for text in texts)):
            return super().given(value, preprocessing, raw)
        arrays = preprocessing.transform(texts)
        unknown = int((arrays[0] == UNKNOWN).sum())
        notices = (f"{unknown} words do not occur in the training text; they count as unknown.",) if unknown else ()
        return Inputs(arrays, tuple(str(n + 1) for n in range(len(texts))), notices, {"text": tuple(texts)})

    def examples(self, source: Source, preprocessing: PassagePreprocessing) -> tuple[Split, tuple[str, ...]]:
        documents = documents_of(source.text, preprocessing.pieces.encode)
        split = masked_pairs(documents, preprocessing, np.random.Generator(np.random.Philox(0)))
        if not len(split):
            raise UserError(f"To evaluate, a text needs two sentences. Received {source}, which has fewer. Give more.")
        return split, ("The masks are drawn again, the same ones at each evaluation.",)

    def reader(self, preprocessing: PassagePreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.passages.request import PassageReader

        return PassageReader(preprocessing)

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.passages.export import PassageInputs

        return PassageInputs(dataset)

    def limits(self, dataset: Dataset) -> str:
        fitted = self.fitted(dataset)
        return f"It reads {fitted.window} tokens of lower-case text; words that its vocabulary cannot write count as one."

    def look(self, dataset: Dataset) -> Look:
        return Words(self.fitted(dataset).vocabulary, joined=False)


KIND = PassagesKind()
