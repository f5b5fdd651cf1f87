"""Where labeled sentences are read from: a pair of .pos and .neg files, lines of `sentence TAB label`, or a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnatomy.data.csvfile import RawTable, read_text
from nnatomy.data.formats import DELIMITED, JSON, PLAIN, TABLES
from nnatomy.data.lines import lines, words
from nnatomy.data.reading import Source
from nnatomy.data.texts import has_letters, is_wordy, why_no_classes
from nnatomy.errors import UserError, unknown_name

__all__ = [
    "Labeled", "classes_in", "official_parts", "polarity_pair", "read_labeled", "read_more", "tabbed", "text_columns",
    "texts_of", "unlabeled",
]  # fmt: skip

TEXTS = (
    "text", "sentence", "review", "comment", "message", "tweet", "headline", "document", "content", "body", "question",
    "utterance",
)  # fmt: skip
"""Names of columns of texts, one or several of them."""
TARGETS = ("label", "labels", "class", "category", "sentiment", "polarity", "target", "y")
"""Names of columns that hold the classes unless --target names another."""
TEXT = "text"
"""The type of a column of texts, for --types."""


@dataclass(frozen=True)
class Labeled:
    """Texts with their classes, and the columns that they were in; "" and () where they were in lines without names."""

    source: str
    texts: Sequence[str]
    labels: Sequence[str]
    columns: tuple[str, ...] = ()
    target: str = ""
    groups: Sequence[str] | None = None
    notices: tuple[str, ...] = ()


def polarity_pair(path: Path) -> tuple[Path, Path] | None:
    """Return the (.neg, .pos) files of a folder with one such pair, or of the pair to which a file belongs; None otherwise."""
    folder = path if path.is_dir() else path.parent
    pairs = []
    for negative in sorted(folder.glob("*neg*")):
        positive = folder / re.sub(r"neg(?=[._-]|$|ative)", "pos", negative.name).replace("posative", "positive")
        if negative.is_file() and positive != negative and positive.is_file() and path in (folder, negative, positive):
            pairs.append((negative, positive))
    return pairs[0] if len(pairs) == 1 else None


def official_parts(path: Path) -> tuple[Path, Path, Path] | None:
    """Return the training file with the validation and test files next to it; None where it has none."""
    if "train" not in path.stem:
        return None
    others = [path.with_name(path.name.replace("train", part)) for part in ("dev", "validation", "val")]
    validation = next((p for p in others if p.is_file()), None)
    test = path.with_name(path.name.replace("train", "test"))
    return (path, validation, test) if validation and test.is_file() else None


def read_labeled(
    source: Source, target: str | None = None, columns: Sequence[str] = (), groups: str | None = None,
    types: Mapping[str, str] | None = None,
) -> Labeled:  # fmt: skip
    """Return the labeled sentences in a source.

    Args:
        target: the column of classes in a table; a usual name, or the only column that is left, if None
        columns: those that hold the texts; all that read as texts if empty
        groups: the column that says which rows belong together
        types: those of columns that were chosen

    Raises UserError where a file is empty, a line has no label, or a table no column of texts or classes.
    """
    pair = None if source.frame is not None or source.suffix not in ("", ".txt") else polarity_pair(source.path)
    if pair:
        return _read_pair(pair, source.encoding)
    if target is None and tabbed(source):
        return _read_tabbed(source)
    return _read_table(source, target, columns, groups, types or {})


def read_more(source: Source, columns: Sequence[str], target: str) -> Labeled:
    """Return the labeled sentences in a source that follows another, whose `columns` and `target` these are, if any."""
    if source.frame is None and source.suffix in ("", ".txt") and polarity_pair(source.path):
        return read_labeled(source)
    in_lines = source.frame is None and source.format not in (JSON, *TABLES) and source.suffix != ".csv"
    if in_lines and (not columns or tabbed(source)):
        return _read_tabbed(source)
    return _read_table(source, target or None, columns, None, {})


# Lines


def tabbed(source: Source) -> bool:
    """Return True if the first lines of a text are a sentence of several words, a tab and a label.

    Labels are one word each, or few different ones; in pairs of texts, a second text follows the tab. A file with a cell in
    quotes was written as CSV: it is a table.
    """
    if source.frame is not None or source.format not in (PLAIN, DELIMITED):
        return False
    found = [line for line in lines(source.text[:1_000_000])[:50] if line.strip()]
    cells = [line.split("\t") for line in found]
    if not cells or any(len(row) != 2 or row[0].startswith('"') for row in cells):
        return False
    labels = [row[1].strip() for row in cells]
    one_word = 2 * sum(len(label.split()) <= 1 for label in labels) >= len(cells)
    texts = [row[0].split() for row in cells if row[0].strip()]
    several = bool(texts) and sum(map(len, texts)) >= 3 * len(texts)
    return several and (one_word or 2 * len(set(labels)) <= len(labels))


def _read_tabbed(source: Source) -> Labeled:
    texts, labels = [], []
    for place, line in enumerate(lines(source.text), 1):
        if not line.strip():
            continue
        text, tab, label = line.rpartition("\t")
        if not (tab and text.strip() and label.strip()):
            raise UserError(
                f"Each line is a sentence, a tab and a label. Received another form in line {place} of {source}. Correct or "
                "remove it."
            )
        texts.append(text)
        labels.append(label.strip())
    if len(labels) > 2 and labels[0] not in labels[1:] and len(words(texts[0])) == 1:  # a header line
        return Labeled(str(source), texts[1:], labels[1:], (texts[0].strip(),), labels[0])
    return Labeled(str(source), texts, labels)


def _read_pair(paths: tuple[Path, Path], encoding: str) -> Labeled:
    texts: list[str] = []
    labels: list[str] = []
    for path, label in zip(paths, ("negative", "positive"), strict=True):
        found = [line for line in lines(read_text(path, encoding)) if line.strip()]
        if not found:
            raise UserError(f"A file of sentences has one {label} sentence a line. Received {path}, which is empty. Add lines.")
        texts += found
        labels += [label] * len(found)
    return Labeled(str(paths[0]), texts, labels)


# Tables


def text_columns(table: RawTable, types: Mapping[str, str], target: str | None = None) -> tuple[str, ...]:
    """Return the columns of texts: those that `types` names so, else all with mostly different cells of several words.

    Next to a target alone, words will do: a table of names and their classes has no other inputs. Where no column is like
    that, one with a usual name is: a few texts that come again and again.
    """
    chosen = tuple(name for name, kind in types.items() if kind == TEXT and name in table.columns)
    others = [name for name in table.columns if name != target and name not in types]
    least = {"least": 1.0} if len(others) == 1 and target in table.columns and len(table.columns) == 2 else {}
    wordy = tuple(name for name in others if is_wordy(table.columns[name], **least))
    usual = (name for name in others if name.lower().removesuffix("s") in TEXTS and has_letters(table.columns[name]))
    return chosen or wordy or tuple(usual)


def classes_in(table: RawTable, columns: Sequence[str], target: str | None) -> str | None:
    """Return the column of classes: the one that is named, the only other one, or one with a usual name; None if unclear."""
    if target is not None:
        return target
    others = [name for name in table.columns if name not in columns]
    usual = others if len(others) == 1 else [name for name in others if name.lower() in TARGETS]
    return usual[0] if len(usual) == 1 else None


def _read_table(
    source: Source, target: str | None, columns: Sequence[str], groups: str | None, types: Mapping[str, str]
) -> Labeled:
    table, notices = source.table, list[str]()
    if target is not None and target not in table.columns:
        raise unknown_name("column", target, table.columns)
    if groups is not None and groups not in table.columns:
        raise unknown_name("column", groups, table.columns)
    columns = tuple(columns) or tuple(c for c in text_columns(table, types, target) if c != groups)
    found = classes_in(table, columns, target)
    if target is not None:
        _check_classes(table, target)
    if not columns:
        raise UserError(
            f"Labeled sentences need a column of texts of several words. Received {source} with {_names(table)}. Name one with "
            f"--types COLUMN={TEXT}."
        )
    if found is None:
        raise UserError(
            f"Labeled sentences need a target. Received {source} with {_names(table)}. Name the column of classes: --target."
        )
    texts, labels = texts_of(table, columns), table.columns[found]
    _check_classes(table, found)
    kept = [n for n, (text, label) in enumerate(zip(texts, labels, strict=True)) if text and label]
    if len(kept) < len(texts):
        notices.append(f"{len(texts) - len(kept)} rows without a text or a value of the target {found!r} were left out.")
    if len(columns) > 1:
        notices.append(f"The columns {', '.join(columns)} are read as one text.")
    left = [name for name in table.columns if name not in (*columns, found, groups)]
    if left:
        notices.append(f"Columns that are no texts were left out: {', '.join(left)}.")
    together = None if groups is None else [table.columns[groups][n] for n in kept]
    return Labeled(
        str(source), [texts[n] for n in kept], [labels[n] for n in kept], columns, found, together, tuple(notices)
    )  # fmt: skip


def _check_classes(table: RawTable, target: str) -> None:
    """Raise UserError where a column holds no classes, or where the first line is a row, as its class is one of the others."""
    why = why_no_classes(table.columns[target])
    if why is not None:
        raise UserError(
            f"The target of sentences is a class. Received {target!r} of {table.source}, which holds {why}. Choose another "
            "--target."
        )
    if target in table.columns[target]:
        raise UserError(
            f"The first line of a table names the columns. Received {table.source}, whose first line has the class {target!r}. "
            "Add a line such as text,label."
        )


def texts_of(table: RawTable, columns: Sequence[str]) -> list[str]:
    """Return the texts of each row, one a line. Raises UserError for an absent column."""
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise UserError(
            f"The model was trained with the column {absent[0]!r}. Received {table.source}, which has no such column. Add it "
            "or name it so."
        )
    return ["\n".join(cell for cell in row if cell) for row in zip(*(table.columns[name] for name in columns), strict=True)]


def _names(table: RawTable) -> str:
    names = list(table.columns)
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def unlabeled(source: Source, columns: Sequence[str]) -> list[str]:
    """Return the texts to predict from: of a table with the model's columns, of labeled lines, or the lines of a plain text.

    Blank lines are texts as well, so that predictions and lines are equally many.
    """
    if tabbed(source):
        texts = [line.rpartition("\t")[0] for line in lines(source.text)]
        return texts[1:] if _read_tabbed(source).target else texts
    stored = source.format in (JSON, *TABLES) or source.suffix in (".csv", ".tsv", ".tab")
    if stored or (source.has_table and columns and set(columns) <= set(source.table.columns)):
        found = tuple(columns) or text_columns(source.table, {})
        if not found:
            raise UserError(f"Sentences need a column of texts. Received {source} with {_names(source.table)}. Add one.")
        return texts_of(source.table, found)
    found_lines = lines(source.text)
    if not any(line.strip() for line in found_lines):
        raise UserError(f"A file of texts has one a line. Received {source}, which is empty. Add lines.")
    return found_lines
