"""Where the real files are, and small files made on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def real() -> Callable[[str], Path]:
    """Return the path of a real file under NNATOMY_DATA; skips, with the reason, where it is absent."""

    def find(name: str) -> Path:
        folder = os.environ.get("NNATOMY_DATA")
        if not folder:
            pytest.skip("NNATOMY_DATA is not set, the real files are not here")
        path = Path(folder) / name
        if not path.exists():
            pytest.skip(f"{path} is absent")
        return path

    return find


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a file of text or bytes into the test's folder."""

    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make
