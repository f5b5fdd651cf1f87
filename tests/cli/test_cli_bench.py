"""`nnatomy bench` with wrong input: one sentence and exit code 2 before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnatomy.benchmark import measure
from nnatomy.cli import main

CASES = {
    "unknown workload": ("--only lenett", "Did you mean 'lenet'"),
    "one of two workloads": ("--only lenet,gptt", "gpt"),
    "unknown peer": ("--peers torhc", "torch"),
    "peer far from any": ("--peers mxnet", "keras"),
    "no threads": ("--threads 0", "--threads"),
    "negative threads": ("--threads -3", "--threads"),
    "more threads than processors": ("--threads 4096", "processors"),
    "threads in words": ("--threads two", "--threads"),
    "unknown work": ("--what training", "train"),
    "page over another file": ("--out mine.md", "choose another name"),
    "page in a file": ("--out mine.txt", "choose another place"),
    "page over a picture": ("--out pictures", "performance.png"),
    "figures over another file": ("--figures mine.txt", "choose another name"),
    "figures in a folder": ("--figures pictures", "folder"),
    "figures below a file": ("--figures mine.txt/new.json", "choose another place"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_sentence_and_code_2(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*args: object) -> None:
        raise AssertionError("measured in spite of wrong input")

    monkeypatch.setattr(measure, "run", never)
    monkeypatch.setattr(measure.roofline, "measure", never)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for file in ("mine.md", "mine.txt", "pictures/performance.png"):
        (tmp_path / file).write_text("kept")
    before = sorted(tmp_path.rglob("*"))
    words, needed = CASES[name]
    assert main(["bench", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("nnatomy: ")
    assert needed.lower() in err.lower()
    assert sorted(tmp_path.rglob("*")) == before
    assert all((tmp_path / file).read_text() == "kept" for file in ("mine.md", "mine.txt", "pictures/performance.png"))
