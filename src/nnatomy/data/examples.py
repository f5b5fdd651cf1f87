"""Labelled examples for a trained model: files that hold the targets too, read with the saved preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnatomy.data.anomaly import find_labels, marked_windows
from nnatomy.data.csvfile import read_csv, read_text
from nnatomy.data.dataset import ArraySplit, Preprocessing, RaggedSplit, SeriesSplit, Split, WindowSplit
from nnatomy.data.encoding import TablePreprocessing
from nnatomy.data.idx import idx_files, is_idx
from nnatomy.data.images import SUFFIXES, ImagePreprocessing, read_images
from nnatomy.data.sentences import WordPreprocessing, read_sentences
from nnatomy.data.series import SeriesPreprocessing
from nnatomy.data.table import rows_with_target
from nnatomy.data.text import CharacterPreprocessing
from nnatomy.errors import UserError

__all__ = ["load_examples"]


def load_examples(source: str | Path, preprocessing: Preprocessing) -> tuple[Split, tuple[str, ...]]:
    """Return the examples in a file of the kind a model was trained on, targets included, and what was noticed.

    Tables: a CSV file with the target's column. Series: a CSV file. Images: a folder with one sub-folder a class, or the
    MNIST folder, of which the test files are read. Sentences and text: files as for training. Raises UserError where the
    source is absent, holds no targets, or does not fit what was trained on.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(f"There is no file or folder {path}; check the name.")
    if isinstance(preprocessing, TablePreprocessing):
        return _table(path, preprocessing)
    if isinstance(preprocessing, SeriesPreprocessing):
        return _series(path, preprocessing)
    if isinstance(preprocessing, ImagePreprocessing):
        return _images(path, preprocessing)
    if isinstance(preprocessing, WordPreprocessing):
        sentences, labels = read_sentences(path)
        return RaggedSplit(preprocessing.encode(sentences), _numbered(labels, preprocessing.classes, path)), ()
    if isinstance(preprocessing, CharacterPreprocessing):
        return _text(path, preprocessing)
    raise UserError(f"A model of {preprocessing.kind} is not given files, received {path}; call it from Python with arrays.")


def _numbered(labels: Sequence[str], classes: Sequence[str], path: Path) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    place = {name: n for n, name in enumerate(classes)}
    unknown = next((label for label in labels if label not in place), None)
    if unknown is not None:
        raise UserError(f"The model knows the classes {', '.join(classes)}, {path} has {unknown!r}; mend or remove it.")
    return np.array([place[label] for label in labels], dtype=np.int64)


def _table(path: Path, preprocessing: TablePreprocessing) -> tuple[Split, tuple[str, ...]]:
    table, notices = read_csv(path), list[str]()
    target = preprocessing.target
    if target is None:
        (inputs,), told = preprocessing.encode(table)
        return ArraySplit((inputs, inputs)), tuple(told)
    if target not in table.columns:
        raise UserError(f"To evaluate, {path} must hold the target {target!r} too; use nnatomy predict for a file without it.")
    table = rows_with_target(table, target, preprocessing.task, notices)
    if not len(table):
        raise UserError(f"To evaluate, rows need a value of the target {target!r}, {path} has none; use nnatomy predict.")
    (inputs,), told = preprocessing.encode(table)
    return ArraySplit((inputs, preprocessing.encode_target(table.columns[target]))), (*notices, *told)


def _series(path: Path, preprocessing: SeriesPreprocessing) -> tuple[Split, tuple[str, ...]]:
    series = preprocessing.read(read_csv(path))
    values, notices = preprocessing.standardise(series.values), list[str]()
    if preprocessing.task == "anomaly":
        starts = np.arange(0, len(values) - preprocessing.window + 1, preprocessing.stride)
        marks = marked_windows(series.times, starts, preprocessing.window, find_labels(path, notices))
        windows = values[starts[:, None] + np.arange(preprocessing.window)]
        return ArraySplit((windows, (marks >= 0.5).astype(np.int64))), tuple(notices)
    columns = tuple(preprocessing.columns.index(name) for name in preprocessing.targets)
    split = SeriesSplit(values, columns, preprocessing.window, preprocessing.horizon)
    if not len(split):
        raise UserError(
            f"To evaluate, a series needs {preprocessing.window} past and {preprocessing.horizon} future rows, {path} has "
            f"{len(values)}; give a longer one."
        )
    return split, ()


def _images(path: Path, preprocessing: ImagePreprocessing) -> tuple[Split, tuple[str, ...]]:
    if path.is_dir() and is_idx(path):
        arrays = idx_files(path)
        labels = _numbered([str(label) for label in arrays["t10k-labels"]], preprocessing.classes, path)
        notice = f"The {len(labels)} test images of {path.name} were read, not those for training."
        return ArraySplit((*preprocessing.transform(arrays["t10k-images"][:, None]), labels)), (notice,)
    inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES) if path.is_dir() else []
    files = [p for p in inside if p.parent != path]
    if not files:
        raise UserError(
            f"To evaluate, {path} must be a folder with one sub-folder of pictures for each class; "
            "use nnatomy predict for pictures without classes."
        )
    labels = _numbered([p.relative_to(path).parts[0] for p in files], preprocessing.classes, path)
    images, _ = read_images(files, preprocessing.size, len(preprocessing.mean) == 1)
    return ArraySplit((*preprocessing.transform(images * (preprocessing.largest / 255.0)), labels)), ()


def _text(path: Path, preprocessing: CharacterPreprocessing) -> tuple[Split, tuple[str, ...]]:
    tokens = preprocessing.encode(read_text(path).replace("\r\n", "\n"))
    split = WindowSplit(tokens, preprocessing.window, preprocessing.window)
    if not len(split):
        raise UserError(
            f"To evaluate, a text needs at least {preprocessing.window + 1} characters, {path} has {len(tokens)}; give more."
        )
    unknown = int((tokens == 0).sum())
    return split, ((f"{unknown} characters do not occur in the training text; they count as unknown.",) if unknown else ())
