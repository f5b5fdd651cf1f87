"""Plain text: one long text as characters or tokens of bytes, of which a model predicts the next one."""

from __future__ import annotations

from nnatomy.data.dataset import Dataset, Split, WindowSplit
from nnatomy.data.formats import DELIMITED, PLAIN
from nnatomy.data.kinds.kind import BARELY, NO, PERHAPS, ExportedInputs, InputSpec, Kind
from nnatomy.data.kinds.looks import Look, Words
from nnatomy.data.kinds.text.sums import sums
from nnatomy.data.kinds.text.text import CharacterPreprocessing, load_text
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.data.sets import RAW, Made, Public
from nnatomy.errors import UserError


class TextKind(Kind[CharacterPreprocessing]):
    """Windows of a text, as numbers of characters or tokens."""

    name = "text"
    noun = "plain text"
    preprocessing = CharacterPreprocessing
    options = frozenset({"window", "encoding", "tokens"})
    endings = (".txt",)
    sets = {
        "sums": Made(sums),
        "tinyshakespeare": Public(
            "text/tinyshakespeare.txt",
            "1.1 million characters of Shakespeare (Karpathy 2015)",
            url=f"{RAW}/karpathy/char-rnn/6f9487a/data/tinyshakespeare/input.txt",
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
    }

    def recognize(self, source: Source, reading: Reading) -> int:
        if source.format == DELIMITED and source.suffix == ".txt":
            return BARELY
        return PERHAPS if source.format == PLAIN else NO

    def read(self, source: Source, reading: Reading) -> Dataset:
        return load_text(source, reading)

    def inputs(self, source: Source, preprocessing: CharacterPreprocessing, raw: bool = False) -> Inputs:
        if not source.text.strip():
            raise UserError(f"A text has at least one character. Received {source}, which is empty. Name another file.")
        return Inputs(preprocessing.transform(source.text), (source.path.name,))

    def examples(self, source: Source, preprocessing: CharacterPreprocessing) -> tuple[Split, tuple[str, ...]]:
        tokens = preprocessing.encode(source.text)
        split = WindowSplit(tokens, preprocessing.window, preprocessing.window)
        if not len(split):
            raise UserError(
                f"To evaluate, a text needs at least {preprocessing.window + 1} tokens. Received {source}, which has "
                f"{len(tokens)}. "
                "Give more."
            )
        unknown = int((tokens == 0).sum())
        notice = f"{unknown} characters do not occur in the training text; they count as unknown."
        return split, ((notice,) if unknown else ())

    def reader(self, preprocessing: CharacterPreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.text.request import PromptReader

        return PromptReader(preprocessing)

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.text.export import TextInputs

        holds = "places of the tokens in the vocabulary; 0 is an unknown one"
        return TextInputs(dataset, InputSpec("tokens", dataset.input_shape, "int64", holds))

    def limits(self, dataset: Dataset) -> str:
        fitted = self.fitted(dataset)
        if fitted.tokenizer:
            return f"It sees {fitted.window} tokens in one call."
        return f"It sees {fitted.window} characters in one call; those that its training text lacks count as one."

    def look(self, dataset: Dataset) -> Look:
        return Words(self.fitted(dataset).vocabulary, joined=True)


KIND = TextKind()
