"""The table of results: it is read as it was written, one architecture's rows change alone, and what is wrong is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import results.measure
from nnatomy import data
from nnatomy.catalog import architecture
from nnatomy.tasks import Classification, Forecast
from nnatomy.verification.fingerprint import fingerprint
from results.readme import END, filled, of_results
from results.table import Row, Score, markdown, measured, problems, read, replaced
from results.twin import fitted


def rows_for(name: str) -> list[Row]:
    """The expected rows, at their goals."""
    found = architecture(name)
    return [
        Row(*key, Score(recipe.score[metric.name], 0.01), Score(recipe.score[metric.name], 0.02), recipe.score[metric.name],
            (0.5, "majority class"), 1.5, 3, fingerprint(found.folder))
        for key, (recipe, metric) in measured(found).items()
    ]  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [*rows_for("perceptron"), *rows_for("mlp")]
    rows[0] = replace(rows[0], twin=None, baseline=None, goal=None)
    page = tmp_path / "results.md"
    assert read(page) == []
    page.write_text(markdown(rows))
    assert read(page) == rows


def test_one_architectures_rows_are_replaced() -> None:
    old = [*rows_for("perceptron"), *rows_for("mlp"), replace(rows_for("mlp")[0], architecture="one that has left")]
    new = [replace(row, seconds=9.0) for row in rows_for("perceptron")]
    assert replaced(old, new, ["perceptron"]) == [*new, *rows_for("mlp")]
    assert replaced(rows_for("mlp"), new, ["perceptron"]) == [*new, *rows_for("mlp")]


def test_each_recipe_with_a_goal_is_measured_and_the_default_one_anyway() -> None:
    assert [key[1:] for key in measured(architecture("mlp"))] == [
        ("image/digits", "accuracy"), ("table/breast_cancer", "accuracy"), ("table/diabetes", "r2"),
    ]  # fmt: skip
    for name, recipe in (("lstm", architecture("lstm").recipes[0]), ("autoencoder", architecture("autoencoder").recipes[0])):
        assert next(iter(measured(architecture(name))))[1] == f"{recipe.kind}/{recipe.data}"


BAD = {
    "another fingerprint": ({"fingerprint": "0" * 12}, "measured with other code"),
    "few seeds": ({"seeds": 1}, "measured from 1 seeds"),
    "below its goal": ({"ours": Score(0.9, 0.01), "twin": None}, "does not reach"),
    "worse than the twin": ({"twin": Score(1.2, 0.001)}, "differ by more than"),
    "another recipe": ({"recipe": "table/other"}, "there is no such recipe"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_found(what: str) -> None:
    change, said = BAD[what]
    rows = rows_for("lenet5")
    assert problems(architecture("lenet5"), rows) == []
    assert said in problems(architecture("lenet5"), [replace(rows[0], **change)])[0]  # type: ignore[arg-type]
    assert "the row is missing" in problems(architecture("lenet5"), [])[0]


def test_two_recipes_for_the_same_data_have_a_row_each() -> None:
    rows = rows_for("gnn")
    assert [row.recipe for row in rows if "cora" in row.recipe] == ["graph/cora", "graph/cora cora-gat"]
    table = of_results(rows)
    assert "`nnatomy train gnn --data cora`" in table
    assert "`nnatomy train gnn --variant cora-gat`" in table


def test_noise_is_no_difference() -> None:
    row = replace(rows_for("lenet5")[0], ours=Score(0.97, 0.02), twin=Score(0.985, 0.02))
    assert problems(architecture("lenet5"), [row]) == []


def test_readme_has_its_tables() -> None:
    rows = [*rows_for("perceptron"), *rows_for("mlp")]
    names = ("architectures", "commands", "results")
    places = "\n".join(f"before\n<!-- table: {name} -->\n\n| old |\n\n{END}\nafter" for name in names)
    text = filled(places, rows)
    assert text == filled(text, rows)
    for expected in ("| `nnatomy train mlp` |", "| 1986 | `mlp` | feedforward |", "| `nnatomy list` | List the architectures"):
        assert expected in text
    assert text.startswith("before")
    assert text.endswith("after")
    assert "| old |" not in text
    with pytest.raises(ValueError, match="<!-- table: architectures -->"):
        filled("no place", rows)


def test_both_are_trained() -> None:
    """Both start with the same weights and see the same batches: after one epoch they are still close."""
    (row,) = results.measure.rows_of(architecture("lenet5"), [0], limit=120, epochs=1)
    assert row.twin is not None
    assert abs(row.ours.mean - row.twin.mean) < 0.1
    assert row.baseline is not None
    assert row.seconds > 0
    assert all(row.twin is None for row in results.measure.rows_of(architecture("perceptron"), [0], limit=60, epochs=1))


def test_a_twin_gets_the_noise_that_the_models_loss_draws() -> None:
    from nnatomy import random
    from results.twin import drawn

    module = architecture("vae").module("model")
    model = module.build((4,), latent=3, hidden=(5,), classes=2)
    x, labels = np.ones((6, 4), np.float32), np.arange(6) % 2
    random.seed(3)
    given = [t.numpy() for t in drawn(module.with_noise, model, (x, labels))]
    random.seed(3)
    for found, expected in zip(given, (x, model.draw(6).numpy(), labels), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_twins_get_rows_of_features_and_windows_of_rows() -> None:
    """An image becomes a row of its pixels for a twin that takes rows; a window of a series stays as it is."""
    mlp = architecture("mlp")
    digits = data.load("digits", ("image",), limit=60)
    image = fitted(digits.train.take(np.arange(3)), digits, Classification(mlp.recipes[0], digits), {"features": 64})
    assert image[0].shape == (3, 64)
    series = data.load("cubic_spiral", ("series",), window=1, horizon=4)
    window = fitted(series.train.take(np.arange(3)), series, Forecast(mlp.recipes[0], series), {"features": 2})
    assert [tuple(part.shape) for part in window] == [(3, 1, 2), (3, 4, 2)]
