"""`nnatomy draw --what`: of every architecture and recipe, each view that fits, from a small trained model."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import nnatomy as nn
from nnatomy import views
from nnatomy.catalog import architectures
from nnatomy.cli import main
from nnatomy.data import fields
from nnatomy.data.csvfile import RawTable
from nnatomy.data.kinds import public
from nnatomy.data.sets import locate
from nnatomy.inspect import gradient_norms, gradients
from nnatomy.runs import checkpoints, prepare, request
from nnatomy.runs.folder import Run
from nnatomy.runs.gradients import GradientLog, first_of, read_gradients
from nnatomy.tensor import Tensor
from nnatomy.training.loop import Callback, Loop
from nnatomy.training.recipe import Contract
from nnatomy.views import embedding, errors, filters, saliency
from nnatomy.views.common import of_each_class

pytestmark = pytest.mark.any_kernels

PAIRS = [(architecture.name, recipe.data) for architecture in architectures().values() for recipe in architecture.recipes]
SMALL = {
    "etth1": {"limit": 120, "window": 16, "horizon": 4}, "tinyshakespeare": {"limit": 40, "window": 16},
    "adding_problem": {"limit": 60, "window": 12}, "rt_polarity": {"limit": 40}, "digits": {"limit": 100},
    "cifar10": {"limit": 100}, "sums": {"limit": 40}, "multi30k": {"limit": 60}, "eight_gaussians": {"limit": 100},
    "mnist": {"limit": 300}, "california_housing": {"limit": 400}, "stories": {"limit": 60}, "noisy_mnist": {"limit": 300},
    "dcgan-mnist": {"limit": 100}, "mobilenet-cifar10": {"limit": 100, "settings": {"blocks": 4}},
}  # fmt: skip
"""Options of a data set, or of one architecture on it."""
_made: dict[tuple[str, str], tuple[prepare.Prepared, Run]] = {}


@pytest.fixture(params=PAIRS, ids=["-".join(pair) for pair in PAIRS])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[prepare.Prepared, Run]:
    """An architecture trained for two epochs on a little of a recipe's data; skipped where that is not on this machine."""
    architecture, data = request.param
    if (architecture, data) not in _made:
        folder, where = tmp_path_factory.mktemp("views") / "run", find(data)
        if where is None:
            pytest.skip(f"needs the data of {architecture}'s recipe: {data}")
        small = SMALL.get(f"{architecture}-{data}") or SMALL.get(data, {})
        result = nn.train(architecture, where, epochs=2, out=folder, report=False, offline=True, **small)
        _made[architecture, data] = result.prepared, result.run
    return _made[architecture, data]


def find(data: str) -> str | None:
    """A recipe's data by name or path; None where it is not on this machine."""
    if data.endswith(".csv"):
        inside = Path(os.environ.get("NNATOMY_DATA", "nowhere")).rglob(data)
        return next((str(path) for path in inside), None)
    try:
        return data if data not in public() or locate(public()[data], offline=True) else None
    except nn.UserError:
        return None


def told(figure: Figure) -> str:
    """All words of a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text")))


def test_each_view_that_fits_is_drawn_and_the_others_are_refused(trained: tuple[prepare.Prepared, Run]) -> None:
    prepared, run = trained
    fitting = views.fitting(prepared, run)
    follows = any(learner.objectives() for learner in [prepared.recipe.learn.begin(prepared.model, prepared.dataset)])
    able = {view for view, ability in (("errors", "mistakes"), ("saliency", "saliency_score")) if prepared.task.can(ability)}
    sloped = fields.per_row(prepared.dataset.fields) and any(p.requires_grad for p in prepared.model.parameters())
    sloped = sloped and not all(Contract.GRADIENTS in case.without for case in prepared.architecture.cases)
    assert {"architecture"} | (able if sloped else able - {"saliency"}) <= set(fitting)
    assert sloped or "saliency" not in fitting
    assert ("gradients" in fitting) == follows  # a rule without gradients leaves no record of them
    before, modes = prepared.model.state_dict(), [m.training for m in prepared.model.modules()]
    for what in views.names():
        if what not in fitting:
            with pytest.raises(nn.UserError) as refused:
                views.view(what, prepared, run)
            assert str(refused.value).endswith(f"Choose one of {', '.join(fitting)}.")
            assert "\n" not in str(refused.value)
            continue
        if what == "architecture" and prepared.architecture.name == "neural_ode":  # the steps of its solver lie side by side
            with pytest.raises(nn.UserError, match="at most 60 inches wide"):
                views.view(what, prepared, run)
            continue
        figure = views.view(what, prepared, run)
        figure.set_layout_engine("none")  # which takes most of the time
        figure.savefig(io.BytesIO(), dpi=40)  # glyphs that no font has are errors here
        width, height = figure.get_size_inches() * 110
        most = (6600, 8000) if what == "architecture" else (2200, 3000)  # a diagram grows with layers, branches and steps
        assert 300 <= width <= most[0], what
        assert 200 <= height <= most[1], what
        words = told(figure)
        assert prepared.architecture.front["title"] in words or prepared.dataset.name in words, (
            f"{what} does not say what it is of"
        )
        assert len(words) > 120, f"{what} explains nothing"
    after = prepared.model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert [m.training for m in prepared.model.modules()] == modes
    assert not any(m._hooks for m in prepared.model.modules())


def test_attributions_are_complete_in_every_architecture(trained: tuple[prepare.Prepared, Run]) -> None:
    """They add up to the change of the score, which is computed here once more, one example at a time."""
    prepared, _ = trained
    if saliency.why_unsupported(prepared, None) is not None:
        pytest.skip("the view refuses this model, and another test holds it to that")
    prepared.model.eval()
    batch = of_each_class(prepared, 1)
    if len(batch) > 2:
        batch = (batch[0][:, : int(batch[1][0])], *batch[1:])
    asked = saliency.question(prepared, batch)
    found = asked.attributed()
    ends = [float(np.asarray(asked.score(Tensor(x[None])).data).reshape(())) for x in (asked.x, asked.baseline)]
    change = ends[0] - ends[1]
    assert found.values.shape == asked.x.shape
    assert found.values.sum() == pytest.approx(change, abs=max(0.011 * abs(change), 2e-4 * max(map(abs, ends)), 1e-6))
    (fall,) = asked.hidden([np.ones(asked.x.shape, bool)])
    assert fall == pytest.approx(change, rel=1e-4, abs=1e-5)


def test_the_caption_gives_the_sums() -> None:
    found = nn.inspect.Attribution(np.array([1.5, -0.25]), score=1.0, baseline_score=-0.25, steps=1)
    assert saliency.complete(found) == "sum 1.25 = 1 − (−0.25)"
    assert found.gap == 0


# What single views rest on


def architecture(name: str, **asked: Any) -> prepare.Prepared:
    prepared = prepare.prepare(request.Request(name, offline=True, **asked))
    prepared.model.eval()
    return prepared


def test_tokens_are_compared_with_their_mean_vector() -> None:
    """At zero a network with RMSNorm and without biases jumps, and integrated gradients would not add up."""
    prepared = architecture("gpt", data="sums", limit=200)
    asked = saliency.question(prepared, of_each_class(prepared, 1))
    tokens = prepared.dataset.train.take(np.unique(np.linspace(0, 199, 100).round().astype(int)))[0]
    expected = np.asarray(prepared.model.state_dict()["wte.weight"])[tokens].mean(axis=(0, 1))
    np.testing.assert_allclose(asked.baseline, np.tile(expected, (len(asked.x), 1)), rtol=1e-5, atol=1e-7)


def test_the_worst_mistakes_come_first() -> None:
    prepared = architecture("mlp", data="digits", limit=100)
    worst = errors.worst(prepared)
    order, words, title = worst.order, worst.says, worst.title
    found = prepared.task.evaluate(prepared.model, prepared.dataset.test).arrays
    y, p = found["targets"], found["probabilities"]
    wrong = int((p.argmax(axis=1) != y).sum())
    assert f"{wrong} of {len(y)}" in title
    own = p[order, y[order]]
    assert (np.diff(own[:wrong]) >= 0).all()
    assert (p[order[:wrong]].argmax(axis=1) != y[order[:wrong]]).all()
    assert sorted(order) == list(range(len(y)))
    assert words[int(order[0])].startswith(f"{y[order[0]]} → {p[order[0]].argmax()}, ")


def test_filters_are_the_weights_of_the_layer_that_meets_the_input() -> None:
    prepared = architecture("lenet5", limit=50)
    name, weights = filters.first_weights(prepared) or ("", np.zeros(0))
    assert name == "c1.weight"
    np.testing.assert_array_equal(weights, prepared.model.state_dict()["c1.weight"])


def test_the_hidden_layer_is_what_the_last_one_is_given() -> None:
    prepared = architecture("mlp", data="breast_cancer", limit=60)
    x = prepared.dataset.test.take(np.arange(5))[:-1]
    name, values = embedding.hidden(prepared, x) or ("", np.zeros(0))
    assert "linears.2" in name
    out = prepared.model(Tensor(x[0])).numpy()
    state = prepared.model.state_dict()
    np.testing.assert_allclose(values @ state["linears.2.weight"].T + state["linears.2.bias"], out, rtol=1e-4, atol=1e-5)


def test_t_sne_is_an_option() -> None:
    prepared = architecture("mlp", data="breast_cancer", limit=60)
    assert "t-SNE" in told(views.view("embedding", prepared, tsne=True))
    assert "principal component" in told(views.view("embedding", prepared))


def test_tables_are_shown_in_their_own_words(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    rng = np.random.default_rng(0)
    rows = [
        ["" if i % 9 == 0 else f"{rng.integers(18, 80)}", f"{rng.lognormal(3, 2):.2f}", rng.choice(["red", "green"]),
         rng.choice(["yes", "no"]), f"20{i % 20:02d}-03-0{1 + i % 7}", rng.choice(["in", "out"])]
        for i in range(120)
    ]  # fmt: skip
    path.write_text("age,wealth,color,member,since,side\n" + "\n".join(",".join(row) for row in rows) + "\n")
    scaling: Any = architecture("mlp", data=str(path), target="side").dataset.preprocessing
    names = ("age", "wealth", "color", "member", "since")
    table = RawTable({name: [row[k] for row in rows] for k, name in enumerate(names)}, "")
    cells = scaling.decode(scaling.transform(table)[0])
    assert cells["age"] == table.columns["age"]
    assert [cells[name] for name in names[2:]] == [table.columns[name] for name in names[2:]]
    np.testing.assert_allclose([float(c) for c in cells["wealth"]], [float(c) for c in table.columns["wealth"]], rtol=1e-3)


# The record of gradients


def test_the_record_is_that_of_the_weights_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {"limit": 200, "epochs": 3, "report": False, "seed": 3}
    with_it = nn.train("mlp", out=tmp_path / "with", **asked)
    monkeypatch.setattr(GradientLog, "after_epoch", lambda self, loop, line: None)
    without = nn.train("mlp", out=tmp_path / "without", **asked)
    ours, plain = with_it.model.state_dict(), without.model.state_dict()
    assert all(np.array_equal(ours[name], plain[name]) for name in ours)
    assert not read_gradients(without.run)
    lines = read_gradients(with_it.run)
    assert lines[0]["epoch"] == 1
    assert list(lines[0]["gradients"]) == ["linears.0", "linears.1", "linears.2"]
    assert all(value > 0 for line in lines for kind in ("gradients", "weights") for value in line[kind].values())


def test_norms_are_those_of_the_loss_at_the_weights_of_the_epoch(tmp_path: Path) -> None:
    result = nn.train("mlp", out=tmp_path / "run", limit=100, epochs=1, report=False)
    (line,) = read_gradients(result.run)
    prepared = result.prepared
    state = checkpoints.load_checkpoint(result.run).state
    prepared.model.load_state_dict(state["model"])
    places = np.unique(np.linspace(0, len(prepared.dataset.train) - 1, line["examples"]).round().astype(int))
    loss = first_of(prepared.recipe.learn.losses["loss"])
    found = gradient_norms(gradients(prepared.model, loss, *prepared.dataset.train.take(places)))
    assert line["gradients"] == pytest.approx(found, rel=1e-5)
    own = [a for name, a in state["model"].items() if name.startswith("linears.0.")]
    assert line["weights"]["linears.0"] == pytest.approx(float(np.sqrt(sum((a**2).sum() for a in own))), rel=1e-5)


def test_a_resumed_run_repeats_no_epoch_and_a_damaged_record_is_cut(tmp_path: Path) -> None:
    class Stop(Callback):
        def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
            loop.interrupted = line["epoch"] == 2

    nn.train("mlp", out=tmp_path / "run", limit=100, epochs=4, report=False, callbacks=[Stop()])
    log = tmp_path / "run" / "gradients.jsonl"
    first = read_gradients(Run.open(tmp_path / "run"))
    with log.open("a") as file:
        file.write(json.dumps({**first[0], "epoch": 3}) + '\n{"epoch": 4, "exam')
    nn.resume(tmp_path / "run", report=False)
    epochs = [line["epoch"] for line in read_gradients(Run.open(tmp_path / "run"))]
    assert epochs == sorted(set(epochs))
    assert epochs[: len(first)] == [line["epoch"] for line in first]


# The command


def test_a_view_of_a_run_is_drawn_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    nn.train("mlp", out=run, limit=100, epochs=2, report=False)
    assert main(["draw", str(run), "--what", "confusion", "--out", str(tmp_path / "a.svg"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["picture"] == str(tmp_path / "a.svg")
    assert "Confusion matrix" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    (run / "gradients.jsonl").unlink()
    assert main(["draw", str(run), "--what", "gradients", "--out", str(tmp_path / "b.png")]) == 2
    sentence = capsys.readouterr().err
    assert "needs the record of gradients" in sentence
    assert "Choose one of activations, architecture, confusion, embedding, errors, filters, saliency." in sentence
    assert not (tmp_path / "b.png").exists()
    assert main(["draw", str(run), "--tsne", "--out", str(tmp_path / "b.png")]) == 2
    assert "--tsne lays out the embedding" in capsys.readouterr().err


def test_an_architecture_is_not_trained_for_a_view_that_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "perceptron", "--what", "embedding"]) == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith(
        "nnatomy: The view 'embedding' needs a hidden layer. Received perceptron on breast_cancer without it."
    )


def test_a_run_in_double_precision_is_drawn_in_its_own(tmp_path: Path) -> None:
    result = nn.train("mlp", out=tmp_path / "run", limit=60, epochs=1, report=False, precision="float64")
    assert read_gradients(result.run)
    for what in ("architecture", "activations", "saliency", "errors"):
        views.view(what, result.prepared, result.run)


def test_a_folder_that_is_no_run_does_not_hide_an_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("perceptron").mkdir()
    assert main(["draw", "perceptron", "--what", "architecture", "--out", "picture.png"]) == 0
    assert Path("picture.png").is_file()
