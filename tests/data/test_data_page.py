"""The code in docs/data.md runs, and prints what the page says it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nnatomy.data import kinds

pytestmark = pytest.mark.any_kernels
PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_code_of_the_page_prints_what_it_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = re.findall(r"```python\n(.*?)```\n\n```output\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(pairs) == 4
    names: dict[str, object] = {"__name__": __name__}
    try:
        for code, output in pairs:
            exec(code, names)
            assert capsys.readouterr().out == output
    finally:
        kinds.unregister("points")
