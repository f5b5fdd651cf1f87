"""Logs for other programs: each epoch once, also of a run that is stopped or fails; refused before anything is written."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import nnatomy as nn
from nnatomy.cli import main
from nnatomy.runs import checkpoints

pytestmark = pytest.mark.any_kernels
EPOCHS = 5
OPTIONS: dict[str, Any] = {"data": "iris", "epochs": EPOCHS, "report": False, "baselines": False, "seed": 3, "lr": 0.002}
NAMES = ("csv", "tensorboard", "wandb", "mlflow")
Rows = list[tuple[int, str, float]]
"""Epoch, name, value: what a log was given, in its order."""


class Services:
    """TensorBoard, Weights & Biases and MLflow with the interface that loggers use, recording the calls."""

    def __init__(self) -> None:
        self.rows: Rows = []
        self.calls: list[tuple[Any, ...]] = []
        self.failing: int | None = None
        """The epoch at which the service fails, once."""

    def add(self, epoch: int, name: str, value: float) -> None:
        if epoch == self.failing:
            self.failing = None
            raise ConnectionError("no route to host")
        self.rows.append((epoch, name, value))

    def modules(self) -> dict[str, Any]:
        services = self

        class Writer:
            def __init__(self, output: str) -> None:
                services.calls.append(("open", output))

            def add_scalar(self, tag: str, data: float, step: int) -> None:
                services.add(step, tag, data)

            def flush(self) -> None:
                pass

            def close(self) -> None:
                services.calls.append(("close",))

        class WandbRun:
            id = "abc123"

            def log(self, data: dict[str, float], step: int) -> None:
                for name, value in data.items():
                    services.add(step, name, value)

            def finish(self, exit_code: int) -> None:
                services.calls.append(("close", exit_code))

        def init(**given: Any) -> WandbRun:
            services.calls.append(("open", given))
            return WandbRun()

        class MlflowClient:
            def __init__(self, tracking_uri: str | None) -> None:
                pass

            def get_experiment_by_name(self, name: str) -> None:
                return None

            def create_experiment(self, name: str) -> str:
                return "7"

            def create_run(self, experiment_id: str, run_name: str) -> Any:
                services.calls.append(("open", experiment_id, run_name))
                return SimpleNamespace(info=SimpleNamespace(run_id="abc123"))

            def update_run(self, run_id: str, status: str) -> None:
                services.calls.append(("open", run_id, status))

            def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
                assert run_id == "abc123"
                assert len(params) <= 100
                services.calls.extend(("param", *param) for param in params)
                for name, value, _, step in metrics:
                    services.add(step, name, value)

            def set_terminated(self, run_id: str, status: str) -> None:
                services.calls.append(("close", status))

        found = {
            name: ModuleType(name) for name in ("tensorboard", "tensorboard.summary", "wandb", "mlflow", "mlflow.entities")
        }
        vars(found["tensorboard.summary"])["Writer"] = Writer
        vars(found["wandb"])["init"] = init
        vars(found["mlflow"])["MlflowClient"] = MlflowClient
        vars(found["mlflow.entities"]).update(Metric=lambda *values: values, Param=lambda *values: values)
        return found


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    made = Services()
    for name, module in made.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return made


class Stop(nn.Callback):
    """Interrupts a run after a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, loop: Any) -> None:
        loop.interrupted = loop.position.step == self.step


def logged(name: str, folder: Path, services: Services) -> Rows:
    """What a log has, without the seconds, which differ from run to run."""
    if name != "csv":
        return [row for row in services.rows if row[1] != "seconds"]
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            (int(row["epoch"]), key, float(value))
            for row in csv.DictReader(file)
            for key, value in row.items()
            if key not in ("epoch", "seconds")
        ]


def expected(folder: Path) -> Rows:
    """The same by metrics.jsonl."""
    rows: Rows = []
    for text in (folder / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        for key in ("step", "lr", "train_loss"):
            rows.append((line["epoch"], key, line[key]))
        rows += [(line["epoch"], f"validation/{key}", value) for key, value in line["validation"].items()]
        rows.append((line["epoch"], "best_epoch", line["best_epoch"]))
    return rows


def whole(folder: Path, log: str) -> None:
    nn.train("mlp", out=folder, log=log, **OPTIONS)


def stopped(folder: Path, log: str) -> None:
    assert nn.train("mlp", out=folder, log=log, callbacks=[Stop(5)], **OPTIONS).interrupted
    assert not nn.resume(folder, report=False).interrupted


def behind(folder: Path, log: str) -> None:
    """A run that was killed long after its last checkpoint: the log is ahead of it."""
    assert nn.train("mlp", out=folder, log=log, callbacks=[Stop(5)], **OPTIONS).interrupted
    last = (folder / "last.safetensors").read_bytes()
    nn.resume(folder, report=False)
    (folder / "last.safetensors").write_bytes(last)
    nn.resume(folder, report=False)


def complete(folder: Path, log: str) -> None:
    whole(folder, log)
    nn.resume(folder, report=False)


@pytest.mark.parametrize("way", [whole, stopped, behind, complete])
@pytest.mark.parametrize("name", NAMES)
def test_a_log_has_every_epoch_once(name: str, way: Callable[[Path, str], None], tmp_path: Path, services: Services) -> None:
    way(tmp_path / "run", name)
    rows = logged(name, tmp_path / "run", services)
    assert {epoch for epoch, _, _ in rows} == set(range(1, EPOCHS + 1))
    assert rows == expected(tmp_path / "run")


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_service_that_fails_loses_and_repeats_nothing(
    name: str, tmp_path: Path, services: Services, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    services.failing = 3
    out = tmp_path / "run"
    assert main(["train", "mlp", "--data", "iris", "--epochs", "5", "--seed", "3", "--log", name, "--out", str(out)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "Received ConnectionError: no route to host. Correct it" in told
    assert f"continue from a checkpoint with nnatomy train --resume {out}." in told
    assert main(["train", "--resume", str(out)]) == 0
    assert logged(name, out, services) == expected(out)


def test_a_log_continues_under_its_id_and_knows_the_run(tmp_path: Path, services: Services) -> None:
    stopped(tmp_path / "wandb", "wandb")
    first, _, second, last = services.calls
    assert "id" not in first[1]
    assert (second[1]["id"], second[1]["resume"], last) == ("abc123", "allow", ("close", 0))
    assert first[1]["config"]["request"]["seed"] == 3
    assert first[1]["config"]["recipe"]["learn"]["optimizer"]["name"] == "AdamW"
    services.calls.clear()
    stopped(tmp_path / "mlflow", "mlflow")
    params = {name: value for kind, name, value in (c for c in services.calls if c[0] == "param")}
    assert (params["request/seed"], params["recipe/learn/optimizer/lr"], params["recipe/epochs"]) == ("3", "0.002", "5")
    others = [call for call in services.calls if call[0] != "param"]
    assert others == [
        ("open", "7", "mlflow"), ("close", "KILLED"), ("open", "abc123", "RUNNING"), ("close", "FINISHED"),
    ]  # fmt: skip


def test_a_logger_is_a_callback_also_one_that_is_added_later(tmp_path: Path, services: Services) -> None:
    run = tmp_path / "run"
    logger = nn.TensorBoardLogger(tmp_path / "board")
    assert nn.train("mlp", out=run, callbacks=[logger, Stop(5)], **OPTIONS).interrupted
    assert {epoch for epoch, _, _ in services.rows} == {1, 2}
    nn.resume(run, report=False, callbacks=[nn.TensorBoardLogger(tmp_path / "board"), nn.CSVLogger()])
    assert logged("tensorboard", run, services) == logged("csv", run, services) == expected(run)
    assert services.calls == [("open", str(tmp_path / "board")), ("close",)] * 2


def test_without_a_choice_nothing_is_logged(tmp_path: Path, services: Services) -> None:
    nn.train("mlp", out=tmp_path / "run", **OPTIONS)
    assert services.calls == services.rows == []
    assert not list((tmp_path / "run").glob("*.csv")) + list((tmp_path / "run").glob("log-*"))


REFUSED = {
    "missing tensorboard": (["tensorboard"], "Run pip install tensorboard."),
    "missing wandb": (["wandb"], "Run pip install wandb."),
    "missing mlflow": (["csv", "mlflow"], "Run pip install mlflow."),
    "unknown": (["tensorbord"], "Did you mean 'tensorboard'?"),
    "twice": (["csv", "csv"], "A run has one log of each kind."),
}


@pytest.mark.parametrize("row", REFUSED)
def test_a_log_is_refused_before_the_folder_is_made(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names, remedy = REFUSED[row]
    for name in ("tensorboard", "tensorboard.summary", "wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)
    words = [word for name in names for word in ("--log", name)]
    assert main(["train", "mlp", "--data", "iris", *words, "--out", str(tmp_path / "run")]) == 2
    assert remedy in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_a_folder_of_the_package_s_name_is_not_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    with pytest.raises(nn.UserError, match="Run pip install wandb"):
        nn.WandbLogger()


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "logging.md").read_text(encoding="utf-8")
    codes, outputs = (re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) for language in ("python", "output"))
    for code in codes:
        exec(compile(code, "logging.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out == "".join(outputs)
