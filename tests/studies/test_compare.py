"""Comparisons from end to end: what is compared, that it is fair, that it can be killed, and that nothing leaks."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import nnatomy as nn
from nnatomy import data
from nnatomy.catalog import architecture
from nnatomy.cli.main import main
from nnatomy.data import Fold
from nnatomy.errors import UserError
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.options import from_plain, to_plain
from nnatomy.runs.prepare import choose
from nnatomy.studies.comparison.compare import resume_comparison, table
from nnatomy.studies.comparison.protocol import Protocol
from nnatomy.studies.comparison.results import Comparison
from nnatomy.studies.comparison.survey import load_for_baseline
from nnatomy.tasks import Classification, Forecast, Reconstruction, Regression, Task
from nnatomy.training.settings import override

pytestmark = pytest.mark.any_kernels


@pytest.mark.usefixtures("inline")
def test_what_is_compared_is_what_one_would_get_by_hand() -> None:
    found = nn.compare("mlp", "perceptron", "autoencoder", "lstm", data="iris", cv=3, seeds=2, seed=5, epochs=3)
    assert {c.name for c in found.candidates} == {"mlp", "perceptron", *Classification.baselines}
    assert found.candidates[0].mean == max(c.mean for c in found.candidates)
    assert "does reconstruction" in found.refused["autoencoder"]
    assert "iris, which holds tables" in found.refused["lstm"]
    by_name = {c.name: c for c in found.candidates}
    for name in ("mlp", "perceptron"):
        recipe, dataset = choose(architecture(name), "iris", seed=5, fold=Fold(1, 3, seed=5))
        by_hand = fit_recipe(override(recipe, epochs=3), dataset, seed=6).test().metrics["accuracy"]
        assert by_name[name].scores[1, 1] == by_hand
        _, smaller = choose(architecture(name), "iris", seed=5, fold=Fold(1, 3, seed=5, share=0.3))
        assert [point[0] for point in by_name[name].curve] == sorted(point[0] for point in by_name[name].curve)
        assert by_name[name].curve[1][0] == pytest.approx(len(smaller.train), abs=1)
    pair = found.pair("mlp", "perceptron")
    assert pair is not None
    plain = stats.ttest_rel(by_name[pair.first].scores.mean(axis=1), by_name[pair.second].scores.mean(axis=1))
    assert pair.p == pytest.approx(2 * stats.t.sf(abs(plain.statistic) / np.sqrt(1 + 3 / 2), 2), rel=1e-6)
    assert len(found.pairs) == 3  # both architectures, and each against the better baseline
    assert found.best_baseline is not None
    assert all({p.first, p.second} & {"mlp", "perceptron"} for p in found.pairs)
    embedded = 4 * 8  # the four numbers of an iris, in 32 bins
    assert by_name["mlp"].parameters == embedded * 33 + 256 * (4 + embedded + 1) + 256 * 257 + 3 * 257
    assert by_name["mlp"].multiply_adds == embedded * 32 + 256 * (4 + embedded) + 256 * 256 + 3 * 256
    assert all(c.latency_one and c.latency_many for c in found.candidates)
    _check_files(found)


def _check_files(found: Comparison) -> None:
    saved = json.loads((found.folder / "result.json").read_text(encoding="utf-8"))
    assert saved["candidates"][0]["scores"] == found.candidates[0].scores.tolist()
    assert saved["verdicts"] == found.verdicts()
    page = found.report.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # it needs no other file
    for text in (*found.refused, *(v.split(" (")[0] for v in found.verdicts()), "Holm", "StratifiedKFold"):
        assert text in page
    header, rows = table(found)
    assert [len(row) for row in rows] == [len(header)] * len(found.candidates)


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    ("architectures", "source", "task", "splitter", "options"),
    [
        (("mlp",), "diabetes", Regression, "KFold", {}),
        (("autoencoder",), "wine", Reconstruction, "KFold", {}),
        (("mlp", "lenet5"), "digits", Classification, "StratifiedKFold", {"limit": 90}),
        (("lstm",), "sines", Forecast, "TimeSeriesSplit", {"window": 24, "horizon": 4, "limit": 400}),
        (("lstm",), "narma10", Regression, "TimeSeriesSplit", {"limit": 800}),
    ],
)
def test_every_kind_of_data(
    architectures: tuple[str, ...], source: str, task: type[Task], splitter: str, options: dict[str, int]
) -> None:
    found = nn.compare(*architectures, data=source, cv=2, seeds=1, epochs=1, curve=False, **options)
    assert (found.plan.does, found.plan.judged_by) == (task, task.metrics[0])
    assert not found.refused.keys() & set(architectures)
    assert {c.name for c in found.candidates} >= set(architectures) | (set(task.baselines) - found.refused.keys())
    assert found.best_baseline is not None
    assert splitter in found.report.read_text(encoding="utf-8")
    means = [c.mean for c in found.candidates]
    assert means == sorted(means, reverse=found.higher)
    assert all(c.deviations[1] is None for c in found.candidates)  # one seed cannot separate seeds from splits


@pytest.mark.usefixtures("inline")
def test_groups_are_kept_together(tmp_path: Path) -> None:
    """The place determines the target of a person seen before, and carries no information about others."""
    rng = np.random.default_rng(0)
    person = np.arange(240) // 8
    answer = rng.integers(0, 2, 30)[person]
    lines = [f"{v:.3f},house{p},p{p},{'yes' if a else 'no'}"
             for v, p, a in zip(rng.normal(size=240), person, answer, strict=True)]  # fmt: skip
    (tmp_path / "visits.csv").write_text("\n".join(["x,house,person,y", *lines]), encoding="utf-8")
    common = {"data": "visits.csv", "target": "y", "cv": 3, "seeds": 1, "epochs": 1, "curve": False}
    apart = nn.compare("perceptron", groups="person", out="apart", **common)
    mixed = nn.compare("perceptron", out="mixed", **common)
    means = [next(c.mean for c in found.candidates if c.name == "logistic regression") for found in (apart, mixed)]
    assert means[0] < 0.7
    assert means[1] > 0.9
    assert "GroupKFold" in apart.report.read_text(encoding="utf-8")


@pytest.mark.usefixtures("inline")
def test_text_sentences_and_anomalies(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("to be or not to be, that is the question. " * 60, encoding="utf-8")
    found = nn.compare("lstm", data="t.txt", cv=2, seeds=1, epochs=1, curve=False, window=16, limit=1500)
    assert {c.name for c in found.candidates} == {"lstm", "unigram counts", "bigram counts"}
    assert not found.higher
    lines = [f"a {('good', 'bad')[k % 2]} film, number {k % 7}\t{('yes', 'no')[k % 2]}" for k in range(60)]
    (tmp_path / "r.tsv").write_text("\n".join(lines), encoding="utf-8")
    found = nn.compare("lstm", data="r.tsv", cv=2, seeds=1, epochs=1, curve=False)
    assert next(c for c in found.candidates if c.name == "logistic regression").mean == 1.0
    values = np.sin(np.arange(1600) / 4)
    hours = np.datetime64("2024-01-01T00:00:00") + np.arange(1600) * np.timedelta64(1, "h")
    for start in (700, 1500):
        values[start : start + 30] = 4.0
    text = "\n".join(["time,x", *(f"{t},{v:.4f}" for t, v in zip(hours, values, strict=True))])
    (tmp_path / "s.csv").write_text(text, encoding="utf-8")
    spans = [[str(hours[s]), str(hours[s + 29])] for s in (700, 1500)]
    (tmp_path / "labels.json").write_text(json.dumps({"s.csv": spans}), encoding="utf-8")
    found = nn.compare("autoencoder", data="s.csv", cv=3, seeds=1, epochs=1, curve=False, window=24)
    assert (found.plan.metric, found.folds) == ("auc", 2)
    assert "left out fold 2" in " ".join(found.notices)


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("names", [("mlp", "autoencoder"), ("autoencoder", "mlp"), ("mlp", "autoencoder", "lstm")])
def test_architectures_of_different_tasks_are_refused(names: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence that names both tasks; an architecture that cannot read the data at all does not change that."""
    assert main(["compare", *names, "--data", "iris", "--cv", "2", "--seeds", "1"]) == 2
    told = capsys.readouterr().err.strip()
    assert "mlp for classification" in told
    assert "autoencoder for reconstruction" in told
    assert told.count("\n") == 0
    assert not Path("comparisons").exists()


@pytest.mark.slow
def test_a_killed_comparison_continues_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    words = ["compare", "mlp", "--data", "wine", "--cv", "3", "--seeds", "2", "--epochs", "30", "--no-curve", "--jobs", "1"]
    command = [sys.executable, "-m", "nnatomy", *words, "--out", "killed"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    fits = tmp_path / "killed" / "fits"
    limit = time.perf_counter() + 60
    while len(list(fits.glob("mlp-*.json"))) < 2 and time.perf_counter() < limit:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # its worker may finish the fit it is in
    before = {path.name: (path.stat().st_mtime_ns, path.read_text()) for path in fits.glob("mlp-*.json")}
    assert 2 <= len(before) < 6
    resumed = resume_comparison(tmp_path / "killed", jobs=1)
    assert all((fits / name).stat().st_mtime_ns == when for name, (when, _) in before.items())
    whole = nn.compare("mlp", data="wine", cv=3, seeds=2, epochs=30, curve=False, jobs=2, out=tmp_path / "whole")
    assert [c.scores.tolist() for c in resumed.candidates] == [c.scores.tolist() for c in whole.candidates]
    assert [p.p for p in resumed.pairs] == [p.p for p in whole.pairs]


def _leaky(folder: Path) -> tuple[Path, np.ndarray]:
    """A table whose column `leak` gives the class only by its distance from the mean of its fold."""
    rng = np.random.default_rng(0)
    n = 240
    y = np.arange(n) % 2
    leak = np.zeros(n)
    for number in range(3):
        rows = Fold(number, 3).rows(n, y)[2]
        leak[rows] = 40 * (number - 1) + np.where(y[rows] == 1, 1.0, -1.0) * (1 if number != 1 else -1)
    leak += 0.1 * rng.normal(size=n)
    lines = [f"{noise:.4f},{value:.4f},{'yes' if c else 'no'}"
             for noise, value, c in zip(rng.normal(size=n), leak, y, strict=True)]  # fmt: skip
    path = folder / "leaky.csv"
    path.write_text("\n".join(["noise,leak,y", *lines]), encoding="utf-8")
    return path, leak


@pytest.mark.usefixtures("inline")
def test_a_column_that_leaks_only_through_statistics_of_the_test_part_gives_no_gain(tmp_path: Path) -> None:
    path, leak = _leaky(tmp_path)
    found = nn.compare("mlp", data=path, target="y", cv=3, seeds=1, epochs=40, curve=False)
    for candidate in found.candidates:
        if candidate.name == "gradient boosting":
            continue  # a tree's threshold halfway between the other two parts is right in the middle one, without a leak
        assert candidate.mean < 0.65, f"{candidate.name} knows more than it may: {candidate.scores}"
    y = np.arange(240) % 2
    first, last = Fold(0, 3).rows(240, y)[2], Fold(2, 3).rows(240, y)[2]
    own = [StandardScaler().fit_transform(leak[rows, None]) for rows in (first, last)]
    assert LogisticRegression().fit(own[0], y[first]).score(own[1], y[last]) == 1.0  # what such a leak would look like


@pytest.mark.usefixtures("inline")
def test_columns_are_judged_on_training_rows_alone(tmp_path: Path) -> None:
    """Of 600 columns of noise, the best by all rows look good on all rows: choosing them outside the folds would show."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 600)), np.arange(60) % 2
    chosen = np.argsort(-np.abs([np.corrcoef(column, y)[0, 1] for column in x.T]))[:10]
    inside = [LogisticRegression().fit(x[a][:, chosen], y[a]).score(x[b][:, chosen], y[b])
              for a, _, b in (Fold(k, 3).rows(60, y) for k in range(3))]  # fmt: skip
    assert np.mean(inside) > 0.7  # what a leak would look like
    lines = [",".join([*(f"{v:.4f}" for v in row), "yes" if c else "no"]) for row, c in zip(x, y, strict=True)]
    path = tmp_path / "noise.csv"
    path.write_text("\n".join([",".join([*(f"c{k}" for k in range(600)), "y"]), *lines]), encoding="utf-8")
    found = nn.compare("perceptron", data=path, target="y", cv=3, seeds=2, epochs=3, curve=False)
    assert all(candidate.mean < 0.65 for candidate in found.candidates)


@pytest.mark.usefixtures("inline")
def test_an_architecture_that_fails_is_left_out_and_the_others_go_on() -> None:
    found = nn.compare("mlp", "perceptron", data="iris", cv=2, seeds=1, epochs=1, curve=False, out="first")
    path = found.folder / "fits" / "perceptron-fold1-seed0.json"
    broken = json.loads(path.read_text(encoding="utf-8")) | {"failed": "Training needs a finite loss. Received nan."}
    path.write_text(json.dumps(broken), encoding="utf-8")
    again = resume_comparison(found.folder)
    assert again.refused["perceptron"] == "Training needs a finite loss. Received nan. (fold 2)"
    assert "perceptron" not in {c.name for c in again.candidates}


@pytest.mark.usefixtures("inline")
def test_changed_data_are_not_mixed_with_earlier_results(tmp_path: Path) -> None:
    lines = [f"{k % 5},{k % 2}" for k in range(60)]
    path = tmp_path / "d.csv"
    path.write_text("\n".join(["x,y", *lines]), encoding="utf-8")
    found = nn.compare("perceptron", data=path, target="y", cv=2, seeds=1, epochs=1, curve=False)
    path.write_text("\n".join(["x,y", *lines[:-2], "7,0", "7,1"]), encoding="utf-8")
    with pytest.raises(UserError, match="values changed in the column"):
        resume_comparison(found.folder)


@pytest.mark.usefixtures("inline")
def test_a_spent_budget_leaves_whole_folds_and_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = nn.compare("perceptron", data="iris", cv=3, seeds=2, epochs=1, curve=False)
    for name in ("fold1-seed1", "fold2-seed1"):
        (found.folder / "fits" / f"perceptron-{name}.json").unlink()
    from nnatomy.studies.comparison import compare as module

    monkeypatch.setattr(module._Work, "_wanted", lambda self, unit: unit.what == "cost")
    cut = resume_comparison(found.folder)
    assert (cut.folds, cut.seeds) == (3, 1)
    assert "The time was spent" in " ".join(cut.notices)
    assert cut.candidates[0].scores.shape[1] == 1


@pytest.mark.usefixtures("inline")
def test_wrong_requests_are_told_in_one_sentence(tmp_path: Path) -> None:
    for architectures, options in (
        ((), {}),
        (("mlp", "mlp"), {}),
        (("mpl",), {}),
        (("mlp",), {"cv": 1}),
        (("mlp",), {"seeds": 0}),
        (("mlp",), {"metric": "f2"}),
        (("mlp",), {"metric": "r2"}),
        (("mlp",), {"budget": -1}),
        (("mlp",), {"jobs": 0}),
        (("mlp",), {"folds": 3}),
        (("lstm",), {}),
        (("mlp",), {"limit": 4}),
        (("mlp",), {"groups": "absent"}),
        (("mlp",), {"data": "and"}),
        (("mlp",), {"cv": 2.5}),
    ):
        with pytest.raises(UserError) as told:
            nn.compare(*architectures, **{"data": "iris", **options})
        assert str(told.value).count(". ") <= 2
    assert not (tmp_path / "comparisons").exists()
    with pytest.raises(UserError, match="has a comparison"):
        resume_comparison(tmp_path)


def test_baselines_of_inputs_get_them_as_all_architectures_read_them() -> None:
    protocol = Protocol(("vae", "lenet5", "mlp"), data="digits", cv=2, limit=90)
    binary = load_for_baseline(protocol, "image", "density", ("vae",), 0)
    assert set(np.unique(binary.train.all()[0])) == {0, 1}
    assert load_for_baseline(protocol, "image", "classification", ("lenet5",), 0).input_shape == (1, 8, 8)  # accuracy is one


def test_a_protocol_says_how_to_ask_for_it_again() -> None:
    protocol = Protocol(
        ("mlp", "lenet5"), data="digits", cv=3, limit=90, budget=600.0, curve=False, types={"a": "numeric"}, keep=("b",)
    )
    assert protocol.command() == (
        "nnatomy compare mlp lenet5 --data digits --keep b --types a=numeric --limit 90 --budget 600s --cv 3 --no-curve"
    )
    assert from_plain(Protocol, json.loads(json.dumps(to_plain(protocol)))) == protocol


@pytest.mark.slow
def test_a_budget_is_kept(tmp_path: Path) -> None:
    started = time.perf_counter()
    found = nn.compare("lenet5", data="digits", cv=2, seeds=1, budget="25s", epochs=200, jobs=1, out=tmp_path / "b")
    assert time.perf_counter() - started < 40
    timed = json.loads((found.folder / "timing" / "lenet5.json").read_text(encoding="utf-8"))
    assert 0 < timed["judging"] < 2
    assert 0 < timed["step"] < 0.5
    assert "lenet5 was cut short by the budget" in " ".join(found.notices)
    assert 1 <= found.plan.architectures["lenet5"].epochs < 200
    assert data.load("digits", fold=Fold(0, 2)).classes == tuple("0123456789")


@pytest.mark.usefixtures("inline")
def test_an_indicator_that_few_rows_show_does_not_hinder_the_costs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = [f"{v:.3f}" for v in rng.normal(size=2000)]
    train = Fold(0, 2).rows(2000)[0]
    cells[np.setdiff1d(train, Fold(0, 2, share=500 / len(train)).rows(2000)[0])[0]] = ""  # fewer rows have a feature less
    lines = [f"{a},{b:.3f},{a or 0}" for a, b in zip(cells, rng.normal(size=2000), strict=True)]
    path = tmp_path / "d.csv"
    path.write_text("\n".join(["x,z,y", *lines]), encoding="utf-8")
    found = nn.compare("mlp", data=path, target="y", keep=("x",), cv=2, seeds=1, epochs=1, curve=False)
    assert all(c.latency_many is not None for c in found.candidates)
