"""Public sets by name: where each stands under NNATOMY_DATA or the cache, and how those of stable origin are fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy.data.dataset import Dataset
from nnatomy.data.folds import Fold
from nnatomy.data.images import image_dataset
from nnatomy.data.splits import split_rows
from nnatomy.errors import UserError

__all__ = ["NAMED", "Named", "cache_folder", "locate", "read_cifar10"]

RAW = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class Named:
    """A public set: its place under the data folder (a file, or a folder of `files`), and its origin."""

    place: str
    kinds: tuple[str, ...]
    description: str
    target: str | None = None
    files: tuple[str, ...] = ()  # of a folder
    url: str | None = None
    sha256: str | None = None  # of the file at `url`


NAMED: dict[str, Named] = {
    "mnist": Named(
        "mnist",
        ("image",),
        "70,000 handwritten digits, 28 x 28 (LeCun et al. 1998)",
        files=tuple(
            f"{part}-ubyte.gz" for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
        ),
    ),
    "cifar10": Named(
        "cifar10",
        ("image",),
        "12,000 of CIFAR-10's colour pictures, 32 x 32, ten classes (Krizhevsky 2009)",
        files=tuple(f"cifar10_small_{part}.npz" for part in ("train_a", "train_b", "test")),
    ),
    "tinyshakespeare": Named(
        "text/tinyshakespeare.txt",
        ("text",),
        "1.1 million characters of Shakespeare (Karpathy 2015)",
        url=f"{RAW}/karpathy/char-rnn/6f9487a/data/tinyshakespeare/input.txt",
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
    "rt_polarity": Named(
        "text/rt-polarity.pos.txt",
        ("sentences",),
        "10,662 sentences of film reviews, positive or negative (Pang and Lee 2005)",
    ),
    "sst2": Named(
        "text/sst2_train.tsv", ("sentences",), "9,613 sentences of film reviews in official parts (Socher et al. 2013)"
    ),
    "etth1": Named(
        "timeseries/ETTh1.csv",
        ("series",),
        "two years of hourly load and oil temperature of a transformer (Zhou et al. 2021)",
        target="OT",
        url=f"{RAW}/zhouhaoyi/ETDataset/1d16c8f/ETT-small/ETTh1.csv",
        sha256="f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    ),
    "opsd_germany": Named(
        "timeseries/opsd_germany_daily.csv",
        ("series",),
        "Germany's daily electricity, 2006 to 2017 (Open Power System Data)",
        target="Consumption",
        url=f"{RAW}/jenfly/opsd/e623749/opsd_germany_daily.csv",
        sha256="729b025d984497827cb6b89048d7c2c6a551e7aa727bc47ea0b74a2d1e84675d",
    ),
    "nab_machine_temperature": Named(
        "timeseries/nab_machine_temperature_system_failure.csv",
        ("series",),
        "a machine's temperature every five minutes, with labelled failures (NAB; Lavin and Ahmad 2015)",
    ),
    "nab_ambient_temperature": Named(
        "timeseries/nab_ambient_temperature_system_failure.csv",
        ("series",),
        "an office's temperature every hour, with labelled failures (NAB; Lavin and Ahmad 2015)",
    ),
    "titanic": Named(
        "tabular/titanic.csv",
        ("table",),
        "891 passengers of the Titanic: who survived? (Kaggle/Vanderbilt)",
        target="survived",
        url=f"{RAW}/mwaskom/seaborn-data/71e2436/titanic.csv",
        sha256="81787d320d7f7b03df935e91de8bd19e11d45c5bbcab86ef4d4a76dc91b7d4f2",
    ),
    "penguins": Named(
        "tabular/penguins.csv",
        ("table",),
        "344 penguins of three species (Gorman et al. 2014)",
        target="species",
        url=f"{RAW}/mwaskom/seaborn-data/71e2436/penguins.csv",
        sha256="e07636bd8af74260099ea2f8678e2eabbf35def579940cc76f67061ee16c06c1",
    ),
    "mpg": Named(
        "tabular/mpg.csv",
        ("table",),
        "398 cars and their miles per gallon (Quinlan 1993)",
        target="mpg",
        url=f"{RAW}/mwaskom/seaborn-data/71e2436/mpg.csv",
        sha256="c14b8b855ea7ee86cb9736bf8caaf281c4685ca08826f3eb2acaccaaf40f0d5a",
    ),
    "adult": Named(
        "tabular/adult_train.csv",
        ("table",),
        "6,000 people of a census: who earns above 50,000? (Kohavi and Becker 1996)",
        target="income",
    ),
    "california_housing": Named(
        "tabular/california_housing.csv",
        ("table",),
        "20,640 districts of California and their house prices (Pace and Barry 1997)",
        target="median_house_value",
        url=f"{RAW}/ageron/handson-ml2/1e21152/datasets/housing/housing.csv",
        sha256="8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e",
    ),
}


def cache_folder() -> Path:
    """Return the folder of public sets: NNATOMY_DATA where it is set, the user's cache otherwise."""
    chosen = os.environ.get("NNATOMY_DATA")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "nnatomy"


def locate(known: Named, offline: bool) -> Path:
    """Return the path of a public set, fetched once where it is absent; raises UserError that says which file to put where."""
    path = cache_folder() / known.place
    lacking = [path / name for name in known.files if not _present(path / name)]
    if path.exists() and not lacking:
        return path
    wanted = ", ".join(str(p) for p in (lacking or [path]))
    if offline or known.url is None:
        reason = "the network is not to be used (--offline)" if known.url else "it has no stable address to fetch it from"
        raise UserError(
            f"The data set is not here and {reason}; put {wanted} there, or set NNATOMY_DATA to the folder that holds it."
        )
    try:
        import pooch
    except ImportError as error:
        raise UserError(f"Fetching data needs pooch (`pip install pooch`); or put the file at {wanted} yourself.") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = f"sha256:{known.sha256}"
        pooch.retrieve(known.url, known_hash=digest, fname=path.name, path=path.parent, progressbar=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        raise UserError(f"{known.url} could not be fetched ({reason}); put the file at {wanted} yourself.") from error
    return path


def _present(path: Path) -> bool:
    return path.exists() or path.with_suffix("").exists()  # idx files may be unpacked


def read_cifar10(folder: Path, resize: tuple[int, int] | None, fold: Fold | None = None) -> Dataset:
    """Return the CIFAR-10 subset: 9,000 training, 1,000 validation and 2,000 test pictures; a `fold` parts the first 10,000."""
    parts: dict[str, Any] = {}
    for part in ("train_a", "train_b", "test"):
        with np.load(folder / f"cifar10_small_{part}.npz", allow_pickle=False) as archive:
            parts[part] = (archive["x"].transpose(0, 3, 1, 2), archive["y"].astype(np.int64))
            names = [str(name) for name in archive["names"]]
    x, y = (np.concatenate([parts["train_a"][n], parts["train_b"][n]]) for n in (0, 1))
    train, first, second = split_rows(len(y), y, 0, (0.05, 0.05), fold=fold)
    if fold is not None:
        folds = [(x[train], y[train]), (x[first], y[first]), (x[second], y[second])]
        return image_dataset("cifar10", folds, names, resize=resize)
    held = np.concatenate([first, second])
    return image_dataset("cifar10", [(x[train], y[train]), (x[held], y[held]), parts["test"]], names, resize=resize)
