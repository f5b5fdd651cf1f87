"""Runs next to predictors without a network: what these are, what is said about a network, and where it is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data, tasks
from nnatomy.catalog import architecture
from nnatomy.cli import main
from nnatomy.runs import baselines
from nnatomy.runs.baselines import Baselines, beside, measure
from nnatomy.tasks import Classification, Evaluation, Forecast, Language, Regression, Task

pytestmark = [pytest.mark.any_kernels, pytest.mark.baselines]
Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnatomy.kernels.library.usable_folder", lambda kind: tmp_path)


# What the baselines are


def table_files(folder: Path, rows: int = 300) -> Path:
    """A table with a class that follows from two numbers, and a number that follows from three."""
    a, b = RNG.normal(size=(2, rows))
    group = RNG.choice(["x", "y", "z"], rows)
    label = np.where(a + 0.5 * b**2 + (group == "x") > 0.8, "yes", "no")
    number = 3 * a + np.sin(3 * b) + 0.1 * RNG.normal(size=rows)
    lines = [
        "a,b,group,label,number",
        *(f"{p:.5f},{q:.5f},{g},{c},{n:.5f}" for p, q, g, c, n in zip(a, b, group, label, number)),
    ]
    path = folder / "t.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def boosted_classes(dataset: data.Dataset) -> float:
    from sklearn.ensemble import HistGradientBoostingClassifier

    (x, y), (held, truth) = dataset.train.all(), dataset.test.all()
    return float(HistGradientBoostingClassifier(random_state=0).fit(x, y).score(held, truth))


def boosted_numbers(dataset: data.Dataset) -> float:
    from sklearn.ensemble import HistGradientBoostingRegressor

    (x, y), (held, truth) = dataset.train.all(), dataset.test.all()
    return float(HistGradientBoostingRegressor(random_state=0).fit(x, y[:, 0]).score(held, truth))


def words_by_scikit_learn(dataset: data.Dataset) -> set[float]:
    """Accuracies of scikit-learn's own chain on the words as they are written, for each strength that might be chosen."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def texts(split: data.Split) -> list[str]:
        tokens, lengths, _ = split.all()
        return [" ".join(f"w{t}" for t in row[:n]) for row, n in zip(tokens, lengths, strict=True)]

    found = set()
    for c in (0.1, 1.0, 10.0):
        chain = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=c, tol=1e-3, max_iter=200))
        chain.fit(texts(dataset.train), dataset.train.all()[-1])
        found.add(float(chain.score(texts(dataset.test), dataset.test.all()[-1])))
    return found


def sentences(folder: Path) -> Path:
    words = {"0": ["dull", "slow", "flat", "bad"], "1": ["bright", "quick", "warm", "good"]}
    lines = []
    for k in range(240):
        label = str(k % 2)
        chosen = [
            *RNG.choice(words[label], 1),
            *RNG.choice(words["0"] + words["1"], 2),
            *RNG.choice(["the", "a", "film", "is"], 4),
        ]
        lines.append(" ".join(RNG.permutation(chosen)) + f"\t{label}")
    path = folder / "reviews.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_tables_and_words_are_predicted_as_scikit_learn_does(tmp_path: Path) -> None:
    recipes = {r.kind + r.task_names[0]: r for name in ("mlp", "lstm") for r in architecture(name).recipes}
    table = table_files(tmp_path)
    for target, task, expected in (("label", Classification, boosted_classes), ("number", Regression, boosted_numbers)):
        dataset = data.load(table, ("table",), target=target, seed=1)
        found = measure(task(recipes[f"table{task.name}"], dataset), dataset.test)
        assert found is not None
        assert not found.left_out
        metric = task.metrics[0].name
        assert found.scores["gradient boosting"][metric] == pytest.approx(expected(dataset), abs=1e-6)
        assert found.scores["gradient boosting"][metric] > 0.75
    dataset = data.load(sentences(tmp_path), ("sentences",))
    found = measure(Classification(recipes["sentencesclassification"], dataset), dataset.test)
    assert found is not None
    assert found.chosen["logistic regression"].startswith("TF-IDF, C = ")
    assert found.scores["logistic regression"]["accuracy"] in words_by_scikit_learn(dataset)
    assert "row of numbers" in found.left_out["gradient boosting"]


def test_last_week_is_repeated(tmp_path: Path) -> None:
    days = np.arange("2020-01-01", "2021-06-01", dtype="datetime64[D]")
    load = 100 + 20 * (np.arange(len(days)) % 7 >= 5) + 5 * (np.arange(len(days)) % 7 == 2) + RNG.normal(size=len(days))
    path = tmp_path / "load.csv"
    path.write_text("\n".join(["day,load", *(f"{d},{v:.4f}" for d, v in zip(days, load))]), encoding="utf-8")
    dataset = data.load(path, ("series",), target="load", window=21, horizon=7)
    recipe = next(r for r in architecture("lstm").recipes if r.does(dataset))
    found = measure(Forecast(recipe, dataset), dataset.test)
    assert found is not None
    past, future = dataset.test.all()
    period = int(found.chosen["seasonal naive"].split()[3])
    assert period % 7 == 0
    expected = np.mean((past[:, -period:][:, :7] - future) ** 2)
    assert found.scores["seasonal naive"]["mse"] == pytest.approx(expected, rel=1e-5)
    assert found.scores["seasonal naive"]["mse"] < 0.1 * found.scores["last value"]["mse"]


def test_every_task_has_baselines() -> None:
    known = [getattr(tasks, name) for name in tasks.__all__]
    assert not [t.name for t in known if isinstance(t, type) and issubclass(t, Task) and t is not Task and not t.baselines]


# What is said about a network


def classes(wrong: int, of: int = 400) -> Evaluation:
    """Two classes, half each, with the same first `wrong` of the examples in a random order taken for the other."""
    targets = np.arange(of) % 2
    predictions = targets.copy()
    order = np.random.default_rng(3).permutation(of)[:wrong]
    predictions[order] = 1 - predictions[order]
    return Evaluation({"accuracy": 1 - wrong / of}, {"targets": targets, "predictions": predictions})


MAJORITY, LOGISTIC = "majority class", "logistic regression"
NOTHING = "learned nothing beyond the baseline majority class: accuracy"
VERDICTS: dict[str, tuple[int, dict[str, int], str, str]] = {
    "ahead": (20, {MAJORITY: 200, LOGISTIC: 80}, "ahead", "The network earns its keep: accuracy 0.95, ahead"),
    "by chance": (80, {MAJORITY: 200, LOGISTIC: 82}, "level", "is level with the best baseline: accuracy 0.8,"),
    "the same": (80, {MAJORITY: 200, LOGISTIC: 80}, "level", "is level with the best baseline: accuracy 0.8,"),
    "behind": (80, {MAJORITY: 200, LOGISTIC: 20}, "behind", "does not earn its keep: accuracy 0.8, behind"),
    "learned nothing": (200, {MAJORITY: 200}, "level", f"{NOTHING} 0.5, and 0.5 by that."),
    "more than nothing, by chance": (
        199, {MAJORITY: 200}, "level", "the baseline majority class, within chance: accuracy 0.5025, and 0.5 by that."
    ),
    "less than nothing, by chance": (201, {MAJORITY: 200}, "level", f"{NOTHING} 0.4975, and 0.5 by that."),
    "nothing, and behind": (200, {MAJORITY: 200, LOGISTIC: 20}, "behind", "; logistic regression reaches 0.95 without"),
    "worse than nothing": (240, {MAJORITY: 180}, "behind", f"{NOTHING} 0.4"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_network_is_judged_by_the_same_examples(name: str) -> None:
    wrong, others, verdict, says = VERDICTS[name]
    task = Classification(architecture("mlp").recipes[0], data.load("iris"))
    simple = {key: classes(count) for key, count in others.items()}
    errors = {key: task.errors(e) for key, e in simple.items()}
    found = beside(task, classes(wrong), Baselines({key: e.metrics for key, e in simple.items()}, {}, errors, {}))
    assert found is not None
    assert found.verdict == verdict
    assert says in found.headline
    assert found.best == min(others, key=lambda key: others[key])


@pytest.mark.parametrize(
    ("network", "baseline", "verdict"),
    [
        (2.0, 2.01, "level"),
        (1.9, 2.01, "ahead"),
        (2.1, 2.01, "behind"),
        (float("nan"), 2.01, "behind"),
        (float("inf"), 2.0, "behind"),
    ],
)
def test_where_examples_have_no_errors_one_percent_is_level(network: float, baseline: float, verdict: str) -> None:
    task = Language(architecture("lstm").recipes[0], data.load("iris"))
    simple = Baselines({"unigram counts": {"bits_per_token": 4.0}, "bigram counts": {"bits_per_token": baseline}}, {}, {}, {})
    found = beside(task, Evaluation({"bits_per_token": network}), simple)
    assert found is not None
    assert (found.verdict, found.best) == (verdict, "bigram counts")


def test_correlated_examples_are_not_counted_as_independent() -> None:
    """Errors that differ in one long stretch alone show nothing; the same difference all over does."""
    dataset = data.load("diabetes")
    task = Regression(architecture("mlp").recipes[-1], dataset)

    def with_errors(errors: Array) -> Evaluation:
        targets = np.zeros((len(errors), 1))
        return Evaluation({"r2": 1 - float(errors.mean())}, {"targets": targets, "predictions": np.sqrt(errors)[:, None]})

    level = np.full(3000, 0.5)
    stretch, all_over = level.copy(), level + 0.1
    stretch[:100] += 3.0
    for own, verdict in ((stretch, "level"), (all_over, "behind")):
        simple = with_errors(level)
        found = beside(task, with_errors(own), Baselines({"mean": simple.metrics}, {}, {"mean": task.errors(simple)}, {}))
        assert found is not None
        assert found.verdict == verdict


# Where it is said


def trained(folder: Path, *words: str) -> int:
    return main(["train", "mlp", "--data", str(table_files(folder)), "--target", "label", "--out", str(folder / "run"), *words])


def test_train_and_evaluate_say_it_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained(tmp_path, "--epochs", "2", "--json") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    best = found["baselines"]["best"]
    assert set(found["baselines"]["scores"]) == set(Classification.baselines)
    assert found["baselines"]["scores"]["majority class"]["auc"] == 0.5
    assert "Without a network: accuracy" in shown.err
    assert json.loads((tmp_path / "run" / "result.json").read_text())["baselines"] == found["baselines"]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert found["baselines"]["headline"] in page
    assert f"{found['baselines']['scores'][best]['auc']:.4g}" in page
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == found["baselines"]["headline"]
    accuracy = next(line for line in lines if line.startswith("  accuracy"))
    expected = [found["metrics"], *found["baselines"]["scores"].values()]
    assert accuracy.split()[1:] == [f"{own['accuracy']:.4f}" for own in expected]
    for words in (["--json"], ["--split", "validation"]):
        assert main(["evaluate", str(tmp_path / "run"), "--no-baselines", *words]) == 0
        assert "baseline" not in capsys.readouterr().out


def test_no_baselines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained(tmp_path, "--epochs", "1", "--no-baselines", "--json") == 0
    assert "baselines" not in json.loads(capsys.readouterr().out)
    assert "--no-baselines" in json.loads((tmp_path / "run" / "run.json").read_text())["command"]
    assert "without a network" not in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_what_was_measured_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, options = table_files(tmp_path), {"target": "label", "epochs": 1, "report": False}
    first = nn.train("mlp", path, out=tmp_path / "a", **options)

    def fitted(*args: Any, **others: Any) -> Any:
        raise AssertionError("fitted again")

    monkeypatch.setattr("nnatomy.tasks.classification.arrays_of", fitted)
    again = nn.train("mlp", path, out=tmp_path / "b", **options)
    assert again.baselines == first.baselines
    with pytest.raises(AssertionError, match="fitted again"):  # other rows
        nn.train("mlp", path, out=tmp_path / "c", seed=7, **options)
    head, row, *rows = path.read_text().splitlines()
    a, *rest = row.split(",")
    path.write_text("\n".join([head, ",".join([f"{float(a) + 0.001:.5f}", *rest]), *rows]))
    with pytest.raises(AssertionError, match="fitted again"):  # one cell changed
        nn.train("mlp", path, out=tmp_path / "d", **options)


def test_other_data_with_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table_files(tmp_path)
    result = nn.train("mlp", path, target="label", epochs=1, report=False, out=tmp_path / "run")
    found = nn.evaluate(result.run.folder, path)
    assert found.baselines is not None
    assert found.baselines.scores["gradient boosting"]["accuracy"] > 0.9  # most of these rows are its training rows
    other = tmp_path / "other.csv"
    path.rename(other)
    assert main(["evaluate", str(tmp_path / "run"), "--data", str(other)]) == 0
    shown = capsys.readouterr()
    assert "Baselines were left out: the run's training rows are needed." in shown.err
    assert "gradient boosting" not in shown.out


def test_a_budget_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    fit = nn.runs.train.fit

    def noted(*args: Any, **options: Any) -> Any:
        told.append(options["budget"])
        return fit(*args, **options)

    monkeypatch.setattr(nn.runs.train, "fit", noted)
    clock = iter(np.arange(0, 1000, 3.0))
    monkeypatch.setattr(baselines.time, "perf_counter", lambda: next(clock))  # 3 s pass between any two looks at it
    result = nn.train("mlp", table_files(tmp_path), target="label", epochs=1, budget=20, report=False, out=tmp_path / "run")
    assert result.baselines is not None
    assert list(result.baselines.scores) == ["majority class"]  # started after 3 s, of 4; the next would be after 6 s
    assert result.baselines.left_out["gradient boosting"] == "the time budget had none left for it"
    assert 0 < told[0] < 20 - 4


def test_large_data_are_thinned_out_and_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "WORK", 64 * 10 * 600)
    dataset = data.load("digits", ("image",))
    found = measure(Classification(architecture("mlp").recipes[0], dataset), dataset.test)
    assert found is not None
    assert found.chosen["majority class"] == f"fitted on 600 of {len(dataset.train):,} training rows"
    assert found.scores["logistic regression"]["accuracy"] > 0.9


def test_a_baseline_that_fails_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: Any) -> Any:
        raise ValueError("no convergence")

    monkeypatch.setattr(Classification, "baselines", {**Classification.baselines, "gradient boosting": failing})
    result = nn.train("mlp", table_files(tmp_path), target="label", epochs=1, out=tmp_path / "run")
    assert result.baselines is not None
    assert result.baselines.left_out == {"gradient boosting": "no convergence"}
    assert "gradient boosting: no convergence" in result.run.report.read_text(encoding="utf-8")


class Nothing(nn.Module):  # type: ignore[misc]
    """The same scores for every input."""

    def __init__(self) -> None:
        self.bias = nn.Parameter(np.zeros(3, np.float32))

    def forward(self, x: Any) -> Any:
        return x.flatten(1)[:, :1] * 0.0 + self.bias


def test_a_network_that_always_says_the_same_is_told_so(tmp_path: Path) -> None:
    x, y = RNG.normal(size=(180, 4)).astype(np.float32), np.array(["circle", "square", "star"] * 60)
    x[:, 0] += 3 * (y == "star")
    result = nn.train(Nothing(), (x, y), epochs=2, report=False, out=tmp_path / "run")
    assert result.baselines is not None
    assert result.baselines.headline.startswith(
        "The network learned nothing beyond the baseline majority class: accuracy 0.333"
    )
    assert result.baselines.verdict == "behind"


class Noisy(nn.Module):  # type: ignore[misc]
    """A linear model whose outputs and loss draw noise, in evaluation too."""

    def __init__(self) -> None:
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.linear(x) + 3.0 * nn.randn(len(x), 2)


def test_a_stochastic_model_is_evaluated_the_same_each_time(tmp_path: Path) -> None:
    x = RNG.normal(size=(200, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    model = Noisy()
    result = nn.train(model, (x, y), epochs=2, report=False, out=tmp_path / "run")
    run = nn.load_run(tmp_path / "run", model=model, data=(x, y))
    first, second = (run.evaluate(baselines=False) for _ in range(2))
    assert first.metrics == second.metrics == result.metrics
    other, same = (run.evaluate((x, y), baselines=False) for _ in range(2))
    assert other.metrics == same.metrics
    assert not np.array_equal(np.asarray(model(nn.tensor(x)).data), np.asarray(model(nn.tensor(x)).data))
