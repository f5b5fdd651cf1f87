"""A user's own models and data: a Module, arrays, a frame and a folder, each through every verb that a name goes through."""

from __future__ import annotations

import json
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.cli import main
from nnatomy.data.dataset import Dataset
from nnatomy.runs import answers
from nnatomy.runs.folder import load_arrays
from nnatomy.tasks import Classification, Reconstruction
from nnatomy.training.callbacks import Callback
from nnatomy.training.loop import Loop

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 5))
Y = np.where(X[:, 0] + X[:, 1] ** 2 > 0.6, "in", "out")
SMALL: dict[str, Any] = {"epochs": 3, "report": False}


class Net(nn.Module):  # type: ignore[misc]
    """A classifier with dropout, so that its random numbers must continue too."""

    def __init__(self, inputs: int = 5, outputs: int = 2, hidden: int = 16) -> None:
        self.first, self.last, self.drop = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs), nn.Dropout(0.2)

    def forward(self, x: Any) -> Any:
        return self.last(self.drop(nn.relu(self.first(x))))


def for_data(dataset: Dataset, hidden: int = 8) -> Net:
    return Net(dataset.input_shape[0], dataset.outputs, hidden)


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return set(ours) == set(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)


# A Module


def test_a_module_is_trained_in_place_on_a_named_set(tmp_path: Path) -> None:
    nn.seed(3)
    net = Net(30, 2)
    result = nn.train(net, "breast_cancer", epochs=12, out=tmp_path / "run")
    assert result.model is net
    assert result.metrics["accuracy"] > 0.85
    page = result.run.report.read_text(encoding="utf-8")
    assert "Net on breast_cancer" in page
    assert "nn.train(Net, &#x27;breast_cancer&#x27;, epochs=12)" in page
    found = nn.load_run(tmp_path / "run", model=Net(30, 2))
    assert same(found.model, net)
    assert found.evaluate().metrics == pytest.approx(result.metrics, rel=1e-6)


def test_a_function_makes_the_model_for_the_data_and_its_options_are_settings(tmp_path: Path) -> None:
    result = nn.train(for_data, "iris", settings={"hidden": 6}, out=tmp_path / "a", **SMALL)
    assert result.model.first.weight.shape == (6, 4)
    assert result.prepared.architecture.name == "for_data"
    assert same(nn.load_run(tmp_path / "a", model=for_data).model, result.model)
    again = nn.train(for_data, "iris", settings={"hidden": 6}, out=tmp_path / "b", **SMALL)
    assert same(again.model, result.model)  # the seed decides its weights
    with pytest.raises(nn.UserError, match="hidden"):
        nn.train(for_data, "iris", settings={"hiden": 6}, out=tmp_path / "c", **SMALL)


def test_task_loss_and_optimizer_can_be_given(tmp_path: Path) -> None:
    calls = []

    def smoothed(outputs: Any, targets: Any) -> Any:
        calls.append(outputs.shape)
        return nn.functional.cross_entropy(outputs, targets, label_smoothing=0.1)

    result = nn.train(
        Net(4, 3), "iris", loss=smoothed, task="classification", optimizer=partial(nn.optim.SGD, lr=0.1), lr=0.2,
        out=tmp_path / "run", **SMALL,
    )  # fmt: skip
    assert calls
    assert result.prepared.task.__class__ is Classification
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert saved["own"]["loss"] == "smoothed"
    assert saved["recipe"]["learn"]["optimizer"] == {"name": "SGD", "lr": 0.2}
    again = nn.load_run(tmp_path / "run", model=Net(4, 3))
    assert list(again.predict(_file(tmp_path)).columns) == ["row", "prediction", "probability", *_classes()]
    with pytest.raises(nn.UserError, match="smoothed"):
        again.evaluate()
    whole = nn.load_run(tmp_path / "run", model=Net(4, 3), loss=smoothed)
    assert whole.evaluate().metrics["loss"] == pytest.approx(result.metrics["loss"], rel=1e-6)


def _classes() -> list[str]:
    return ["p(setosa)", "p(versicolor)", "p(virginica)"]


def _file(folder: Path) -> Path:
    """A table with the columns of iris."""
    columns = [c.name for c in nn.data.load("iris").columns if c.role == "input"]
    path = folder / "new.csv"
    path.write_text(",".join(columns) + "\n5.1,3.5,1.4,0.2\n6.7,3.1,5.6,2.4\n")
    return path


def test_a_loss_of_the_model_itself_and_a_task_without_targets(tmp_path: Path) -> None:
    def loss(model: Any, x: Any, y: Any) -> tuple[Any, Any]:
        outputs = model(x)
        return ((outputs - x) ** 2).mean(), outputs

    net = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 4))
    result = nn.train(net, "iris", task=Reconstruction, loss=loss, out=tmp_path / "run", **SMALL)
    assert result.metrics["loss"] == pytest.approx(result.metrics["mse"], rel=1e-4)


class Stop(Callback):
    """Ends a run as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, loop: Loop) -> None:
        loop.interrupted |= loop.position.step == self.step


@pytest.mark.parametrize("step", [3, 7])
def test_a_module_continues_exactly(step: int, tmp_path: Path) -> None:
    nn.seed(1)
    start = Net(4, 3)
    state = start.state_dict()
    whole = nn.train(start, "iris", out=tmp_path / "whole", **SMALL)
    second = Net(4, 3)
    second.load_state_dict(state)
    half = nn.train(second, "iris", out=tmp_path / "half", callbacks=[Stop(step)], **SMALL)
    assert half.interrupted
    with pytest.raises(nn.UserError, match=r"your own model, Net.*model="):
        nn.resume(tmp_path / "half")
    done = nn.resume(tmp_path / "half", model=Net(4, 3), report=False)  # other weights: those of the folder count
    assert same(done.model, whole.model)
    assert done.metrics == whole.metrics


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "too few outputs": (lambda: Net(4, 2), {}, "one output a class, here 3"),
    "other inputs": (lambda: Net(7, 3), {}, r"inputs \(2, 4\)"),
    "no data": (lambda: Net(4, 3), {"data": None}, "no data"),
    "no parameters": (lambda: nn.ReLU(), {"task": "reconstruction"}, "parameters"),
    "a loss without a mean": (lambda: Net(4, 3), {"loss": lambda outputs, targets: outputs}, "single number"),
    "a number for a loss": (lambda: Net(4, 3), {"loss": 3}, "criterion"),
    "a name for an optimizer": (lambda: Net(4, 3), {"optimizer": "Adam"}, "partial"),
    "an unknown task": (lambda: Net(4, 3), {"task": "clasification"}, "classification"),
    "a task for a name": (lambda: "mlp", {"task": "classification"}, "recipe"),
    "a number for a model": (lambda: 5, {}, "Module"),
    "a function of two": (lambda: lambda a, b: Net(), {}, "needs a, b"),
    "a function of nothing": (lambda: lambda: 3, {}, "returns a Module"),
    "a folder that is none": (lambda: Path("nowhere"), {}, "recipe.py"),
    "a setting of a Module": (lambda: Net(4, 3), {"settings": {"hidden": 3}}, "hidden"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_trained_is_refused_before_a_folder_is_made(name: str, tmp_path: Path) -> None:
    model, options, sentence = WRONG[name]
    with pytest.raises(nn.UserError, match=sentence):
        nn.train(model(), **({"data": "iris", "out": tmp_path / "run"} | options))
    assert not (tmp_path / "run").exists()


def test_a_run_of_a_name_takes_no_model_and_other_weights_are_refused(tmp_path: Path) -> None:
    nn.train("mlp", "iris", out=tmp_path / "named", **SMALL)
    with pytest.raises(nn.UserError, match="knows its model"):
        nn.load_run(tmp_path / "named", model=Net(4, 3))
    nn.train(Net(4, 3), "iris", out=tmp_path / "own", **SMALL)
    with pytest.raises(nn.UserError, match=r"first\.weight"):
        nn.load_run(tmp_path / "own", model=Net(4, 3, hidden=9))


def test_the_command_line_says_how_a_module_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nn.train(Net(4, 3), "iris", out=tmp_path / "own", **SMALL)
    own = str(tmp_path / "own")
    new = str(_file(tmp_path))
    for line in (
        f"evaluate {own}", f"predict {own} --data {new}", f"train --resume {own}", f"export {own}", f"draw {own}",
        f"average {own} {own}", f"distill mlp --teacher {own}", f"serve {own}",
    ):  # fmt: skip
        words = line.split()
        assert main(words) == 2, words
        assert "your own model, Net. Received none. Give it in Python: nn.load_run" in capsys.readouterr().err, words


# Arrays, frames and data sets


def test_arrays_train_a_name_and_a_module(tmp_path: Path) -> None:
    for name, model in (("named", "mlp"), ("own", Net())):
        result = nn.train(model, (X, Y), out=tmp_path / name, epochs=30, lr=0.02, limit=200)
        assert result.metrics["accuracy"] > 0.75
        assert len(result.dataset.train) <= 200
        given = {} if name == "named" else {"model": Net()}
        run = nn.load_run(tmp_path / name, **given)
        assert set(run.predict(X[:9]).columns["prediction"]) <= {"in", "out"}
        assert run.evaluate((X, Y)).metrics["accuracy"] > 0.75
        with pytest.raises(nn.UserError, match="your own data, arrays"):
            run.evaluate()
        again = nn.load_run(tmp_path / name, data=(X, Y), **given)
        assert again.evaluate().metrics == pytest.approx(result.metrics, rel=1e-6)
        exported = nn.export(run, out=tmp_path / name / "m.onnx")
        assert exported.difference < 1e-4


def test_a_run_on_arrays_continues_exactly_and_on_no_others(tmp_path: Path) -> None:
    whole = nn.train("mlp", (X, Y), out=tmp_path / "whole", **SMALL)
    assert nn.train("mlp", (X, Y), out=tmp_path / "half", callbacks=[Stop(3)], **SMALL).interrupted
    for other in ((X + 1, Y), (X, Y[::-1])):
        with pytest.raises(nn.UserError, match="started with"):
            nn.resume(tmp_path / "half", data=other)
        with pytest.raises(nn.UserError, match="started with"):
            nn.load_run(tmp_path / "half", data=other).evaluate()
    assert same(nn.resume(tmp_path / "half", data=(X, Y), report=False).model, whole.model)


def test_numbers_are_predicted_in_their_own_units(tmp_path: Path) -> None:
    y = 1000 + 50 * X[:, 0]
    run = nn.train(nn.Linear(5, 1), (X, y), epochs=40, lr=0.05, out=tmp_path / "run", report=False)
    assert run.metrics["r2"] > 0.98
    found = nn.load_run(tmp_path / "run", model=nn.Linear(5, 1)).predict(X[:4]).columns
    np.testing.assert_allclose(np.asarray(found["prediction"], float), y[:4], atol=10)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_is_read_as_its_file_is(library: str, tmp_path: Path) -> None:
    made = pytest.importorskip(library, reason=f"{library} is not installed")
    _frame_is_read(made.DataFrame({**{f"x{i}": X[:, i] for i in range(5)}, "y": Y}), tmp_path)


def test_what_looks_like_a_frame_is_read_as_its_file_is(tmp_path: Path) -> None:
    _frame_is_read(Frame({**{f"x{i}": X[:, i] for i in range(5)}, "y": Y}), tmp_path)


class Frame:
    """Named columns, as frames have them."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self._columns = {name: np.asarray(values) for name, values in columns.items()}
        self.columns = list(columns)
        self.shape = (len(next(iter(self._columns.values()))), len(columns))

    def __getitem__(self, name: str) -> Any:
        return _Cells(self._columns[name])


class _Cells:
    def __init__(self, values: Any) -> None:
        self._values = values

    def to_list(self) -> list[Any]:
        return list(self._values.tolist())


def _frame_is_read(frame: Any, folder: Path) -> None:
    rows = [",".join(map(str, row)) for row in zip(*(frame[c].to_list() for c in frame.columns), strict=True)]
    (folder / "frame.csv").write_text(",".join(frame.columns) + "\n" + "\n".join(rows) + "\n")
    a = nn.train("mlp", frame, target="y", out=folder / "a", **SMALL)
    b = nn.train("mlp", folder / "frame.csv", target="y", out=folder / "b", **SMALL)
    assert same(a.model, b.model)
    run = nn.load_run(folder / "a")
    assert answers.lines(run.predict(frame)) == answers.lines(nn.predict(folder / "b", folder / "frame.csv"))
    assert run.evaluate(frame).metrics == nn.evaluate(folder / "b", folder / "frame.csv").metrics


def test_a_data_set_is_taken_as_it_is_and_options_of_reading_are_refused(tmp_path: Path) -> None:
    dataset = nn.data.load("iris", seed=4)
    result = nn.train("mlp", dataset, out=tmp_path / "run", **SMALL)
    assert result.dataset is dataset
    for data, options, sentence in (
        (dataset, {"limit": 5}, "limit"), ((X, Y), {"target": "y"}, "target"), ([1, 2, 3], {}, "list"),
    ):  # fmt: skip
        with pytest.raises(nn.UserError, match=sentence):
            nn.train("mlp", data, out=tmp_path / "no", **options)
    assert not (tmp_path / "no").exists()


def test_a_module_learns_from_a_teacher_and_from_other_weights(tmp_path: Path) -> None:
    nn.train("mlp", "iris", out=tmp_path / "teacher", **SMALL)
    student = nn.distill(Net(4, 3), tmp_path / "teacher", out=tmp_path / "student", **SMALL)
    assert "teacher=" in json.loads((tmp_path / "student" / "run.json").read_text())["command"]
    again = nn.resume(tmp_path / "student", model=Net(4, 3), report=False)
    assert again.metrics == student.metrics
    later = nn.train(Net(4, 3), "iris", from_=tmp_path / "student", freeze=["first"], out=tmp_path / "later", **SMALL)
    assert np.array_equal(later.model.first.weight.data, student.model.first.weight.data)
    assert not np.array_equal(later.model.last.weight.data, student.model.last.weight.data)


def test_other_processes_say_that_arrays_are_missing(tmp_path: Path) -> None:
    nn.train("mlp", (X, Y), out=tmp_path / "run", **SMALL)
    run = tmp_path / "run"
    for use in (lambda: nn.distill("mlp", run), lambda: nn.average([run, run]), lambda: nn.evaluate(run)):
        with pytest.raises(nn.UserError, match=r"your own data, arrays\. Received none"):
            use()


# Weights in a file


class Tied(nn.Module):  # type: ignore[misc]
    """Two layers with one weight, which has two names."""

    def __init__(self) -> None:
        self.first, self.second, self.last = (nn.Linear(4, n) for n in (4, 4, 2))
        self.second.weight = self.first.weight

    def forward(self, x: Any) -> Any:
        return self.last(nn.tanh(self.second(nn.tanh(self.first(x)))))


def test_a_shared_weight_needs_one_of_its_names(tmp_path: Path) -> None:
    model, x = Tied(), np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    state = model.state_dict()
    assert {"first.weight", "second.weight"} <= set(state)
    for name in ("first.weight", "second.weight"):
        part = {key: value + 1 for key, value in state.items() if key != name}
        assert not model.load_state_dict(part).missing_keys
        np.testing.assert_array_equal(model.first.weight.numpy(), state[name] + 1)
        np.testing.assert_array_equal(model.second.weight.numpy(), state[name] + 1)
    with pytest.raises(nn.UserError, match=r"missing: first\.weight, second\.weight\."):
        model.load_state_dict({key: value for key, value in state.items() if "weight" not in key or "last" in key})
    data = x, (x[:, 0] > 0).astype(int)
    found = nn.train(model, data, epochs=4, out=tmp_path / "run", report=False)
    again = nn.load_run(tmp_path / "run", model=Tied(), data=data)
    assert same(again.model, found.model)
    assert again.evaluate().metrics == pytest.approx(found.metrics, rel=1e-6)


def test_weights_are_saved_and_loaded_strictly(tmp_path: Path) -> None:
    net = Net()
    path = nn.save(net, tmp_path / "net.safetensors")
    assert set(load_arrays(path)[0]) == set(net.state_dict())
    other = nn.load(path, Net())
    assert same(net, other)
    with pytest.raises(nn.UserError, match="exists"):
        nn.save(net, path)
    with pytest.raises(nn.UserError, match=r"misshapen: first\.weight"):
        nn.load(path, Net(hidden=3))
    (tmp_path / "bad.safetensors").write_bytes(b"pickle")
    with pytest.raises(nn.UserError, match="safetensors"):
        nn.load(tmp_path / "bad.safetensors", Net())
    with pytest.raises(nn.UserError, match="Received int"):
        nn.save(5, tmp_path / "five.safetensors")


# A folder of one's own


MODEL = '''
"""A classifier by the nearest mean."""

import numpy as np

import nnatomy as nn


class NearestMean(nn.Module):
    """One prototype a class; the score of a class is minus its squared distance."""

    def __init__(self, features, classes):
        self.prototypes = nn.Tensor(np.zeros((classes, features), np.float32))

    def forward(self, x):
        x = x.reshape(len(x), -1)
        return -((x.reshape(len(x), 1, -1) - self.prototypes) ** 2).sum(axis=-1)


def rule(model, progress, x, y, rate=0.1):
    """Move the prototype of each example's class toward it; the mean distance is shown."""
    x = x.reshape(len(x), -1)
    one_hot = nn.tensor(np.eye(model.prototypes.shape[0], dtype=np.float32))[y]
    counts = one_hot.sum(axis=0).reshape(-1, 1)
    means = (one_hot.T @ x) / (counts + 1e-6)
    step = rate * (1 - progress) * (counts > 0)
    model.prototypes.data = (model.prototypes + step * (means - model.prototypes)).data
    return ((x - one_hot @ model.prototypes) ** 2).mean()
'''
RECIPE = """
from nnatomy.tasks import Classification
from nnatomy.training.learners import LocalRule
from nnatomy.training.recipe import Recipe

from .model import NearestMean, rule


def build(dataset, scale=1):
    return NearestMean(dataset.input_shape[0], dataset.outputs)


recipes = (
    Recipe(kind="table", tasks=(Classification,), data="iris", build=build, options={}, learn=LocalRule(rule), epochs=6,
           batch_size=16, metric="accuracy"),
)
"""
PICTURE = """
from matplotlib.figure import Figure


def draw(model, dataset):
    figure = Figure()
    figure.subplots().imshow(model.prototypes.data)
    return figure
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An architecture of a user's: an unusual learner, no page."""
    place = tmp_path / "prototypes"
    place.mkdir()
    (place / "model.py").write_text(textwrap.dedent(MODEL))
    (place / "recipe.py").write_text(textwrap.dedent(RECIPE))
    return place


def test_a_folder_goes_through_every_verb(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "./prototypes", "--out", "run", "--set", "rate=0.2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["architecture"] == "prototypes"
    assert found["metrics"]["accuracy"] > 0.8
    saved = json.loads(Path("run/run.json").read_text())
    assert saved["request"]["architecture"] == str(folder)
    assert saved["recipe"]["learn"]["rate"] == 0.2
    monkeypatch.chdir(folder)  # found from anywhere
    assert main(["evaluate", "../run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == pytest.approx(found["metrics"])
    assert main(["predict", "../run", "--data", str(_file(tmp_path)), "--json"]) == 0
    assert [p["prediction"] for p in json.loads(capsys.readouterr().out)["predictions"]] == ["setosa", "virginica"]
    assert main(["train", "--resume", "../run"]) == 0
    assert main(["draw", "../run", "--out", "../architecture.png"]) == 0
    (folder / "picture.py").write_text(PICTURE)
    assert main(["draw", "../run", "--out", "../own.png"]) == 0
    assert Path("../own.png").read_bytes() != Path("../architecture.png").read_bytes()
    capsys.readouterr()
    assert main(["draw", str(folder), "--out", "../drawn.png"]) == 0
    capsys.readouterr()
    assert main(["info", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["family"] == "own"
    (folder / "page.md").write_text("---\ntitle: Nearest mean\nidea: One prototype a class.\n---\n## 1 What is it?\nA mean.\n")
    assert main(["info", str(folder)]) == 0
    assert "One prototype a class." in capsys.readouterr().out
    assert main(["export", "../run", "--to", "onnx"]) == 0
    assert main(["predict", "../run/onnx/model.onnx", "--data", str(_file(tmp_path)), "--json"]) == 0
    assert "setosa" in capsys.readouterr().out


def test_a_folder_is_compared_with_a_name(folder: Path, tmp_path: Path) -> None:
    found = nn.compare(folder, "mlp", data="iris", cv=2, seeds=1, epochs=2, curve=False, jobs=1, out=tmp_path / "c")
    assert {"prototypes", "mlp"} <= {candidate.name for candidate in found.candidates}
    assert found.report.exists()


def test_studies_say_that_they_need_a_name_or_a_folder() -> None:
    for study in (lambda: nn.compare(Net(4, 3), "mlp", data="iris"), lambda: nn.tune(Net(4, 3), "iris")):
        with pytest.raises(nn.UserError, match=r"Received Net. Put it into a folder with model\.py and recipe\.py"):
            study()


def test_names_of_folders_do_not_meet(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "prototypes"
    other.mkdir(parents=True)
    (other / "model.py").write_text("raise ImportError('never imported')")
    (other / "recipe.py").write_text("recipes = 5")
    assert nn.architecture(folder).recipes[0].epochs == 6
    with pytest.raises(nn.UserError, match=r"recipes = \(Recipe"):
        _ = nn.architecture(other).recipes
    with pytest.raises(nn.UserError, match=r"model\.py must be importable. Received ImportError: never imported"):
        nn.architecture(other).module("model")
    import sys

    assert "model" not in sys.modules
    assert "recipe" not in sys.modules


def test_a_sample_is_made_by_the_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = tmp_path / "book.txt"
    book.write_text("the cat sat on the mat and the dog sat on the log. " * 40)
    nn.train("lstm", book, window=16, settings={"hidden": 8}, out=tmp_path / "text", **SMALL)
    made = nn.sample(tmp_path / "text")
    assert made == nn.load_run(tmp_path / "text").sample()
    assert main(["sample", str(tmp_path / "text"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sample"] == made
    assert nn.sample(tmp_path / "text", seed=1) != made
    nn.train("mlp", "iris", out=tmp_path / "table", **SMALL)
    assert main(["sample", str(tmp_path / "table")]) == 2
    assert "nnatomy predict" in capsys.readouterr().err
    for flag, value in (("--prompt", "the"), ("--temperature", "0.5"), ("--top-k", "3")):
        assert main(["sample", str(tmp_path / "table"), flag, value]) == 2
        assert f"{flag} is for models that write text" in capsys.readouterr().err


@pytest.mark.parametrize("architecture", ["lstm", "gpt"])
def test_a_text_is_written_as_requested(architecture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The prompt, the temperature, the number of likely tokens and the seed each change the text; nothing else does."""
    book, size = tmp_path / "book.txt", {"lstm": {"hidden": 8}, "gpt": {"n_embd": 8, "n_layer": 1, "n_head": 2}}[architecture]
    book.write_text("the cat sat on the mat and the dog sat on the log. " * 40)
    nn.train(architecture, book, window=16, settings=size, out=tmp_path / "text", **SMALL)
    run = nn.load_run(tmp_path / "text")
    asked: dict[str, Any] = {"prompt": "the cat", "temperature": 2.0, "top_k": 9, "seed": 3}
    made = run.sample(**asked)
    assert len(made) == 600
    short = run.task.write(run.model, **asked, length=40)
    assert made[:40] == short
    for name, other in (("prompt", "z"), ("temperature", 0.1), ("top_k", 2), ("seed", 4)):
        assert run.task.write(run.model, **{**asked, name: other}, length=40) != short, name
    assert main(["sample", str(run.folder), "--prompt", "the cat", "--temperature", "2", "--top-k", "9", "--seed", "3"]) == 0
    assert capsys.readouterr().out.rstrip("\n") == made.rstrip("\n")

    tokens = run.dataset.preprocessing.transform("the cat")[0]
    greedy = run.task.write(run.model, "the cat", top_k=1, length=20)
    assert greedy == run.task.write(run.model, "the cat", temperature=0.0, seed=8, length=20)
    with nn.no_grad():
        for written in greedy:
            scores = run.model(nn.tensor(tokens[:, -16:])).numpy()[0, -1]
            assert run.dataset.preprocessing.decode(scores.argmax()) == written
            tokens = np.concatenate([tokens, [[scores.argmax()]]], axis=1)
    for flag, value in (("--prompt", ""), ("--temperature", "-1"), ("--temperature", "nan"), ("--top-k", "-2")):
        assert main(["sample", str(run.folder), flag, value]) == 2
        assert "Received" in capsys.readouterr().err


# Estimators


def test_estimators_take_a_module_which_each_fit_copies() -> None:
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_score

    net = Net(hidden=8)
    before = net.state_dict()
    estimator = nn.NeuralClassifier(net, epochs=30, lr=0.02, random_state=0)
    first = estimator.fit(X, Y).predict_proba(X)
    assert all(np.array_equal(before[name], value) for name, value in net.state_dict().items())
    assert estimator.score(X, Y) > 0.8
    np.testing.assert_array_equal(clone(estimator).fit(X, Y).predict_proba(X), first)
    assert cross_val_score(clone(estimator), X, Y, cv=3).mean() > 0.7


def test_estimators_take_a_function_a_folder_and_a_loss(folder: Path) -> None:
    targets = X @ np.arange(5.0)
    made = nn.NeuralRegressor(for_data, epochs=60, lr=0.02, loss=nn.functional.l1_loss, optimizer=nn.optim.Adam, random_state=1)
    assert made.fit(X, targets).score(X, targets) > 0.9
    assert nn.NeuralClassifier(folder, random_state=0).fit(X, Y).score(X, Y) > 0.5
    with pytest.raises(nn.UserError, match="one output a class, here 2"):
        nn.NeuralClassifier(Net(5, 3)).fit(X, Y)
