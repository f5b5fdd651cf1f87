"""New data for a trained model: the same reading and the saved preprocessing, without targets (see examples.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnatomy.data.csvfile import RawTable, read_csv, read_text
from nnatomy.data.dataset import Batch, Preprocessing
from nnatomy.data.encoding import TablePreprocessing
from nnatomy.data.generated import SequencePreprocessing
from nnatomy.data.idx import is_idx, read_idx
from nnatomy.data.images import SUFFIXES, ImagePreprocessing, read_images
from nnatomy.data.sentences import WordPreprocessing, read_sentences, reads_as_sentences
from nnatomy.data.series import SeriesPreprocessing
from nnatomy.data.text import CharacterPreprocessing
from nnatomy.errors import UserError

__all__ = ["Inputs", "load_inputs", "preprocessing_from_json"]

PREPROCESSINGS: dict[str, type[Preprocessing]] = {
    found.kind: found
    for found in (
        TablePreprocessing,
        ImagePreprocessing,
        CharacterPreprocessing,
        WordPreprocessing,
        SeriesPreprocessing,
        SequencePreprocessing,
    )
}


@dataclass(frozen=True)
class Inputs:
    """What the model is called with, a name for each example, and what was noticed."""

    arrays: Batch
    rows: tuple[str, ...]
    notices: tuple[str, ...] = ()


def preprocessing_from_json(saved: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing that `to_json` wrote; raises UserError where the values are of no known kind."""
    kind = saved.get("kind")
    if kind not in PREPROCESSINGS:
        raise UserError(f"A saved preprocessing is one of {', '.join(PREPROCESSINGS)}, received {kind!r}; train again.")
    try:
        return PREPROCESSINGS[str(kind)].from_json(saved)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"The saved preprocessing ({kind}) is damaged ({error}); train again.") from error


def load_inputs(source: str | Path, preprocessing: Preprocessing, raw: bool = False) -> Inputs:
    """Return the model's inputs for a file of the kind it was trained on; targets in it are passed over.

    With `raw`, those of an exported model: see `Preprocessing.raw`.

    Tables and series: a CSV file. Images: a picture, a folder of pictures, or an idx file. Sentences: a text file, one a
    line. Text: a text file, the prompt. Raises UserError where the file is absent or does not fit what was trained on.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(f"There is no file or folder {path}; check the name.")
    if isinstance(preprocessing, TablePreprocessing):
        return _table(read_csv(path), preprocessing, raw)
    if isinstance(preprocessing, SeriesPreprocessing):
        return _series(read_csv(path), preprocessing, raw)
    if isinstance(preprocessing, ImagePreprocessing):
        return _images(path, preprocessing, raw)
    text = read_text(path)
    if not text.strip():
        raise UserError(f"{path} is empty; it should hold text.")
    if isinstance(preprocessing, WordPreprocessing):
        labelled = reads_as_sentences(path)
        sentences = read_sentences(path)[0] if labelled else [line for line in text.splitlines() if line.strip()]
        return Inputs(preprocessing.transform(sentences), tuple(sentences))
    if isinstance(preprocessing, CharacterPreprocessing):
        return Inputs(preprocessing.transform(text.replace("\r\n", "\n")), (path.name,))
    raise UserError(f"A model of {preprocessing.kind} is not given files, received {path}; call it from Python with arrays.")


def _table(table: RawTable, preprocessing: TablePreprocessing, raw: bool) -> Inputs:
    arrays, notices = preprocessing.encode(table)
    arrays = preprocessing.raw(table) if raw else arrays
    return Inputs(arrays, tuple(str(n + 1) for n in range(len(table))), tuple(notices))


def _series(table: RawTable, preprocessing: SeriesPreprocessing, raw: bool) -> Inputs:
    arrays = preprocessing.raw(table) if raw else preprocessing.transform(table)
    times = preprocessing.window_times(table)
    return Inputs(arrays, tuple(str(t) for t in times))


def _images(path: Path, preprocessing: ImagePreprocessing, raw: bool) -> Inputs:
    prepared = preprocessing.raw if raw else preprocessing.transform
    grey = len(preprocessing.mean) == 1
    if path.is_file() and is_idx(path):
        images = read_idx(path)
        if images.ndim != 3:
            raise UserError(f"Images have 3 axes (n, height, width), {path} has {images.ndim}; give the file of images.")
        return Inputs(prepared(images[:, None]), tuple(str(n + 1) for n in range(len(images))))
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f"{path} holds no pictures; give a picture or a folder of pictures.")
    images, _ = read_images(files, preprocessing.size, grey)
    scaled = images * (preprocessing.largest / 255.0)
    return Inputs(prepared(scaled), tuple(str(p.relative_to(path)) if p != path else p.name for p in files))
