"""Logs of a run for other programs: a CSV file, TensorBoard, Weights & Biases, MLflow. Without a user's choice there is none.

Every log holds each epoch once, also where a run is killed and continued: `LogRecord` says what the log has already.
"""

from __future__ import annotations

import csv
import importlib
import io
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from nnatomy.errors import UserError, unknown_name
from nnatomy.runs.checkpoints import flatten
from nnatomy.runs.folder import Run, write_atomically
from nnatomy.runs.records import LogRecord
from nnatomy.training.loop import Callback, Loop

MOST_PARAMETERS, LONGEST_PARAMETER = 100, 500
"""What MLflow takes: parameters in one request, characters of a value."""


class Logger(Callback):
    """Copies each line of metrics.jsonl elsewhere; a subclass says how to start, write and finish."""

    name: ClassVar[str]
    run: Run

    def start(self, id: str | None) -> str | None:
        """Open the log, new or by the id that it had before; return its id."""
        return None

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        """Add the finite numbers of one epoch."""

    def finish(self, outcome: str) -> None:
        """Close the log: "finished", "interrupted" or "failed"."""

    def begin(self, loop: Loop) -> None:
        kept = self._kept()
        with self._service():
            self._record = LogRecord(self.start(kept.id), kept.epoch)
        self._keep()
        for line in self.run.history():  # what a killed run, or one without this log, has not written
            self._add(line)

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        self._add(line)

    def end(self, loop: Loop) -> None:
        with suppress(UserError) if loop.outcome == "failed" else self._service():  # the first failure is the one to report
            self.finish(loop.outcome)

    def _add(self, line: Mapping[str, Any]) -> None:
        epoch = line["epoch"]
        if epoch <= self._record.epoch:
            return
        with self._service():
            self.write(epoch, numbers(line))
        self._record = LogRecord(self._record.id, epoch)
        self._keep()

    @property
    def _file(self) -> str:
        return f"log-{self.name}.json"

    def _kept(self) -> LogRecord:
        return self.run.read_as(self._file, LogRecord) if (self.run.folder / self._file).exists() else LogRecord()

    def _keep(self) -> None:
        self.run.write_json(self._file, vars(self._record))

    @contextmanager
    def _service(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as problem:
            found = f"{type(problem).__name__}: {problem}".rstrip(". ")
            raise UserError(
                f"--log {self.name} needs a log that can be written. Received {found}. Correct it, and train "
                f"again, or continue from a checkpoint with nnatomy train --resume {self.run.folder}."
            ) from problem


class CSVLogger(Logger):
    """One row for each epoch, in the run's metrics.csv."""

    name = "csv"

    def start(self, id: str | None) -> None:
        self._rows: list[Mapping[str, float]] = []
        self._columns: list[str] = []

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        path, known = self.run.folder / "metrics.csv", self._columns
        self._rows.append({"epoch": epoch, **values})
        self._columns = list(dict.fromkeys([*known, *self._rows[-1]]))
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        if self._columns == known:
            writer.writerow(self._rows[-1])
            with path.open("a", encoding="utf-8") as file:
                file.write(text.getvalue())
            return
        writer.writeheader()
        writer.writerows(self._rows)
        write_atomically(path, text.getvalue())

    def _kept(self) -> LogRecord:
        return LogRecord()  # the file is made again, from all lines

    def _keep(self) -> None:
        pass


class TensorBoardLogger(Logger):
    """Scalars by epoch for TensorBoard, in the run's folder tensorboard or in another one."""

    name = "tensorboard"

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = folder
        self._make = package("tensorboard.summary", "Writer", self.name)

    def start(self, id: str | None) -> None:
        self._writer = self._make(str(self.folder or self.run.folder / "tensorboard"))

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def finish(self, outcome: str) -> None:
        self._writer.close()


class WandbLogger(Logger):
    """A run of Weights & Biases, which is sent where that package is set up to send: request, recipe and scores.

    `options` are those of wandb.init, such as name, entity, mode="offline".
    """

    name = "wandb"

    def __init__(self, project: str = "nnatomy", **options: Any) -> None:
        self.project, self.options = project, options
        self._init = package("wandb", "init", self.name)

    def start(self, id: str | None) -> str:
        given = {"project": self.project, "name": self.run.folder.name, "dir": str(self.run.folder), "config": facts(self.run)}
        self._run = self._init(**(given | self.options | ({} if id is None else {"id": id})), resume="allow")
        return str(self._run.id)

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=epoch)

    def finish(self, outcome: str) -> None:
        self._run.finish(exit_code=int(outcome == "failed"))


class MLflowLogger(Logger):
    """A run of MLflow, in the store that MLFLOW_TRACKING_URI or `tracking_uri` names: request, recipe and scores."""

    name = "mlflow"

    def __init__(self, experiment: str = "nnatomy", tracking_uri: str | None = None) -> None:
        self.experiment, self.tracking_uri = experiment, tracking_uri
        self._client_of = package("mlflow", "MlflowClient", self.name)

    def start(self, id: str | None) -> str:
        client = self._client = self._client_of(self.tracking_uri)
        if id is not None:
            client.update_run(id, status="RUNNING")
            self._id = id
            return id
        found = client.get_experiment_by_name(self.experiment)
        experiment = client.create_experiment(self.experiment) if found is None else found.experiment_id
        self._id = str(client.create_run(experiment, run_name=self.run.folder.name).info.run_id)
        parameter = package("mlflow.entities", "Param", self.name)
        values = flatten(facts(self.run))[1].items()
        parameters = [parameter(_mlflow_name(name), str(value)[:LONGEST_PARAMETER]) for name, value in values]
        for first in range(0, len(parameters), MOST_PARAMETERS):
            client.log_batch(self._id, params=parameters[first : first + MOST_PARAMETERS])
        return self._id

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        metric, now = package("mlflow.entities", "Metric", self.name), int(1000 * time.time())
        self._client.log_batch(self._id, metrics=[metric(_mlflow_name(n), v, now, epoch) for n, v in values.items()])

    def finish(self, outcome: str) -> None:
        status = {"finished": "FINISHED", "interrupted": "KILLED"}.get(outcome, "FAILED")
        self._client.set_terminated(self._id, status=status)


LOGGERS: dict[str, type[Logger]] = {c.name: c for c in (CSVLogger, TensorBoardLogger, WandbLogger, MLflowLogger)}


def package(module: str, name: str, needed_by: str) -> Any:
    """Return a name of an optional package. Raises UserError, with the command that installs it, where it is missing."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):  # a folder of that name, such as wandb's own output, is a module without names
        top = module.partition(".")[0]
        raise UserError(
            f"--log {needed_by} needs the package {top}. Received an environment without it. Run pip install {top}."
        ) from None


def divide(callbacks: Sequence[Callback], names: Sequence[str]) -> tuple[list[Callback], list[Logger]]:
    """Return the callbacks without the loggers among them, and these with the ones that have these names.

    Raises UserError for an unknown name, a missing package and two logs of one kind.
    """
    loggers = [callback for callback in callbacks if isinstance(callback, Logger)]
    for name in names:
        if name not in LOGGERS:
            raise unknown_name("log", name, LOGGERS)
        loggers.append(LOGGERS[name]())
    kinds = [logger.name for logger in loggers]
    if twice := [name for name in LOGGERS if kinds.count(name) > 1]:
        raise UserError(f"A run has one log of each kind. Received {twice[0]} twice. Leave one out.")
    return [callback for callback in callbacks if not isinstance(callback, Logger)], loggers


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a line of metrics.jsonl, but its epoch, by name: train_loss, validation/accuracy."""
    plain = flatten(line)[1]
    return {
        name: value
        for name, value in plain.items()
        if name != "epoch" and isinstance(value, int | float) and math.isfinite(value)
    }


def facts(run: Run) -> dict[str, Any]:
    """Return what a run was requested to do, without the options that were not given, and its recipe."""
    record = run.record()
    given = {name: value for name, value in (record.request or {}).items() if value not in (None, [], {}, ())}
    return {"request": given, "recipe": dict(record.recipe)}


def _mlflow_name(name: str) -> str:
    return re.sub(r"[^\w./ -]", "_", name)
