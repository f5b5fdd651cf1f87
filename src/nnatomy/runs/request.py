"""The request of a user, in plain values from which the same can be started again. Flags, help and ranges are declared here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nnatomy.data.folds import Fold
from nnatomy.errors import unknown_name
from nnatomy.runs.folder import Run
from nnatomy.runs.options import (
    FACTORS,
    INTEGER,
    NAMES,
    NUMBER,
    PAIRS,
    PATH,
    SECONDS,
    SIZE,
    SOURCE,
    SWITCH,
    TEXT,
    check_options,
    command_line,
    from_plain,
    option,
)
from nnatomy.training.precision import PRECISIONS

DISTILLATION = ("teacher", "temperature", "soft")
"""The options of a student, which `distill` has and `train` has not."""


@dataclass(frozen=True, kw_only=True)
class DataRequest:
    """Which data, how they are read and how they are split."""

    data: str | None = option(SOURCE, "Data set's name, or path: CSV, MNIST folder, image folder, text.")
    target: str | None = option(TEXT, "Column to predict; of a series several, as x,y.")
    keep: tuple[str, ...] = option(NAMES, "Column to keep although it leaks the target; repeatable.", metavar="COLUMN")
    encoding: str | None = option(TEXT, "Encoding of text that is not UTF-8, such as latin-1.", metavar="NAME")
    types: Mapping[str, str] = option(PAIRS, "Type of a column: numeric, date:%d.%m.%Y, ...", metavar="COLUMN=TYPE",
                                      example="age=numeric")  # fmt: skip
    labels: str | None = option(SOURCE, "JSON file with labeled anomalies.")
    resize: tuple[int, int] | None = option(SIZE, "Fit pictures into this size, in proportion.", metavar="HEIGHTxWIDTH")
    gray: bool | None = option(SWITCH, "Make pictures gray, or not; gray if all training ones are.")
    binary: bool | None = option(SWITCH, "Make each pixel 0 or 1, or not: 1 above half its range.")
    window: int | None = option(INTEGER, "Length of the model's input, in tokens or rows.", least=1)
    horizon: int | None = option(INTEGER, "Length of the forecast, in rows.", least=1)
    tokens: int | None = option(INTEGER, "Learn so many tokens from a text, not characters or words.", least=1)
    limit: int | None = option(INTEGER, "Use at most this many examples of each split.", least=1)
    groups: str | None = option(TEXT, "Column whose equal values stay in one split.", metavar="COLUMN")
    seed: int = option(INTEGER, "Seed of splits, initial weights and order.", 0, least=0)
    split_seed: int | None = option(INTEGER, "Seed of the splits; --seed if not given.", least=0)
    offline: bool = option(SWITCH, "Never download.", False)

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def splits_by(self) -> int:
        """The seed that decides the splits."""
        return self.seed if self.split_seed is None else self.split_seed

    def load_options(self, fold: int | None = None, of: int = 2, fraction: float = 1.0) -> dict[str, Any]:
        """Return what `data.load` takes besides the source; with a `fold`, the data are split for cross-validation.

        `fraction`: the part of a fold's training rows that is used.
        """
        given = ("window", "horizon", "tokens", "resize", "gray", "binary")
        sizes = {name: getattr(self, name) for name in given if getattr(self, name) is not None}
        named = {name: getattr(self, name) for name in ("target", "keep", "types", "labels", "offline", "encoding")} | sizes
        named["seed"] = self.splits_by
        if fold is not None:
            return named | {"fold": Fold(fold, of, self.splits_by, limit=self.limit, groups=self.groups, share=fraction)}
        return named | {"limit": self.limit} | ({} if self.groups is None else {"groups": self.groups})


@dataclass(frozen=True, kw_only=True)
class WorkRequest(DataRequest):
    """Data, and the options of every command that trains on them."""

    epochs: int | None = option(INTEGER, "Passes over the training data; the recipe's if not given.", least=1)
    budget: float | None = option(SECONDS, "Fit the work into a time: 90s, 5m, 1h.", positive=True, example="5m")
    backend: str = option(TEXT, "Backend: numpy, or jax (compiled; accelerators).", "numpy", where=True)


@dataclass(frozen=True, kw_only=True)
class Request(WorkRequest):
    """One training run."""

    architecture: str = field(kw_only=False)
    """A name, or the absolute path of a user's folder; of a user's Module, its class."""
    variant: str | None = option(TEXT, "Named recipe; the one for the data if not given.", metavar="NAME")
    batch_size: int | None = option(INTEGER, "Examples in one step; the recipe's if not given.", least=1)
    lr: float | None = option(NUMBER, "Learning rate; the recipe's if not given.", positive=True, example="0.001")
    device: str | None = option(TEXT, "Device of jax: cpu, gpu, tpu, gpu:1, ...", where=True)
    precision: str = option(
        TEXT, "Precision: float32, float64; on accelerators tf32, bfloat16, float16.", "float32"
    )  # fmt: skip
    accumulate: int = option(INTEGER, "Take each batch in this many parts, to save memory; one update.", 1)
    devices: int | None = option(INTEGER, "Devices of each host that share every batch.", where=True)
    shard: str = option(TEXT, "What devices split: data, or full (parameters and optimizer too).", "data", where=True)
    settings: Mapping[str, str] = option(PAIRS, "Change the recipe, such as hidden=64,32.", flag="--set",
                                         metavar="KEY=VALUE", example="hidden=64,32")  # fmt: skip
    from_: str | None = option(PATH, "Start from the weights of a run or a file.", flag="--from", metavar="RUN|FILE")
    new_head: bool = option(SWITCH, "With --from: reinitialize the output layers.", False)
    freeze: tuple[str, ...] = option(NAMES, "Freeze matching parameters, for EPOCHS or the whole run.",
                                     metavar="PATTERN[=EPOCHS]")  # fmt: skip
    rates: Mapping[str, float] = option(FACTORS, "Multiply the learning rate of matching parameters.",
                                        metavar="PATTERN=FACTOR", example="c1=0.1")  # fmt: skip
    log: tuple[str, ...] = option(NAMES, "Also log to csv, tensorboard, wandb or mlflow; repeatable.", metavar="NAME")
    baselines: bool = option(SWITCH, "Measure predictors without a network next to the run.", True)
    teacher: str | None = option(PATH, "Folder of a run, or of averaged predictions.", metavar="RUN")
    temperature: float = option(NUMBER, "Temperature that softens the teacher's outputs.", 4.0, positive=True, example="4")
    soft: float = option(NUMBER, "Weight of the teacher's term of the loss, from 0 to 1.", 0.9)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)

    def command(self) -> str:
        """Return the command line that requests the same."""
        if self.teacher is None:
            return command_line(self, "train", self.architecture, without=DISTILLATION)
        return command_line(self, "distill", self.architecture, without=OF_THE_TEACHER)


OF_THE_TEACHER = tuple(name for name in DataRequest.__dataclass_fields__ if name != "seed")
"""The options that a student takes from its teacher."""


def request_of(run: Run) -> Request:
    """Return what was requested when a run was made. Raises UserError where its folder does not say."""
    return from_plain(Request, run.alone().record().request, f"{run.folder / 'run.json'}, request")
