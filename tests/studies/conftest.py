"""Comparisons without processes, for tests that are about what is measured and not about who does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from inline_workers import Inline

from nnatomy.studies.comparison import compare as module


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Comparisons run in this process, in their own folder."""
    monkeypatch.setattr(module, "Workers", Inline)
    monkeypatch.chdir(tmp_path)
