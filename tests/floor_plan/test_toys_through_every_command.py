"""An architecture with its own rule, a kind of data and a task that the library does not know go through every command.

They are the examples of docs/architecture.md and are in a temporary folder; workers are fresh processes that find them there.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_code import command, write_files

import nnatomy as nn
from nnatomy import views
from nnatomy.data import kinds
from nnatomy.data.requests import JSON, RequestError
from nnatomy.serving.frames import LENGTHS, pack, unpack
from nnatomy.serving.service import Limits, Served

pytestmark = pytest.mark.any_kernels
PAGE = """---
title: A tally
idea: One unit counts marks.
year: 2026
paper: Widrow and Hoff (1960).
---
## 1 What is it?
A count.

## 6 Assumptions and limitations
It counts and does nothing else.

## 7 Key hyperparameters
The rate.
"""
PICTURE = """
from matplotlib.figure import Figure


def draw(model, dataset):
    figure = Figure()
    figure.subplots().bar(range(model.unit.weight.size), model.unit.weight.numpy().reshape(-1))
    return figure
"""
OTHER = """
from functools import partial
from pathlib import Path

import nnatomy as nn
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Recipe

Counting = nn.architecture(Path(__file__).parents[1] / "mine").module("task").Counting


def loss(model, x, counts):
    outputs = model(x)
    return Counting.loss(outputs, x, counts), outputs


def build(dataset, hidden=8):
    return nn.Sequential(nn.Linear(*dataset.input_shape, hidden), nn.ReLU(), nn.Linear(hidden, 1))


recipes = (
    Recipe(kind="marks", tasks=(Counting,), data="random_marks", build=build, options={},
           learn=GradientDescent(loss, partial(nn.optim.Adam, lr=0.01)), epochs=5, batch_size=16, metric="off"),
)
"""
MARKS = "xx...x 3\n...... 0\n.x..x. 2\n"


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with the page's folder `mine`, another architecture for the same data and task, and a run of each."""
    folder, before = tmp_path_factory.mktemp("toys"), Path.cwd()
    write_files(folder)
    (folder / "other").mkdir()
    (folder / "other" / "model.py").write_text("")
    (folder / "other" / "recipe.py").write_text(OTHER)
    (folder / "mine" / "page.md").write_text(PAGE)
    (folder / "mine" / "picture.py").write_text(PICTURE)
    (folder / "new.marks").write_text(MARKS)
    os.chdir(folder)
    assert command("nnatomy train ./mine --out run --seed 3 --json") == 0
    assert command("nnatomy train ./other --out other-run --epochs 2 --json") == 0
    yield folder
    os.chdir(before)
    kinds.unregister("marks")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """said(line): what a command prints as JSON; said(line, 2): the sentence with which it refuses."""

    def run(line: str, code: int = 0) -> Any:
        capsys.readouterr()
        found = command(f"nnatomy {line}")
        out, err = capsys.readouterr()
        assert found == code, err
        if code == 0:
            return json.loads(out)
        sentence = err.strip()
        assert sentence.startswith("nnatomy: "), sentence
        assert "\n" not in sentence
        return sentence

    return run


def test_it_is_trained_and_reported() -> None:
    result = json.loads(Path("run/result.json").read_text())
    assert result["architecture"] == "mine"
    assert result["metrics"]["off"] < 0.1
    report = Path("run/report.html").read_text(encoding="utf-8")
    for words in ("A tally on random_marks", "One unit counts marks.", "LocalRule", "delta_rule", "random_marks", "unit"):
        assert words in report, words


def test_it_is_resumed_and_evaluated(said: Any) -> None:
    expected = json.loads(Path("run/result.json").read_text())["metrics"]
    assert said("train --resume run --json")["metrics"] == expected
    assert said("evaluate run --json")["metrics"] == pytest.approx(expected)
    assert said("evaluate run --data new.marks --json")["metrics"]["exact"] == 1


def test_it_predicts_from_its_run_and_from_its_exported_file(said: Any) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from_run = said("predict run --data new.marks --json")["predictions"]
    np.testing.assert_allclose([line["count"] for line in from_run], [3, 0, 2], atol=0.1)
    exported = said("export run --json")
    assert (exported["difference"] < 1e-5, exported["checked_on"]) == (True, "test data")
    card = Path("run/onnx/MODEL.md").read_text(encoding="utf-8")
    for part in ("# A tally on random_marks", "It knows rows of 6 places only.", "It counts and does nothing else.", "`count`"):
        assert part in card, part
    from_file = said("predict run/onnx/model.onnx --data new.marks --json")["predictions"]
    np.testing.assert_allclose([line["count"] for line in from_file], [line["count"] for line in from_run], atol=1e-5)
    assert said("export run --to safetensors --json")["checked_on"] == "every weight"


def test_it_is_served_by_a_fresh_process(place: Path) -> None:
    served = Served.of("run", Limits())
    schema = served.schema(Limits())
    assert (schema["task"], schema["title"]) == ("counting", "A tally")
    arrays, _ = served.reader.read(JSON, json.dumps(schema["example"]).encode())
    with pytest.raises(RequestError, match="A row has 6 places"):
        served.reader.read(JSON, b'{"rows": ["xx"]}')
    words = [sys.executable, "-m", "nnatomy.serving.worker", "run"]
    worker = subprocess.run(words, input=pack({}, arrays), capture_output=True, check=True)
    messages = list(_messages(io.BytesIO(worker.stdout)))
    assert messages[0] == {"ready": True, "together": True}, worker.stderr.decode()
    np.testing.assert_allclose(messages[1]["columns"]["count"], [3], atol=0.1)


def _messages(stream: io.BytesIO) -> Iterator[dict[str, Any]]:
    while head := stream.read(LENGTHS.size):
        first, second = LENGTHS.unpack(head)
        yield unpack(stream.read(first), stream.read(second))[0]


def test_it_is_compared_with_another_by_their_task_in_fresh_processes(said: Any) -> None:
    found = said("compare ./mine ./other --cv 2 --seeds 1 --epochs 3 --no-curve --jobs 1 --out comparison --json")
    assert found["metric"] == "off"
    means = {candidate["name"]: candidate["mean"] for candidate in found["candidates"]}
    assert means.keys() == {"mine", "other", "mean"}
    assert means["mine"] < means["mean"]
    assert Path("comparison/report.html").is_file()


@pytest.mark.parametrize("run", ["run", "other-run"])
def test_each_view_is_drawn_or_refused(run: str, said: Any) -> None:
    drawn = set()
    for what in views.names():
        picture = Path(f"{run}-{what}.png")
        if command(f"nnatomy draw {run} --what {what} --out {picture} --json") == 0:
            drawn.add(what)
            assert picture.stat().st_size > 3000
        else:
            assert f"The view '{what}' needs " in said(f"draw {run} --what {what} --out {picture}", 2)
    assert drawn == {"architecture", "activations", "filters"} | ({"gradients"} if run == "other-run" else set())


def test_its_own_picture_is_drawn(said: Any) -> None:
    said("draw run --out own.png --json")
    assert Path("own.png").stat().st_size > 3000


def test_it_is_described(said: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert said("info ./mine --json")["idea"] == "One unit counts marks."
    assert command("nnatomy info ./other") == 0
    assert f"nnatomy train {Path('other').resolve()}" in capsys.readouterr().out.replace("\n", "")


def test_its_settings_are_searched(said: Any) -> None:
    pytest.importorskip("optuna")
    found = said("tune ./mine --space rate=0.01..0.05 --trials 2 --how random --cv 0 --epochs 1 --jobs 1 --out tuning --json")
    assert json.dumps(found).count("rate")
    assert said("train ./mine --recipe tuning/recipe.json --out tuned --epochs 2 --json")["architecture"] == "mine"


def test_what_it_does_not_do_is_refused_in_one_sentence(said: Any) -> None:
    assert "sample=" in said("sample run", 2)
    assert "counting" in said("distill ./other --teacher run", 2)
    assert "split differ" in said("average run other-run --out mean", 2)
    assert "LocalRule" in said("train ./mine --lr 0.1", 2)
    assert "LocalRule" in said("train ./mine --freeze unit.bias", 2)
    assert command("nnatomy verify ./mine") == 1


def test_in_python_a_module_is_trained_on_its_data_and_by_its_task() -> None:
    task = nn.architecture("./mine").module("task").Counting
    result = nn.train(nn.Linear(6, 1), "random_marks", task=task, lr=0.05, epochs=20, out="module", report=False)
    assert result.metrics["off"] < 0.5
    run = nn.load_run("module", model=nn.Linear(6, 1), task=task)
    assert run.evaluate("new.marks").metrics.keys() == {"loss", "off", "exact"}
    with pytest.raises(nn.UserError, match="your own"):
        nn.load_run("module", model=nn.Linear(6, 1))


def test_answers_are_written_as_csv() -> None:
    assert command("nnatomy predict run --data new.marks --out answers.csv") == 0
    with Path("answers.csv").open(encoding="utf-8") as file:
        assert [line["row"] for line in csv.DictReader(file)] == ["1", "2", "3"]


def test_it_learns_the_same_on_jax_where_short_batches_are_padded(said: Any) -> None:
    pytest.importorskip("jax")
    line = "train ./mine --precision float64 --epochs 2 --batch-size 17 --json"  # 168 rows: the last batch has 15
    on_numpy, on_jax = (said(f"{line} --backend {name} --out on-{name}")["metrics"] for name in ("numpy", "jax"))
    assert on_jax == pytest.approx(on_numpy, rel=1e-9)


def test_a_mistake_in_its_code_is_shown_where_it_is(said: Any) -> None:
    folder = Path("broken")
    folder.mkdir()
    (folder / "model.py").write_text("def build(dataset):\n    return dataset.nothing\n")
    recipe = Path("other/recipe.py").read_text().replace("build=build", "build=model.build")
    (folder / "recipe.py").write_text(recipe.replace("import nnatomy as nn", "import nnatomy as nn\n\nfrom . import model"))
    sentence = said("train ./broken", 2)
    assert f"{folder.resolve() / 'model.py'}:2 must run. Received AttributeError" in sentence
