"""The cache of XLA's programs: the message when it is filled, and the programs that it removes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

pytest.importorskip("jax")

from nnatomy.backends import jax_cache
from nnatomy.kernels import library

pytestmark = pytest.mark.any_kernels


def test_the_user_is_told_once_that_compiling_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(jax_cache, "_reported", False)
    monkeypatch.setattr(library, "announce", said.append)
    with jax_cache.reporting():
        pass
    assert said == []  # it was quick
    monkeypatch.setattr(jax_cache, "SLOW", 0.01)
    monkeypatch.setattr(library, "announce", None)
    with jax_cache.reporting():
        time.sleep(0.2)
    monkeypatch.setattr(library, "announce", said.append)
    for _ in range(2):
        with jax_cache.reporting():
            time.sleep(0.2)
    assert len(said) == 1
    assert said[0].startswith("XLA is compiling")


def test_what_was_written_first_goes_when_the_cache_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax_cache, "MOST", 1000)
    (tmp_path / "processor").mkdir()
    for age in range(12):
        path = tmp_path / "processor" / f"{age}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (time.time() - 1000 * age - 100,) * 2)
    jax_cache._tidy(tmp_path)
    assert {path.name for path in (tmp_path / "processor").iterdir()} == {f"{age}-cache" for age in range(5)}
    jax_cache._tidy(tmp_path)
    assert len(list((tmp_path / "processor").iterdir())) == 5
