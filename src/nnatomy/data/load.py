"""`load`: any source of data, by name or path, as a Dataset of a kind that the architecture accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnatomy.data.anomaly import anomaly_dataset
from nnatomy.data.csvfile import read_csv
from nnatomy.data.dataset import Dataset, SubsetSplit
from nnatomy.data.embedded import EMBEDDED, embedded_dataset
from nnatomy.data.folds import Fold
from nnatomy.data.generated import GENERATED, generated_dataset
from nnatomy.data.idx import idx_files, is_idx
from nnatomy.data.images import SUFFIXES, image_dataset, load_image_folder
from nnatomy.data.named import NAMED, locate, read_cifar10
from nnatomy.data.sentences import load_sentences, polarity_pair, reads_as_sentences
from nnatomy.data.series import forecast_dataset, is_ordered, read_series, time_column
from nnatomy.data.splits import limited, split_rows
from nnatomy.data.table import table_dataset
from nnatomy.data.text import load_text
from nnatomy.errors import UserError, nearest_name, unknown_name

__all__ = ["KINDS", "TASKS", "load", "names"]

KINDS = ("table", "image", "text", "sentences", "series")
TASKS = ("classification", "regression", "language", "forecast", "anomaly", "reconstruction")
NOUNS = {
    "table": "tables",
    "image": "images",
    "text": "plain text",
    "sentences": "labelled sentences",
    "series": "time series",
}


@dataclass(frozen=True)
class _Options:
    """What `load` was asked for, beside the source."""

    accepts: tuple[str, ...]
    tasks: tuple[str, ...]
    target: str | None
    keep: tuple[str, ...]
    types: Mapping[str, str]
    labels: Path | None
    resize: tuple[int, int] | None
    grey: bool | None
    window: int | None
    horizon: int | None
    seed: int
    offline: bool
    fold: Fold | None


def names() -> tuple[str, ...]:
    """Return the names that `load` knows: embedded, generated and public sets."""
    return (*EMBEDDED, *GENERATED, *NAMED)


def load(
    source: str | Path,
    accepts: Sequence[str] = KINDS,
    *,
    tasks: Sequence[str] = TASKS[:-1],
    target: str | None = None,
    keep: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
    labels: str | Path | None = None,
    resize: tuple[int, int] | None = None,
    grey: bool | None = None,
    window: int | None = None,
    horizon: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    offline: bool = False,
    fold: Fold | None = None,
) -> Dataset:
    """Return the data set that `source` names: an embedded, generated or public set, or a path.

    `accepts` lists the kinds (KINDS) and `tasks` the tasks (TASKS) that the architecture takes; where a source can be read in
    several ways, the first that fits is taken. `window` and `horizon` are lengths in tokens or rows. `limit` keeps at most
    so many examples in each split. A `fold` parts the raw rows in place of the usual three splits, everything is fitted on its
    training rows, and an official test part takes no part.
    Raises UserError, one sentence, for all that is wrong with the source or the options.
    """
    if fold is not None and limit is not None:
        raise UserError(f"A fold has a limit of its own, received limit={limit} beside it; give Fold(..., limit={limit}).")
    for option, value in (("limit", limit), ("window", window), ("horizon", horizon)):
        if value is not None and value < 1:
            raise UserError(f"The option {option} is at least 1, received {value}; give a larger number.")
    if resize is not None and min(resize) < 1:
        raise UserError(f"Images need a height and width of at least 1, received {resize[0]} x {resize[1]}; give larger sizes.")
    wanted = (tuple(accepts), tuple(tasks), target, tuple(keep), dict(types or {}))
    labels_path = None if labels is None else Path(labels).expanduser()
    options = _Options(*wanted, labels_path, resize, grey, window, horizon, seed, offline, fold)
    found = _from_name(str(source), options) if str(source) in names() else _from_path(Path(source).expanduser(), options)
    labels_unused = found.kind == "image" and "reconstruction" in options.tasks  # labelled images can be given back too
    if found.task not in options.tasks and not labels_unused:
        if options.target is not None and "reconstruction" in options.tasks:
            raise UserError(
                f"This architecture gives its input back and takes no target, received {options.target!r}; leave out --target."
            )
        by = f" by its target {found.preprocessing.to_json().get('target')!r}" if found.kind == "table" else ""
        raise UserError(
            f"This architecture does {_listed(options.tasks)}, {found.name} is a set for {found.task}{by}; "
            "choose another target, another data set or another architecture."
        )
    _refuse_unused(found, str(source), options)
    train, validation, test = (limited(split, limit, seed) for split in (found.train, found.validation, found.test))
    timeline = found.timeline
    if timeline is not None and isinstance(test, SubsetSplit):
        timeline = replace(timeline, test_starts=timeline.test_starts[test.indices])
    return replace(found, train=train, validation=validation, test=test, timeline=timeline)


def _refuse_unused(found: Dataset, source: str, options: _Options) -> None:
    """Raise UserError for an option that says how to read data of another kind: it would be passed over in silence."""
    fixed = source in EMBEDDED or source in GENERATED
    table, series = found.kind == "table" and not fixed, found.kind == "series" and not fixed
    given = {
        "target": (options.target, table or series),
        "keep": (options.keep, table),
        "types": (options.types, table or series),
        "labels": (options.labels, found.task == "anomaly"),
        "window": (options.window, found.kind in ("text", "series")),
        "horizon": (options.horizon, found.task == "forecast"),
        "groups": (options.fold.groups if options.fold else None, found.kind == "table"),
    }
    for option, (value, used) in given.items():
        if value and not used:
            raise UserError(f"The option --{option} does not apply to {found.name} ({NOUNS[found.kind]}); leave it out.")


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _accept(source: str, possible: Sequence[str], options: _Options) -> str:
    """Return the first kind in `possible` that the architecture accepts; raises UserError where none is."""
    for kind in possible:
        if kind in options.accepts:
            return kind
    raise UserError(
        f"This architecture takes {_listed([NOUNS[kind] for kind in options.accepts])}, {source} holds "
        f"{_listed([NOUNS[kind] for kind in possible])}; choose other data or another architecture."
    )


def _from_name(name: str, options: _Options) -> Dataset:
    reconstruction = "reconstruction" in options.tasks and not {"classification", "regression"} & set(options.tasks)
    if name in EMBEDDED:
        _accept(name, ["image" if name == "digits" else "table"], options)
        return embedded_dataset(name, options.resize, options.seed, reconstruction, options.fold)
    if name in GENERATED:
        _accept(name, [GENERATED[name]], options)
        return generated_dataset(name, options.seed, options.window, options.horizon, options.fold)
    known = NAMED[name]
    _accept(name, known.kinds, options)
    path = locate(known, options.offline)
    if name == "cifar10":
        found = read_cifar10(path, options.resize, options.fold)
    else:
        found = _from_path(path, replace(options, target=options.target or known.target))
    return replace(found, name=name, description=known.description)


def _from_path(path: Path, options: _Options) -> Dataset:
    if not path.exists():
        raise _absent(path)
    if path.is_dir():
        return _from_folder(path, options)
    if is_idx(path):
        raise UserError(f"MNIST files are read four at a time: name their folder, {path.parent}, not {path.name}.")
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        raise UserError(
            f"Pictures are read as a folder with one sub-folder for each class, {path} is one picture; name the folder."
        )
    if suffix == ".txt":
        return _from_text(path, options)
    if suffix in (".csv", ".tsv", ".tab", ".data", ".dat"):
        return _from_table(path, options)
    raise UserError(
        f"Files that can be read end in .csv, .tsv or .txt, received {path.name}; "
        "folders may hold pictures by class, MNIST idx files or a pair of .pos and .neg texts."
    )


def _absent(path: Path) -> UserError:
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    if len(path.parts) == 1 and not path.suffix:
        return unknown_name("data set or file", str(path), [*names(), *beside], shown=len(names()))
    near = nearest_name(path.name, beside)
    hint = f"did you mean {path.parent / near}?" if near else "check the name."
    return UserError(f"There is no file or folder {path}; {hint}")


def _from_folder(folder: Path, options: _Options) -> Dataset:
    if not any(folder.iterdir()):
        raise UserError(f"{folder} is an empty folder; put pictures in one sub-folder for each class, or the MNIST files.")
    if is_idx(folder):
        _accept(str(folder), ["image"], options)
        return _mnist(folder, options)
    pair = polarity_pair(folder)
    if pair is not None:
        _accept(str(folder), ["sentences"], options)
        return load_sentences(pair, options.seed, options.fold)
    if any(child.is_dir() for child in folder.iterdir()):
        _accept(str(folder), ["image"], options)
        return load_image_folder(folder, options.resize, options.grey, options.seed, options.fold)
    raise UserError(
        f"A folder of data holds one sub-folder of pictures for each class, MNIST idx files or a pair of .pos and .neg texts, "
        f"{folder} holds none of these; name a file in it."
    )


def _mnist(folder: Path, options: _Options) -> Dataset:
    arrays = idx_files(folder)
    images, labels = arrays["train-images"][:, None], arrays["train-labels"]
    n = len(labels)
    # A twelfth for choosing the best epoch, as most reports on MNIST do (55,000 + 5,000); the test files stay untouched.
    classes = [str(c) for c in range(int(max(labels.max(), arrays["t10k-labels"].max())) + 1)]
    train, first, second = split_rows(n, labels, options.seed, (1 / 24, 1 / 24), tuple(classes), options.fold)
    if options.fold is not None:
        parts = [(images[rows], labels[rows]) for rows in (train, first, second)]
        text = f"{sum(len(y) for _, y in parts)} training images from {folder}"
        notice = f"The {len(arrays['t10k-labels'])} images of the official test part take no part."
        return image_dataset(folder.name, parts, classes, resize=options.resize, notices=[notice], description=text)
    held = np.sort(np.concatenate([first, second]))
    test = (arrays["t10k-images"][:, None], arrays["t10k-labels"])
    parts = [(images[train], labels[train]), (images[held], labels[held]), test]
    notice = f"{len(held)} of the {n} training images are held out for validation."
    text = f"{n} training and {len(test[1])} test images from {folder}"
    return image_dataset(folder.name, parts, classes, resize=options.resize, notices=[notice], description=text)


def _from_text(path: Path, options: _Options) -> Dataset:
    pair = polarity_pair(path)
    kind = _accept(str(path), ["sentences", "text"] if pair else ["text"], options)
    if kind == "sentences" and pair:
        return load_sentences(pair, options.seed, options.fold)
    return load_text(path, options.window, options.fold)


def _from_table(path: Path, options: _Options) -> Dataset:
    only_sentences = path.suffix.lower() == ".tsv" and not {"table", "series"} & set(options.accepts)
    if "sentences" in options.accepts and (only_sentences or reads_as_sentences(path)):
        return load_sentences((path,), options.seed, options.fold)
    table = read_csv(path)
    timed = time_column(table, options.types)
    series_first = timed is not None and ("table" not in options.accepts or is_ordered(table, timed))
    if timed is None and "series" in options.accepts and "table" not in options.accepts:
        raise UserError(
            f"A series needs a column of times such as 2024-01-31 13:00:00, {path} has {', '.join(table.columns)}; "
            "add one, or name it with --types COLUMN=date."
        )
    kind = _accept(str(path), ["series", "table"] if series_first else ["table"], options)
    if kind == "series" and timed is not None:
        series = read_series(path.stem, table, timed)
        if "anomaly" in options.tasks and "forecast" not in options.tasks:
            return anomaly_dataset(series, path, options.labels, options.target, options.window, options.fold)
        return forecast_dataset(series, options.target, options.window, options.horizon, options.fold)
    ordered = timed is not None and is_ordered(table, timed)
    made = table_dataset(
        path.stem,
        table,
        options.target,
        keep=options.keep,
        types=options.types,
        seed=options.seed,
        reconstruction="reconstruction" in options.tasks,
        fold=options.fold,
        ordered=ordered,
    )
    if not ordered:
        return made
    if options.fold is not None:
        how = "groups are kept together, whenever they were" if options.fold.groups else "every fold is later than its training"
        notices = (*made.notices, f"Rows stand in order of time: {how}.")
        return replace(made, notices=notices, ordered=options.fold.groups is None)
    notice = (
        "Rows in order of time are parted at random here, so scores may flatter; an architecture for series parts them by time."
    )
    return replace(made, notices=(*made.notices, notice))
