"""Folds: dealt as scikit-learn deals them, forward in time where order matters, and nothing is learned from held-out rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit
from small_files import hours, mnist_folder

from nnatomy import data
from nnatomy.data import Dataset, Fold
from nnatomy.data.kinds.image.idx import read_idx, write_idx
from nnatomy.errors import UserError

pytestmark = pytest.mark.any_kernels

Write = Callable[..., Path]
CLASSES = np.arange(90) % 3


def test_test_parts_are_those_of_scikit_learn() -> None:
    for number in range(5):
        stratified = list(StratifiedKFold(5, shuffle=True, random_state=7).split(CLASSES, CLASSES))[number]
        order = np.sort(np.arange(90))
        assert np.array_equal(Fold(number, 5, seed=7).rows(90, CLASSES)[2], order[stratified[1]])
        plain = list(KFold(5, shuffle=True, random_state=7).split(order))[number]
        assert np.array_equal(Fold(number, 5, seed=7).rows(90)[2], plain[1])
        later = list(TimeSeriesSplit(5).split(order))[number][1]
        assert Fold(number, 5).periods(90)[2] == (later[0], later[-1] + 1)


def test_every_row_is_tested_once_and_no_part_overlaps_another() -> None:
    folds = [Fold(number, 4, seed=3).rows(90, CLASSES) for number in range(4)]
    assert sorted(np.concatenate([test for _, _, test in folds])) == list(range(90))
    for parts in folds:
        assert sorted(np.concatenate(parts)) == list(range(90))
        assert all(np.bincount(CLASSES[part], minlength=3).std() < 1.5 for part in parts)


def test_inner_folds_part_the_training_rows_and_leave_the_test_alone() -> None:
    folds = [Fold(1, 3, inner=inner, inner_of=4).rows(90, CLASSES) for inner in range(4)]
    assert all(np.array_equal(test, folds[0][2]) for _, _, test in folds)
    held = np.concatenate([validation for _, validation, _ in folds])
    assert sorted([*held, *folds[0][2]]) == list(range(90))


def test_groups_are_never_parted() -> None:
    groups = np.repeat(np.arange(18), 5)
    for classes in (None, CLASSES):
        for number in range(3):
            parts = Fold(number, 3, groups="g").rows(90, classes, groups=groups)
            found = [set(groups[part]) for part in parts]
            assert not found[0] & found[1]
            assert not found[0] & found[2]
            assert not found[1] & found[2]


def test_a_limit_keeps_the_classes_in_proportion_and_shares_lie_within_one_another() -> None:
    ids = np.array([0] * 600 + [1] * 300 + [2] * 100)
    used = np.concatenate(Fold(0, 3, limit=100).rows(1000, ids))
    assert np.array_equal(np.bincount(ids[used]), [60, 30, 10])
    small, large = (Fold(0, 3, share=share).rows(1000, ids) for share in (0.1, 0.3))
    assert set(small[0]) < set(large[0])
    assert np.array_equal(small[2], large[2])
    assert np.array_equal(small[1], large[1])


def test_time_goes_forward_only() -> None:
    for number in range(4):
        for inner in (None, 0, 1):
            train, validation, test = Fold(number, 4, inner=inner, inner_of=3, limit=600).periods(1000)
            assert 400 <= train[0] < train[1] == validation[0] < validation[1] <= test[0] < test[1] <= 1000
    short, whole = Fold(3, 4, share=0.25).periods(1000), Fold(3, 4).periods(1000)
    assert short[0][1] == whole[0][1]  # the latest rows are kept
    assert short[0][1] - short[0][0] == round(0.25 * (whole[0][1] - whole[0][0]))


def test_too_little_to_part_is_refused() -> None:
    with pytest.raises(UserError, match="2 of class 'rare'"):
        Fold(0, 3).rows(50, np.array([0] * 48 + [1] * 2), ("common", "rare"))
    for call in (
        lambda: Fold(0, 1),
        lambda: Fold(3, 3),
        lambda: Fold(0, 3, limit=5),
        lambda: Fold(0, 3, share=0.0),
        lambda: Fold(0, 5).rows(8),
        lambda: Fold(0, 5).periods(19),
        lambda: Fold(0, 3, groups="g").rows(40, None, groups=np.arange(40) % 2),
        lambda: data.load("and", fold=Fold(0, 2)),
        lambda: data.load("iris", fold=Fold(0, 2), limit=50),
    ):
        with pytest.raises(UserError):
            call()


# The training data are the same, to the last bit, for any values in the held-out rows.


def _table(write: Write, wild: bool) -> Dataset:
    rng = np.random.default_rng(0)
    x, color = rng.normal(size=90).astype(object), np.array(["red", "blue"], object)[rng.integers(0, 2, 90)]
    if wild:
        rows = np.concatenate(Fold(1, 3).rows(90, CLASSES)[1:])
        x[rows], color[rows] = 1e6, "never seen"
        x[rows[0]] = ""
    lines = [f"{a},{b},class{c}" for a, b, c in zip(x, color, CLASSES, strict=True)]
    return data.load(write(f"table{wild}.csv", "\n".join(["x,color,y", *lines])), target="y", fold=Fold(1, 3))


def _regression(write: Write, wild: bool) -> Dataset:
    x = np.random.default_rng(0).normal(size=(90, 2))
    if wild:
        x[Fold(1, 3).rows(90)[2]] *= 1e6
    lines = [f"{a},{b}" for a, b in x]
    return data.load(write(f"numbers{wild}.csv", "\n".join(["x,y", *lines])), target="y", fold=Fold(1, 3))


def _images(write: Write, wild: bool) -> Dataset:
    folder = mnist_folder(write("images/x", "").parent, 90)
    (folder / "x").unlink()
    if wild:
        images = read_idx(folder / "train-images-idx3-ubyte").copy()
        images[np.concatenate(Fold(1, 3).rows(90, CLASSES)[1:])] = 255
        write_idx(folder / "train-images-idx3-ubyte", images)
    return data.load(folder, fold=Fold(1, 3))


def _sentences(write: Write, wild: bool) -> Dataset:
    words = np.random.default_rng(0).choice(["good", "bad", "film", "plot", "end"], size=(90, 6)).tolist()
    if wild:
        for row in np.concatenate(Fold(1, 3).rows(90, CLASSES)[1:]):
            words[row] = ["never", "seen", "before"]
    lines = [" ".join(w) + f"\tclass{c}" for w, c in zip(words, CLASSES, strict=True)]
    return data.load(write(f"lines{wild}.tsv", "\n".join(lines)), ("sentences",), fold=Fold(1, 3))


def _text(write: Write, wild: bool) -> Dataset:
    text = "to be or not to be " * 40
    if wild:
        begin = Fold(1, 3).periods(len(text))[1][0]
        text = text[:begin] + "Z" * (len(text) - begin)
    return data.load(write(f"text{wild}.txt", text), window=8, fold=Fold(1, 3))


def _series(write: Write, wild: bool) -> Dataset:
    values = np.sin(np.arange(600) / 7)
    if wild:
        values[Fold(1, 3).periods(600)[1][0] :] = np.random.default_rng(0).normal(50, 9, 600)[: 600 - 250]
    lines = [f"{t},{v}" for t, v in zip(hours(600), values, strict=True)]
    path = write(f"series{wild}.csv", "\n".join(["time,x", *lines]))
    return data.load(path, ("series",), window=8, horizon=4, fold=Fold(1, 3))


def _anomalies(write: Write, wild: bool) -> Dataset:
    values = np.sin(np.arange(600) / 7)
    if wild:
        values[Fold(1, 3).periods(600)[1][0] :] += 50
    lines = [f"{t},{v}" for t, v in zip(hours(600), values, strict=True)]
    path = write(f"windows{wild}.csv", "\n".join(["time,x", *lines]))
    return data.load(path, ("series",), tasks=("anomaly",), window=8, fold=Fold(1, 3))


@pytest.mark.parametrize("make", [_table, _regression, _images, _sentences, _text, _series, _anomalies])
def test_nothing_is_fitted_on_rows_that_are_held_out(make: Callable[[Write, bool], Dataset], write: Write) -> None:
    tame, wild = make(write, False), make(write, True)
    assert json.dumps(tame.preprocessing.to_json()) == json.dumps(wild.preprocessing.to_json())
    for a, b in zip(tame.train.all(), wild.train.all(), strict=True):
        assert np.array_equal(a, b)
    assert _differ(tame.test.all(), wild.test.all())


def _differ(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    return any(x.shape != y.shape or not np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_groups_name_a_column_which_is_no_input(write: Write) -> None:
    lines = [f"{k * 0.37 % 1},p{k // 5},{'yes' if k % 3 else 'no'}" for k in range(90)]
    path = write("people.csv", "\n".join(["x,person,y", *lines]))
    found = data.load(path, target="y", fold=Fold(0, 3, groups="person"))
    assert [c.name for c in found.columns if c.role == "input"] == ["x"]
    assert (len(found.train) + len(found.validation) + len(found.test), len(found.test) % 5) == (90, 0)
    for wrong in ("y", "absent"):
        with pytest.raises(UserError):
            data.load(path, target="y", fold=Fold(0, 3, groups=wrong))
    with pytest.raises(UserError, match="--groups does not apply"):
        data.load("digits", fold=Fold(0, 3, groups="person"))


def test_a_labeled_validation_stretch_is_replaced_by_the_latest_windows_before_it(write: Write) -> None:
    time = hours(600)
    (_, end), (first, last), _ = Fold(1, 3).periods(600)
    assert end == first
    write("labels.json", json.dumps({"s.csv": [[time[first], time[last - 1]]]}))
    lines = [f"{t},{np.sin(k / 7)}" for k, t in enumerate(time)]
    path = write("s.csv", "\n".join(["time,x", *lines]))
    found = data.load(path, ("series",), tasks=("anomaly",), window=8, fold=Fold(1, 3))
    assert len(found.validation) == pytest.approx(0.15 * (first - 7), abs=1)
    assert len(found.train) == first - 7 - len(found.validation) - 7  # those that overlap are left out


def test_tables_in_order_of_time_are_parted_forward(write: Write) -> None:
    lines = [f"{t},{k % 7},{k}" for k, t in enumerate(hours(120))]
    found = data.load(write("sales.csv", "\n".join(["time,x,y", *lines])), ("table",), target="y", fold=Fold(1, 3),
                      keep=("time",))  # fmt: skip
    target = [found.preprocessing.inverse_targets(part.all()[1]) for part in (found.train, found.validation, found.test)]
    assert target[0].max() < target[1].min()
    assert target[1].max() < target[2].min()
    assert "later than its training" in " ".join(found.notices)


def test_real_sets_leave_their_official_test_part_alone(real: Callable[[str], Path]) -> None:
    found = data.load(real("mnist"), fold=Fold(2, 3, limit=600))
    assert [len(part) for part in (found.train, found.validation, found.test)] == pytest.approx([333, 67, 200], abs=2)
    official = read_sizes(real("text/sst2_test.tsv"))
    sentences = data.load(real("text/sst2_train.tsv"), ("sentences",), fold=Fold(0, 2))
    parts = len(sentences.train) + len(sentences.validation) + len(sentences.test)
    assert parts == 6920 + 872
    assert official == 1821


def read_sizes(path: Path) -> int:
    return sum(bool(line.strip()) for line in path.read_text(encoding="utf-8").splitlines())
