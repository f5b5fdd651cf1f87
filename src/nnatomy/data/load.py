"""`load`: any source of data as a Dataset that the architecture accepts. Which kind reads it, the kinds say themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy.data import kinds
from nnatomy.data.columns import is_frame, table_of_frame
from nnatomy.data.csvfile import check_encoding
from nnatomy.data.dataset import Dataset, SubsetSplit
from nnatomy.data.fingerprints import (
    DEALT,
    Contents,
    Fingerprint,
    Origin,
    contents_of_columns,
    contents_of_files,
    digest_of_rows,
)
from nnatomy.data.folds import Fold
from nnatomy.data.kinds import BARELY, PERHAPS, Kind, kind_of
from nnatomy.data.reading import TASKS, Reading, Source
from nnatomy.data.sets import Made, Named, Public, files_of, locate
from nnatomy.data.splits import limited
from nnatomy.errors import UserError, nearest_name, unknown_name
from nnatomy.files import check_source

__all__ = ["changed", "from_arrays", "from_frame", "from_value", "load", "names"]


def names() -> tuple[str, ...]:
    """Return the names that `load` knows: embedded, generated and public sets."""
    return tuple(kinds.sets())


def load(
    source: str | Path,
    accepts: Sequence[str] | None = None,
    *,
    tasks: Sequence[str] | None = None,
    target: str | None = None,
    keep: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
    labels: str | Path | None = None,
    resize: tuple[int, int] | None = None,
    gray: bool | None = None,
    binary: bool | None = None,
    window: int | None = None,
    horizon: int | None = None,
    tokens: int | None = None,
    pairs: str | None = None,
    groups: str | None = None,
    encoding: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    offline: bool = False,
    fold: Fold | None = None,
) -> Dataset:
    """Return the data set that `source` names: an embedded, generated or public set, or a path.

    `accepts` lists the kinds (all if None) and `tasks` the tasks (all with targets if None) that the architecture takes; of the
    kinds that can read a source the surest is taken, the earlier in `accepts` among equals. `window` and `horizon` are lengths
    in tokens or rows. A text has so many learned `tokens` instead of characters or words. Passages are `pairs` of sentences, of
    which half have a "random" second one or are "swapped", or there are no pairs ("none"). `groups` names a column: rows with
    equal values stay in one split. `encoding` is that of text that is not UTF-8. `limit` keeps at most so many examples in each
    split. A `fold` splits the raw rows in place of the usual three splits, everything is fitted on its training rows, and an
    official test part takes no part.
    Raises UserError, one sentence, for all that is wrong with the source or the options.
    """
    for option, value in (("window", window), ("horizon", horizon)):
        if value is not None and value < 1:
            raise UserError(f"The option {option} is at least 1. Received {value}. Give a larger number.")
    if resize is not None and min(resize) < 1:
        raise UserError(f"Images need a height and width of at least 1. Received {resize[0]} x {resize[1]}. Give larger sizes.")
    reading = Reading(
        tasks, seed=seed, fold=fold, limit=limit, offline=offline, target=target, keep=tuple(keep), types=dict(types or {}),
        labels=None if labels is None else Path(labels).expanduser(), resize=resize, gray=gray, binary=binary,
        window=window, horizon=horizon, groups=groups, encoding=encoding, tokens=tokens, pairs=pairs,
    )  # fmt: skip
    if encoding is not None:
        check_encoding(encoding)
    accepted = kinds.names() if accepts is None else tuple(accepts)
    named = _set_named(str(source))
    if named is not None:
        return _checked(*_named(str(source), *named, accepted, reading), reading)
    return _checked(*_read(Source(source, encoding=encoding or ""), accepted, reading), reading)


def changed(source: str | Path, before: Fingerprint, labels: str | None = None) -> str:
    """Return how the files of a source differ from those with a fingerprint, as a clause; "" where they are the same.

    Nothing is read but digests, so that a changed file is found before it is held against anything else.
    """
    named = _set_named(str(source))
    published: Public | None = None
    if named is not None:
        owner, known = named
        if isinstance(known, Made):
            return ""
        path, published = locate(known, True), known
    else:
        owner, path = kinds.kind(before.kind), Path(source).expanduser()
    if not os.path.lexists(path):
        raise _absent(path)
    for one in (path, *([Path(labels)] if labels is not None else [])):
        check_source(one)
    files = _files(owner, path, published, labels)
    now = contents_of_files(files, 0)
    if before.contents.same(now):
        return ""
    read: Callable[[int | None], Contents] = partial(contents_of_files, files)
    if before.contents.noun == "rows":
        try:
            columns = Source(path).columns
        except UserError as problem:
            return f"which is not the table that it was ({str(problem).rstrip('.')})"

        def read(most: int | None) -> Contents:
            return replace(contents_of_columns(columns, most), files=now.files)

    found = read(None)
    return before.change(found, read(before.contents.rows) if found.rows > before.contents.rows else None)


def _set_named(name: str) -> tuple[Kind[Any], Named] | None:
    listed = kinds.sets().get(name)
    unlisted = ((owner, owner.named(name)) for owner in kinds.kinds())
    return listed or next(((owner, made) for owner, made in unlisted if made is not None), None)


def _files(owner: Kind[Any], path: Path, published: Public | None, labels: str | Path | None = None) -> dict[str, Path]:
    """Return the files of a source by name: those of a public set, else those of its kind; and a file of labels."""
    found = owner.files(path) if published is None else files_of(published, path)
    folder = path if path.is_dir() else path.parent
    named = {p.relative_to(folder).as_posix(): p for p in found}
    return named if labels is None else named | {Path(labels).name: Path(labels).expanduser()}


def from_arrays(
    X: Any, y: Any = None, *, name: str = "arrays", accepts: Sequence[str] = (), groups: Any = None, seed: int = 0,
    limit: int | None = None, fold: Fold | None = None,
) -> Dataset:  # fmt: skip
    """Return the data set of arrays, split as a file of them would be.

    Args:
        X: numbers (n, features), (n, steps, features) or (n, channels, height, width); standardized by the training rows
        y: integers, texts or truth values (n,) for classes; floats (n,) or (n, outputs) for regression; None: no targets
        name: of the data set
        accepts: kinds that read arrays in their own way if they can, such as "density": points, and y names their modes
        groups: (n,); rows with equal values stay in one split
        seed, limit, fold: as for `load`

    Raises UserError for other shapes and types, and for values that are not finite.
    """
    from nnatomy.data.kinds.arrays.arrays import array_dataset

    reading = Reading(TASKS, seed=seed, fold=fold, limit=limit)
    found = (kinds.kind(accepted).of_arrays(name, X, y, reading) for accepted in accepts)
    dataset = next((one for one in found if one is not None), None)
    read = array_dataset(name, X, y, reading, groups) if dataset is None else dataset
    columns = {label: np.asarray(array) for label, array in (("X", X), ("y", y), ("groups", groups)) if array is not None}
    return _checked(read, Origin(name, contents=contents_of_columns(columns)), reading)


def from_frame(
    frame: Any, target: str | None = None, *, name: str = "frame", accepts: Sequence[str] = ("table",),
    tasks: Sequence[str] | None = None, keep: Sequence[str] = (), types: Mapping[str, str] | None = None,
    labels: str | Path | None = None, window: int | None = None, horizon: int | None = None, groups: str | None = None,
    seed: int = 0, limit: int | None = None, fold: Fold | None = None,
) -> Dataset:  # fmt: skip
    """Return the data set of a data frame of pandas or polars, or of an Arrow table, read as a file with its columns would be.

    The types of its columns are kept: categories of numbers are categories, "NA" as text is no missing cell. `accepts` lists
    kinds, as for `load`: "table", "series", "sentences", "density". Without a `target` the task is reconstruction of the
    frame's rows. The other options are those of `load`.
    Raises UserError for what is not a frame, and as `load` does for a table.
    """
    if not is_frame(frame):
        table_of_frame(frame)  # raises the error
    wanted = TASKS if tasks is None else tasks
    reading = Reading(
        wanted, seed=seed, fold=fold, limit=limit, target=target, keep=tuple(keep), types=dict(types or {}), groups=groups,
        labels=labels, window=window, horizon=horizon,
    )  # fmt: skip
    return _checked(*_read(Source(name, frame), tuple(accepts), reading), reading)


def from_value(value: Any, *, seed: int = 0, limit: int | None = None) -> Dataset | None:
    """Return a Python value that is data of some kind, such as an environment, as a data set; None for other values."""
    reading = Reading(seed=seed, limit=limit)
    found = next((made for owner in kinds.kinds() if (made := owner.value(value, reading)) is not None), None)
    return None if found is None else _checked(found, Origin(found.name), reading)


def _named(
    name: str, owner: Kind[Any], known: Made | Public, accepted: tuple[str, ...], reading: Reading
) -> tuple[Dataset, Origin]:
    if not owner.takes_form(accepted):
        raise _not_accepted(name, [owner], accepted)
    if isinstance(known, Made):
        return known.read(reading), Origin(name)
    source = Source(locate(known, reading.offline))
    if known.target is not None:
        reading.defaults["target"] = known.target
    found = owner.read(source, reading) if known.read is None else known.read(source, reading)
    return replace(found, name=name, description=known.description), _origin(name, owner, source, reading, known)


def _origin(name: str, owner: Kind[Any], source: Source, reading: Reading, known: Public | None = None) -> Origin:
    columns = None if source.parsed is None else contents_of_columns(source.parsed)
    files = {} if source.frame is not None else _files(owner, source.path, known, reading.options.get("labels"))
    return Origin(name, files, columns)


def _read(source: Source, accepted: tuple[str, ...], reading: Reading) -> tuple[Dataset, Origin]:
    if source.frame is None:
        if not (os.path.lexists(source.path) or "\0" in str(source)):
            raise _absent(source.path)
        check_source(source.path)
    if source.frame is None and source.path.is_dir() and not any(source.path.iterdir()):
        raise UserError(
            f"A folder of data has files in it. Received {source}, which is empty. Put pictures in one sub-folder for each "
            "class, or the MNIST files."
        )
    scores = {found: _recognized(found, source, reading) for found in kinds.kinds()}
    able = [found for found, score in scores.items() if score >= BARELY and found.takes_form(accepted)]
    if not able:
        possible = sorted((found for found in scores if scores[found] >= PERHAPS), key=lambda found: -scores[found])
        raise _not_accepted(str(source), possible, accepted) if possible else _unreadable(source)
    best = max(able, key=lambda found: (scores[found], -_place(found, accepted)))
    found = best.read(source, reading)
    if source.encoding and "encoding" in best.options:
        fitted: Any = found.preprocessing
        found = replace(found, preprocessing=replace(fitted, encoding=reading.use("encoding")))
    if found.kind not in accepted and best.name not in accepted:
        raise _not_accepted(str(source), [kinds.kind(found.kind)], accepted)
    return found, _origin(str(source), best, source, reading)


def _recognized(able: Kind[Any], source: Source, reading: Reading) -> int:
    try:
        return able.recognize(source, reading)
    except UserError:  # a source that cannot be read: its reader raises the error
        return BARELY


def _place(able: Kind[Any], accepted: tuple[str, ...]) -> int:
    return next((n for n, form in enumerate(accepted) if form in (able.forms or (able.name,))), len(accepted))


def _checked(found: Dataset, origin: Origin, reading: Reading) -> Dataset:
    """Return what was read with at most `limit` examples a split; raises UserError where it does not fit the request."""
    owner = kind_of(found)
    if reading.fold is not None and not reading.split:
        raise UserError(
            f"Rows are split by the fold that is given. Received {found.name}, whose reader ({owner.name}) ignores it. Have it "
            "split its rows with Reading.part."
        )
    free = reading.targets_welcome or (owner.labels_optional and reading.unlabeled)
    if not reading.wants(found.task) and not free:
        if reading.options.get("target") is not None and reading.reconstruction:
            raise UserError(
                f"This architecture gives its input back and takes no target. Received {reading.options['target']!r}. Leave "
                "out --target."
            )
        target = found.preprocessing.to_json().get("target")
        by = f" by its target {target!r}" if target else ""
        raise UserError(
            f"This architecture does {_listed(reading.tasks)}. Received {found.name}, which is a set for {found.task}{by}. "
            "Choose another target, another data set or another architecture."
        )
    unused = next((option for option in reading.given if option not in reading.used & owner.options), None)
    if unused is not None:
        raise UserError(f"--{unused} does not apply to {owner.noun}. Received it for {found.name}. Leave it out.")
    splits = (found.train, found.validation, found.test)
    train, validation, test = (limited(split, reading.limit, reading.seed) for split in splits)
    timeline = found.timeline
    if timeline is not None and isinstance(test, SubsetSplit):
        timeline = replace(timeline, test_starts=timeline.test_starts[test.indices])
    kept = [[split.indices] if isinstance(split, SubsetSplit) else [] for split in (train, validation, test)]
    rows = {name: [*(call[i] for call in reading.rows), *kept[i]] for i, name in enumerate(("train", "validation", "test"))}
    rows[DEALT] = [part for call in reading.rows for part in call]
    origin = replace(origin, splits={name: digest_of_rows(parts) for name, parts in rows.items()})
    return replace(found, train=train, validation=validation, test=test, timeline=timeline, origin=origin)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _not_accepted(source: str, possible: Sequence[Kind[Any]], accepted: Sequence[str]) -> UserError:
    return UserError(
        f"This architecture takes {_listed([kinds.kind(name).noun for name in accepted])}. Received {source}, which holds "
        f"{_listed([found.noun for found in possible])}. Choose other data or another architecture."
    )


def _unreadable(source: Source) -> UserError:
    folders = _listed([found.folders for found in kinds.kinds() if found.folders])
    if source.path.is_dir():
        return UserError(f"A folder of data holds {folders}. Received {source}, which holds none of these. Name a file in it.")
    endings = _listed(sorted({ending for found in kinds.kinds() for ending in found.endings}))
    return UserError(
        f"Files of data hold what files in {endings} hold, whatever their names. Received {source} ({source.format}). Save it "
        "as one of these."
    )


def _absent(path: Path) -> UserError:
    beside = [p.name for p in path.parent.iterdir() if p.exists()] if path.parent.is_dir() else []
    if len(path.parts) == 1 and not path.suffix:
        return unknown_name("data set or file", str(path), [*names(), *beside])
    near = nearest_name(path.name, beside)
    hint = f"Did you mean {path.parent / near}?" if near else "Check the name."
    return UserError(f"The file or folder must exist. Received {path}, which does not. {hint}")
