"""A task that exists only in the tests works in fitting, prediction, export, the service and a comparison as any other."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from counting import PLACES, Counting, Drawing, dots, recipe_of

from nnatomy import views
from nnatomy.data import Inputs
from nnatomy.data.fingerprints import fingerprint
from nnatomy.errors import UserError
from nnatomy.layers import Linear
from nnatomy.runs import answers
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.prepare import Prepared
from nnatomy.runs.request import Request
from nnatomy.saved import plain_values, typed
from nnatomy.serving.batching import Found
from nnatomy.serving.worker import message
from nnatomy.studies.comparison import protocol as protocols
from nnatomy.studies.comparison import survey, work
from nnatomy.studies.comparison.protocol import Entry, Plan, Protocol, Unit
from nnatomy.tasks import task_for

pytestmark = pytest.mark.any_kernels


def exact() -> Linear:
    """A model that counts without an error."""
    model = Linear(PLACES, 1)
    model.load_state_dict({"weight": np.ones((1, PLACES), np.float32), "bias": np.zeros(1, np.float32)})
    return model.eval()


def prepared_of(task: type[Counting] = Counting) -> Prepared:
    dataset, recipe = dots(), recipe_of(task)
    architecture: Any = SimpleNamespace(name="counter", key="counter", front={"title": "Counter"}, recipes=(recipe,))
    return Prepared(Request("counter"), architecture, recipe, dataset, exact(), task(recipe, dataset))


def test_it_is_learned() -> None:
    fitted = fit_recipe(recipe_of(), dots())
    assert isinstance(fitted.task, Counting)
    half = fitted.task.score(Counting.baselines["always half"](dots(), ()).outputs, dots().test).metrics["off"]
    assert fitted.test().metrics["off"] < half / 2


def test_an_answer_has_lines_and_files(tmp_path: Path) -> None:
    x = np.zeros((3, PLACES), np.float32)
    x[0, :2], x[2, 5] = 1, 1
    answer = answers.named(task_for(recipe_of(), dots()).answer(exact(), (x,)), Inputs((x,), ("a", "b", "c")))
    assert answers.lines(answer) == [{"row": "a", "dot": 0}, {"row": "a", "dot": 1}, {"row": "c", "dot": 0}]
    written = answers.write_answer(answer, tmp_path / "out.csv")
    assert written == [tmp_path / "out.csv", tmp_path / "out" / "counts.txt"]
    assert [line["row"] for line in csv.DictReader(written[0].read_text().splitlines())] == ["a", "a", "c"]
    assert written[1].read_text() == "2\n0\n1"
    with pytest.raises(UserError, match="exists"):
        answers.write_answer(answer, tmp_path / "out.csv")
    assert answers.write_answer(answer, tmp_path / "folder")[0] == tmp_path / "folder" / "predictions.csv"
    with pytest.raises(UserError, match="Add --out"):
        answers.check_out(answer, None)


def test_the_service_groups_lines_by_input_and_encodes_files() -> None:
    x = np.eye(4, PLACES, dtype=np.float32)
    x[1] = 0
    said = message(task_for(recipe_of(), dots()).answer(exact(), (x,)), 3)
    found = Found(said["columns"], said["lines_of"], said["files"])
    assert found.predictions(3) == [[{"dot": 0}], [], [{"dot": 0}]]  # the fourth row padded the batch
    assert base64.b64decode(found.files["counts.txt"]) == b"1\n0\n1\n1"
    assert found.part(1, 2).predictions(2) == [[], [{"dot": 0}]]


def test_only_views_that_need_no_more_are_offered() -> None:
    fitting = views.fitting(prepared_of(), None)
    assert {"saliency", "errors", "confusion", "embedding"}.isdisjoint(fitting)
    assert "architecture" in fitting
    with pytest.raises(UserError, match="needs a task with one number to explain"):
        views.view("saliency", prepared_of())
    prepared = prepared_of()
    figure = prepared.task.figure(prepared.task.evaluate(prepared.model, prepared.dataset.test))
    assert figure is not None
    assert figure.axes[0].patches


def test_a_generator_is_exported_with_noise_as_its_input(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from nnatomy.exporting.exporting import _as_onnx, describe, inputs_of

    prepared = prepared_of(Drawing)
    taken = inputs_of(prepared)
    description = describe(prepared, taken.inputs)
    assert [(end["name"], end["shape"]) for end in description["inputs"]] == [("noise", ["batch", PLACES])]
    assert [end["name"] for end in description["outputs"]] == ["count"]
    made, difference, checked_on = _as_onnx(prepared, taken, description)
    assert (difference < 1e-6, checked_on) == (True, "made-up examples")
    noise = np.random.default_rng(0).normal(size=(5, PLACES)).astype(np.float32)
    (found,) = onnxruntime.InferenceSession(made).run(None, {"noise": noise})
    np.testing.assert_allclose(found, noise.sum(axis=1), rtol=1e-5, atol=1e-5)


def test_it_is_compared_by_its_own_metric_and_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan keeps the task's name; class, direction and baselines come from the recipes."""
    prepared = prepared_of()
    monkeypatch.setattr(protocols, "find_architecture", lambda name: prepared.architecture)
    monkeypatch.setattr(survey, "choose", lambda architecture, source, recipes=None, **options: (prepared.recipe, dots()))
    for module in (survey, work):
        monkeypatch.setattr(module, "load_for_baseline", lambda *asked: dots())
    protocol = Protocol(("counter",), data="dots", cv=2, seeds=1, curve=False)
    plan, _ = survey.survey(protocol, 1)
    assert (plan.task, plan.metric) == ("counting", "off")
    assert typed(Plan, json.loads(json.dumps(plain_values(plan)))) == plan
    assert plan.does is Counting
    assert plan.judged_by.better == "lower"
    with pytest.raises(UserError, match="metric of counting"):
        survey.survey(Protocol(("counter",), data="dots", metric="accuracy"), 1)
    bench = work.Bench.__new__(work.Bench)
    bench.protocol, bench.plan = protocol, plan
    bench._kept = work.OrderedDict()
    bench._known = work.KnownData(fingerprint(dots()), "")
    scores = {what: getattr(bench, what)(Unit(what, name))["metrics"]["off"]
              for what, name in (("fit", "counter"), ("baseline", "always half"))}  # fmt: skip
    assert scores["fit"] < scores["baseline"]
    assert plan.architectures == {"counter": Entry(5, 5, key="counter")}
