"""The code in docs/drawing.md runs, and its table names the views that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nnatomy import views

pytestmark = pytest.mark.any_kernels
PAGE = Path(__file__).parents[2] / "docs" / "drawing.md"


def test_the_code_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    out = capsys.readouterr().out
    assert "401664" in out
    assert "(8, 16) (8, 16)" in out


def test_the_page_names_every_view_and_its_pictures_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == views.names()
    for picture in re.findall(r"\]\((images/[^)]+)\)", text):
        assert (PAGE.parent / picture).is_file(), picture
