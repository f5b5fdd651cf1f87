"""Training as users meet it: overriding recipes, budgets, callbacks, what a run's folder holds, measuring and predicting."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.catalog import architecture, architectures
from nnatomy.cli import main
from nnatomy.runs.checkpoints import flatten, unflatten
from nnatomy.runs.prepare import prepare
from nnatomy.runs.request import Request
from nnatomy.runs.restore import restore
from nnatomy.runs.train import resume, train
from nnatomy.runs.trained import evaluate
from nnatomy.training.loop import Callback, Loop
from nnatomy.training.recipe import Recipe
from nnatomy.training.settings import override, parse_seconds, plain


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small trained network on a table with a text column and gaps."""
    folder = tmp_path_factory.mktemp("training")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    color = rng.choice(["red", "green"], 300)
    y = np.where(x[:, 0] + (color == "red") > 0.5, "in", "out")
    cells = enumerate(zip(x, color, y, strict=True))
    rows = [["" if i % 37 == 0 else f"{a:.4f}", f"{b:.4f}", c, t] for i, ((a, b), c, t) in cells]
    path = folder / "points.csv"
    path.write_text("a,b,color,side\n" + "\n".join(",".join(r) for r in rows) + "\n")
    return nn.train("mlp", path, target="side", epochs=12, seed=1, out=folder / "run"), path


# Recipes and their overrides


def recipe() -> Recipe:
    return architecture("mlp").recipes[0]


@pytest.mark.parametrize(
    "settings, place, value",
    [
        ({"hidden": "8,4"}, ("model", "hidden"), (8, 4)),
        ({"dropout": "0.25"}, ("model", "dropout"), 0.25),
        ({"batch_norm": "true"}, ("model", "batch_norm"), True),
        ({"activation": "tanh"}, ("model", "activation"), "tanh"),
        ({"optimizer": "SGD", "momentum": "0.9"}, ("learn", "optimizer", "momentum"), 0.9),
        ({"optimizer": "Lion"}, ("learn", "optimizer", "name"), "Lion"),
        ({"weight_decay": "0.01"}, ("learn", "optimizer", "weight_decay"), 0.01),
        ({"schedule": "none"}, ("learn", "schedule",), None),
        ({"clip": "1"}, ("learn", "clip",), 1.0),
        ({"clip": "none"}, ("learn", "clip",), None),
        ({"patience": "4"}, ("patience",), 4),
    ],
)
def test_settings_change_exactly_what_they_name(settings: dict[str, str], place: tuple[str, ...], value: Any) -> None:
    whole = plain(override(recipe(), settings))
    found: Any = whole | whole["learn"]
    for key in place:
        found = found[key]
    assert found == value
    assert type(found) is type(value)


def test_flags_override_the_recipe() -> None:
    changed = plain(override(recipe(), epochs=7, batch_size=9, lr=0.5))
    assert (changed["epochs"], changed["batch_size"], changed["learn"]["optimizer"]["lr"]) == (7, 9, 0.5)


def test_the_command_of_a_request_asks_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(
        "mlp", data="my data.csv", target="y", keep=("a b",), types={"c": "numeric"}, epochs=3, lr=0.01, seed=4, budget=90.0,
        precision="float64", accumulate=3, settings={"hidden": "8,4"}, offline=True, split_seed=7, from_="runs/a b",
        new_head=True, freeze=("c1*", "c3=2"), rates={"f*": 0.1},
    )  # fmt: skip
    asked: dict[str, Any] = {}

    def fake(model: str, data: str, **given: Any) -> Any:
        asked.update(given, architecture=model, data=data)
        raise nn.UserError("enough")

    monkeypatch.setattr("nnatomy.runs.train.train", fake)
    assert main(shlex.split(request.command())[1:]) == 2
    for name, value in vars(request).items():
        found = asked.get(name, getattr(Request("mlp"), name))  # a teacher is requested by distill
        read = {"budget": parse_seconds, "keep": tuple, "freeze": tuple}.get(name, lambda found: found)
        assert read(found) == value, name


# The loop


class Watch(Callback):
    """Counts what the loop calls."""

    def __init__(self) -> None:
        self.steps, self.lines, self.ended, self.lrs = 0, [], 0, []

    def after_step(self, loop: Loop) -> None:
        self.steps += 1
        self.lrs.append(loop.lr())

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        self.lines.append(line)

    def end(self, loop: Loop) -> None:
        self.ended += 1


def test_callbacks_see_every_step_and_epoch(tmp_path: Path) -> None:
    watch = Watch()
    result = nn.train("mlp", "iris", epochs=4, batch_size=10, out=tmp_path / "r", callbacks=[watch], report=False)
    per_epoch = math.ceil(len(result.dataset.train) / 10)
    assert (watch.steps, len(watch.lines), watch.ended) == (4 * per_epoch, 4, 1)


def test_the_best_epochs_weights_are_kept(tmp_path: Path) -> None:
    watch = Watch()
    result = nn.train("mlp", "wine", epochs=8, out=tmp_path / "r", callbacks=[watch], report=False)
    metric = result.prepared.recipe.metric
    values = [line["validation"][metric] for line in watch.lines]
    best = max(values) if metric in ("accuracy", "r2") else min(values)
    found = result.prepared.task.evaluate(result.model, result.dataset.validation).metrics[metric]
    assert found == pytest.approx(best, rel=1e-6)


def test_patience_stops_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    result = nn.train("mlp", "iris", epochs=400, settings={"patience": 3}, out=tmp_path / "r", report=False)
    assert result.epochs < 400
    assert "3 epochs" in result.stopped


def test_a_plateau_halves_the_learning_rate(tmp_path: Path) -> None:
    watch = Watch()
    settings = {"plateau": 1, "schedule": "none", "lr": 1e-9}  # too small to improve anything visibly
    nn.train("mlp", "iris", epochs=6, settings=settings, out=tmp_path / "r", callbacks=[watch], report=False)
    assert watch.lrs[-1] < 0.6 * watch.lrs[0]


def test_a_budget_is_kept_and_the_schedule_fits_in_it(tmp_path: Path) -> None:
    watch = Watch()
    asked = {"epochs": 5000, "budget": 3.0, "settings": {"patience": "none"}}
    result = nn.train("mlp", "digits", out=tmp_path / "r", callbacks=[watch], report=False, **asked)
    assert 1.0 < result.seconds < 5.0
    assert "budget" in result.stopped
    assert result.metrics["accuracy"] > 0.5
    assert watch.lrs[-1] < 0.2 * max(watch.lrs)  # a cosine that has come down by the end of the time


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path: Path) -> None:
    a, b, c = (
        nn.train("mlp", "iris", epochs=2, seed=s, out=tmp_path / str(i), report=False).model.state_dict()
        for i, s in enumerate((5, 5, 6))
    )
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
    assert any(not np.array_equal(a[name], c[name]) for name in a)


def test_an_average_of_the_weights_is_what_is_kept(tmp_path: Path) -> None:
    raw, averaged = (
        nn.train("mlp", "iris", epochs=1, settings=s, out=tmp_path / str(len(s)), report=False).model.state_dict()
        for s in ({}, {"average": "0.5"})
    )
    assert any(not np.array_equal(raw[name], averaged[name]) for name in raw)


def test_a_run_in_double_precision_and_in_parts_is_kept_so(tmp_path: Path) -> None:
    options = {"epochs": 2, "limit": 90, "report": False, "settings": {"dropout": 0}}
    whole = train("mlp", out=tmp_path / "whole", precision="float64", **options)
    parts = train("mlp", out=tmp_path / "parts", precision="float64", accumulate=3, **options)
    for name, value in whole.model.state_dict().items():
        assert value.dtype == np.float64
        np.testing.assert_allclose(parts.model.state_dict()[name], value, rtol=1e-9, atol=1e-12)
    restored, _ = restore(tmp_path / "parts")
    assert restored.request.accumulate == 3
    assert {a.dtype for a in restored.model.state_dict().values()} == {np.dtype("float64")}
    assert evaluate(tmp_path / "parts").metrics == parts.metrics


def test_runs_from_before_a_flag_existed_go_on(tmp_path: Path) -> None:
    train("mlp", out=tmp_path / "run", epochs=1, limit=60, report=False)
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    for flag in ("precision", "accumulate"):
        del saved["request"][flag]
    (tmp_path / "run" / "run.json").write_text(json.dumps(saved))
    again = resume(tmp_path / "run", report=False)
    assert (again.prepared.request.precision, again.prepared.request.accumulate) == ("float32", 1)


def test_state_trees_survive_taking_apart() -> None:
    tree = {"a": {"b": np.ones(2), "n": 3, "none": {}}, "c": [1, 2], "d": {"e": {"f": np.zeros(1)}}}
    arrays, values = flatten(tree)
    again = unflatten(arrays, json.loads(json.dumps(values)))
    assert again["a"]["n"] == 3
    assert again["a"]["none"] == {}
    assert again["c"] == [1, 2]
    np.testing.assert_array_equal(again["a"]["b"], tree["a"]["b"])
    assert again["d"]["e"]["f"].shape == (1,)


# The run's folder, and using it


def test_a_runs_folder_holds_all_that_was_promised(run: Any) -> None:
    folder = run[0].run.folder
    assert {p.name for p in folder.iterdir()} == {
        "run.json", "environment.json", "preprocessing.json", "dataset.json", "metrics.jsonl", "last.safetensors",
        "best.safetensors", "result.json", "report.html", "gradients.jsonl", "fingerprint.json",
    }  # fmt: skip
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 12


def test_the_report_stands_alone(run: Any) -> None:
    page = run[0].run.report.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|url\(""", page)
    assert "<script" not in page
    for needed in ("Learning curves", "Best epoch", "accuracy", "nnatomy train mlp", "multiply-adds", "color", "seed 1"):
        assert needed in page, needed


def test_evaluate_finds_the_same_scores_again(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run[0].run.folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    assert found == pytest.approx(run[0].metrics, rel=1e-6)


def test_predict_needs_only_the_folder_and_answers_row_by_row(run: Any, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    new.write_text("color,b,a\nred,0.1,3\ngreen,0.1,-3\nviolet,0.2,\n")
    run[1].rename(run[1].with_suffix(".away"))  # the training data are gone
    try:
        assert main(["predict", str(run[0].run.folder), "--data", str(new), "--out", str(tmp_path / "p.csv")]) == 0
    finally:
        run[1].with_suffix(".away").rename(run[1])
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert [r["prediction"] for r in rows[:2]] == ["in", "out"]
    assert len(rows) == 3
    assert all(math.isclose(float(r["p(in)"]) + float(r["p(out)"]), 1, abs_tol=1e-4) for r in rows)


def test_train_json_is_one_object_of_the_promised_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mlp", "--data", "iris", "--epochs", "2", "--out", str(tmp_path / "r"), "--json"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert out.count("\n") == 1
    assert set(found) == {"architecture", "run", "backend", "epochs", "seconds", "parameters", "metrics"}
    assert (found["architecture"], found["backend"], found["epochs"]) == ("mlp", "numpy", 2)
    assert 0 <= found["metrics"]["accuracy"] <= 1


def test_list_and_info_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    names = [r["name"] for r in json.loads(capsys.readouterr().out)["architectures"]]
    assert {"perceptron", "mlp", "lenet5", "lstm", "autoencoder"} <= set(names)
    assert main(["info", "lstm", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["family"] == "recurrent"


def test_preparation_trains_nothing_and_is_repeatable() -> None:
    a, b = (prepare(Request("mlp", data="iris", seed=2)) for _ in range(2))
    for name, value in a.model.state_dict().items():
        np.testing.assert_array_equal(value, b.model.state_dict()[name])
    assert replace(a.request, seed=3) != a.request


def test_a_text_run_continues_a_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = tmp_path / "book.txt"
    book.write_text("the cat sat on the mat and the dog sat on the log. " * 120)
    nn.train("lstm", book, epochs=6, window=32, settings={"hidden": 32}, out=tmp_path / "r", report=False)
    (tmp_path / "prompt.txt").write_text("the cat ")
    for _ in range(2):  # the same each time
        assert main(["predict", str(tmp_path / "r"), "--data", str(tmp_path / "prompt.txt"), "--json"]) == 0
    first, second = (json.loads(line)["predictions"][0] for line in capsys.readouterr().out.splitlines())
    assert first == second
    assert len(first["continuation"]) == 200
    assert {"sat", "the", "on"} & set(first["continuation"].split())


@pytest.mark.parametrize("name", architectures())
def test_a_run_in_double_precision_has_its_report(name: str, tmp_path: Path) -> None:
    result = nn.train(name, epochs=1, limit=120, precision="float64", out=tmp_path / "run")
    assert {str(p.dtype) for p in result.model.parameters()} == {"float64"}
    assert "How it works" in result.run.report.read_text(encoding="utf-8")


def test_arguments_of_another_type_are_told_in_one_sentence(tmp_path: Path) -> None:
    for call, sentence in (
        (lambda: evaluate(5), "named by a text or a path. Received int"),
        (lambda: nn.export(None), "named by a text or a path. Received NoneType"),
        (lambda: nn.compare(["mlp", "perceptron"], data="iris"), "one by one"),
        (lambda: nn.tune(None, "iris"), "No architecture has this name. Received None"),
        (lambda: nn.use(None), "No backend has this name. Received None"),
    ):  # fmt: skip
        with pytest.raises(nn.UserError, match=sentence):
            call()  # type: ignore[no-untyped-call]
