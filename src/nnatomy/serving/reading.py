"""From a request's body to the model's inputs: what each kind of data may be sent as, checked against what was trained on."""

from __future__ import annotations

import io
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nnatomy.data.columns import number, truth
from nnatomy.data.csvfile import MISSING, RawTable, parse_csv
from nnatomy.data.dataset import Batch, Preprocessing
from nnatomy.data.encoding import TablePreprocessing
from nnatomy.data.generated import SequencePreprocessing
from nnatomy.data.images import ImagePreprocessing, decode_image
from nnatomy.data.sentences import WordPreprocessing
from nnatomy.data.series import SeriesPreprocessing
from nnatomy.data.text import CharacterPreprocessing
from nnatomy.errors import UserError, nearest_name
from nnatomy.serving.refusals import MALFORMED, TOO_LARGE, UNFIT, UNSUPPORTED, Refusal

JSON, CSV, TEXT = "application/json", "text/csv", "text/plain"
PICTURES = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif", "image/tiff")
LARGEST_SIDE = 4096  # of a picture, in pixels
BODY = "The body"


class Reader(ABC):
    """Reads requests for a model of one kind of data."""

    accepts: tuple[str, ...]
    most_rows: int = 4096

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What a request holds, in plain values: "inputs", and "example", a body that is answered."""

    @abstractmethod
    def _json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        """Inputs and notices of a JSON object."""

    @abstractmethod
    def _other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        """The same of a body of another type that is accepted."""

    def _counted(self, rows: int) -> None:
        """Refuses too many rows, before they take memory."""
        if rows > self.most_rows:
            raise Refusal(TOO_LARGE, f"A request holds at most {self.most_rows} rows, received {rows}; send several.")

    def read(self, content_type: str, body: bytes) -> tuple[Batch, list[str]]:
        """The model's inputs, and what was noticed. Raises Refusal with a 4xx status for all that does not fit."""
        kind = content_type.partition(";")[0].strip().lower()
        if kind not in self.accepts:
            received = f"received {kind!r}" if kind else "received none"
            raise Refusal(UNSUPPORTED, f"The Content-Type must be {' or '.join(self.accepts)}, {received}; set that header.")
        if not body:
            raise Refusal(MALFORMED, "A request needs a body, received none; GET /schema shows one.")
        try:
            arrays, notices = self._json(_object(body)) if kind == JSON else self._other(kind, body)
        except Refusal:
            raise
        except UserError as problem:
            raise Refusal(UNFIT, str(problem)) from None
        if any(a.dtype.kind == "f" and not np.isfinite(a).all() for a in arrays):
            raise Refusal(UNFIT, "Inputs must be finite numbers, received some that are not; leave them out or send null.")
        return arrays, notices


def _object(body: bytes) -> Mapping[str, Any]:
    def constant(name: str) -> Any:
        raise Refusal(MALFORMED, f"JSON has no {name}; send null for a missing value.")

    try:
        value = json.loads(body, parse_constant=constant)
    except Refusal:
        raise
    except (ValueError, RecursionError) as problem:
        where = f"at byte {problem.pos}" if isinstance(problem, json.JSONDecodeError) else "in its encoding or depth"
        raise Refusal(MALFORMED, f"The body must be JSON in UTF-8, received something else ({where}); mend it.") from None
    if not isinstance(value, dict):
        raise Refusal(UNFIT, f"The body must be a JSON object, received {_kind(value)}; GET /schema shows one.")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _only(value: Mapping[str, Any], name: str) -> Any:
    """The one member that a body has."""
    if set(value) != {name}:
        received = ", ".join(repr(k[:40]) for k in list(value)[:5]) or "none"
        raise Refusal(UNFIT, f"The JSON object has one member, {name!r}, received {received}; GET /schema shows it.")
    return value[name]


def _list(value: Any, name: str, kind: type, what: str) -> list[Any]:
    if not isinstance(value, list) or not value or not all(isinstance(item, kind) for item in value):
        raise Refusal(UNFIT, f"{name!r} must be an array of at least one {what}, received another value; mend it.")
    return value


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise Refusal(MALFORMED, f"Text must be UTF-8, the body is not (byte {problem.start}); encode it again.") from None


def _cell(value: Any, name: str) -> str:
    """A JSON value as a table's cell; "" where it is missing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            raise Refusal(UNFIT, f"{name!r} must be a finite number, received one that is too large; send null if unknown.")
        return str(value) if abs(value) < 1e300 else "1e300"
    if isinstance(value, str):
        return "" if value.strip().lower() in MISSING else value.strip()
    raise Refusal(UNFIT, f"{name!r} must be a number, text, true, false or null, received {_kind(value)}; send one of these.")


def _table(value: Mapping[str, Any], needed: Sequence[str], allowed: Sequence[str | None]) -> RawTable:
    """The table of {"rows": [{column: value}, ...]}; every row has the needed columns, and no others but the allowed ones."""
    rows = _list(_only(value, "rows"), "rows", dict, "object")
    for number_of, row in enumerate(rows, 1):
        for name in needed:
            if name not in row:
                raise Refusal(UNFIT, f"Every row needs the member {name!r}, row {number_of} lacks it; send null if unknown.")
        for name in row:
            if name not in needed and name not in allowed:
                near = nearest_name(name, needed)
                remedy = f"did you mean {near!r}?" if near else "leave it out."
                raise Refusal(UNFIT, f"The model knows no {name[:60]!r}, row {number_of} has it; {remedy}")
    return RawTable({name: [_cell(row[name], name) for row in rows] for name in needed}, BODY)


class TableReader(Reader):
    """Rows of a table, as JSON objects or as CSV."""

    accepts = (JSON, CSV)

    def __init__(self, preprocessing: TablePreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        inputs: list[dict[str, Any]] = []
        example: dict[str, Any] = {}
        for field in self.preprocessing.fields:
            shown: dict[str, Any] = {"name": field.name, "type": field.type, "missing": "null; it is filled in"}
            if field.type == "categorical":
                shown["levels"] = list(field.levels)
            inputs.append(shown)
            fill = field.fill
            if field.type == "boolean":
                fill = bool(fill)
            elif field.type == "date":
                fill = str(np.datetime64(int(float(fill)), "D"))
            example[field.name] = fill
        return {"inputs": inputs, "example": {"rows": [example]}}

    def _json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        names = [field.name for field in self.preprocessing.fields]
        return self._encoded(_table(value, names, [self.preprocessing.target]))

    def _other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        return self._encoded(parse_csv(_text(body), BODY))

    def _encoded(self, table: RawTable) -> tuple[Batch, list[str]]:
        self._counted(len(table))
        reads: dict[str, Callable[[Sequence[str]], Any]] = {
            "numeric": lambda cells: np.array([number(c) for c in cells]), "boolean": truth,
        }  # fmt: skip
        for field in self.preprocessing.fields:
            cells = table.columns.get(field.name, [])
            if field.type not in reads:
                continue
            for row, (cell, found) in enumerate(zip(cells, reads[field.type](cells), strict=True), 1):
                if cell and not np.isfinite(found):
                    what = "a number" if field.type == "numeric" else "true or false"
                    raise Refusal(UNFIT, f"{field.name!r} must be {what}, row {row} has {cell[:60]!r}; send null if unknown.")
        return self.preprocessing.encode(table)


class SeriesReader(Reader):
    """Rows of a time series, as JSON objects or as CSV."""

    accepts = (JSON, CSV)

    def __init__(self, preprocessing: SeriesPreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        p = self.preprocessing
        inputs = [{"name": p.time, "type": "time, ISO 8601"}, *({"name": c, "type": "numeric"} for c in p.columns)]
        step = p.seconds or 3600
        times = [str(np.datetime64(i * step, "s")).replace("T", " ") for i in range(p.window)]
        means = {c: round(m, 6) for c, m in zip(p.columns, p.mean, strict=True)}
        rows = [{p.time: t, **means} for t in times]
        return {"inputs": inputs, "rows": f"at least {p.window}", "example": {"rows": rows}}

    def _json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        return self._windows(_table(value, (self.preprocessing.time, *self.preprocessing.columns), []))

    def _other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        return self._windows(parse_csv(_text(body), BODY))

    def _windows(self, table: RawTable) -> tuple[Batch, list[str]]:
        self._counted(len(table))
        return self.preprocessing.transform(table), []


class ImageReader(Reader):
    """A picture's file, or pixels as JSON."""

    accepts = (JSON, *PICTURES)

    def __init__(self, preprocessing: ImagePreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        p = self.preprocessing
        height, width = p.size
        shape = f"[image][{'' if len(p.mean) == 1 else 'red, green, blue]['}row][column]"
        inputs = [{"name": "images", "type": f"numbers from 0 to {p.largest:g}, {shape}", "size": [height, width]}]
        plane = [[0] * width for _ in range(height)]
        return {"inputs": inputs, "example": {"images": [plane if len(p.mean) == 1 else [plane] * len(p.mean)]}}

    def _json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        p = self.preprocessing
        images = _numbers(_only(value, "images"), "images")
        if images.ndim == 3 and len(p.mean) == 1:
            images = images[:, None]
        if images.ndim != 4 or images.shape[1] != len(p.mean) or 0 in images.shape:
            raise Refusal(UNFIT, f"'images' must be numbers {self.describe()['inputs'][0]['type'].partition(', ')[2]}, "
                                 f"received the shape {list(images.shape)}; nest them so.")  # fmt: skip
        self._counted(len(images))
        if max(images.shape[2:]) > LARGEST_SIDE:
            raise Refusal(UNFIT, f"A picture's sides are at most {LARGEST_SIDE} pixels, received {max(images.shape[2:])}; "
                                 "make it smaller.")  # fmt: skip
        if images.min() < 0 or images.max() > p.largest:
            raise Refusal(UNFIT, f"Pixels lie between 0 and {p.largest:g}, received {images.min():g} to {images.max():g}; "
                                 "scale them so.")  # fmt: skip
        return p.transform(images), []

    def _other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        p = self.preprocessing
        pixels = decode_image(io.BytesIO(body), len(p.mean) == 1, BODY, LARGEST_SIDE)
        return p.transform(pixels[None] * (p.largest / 255.0)), []


class SequenceReader(Reader):
    """Sequences of numbers as JSON."""

    accepts = (JSON,)

    def __init__(self, preprocessing: SequencePreprocessing, steps: int) -> None:
        self.preprocessing, self.steps = preprocessing, steps

    def describe(self) -> dict[str, Any]:
        features = self.preprocessing.features
        inputs = [{"name": "sequences", "type": "numbers, [sequence][step][feature]", "features": features}]
        return {"inputs": inputs, "example": {"sequences": [[[0.5] * features] * self.steps]}}

    def _json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        sequences = _numbers(_only(value, "sequences"), "sequences")
        if sequences.ndim != 3 or 0 in sequences.shape:
            raise Refusal(UNFIT, f"'sequences' must be numbers [sequence][step][feature], received the shape "
                                 f"{list(sequences.shape)}; nest them so.")  # fmt: skip
        self._counted(len(sequences))
        return self.preprocessing.transform(sequences), []

    def _other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        raise Refusal(UNSUPPORTED, f"The Content-Type must be {JSON}, received {kind!r}; set that header.")


class SentenceReader(Reader):
    """Sentences as JSON, or as text, one a line."""

    accepts = (JSON, TEXT)

    def __init__(self, preprocessing: WordPreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        inputs = [{"name": "sentences", "type": "text", "vocabulary": len(self.preprocessing.vocabulary)}]
        return {"inputs": inputs, "example": {"sentences": ["A sentence to judge."]}}

    def _json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        return self._encoded(_list(_only(value, "sentences"), "sentences", str, "text"))

    def _other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        sentences = [line for line in _text(body).splitlines() if line.strip()]
        if not sentences:
            raise Refusal(UNFIT, "The body needs at least one line of text, received none; send a sentence.")
        return self._encoded(sentences)

    def _encoded(self, sentences: Sequence[str]) -> tuple[Batch, list[str]]:
        self._counted(len(sentences))
        return self.preprocessing.transform(sentences), []


class PromptReader(Reader):
    """A text that the model continues, as JSON or as it is."""

    accepts = (JSON, TEXT)

    def __init__(self, preprocessing: CharacterPreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        return {"inputs": [{"name": "text", "type": "text"}], "example": {"text": "".join(self.preprocessing.vocabulary[1:6])}}

    def _json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        text = _only(value, "text")
        if not isinstance(text, str):
            raise Refusal(UNFIT, f"'text' must be text, received {_kind(text)}; send a prompt.")
        return self._encoded(text)

    def _other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        return self._encoded(_text(body))

    def _encoded(self, text: str) -> tuple[Batch, list[str]]:
        window = self.preprocessing.window  # the model looks no further back
        (tokens,) = self.preprocessing.transform(text.replace("\r\n", "\n")[-window:])
        unknown = int((tokens == 0).sum())
        return (tokens,), [f"{unknown} characters are unknown to the model."] if unknown else []


def _numbers(value: Any, name: str) -> np.ndarray[Any, Any]:
    """Nested arrays of numbers as float32."""
    try:
        found = np.asarray(value)
    except (ValueError, RecursionError, OverflowError):
        found = np.asarray(None)
    if found.dtype.kind not in "iuf":
        raise Refusal(UNFIT, f"{name!r} must be evenly nested arrays of numbers, received other values; GET /schema shows it.")
    with np.errstate(over="ignore"):
        return found.astype(np.float32)


def reader_for(preprocessing: Preprocessing, input_shape: tuple[int, ...], most_rows: int) -> Reader:
    """The reader for what a model was trained on. Raises UserError where there is none."""
    readers: dict[type[Preprocessing], Callable[[Any], Reader]] = {
        TablePreprocessing: TableReader,
        SeriesPreprocessing: SeriesReader,
        ImagePreprocessing: ImageReader,
        SequencePreprocessing: lambda p: SequenceReader(p, input_shape[0]),
        WordPreprocessing: SentenceReader,
        CharacterPreprocessing: PromptReader,
    }
    make = readers.get(type(preprocessing))
    if make is None:
        raise UserError(f"A service answers for tables, series, images, sequences, sentences and texts, received a run on "
                        f"{preprocessing.kind}; predict from Python instead.")  # fmt: skip
    reader = make(preprocessing)
    reader.most_rows = most_rows
    return reader
