"""Points and graphs read numbers as tables do, and predict as they were trained; a named encoding holds for every file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnatomy import data
from nnatomy.data import load_examples, load_inputs, preprocessing_from_json
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError

N = 40
RNG = np.random.default_rng(0)
VALUES = np.stack([RNG.normal(size=N).round(3), (RNG.normal(size=N) * 5000).round(2)], axis=1)


def comma(value: float) -> str:
    """1.234,5 for 1234.5."""
    return f"{value:,.3f}".translate(str.maketrans(",.", ".,"))


WRITTEN: dict[str, tuple[str, Callable[[float], str]]] = {
    "plain": (",", repr),
    "decimal comma": (";", lambda value: repr(value).replace(".", ",")),
    "decimal comma and points": (";", comma),
    "thousands with commas": (";", lambda value: f"{value:,.3f}"),
    "francs": (";", lambda value: f"CHF {value:,.3f}".replace(",", "'")),
    "percent": (",", lambda value: f"{value!r}%"),
}


def points(path: Path, case: str, rows: slice = slice(None)) -> Path:
    sign, written = WRITTEN[case]
    lines = [f"a{sign}b", *(sign.join(map(written, row)) for row in VALUES[rows].tolist())]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def load_points(path: Path, **options: Any) -> Dataset:
    return data.load(path, ("density",), tasks=("generation",), **options)


@pytest.mark.parametrize("case", WRITTEN)
def test_points_are_read_in_every_notation(tmp_path: Path, case: str) -> None:
    found = load_points(points(tmp_path / "p.csv", case))
    splits = (found.train, found.validation, found.test)
    read = found.preprocessing.inverse(np.concatenate([split.all()[0] for split in splits]).astype(np.float64))
    order = np.lexsort(read.T), np.lexsort(VALUES.T)
    np.testing.assert_allclose(read[order[0]], VALUES[order[1]], rtol=1e-5, atol=1e-2)
    assert any("such as" in notice for notice in found.notices) == (case != "plain")
    saved = preprocessing_from_json(found.preprocessing.to_json())
    (new,) = load_inputs(points(tmp_path / "new.csv", case, slice(5)), saved).arrays
    np.testing.assert_allclose(saved.inverse(new.astype(np.float64)), VALUES[:5], rtol=1e-5, atol=1e-2)


def test_points_written_otherwise_than_in_training_are_refused(tmp_path: Path) -> None:
    found = load_points(points(tmp_path / "p.csv", "decimal comma and points"))
    points(tmp_path / "q.csv", "thousands with commas")
    with pytest.raises(UserError, match=r"written as 1234,5, as in the training table"):
        load_inputs(tmp_path / "q.csv", found.preprocessing)


def test_the_notation_of_points_is_chosen_where_nothing_decides(tmp_path: Path) -> None:
    rows = [f"1,{200 + n};{n}" for n in range(N)]
    (tmp_path / "p.tsv").write_text("\n".join(["a\tb", *(row.replace(";", "\t") for row in rows)]))
    with pytest.raises(UserError, match=r"Choose with --types a=numeric:\."):
        load_points(tmp_path / "p.tsv")
    for sign, mean in ((",", 1 + 0.2195), (".", 1219.5)):
        found = load_points(tmp_path / "p.tsv", types={"a": f"numeric:{sign}"}, seed=0)
        x = np.concatenate([s.all()[0] for s in (found.train, found.validation, found.test)])
        assert found.preprocessing.inverse(x.astype(np.float64))[:, 0].mean() == pytest.approx(mean, rel=1e-4)
    with pytest.raises(UserError, match=r"Received 'c'"):
        load_points(tmp_path / "p.tsv", types={"c": "numeric"})


def graph(folder: Path, case: str, nodes: int = N) -> Path:
    sign, written = WRITTEN[case]
    folder.mkdir()
    rows = [sign.join([f"n{n}", written(float(VALUES[n, 0])), "ab"[n % 2], "xy"[n % 2]]) for n in range(nodes)]
    (folder / "nodes.csv").write_text("\n".join([sign.join(["id", "size", "word", "class"]), *rows]), encoding="utf-8")
    joins = [sign.join([f"n{n}", f"n{(n + 1) % nodes}", written(float(VALUES[n, 1]))]) for n in range(nodes)]
    (folder / "edges.csv").write_text("\n".join([sign.join(["source", "target", "weight"]), *joins]), encoding="utf-8")
    return folder


@pytest.mark.parametrize("case", WRITTEN)
def test_graphs_are_read_in_every_notation(tmp_path: Path, case: str) -> None:
    plain, found = (data.load(graph(tmp_path / name, which)) for name, which in (("plain", "plain"), ("g", case)))
    assert found.preprocessing.feature_names == ("size", "word=a", "word=b")
    for a, b in zip(plain.train.all(), found.train.all(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=2e-3)
    saved = preprocessing_from_json(found.preprocessing.to_json())
    few = graph(tmp_path / "few", case, 9)
    again = load_inputs(few, saved).arrays
    want = load_inputs(graph(tmp_path / "few plain", "plain", 9), plain.preprocessing).arrays
    for a, b in zip(want, again, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=2e-3)
    if case == "decimal comma and points":
        with pytest.raises(UserError, match="as in the training table"):
            load_inputs(graph(tmp_path / "other", "thousands with commas", 9), saved)


def test_a_graphs_numbers_may_be_words(tmp_path: Path) -> None:
    folder = graph(tmp_path / "g", "plain")
    text = (folder / "nodes.csv").read_text().replace(",a,", ",1,").replace(",b,", ",2,")
    (folder / "nodes.csv").write_text(text)
    assert data.load(folder).preprocessing.feature_names == ("size", "word")
    assert data.load(folder, types={"word": "categorical"}).preprocessing.feature_names == ("size", "word=1", "word=2")
    with pytest.raises(UserError, match="Received 'wrd'"):
        data.load(folder, types={"wrd": "categorical"})


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1251"])
def test_an_encoding_holds_for_both_files_of_a_pair(tmp_path: Path, encoding: str) -> None:
    words = ("вино", "плохо") if encoding == "cp1251" else ("café", "naïve")
    for ending, word in zip(("pos", "neg"), words, strict=True):
        text = "".join(f"{word} number {n} of {ending}\n" for n in range(30))
        (tmp_path / f"rt.{ending}").write_bytes(text.encode(encoding))
    if encoding != "utf-16":  # its mark says what it is
        with pytest.raises(UserError, match="UTF-8"):
            data.load(tmp_path, ("sentences",))
    found = data.load(tmp_path, ("sentences",), encoding=encoding)
    assert set(words) <= set(found.preprocessing.vocabulary)
    saved = preprocessing_from_json(found.preprocessing.to_json())
    split, _ = load_examples(tmp_path, saved)
    assert len(split) == 60


def test_an_encoding_holds_for_the_files_next_to_the_training_file(tmp_path: Path) -> None:
    for part in ("train", "dev", "test"):
        text = "".join(f"le café {n} est bon\t{'good' if n % 2 else 'bad'}\n" for n in range(30))
        (tmp_path / f"{part}.txt").write_bytes(text.encode("latin-1"))
    assert len(data.load(tmp_path / "train.txt", ("sentences",), encoding="latin-1").test) == 30
