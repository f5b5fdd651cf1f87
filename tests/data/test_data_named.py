"""Public sets by name: found under NNATOMY_DATA, fetched once otherwise, and checked by their SHA-256."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_files import mnist_folder

from nnatomy.data import fields, load
from nnatomy.data.kinds import public, sets
from nnatomy.data.sets import locate
from nnatomy.errors import UserError

NAMED = public()
Real = Callable[[str], Path]
FETCHED = [name for name, known in NAMED.items() if known.url]


@pytest.mark.parametrize("name", NAMED)
def test_public_sets_load_by_their_names(real: Real, name: str) -> None:
    real(NAMED[name].place)
    found = load(name)
    assert found.name == name
    assert found.kind == sets()[name][0].name
    first = found.train.take(np.arange(2))
    assert all(np.isfinite(array).all() for array in first)
    assert all(len(array) == 2 for field, array in zip(found.fields, first, strict=True) if field.per == "example")
    assert fields.count(found.fields, first) == 2
    if found.task == "classification":
        assert first[-1].dtype == np.int64
        assert found.outputs == len(found.classes)


@pytest.mark.parametrize("name", NAMED)
def test_every_file_of_a_public_set_has_its_digest(real: Real, name: str) -> None:
    known = NAMED[name]
    digests = [*known.files.values(), *([known.sha256] if known.sha256 else [])]
    assert digests
    assert all(len(digest) == 64 for digest in digests)
    place = real(known.place)
    assert place.is_dir() == (known.sha256 is None)
    assert locate(known, offline=True) == place


@pytest.mark.parametrize("name", FETCHED)
def test_absent_sets_are_fetched_once_with_their_digest(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pooch = pytest.importorskip("pooch", reason="pooch is not installed")
    calls: list[tuple[str, str]] = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path, **_: Any) -> str:
        calls.append((url, known_hash))
        (Path(path) / fname).write_text("here")
        return str(Path(path) / fname)

    monkeypatch.setenv("NNATOMY_DATA", str(tmp_path))
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    known = NAMED[name]
    assert locate(known, offline=False) == tmp_path / known.place
    with pytest.raises(UserError, match="content differs"):
        locate(known, offline=False)  # it is there, so that it is not fetched again
    assert calls == [(known.url, f"sha256:{known.sha256}")]


def test_a_network_that_fails_says_which_file_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pooch = pytest.importorskip("pooch", reason="pooch is not installed")

    def retrieve(*_: Any, **__: Any) -> str:
        raise ConnectionError("no route to host\nand a traceback")

    monkeypatch.setenv("NNATOMY_DATA", str(tmp_path))
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(UserError, match=r"no route to host from .*titanic\.csv\. Put the file at .*titanic") as caught:
        load("titanic")
    assert "\n" not in str(caught.value)


def test_an_unpacked_mnist_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNATOMY_DATA", str(tmp_path))
    folder = mnist_folder(tmp_path / "mnist")
    content = {f"{path.name}.gz": sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    known = replace(NAMED["mnist"], files=content)
    assert locate(known, offline=True) == folder
    mnist_folder(folder, compress=True)  # the digests are of the content
    assert locate(known, offline=True) == folder


def test_time_ordered_rows_in_a_table_are_noticed(real: Real) -> None:
    found = load(real("timeseries/ETTh1.csv"), ("table",), target="OT")
    assert any("split at random" in notice for notice in found.notices)
    assert not any("split at random" in notice for notice in load(real("tabular/titanic.csv"), target="survived").notices)
