"""Hostile but fair use: odd names, odd files, every kind of run measured and used again, flags that would do nothing."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.cli import main
from nnatomy.errors import UserError
from nnatomy.runs.folder import Run

WAVE = [math.sin(i / 5) + 0.1 * math.cos(i * i) for i in range(260)]


def _table(header: str, classes: tuple[str, ...], rows: int = 48) -> str:
    lines = (f"{math.sin(i):.4f},{math.cos(i * i):.4f},{classes[i % len(classes)]}\n" for i in range(rows))
    return header + "\n" + "".join(lines)


def _numbers(header: str, rows: int = 48) -> str:
    return header + "\n" + "".join(f"{math.sin(i):.4f},{math.cos(i * i):.4f},{math.sin(i) + i % 5:.4f}\n" for i in range(rows))


def _series(header: str) -> str:
    return header + "\n" + "".join(f"2020-01-{1 + i // 24:02d} {i % 24:02d}:00:00,{v:.4f}\n" for i, v in enumerate(WAVE))


FILES = {
    "good.csv": _table("a,b,y", ("yes", "no")),
    "gaps.csv": _table("a,b,y", ("yes", "no", "")),
    "other.csv": _table("b,extra,y", ("yes", "no")).replace("b,extra,y", "b,extra,a"),
    "words.csv": "a,b\nhello,1\n2,3\n",
    "stranger.csv": "a,b,y\n1,2,maybe\n",
    "unlabeled.csv": "a,b,y\n1,2,\n",
    "html.csv": _table("<script>alert(1)</script>,$x_1$ 100%,y", ("<b>yes", r"$\frac{no$")),
    "dollars.csv": _numbers(r"$\frac{,$$,$\bad{ y$"),
    "emoji.csv": _table("😀,{x},y", ("😀", "%d{}", "\t名")),
    "windows.csv": "\ufeff" + _table("a,b,y", ("yes", "no")).replace("\n", "\r\n"),
    "series.csv": _series("time,v"),
    "seconds.csv": "timestamp,v\n" + "".join(f"{15 * 10**8 + 60 * i},{v:.4f}\n" for i, v in enumerate(WAVE)),
    "text.txt": "The quick brown fox. " * 40,
    "prompt.txt": "The q",
    "sentences.tsv": "".join(f"a {'good' if i % 2 else 'bad'} film, no. {i}\t{'up' if i % 2 else 'down'}\n" for i in range(40)),
}  # fmt: skip
SMALL = {
    "good": "mlp --data good.csv --target y --set hidden=4",
    "lstm_series": "lstm --data series.csv --window 8 --horizon 3 --set hidden=4",
    "lstm_text": "lstm --data text.txt --window 8 --set hidden=4",
    "lstm_sentences": "lstm --data sentences.tsv --set hidden=4",
    "ae_series": "autoencoder --data series.csv --set code=2",
    "ae_table": "autoencoder --data good.csv --set code=1",
    "seen": "perceptron --data pictures",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder, with a blank in its name, of odd files and one small run of each kind."""
    folder = tmp_path_factory.mktemp("häßlich und leer")
    for name, content in FILES.items():
        (folder / name).write_bytes(content.encode())
    _pictures(folder / "pictures")
    here = Path.cwd()
    os.chdir(folder)
    for run, words in SMALL.items():
        assert main(["train", *words.split(), "--limit", "24", "--epochs", "1", "--out", run]) == 0
    yield folder
    os.chdir(here)


def _pictures(folder: Path) -> None:
    """Pictures of several sizes and of all kinds that PNG has."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for label in ("<i>cat", "$dog_"):
        (folder / label).mkdir(parents=True)
        for n, mode in enumerate(("RGB", "L", "P", "RGBA", "1", "LA")):
            pixels = image.fromarray(rng.integers(0, 255, (8 + n, 9, 3)).astype(np.uint8)).convert(mode)
            pixels.save(folder / label / f"{n}.png", **({"transparency": b"\x00\x80"} if mode == "P" else {}))


def _strict(text: str) -> Any:
    """JSON without NaN and infinity, one line of it."""
    assert len(text.strip().splitlines()) == 1

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    "words",
    [
        "mlp --data html.csv --target y",
        r"mlp --data dollars.csv --target $\bad{~y$",
        "mlp --data emoji.csv --target y",
        "mlp --data windows.csv --target y",
        "mlp --data gaps.csv --target y",
        "mlp --data good.csv --target y --limit 1",
        "mlp --data dollars.csv --target $$ --limit 1",
        "mlp --data good.csv --target y --batch-size 100000",
        "mlp --data pictures",
    ],
)
def test_odd_but_right_input_trains_without_a_warning(
    words: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [word.replace("~", " ") for word in words.split()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["train", *arguments, "--epochs", "1", "--out", str(tmp_path / "run"), "--json"]) == 0
    _strict(capsys.readouterr().out)
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        _strict(line)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "<b>yes" not in page


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("evaluate good --data good.csv", ""),
        ("evaluate good --data gaps.csv", "16 rows without a value"),
        ("predict good --data other.csv", "extra"),
        ("predict good --data words.csv", "hello"),
        ("evaluate lstm_series --data series.csv", ""),
        ("evaluate lstm_text --data text.txt", ""),
        ("evaluate lstm_sentences --data sentences.tsv", ""),
        ("predict lstm_sentences --data sentences.tsv", ""),
        ("predict lstm_text --data prompt.txt", ""),
        ("predict lstm_series --data series.csv", ""),
        ("evaluate ae_series --data series.csv", ""),
        ("evaluate ae_table --data good.csv", ""),
        ("predict ae_series --data series.csv", ""),
        ("evaluate seen --data pictures", ""),
        ("predict seen --data pictures", ""),
        ("evaluate lstm_text --split validation", ""),
    ],
)
def test_every_kind_of_run_is_measured_and_used_again(
    words: str, told: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words.split(), "--json"]) == 0
    out, err = capsys.readouterr()
    found = _strict(out)
    assert told in err
    assert found["metrics" if words.startswith("evaluate") else "predictions"]


WRONG = {
    "weights broken by the last step": ("train mlp --limit 8 --epochs 1 --set eps=0 --set dropout=1 --out eps", "finite loss"),
    "average above one": ("train mlp --set average=2", "between 0 and 1"),
    "setting that is a flag": ("train mlp --set batch_size=4", "--batch-size 4"),
    "run.json for a run": ("evaluate good/run.json", "Name the folder that contains it, good."),
    "resume with another seed": ("train --resume good --seed 3", "--seed"),
    "resume with a limit": ("train --resume good --limit 3", "--limit"),
    "resume with a budget": ("train --resume good --budget 5s", "--budget"),
    "window of a table": ("train mlp --data good.csv --target y --window 5", "--window"),
    "horizon of a text": ("train lstm --data text.txt --window 8 --horizon 3", "--horizon"),
    "data named by nothing": ("train mlp --data=", "Received nothing"),
    "predict on nothing": ("predict good --data=", "Received nothing"),
    "numbers for times": ("train lstm --data seconds.csv", "column of times"),
    "target of a reconstruction": ("train autoencoder --data good.csv --target y", "Leave out --target"),
    "split of another file": ("evaluate good --data good.csv --split train", "--split"),
    "class never seen": ("evaluate good --data stranger.csv", "maybe"),
    "no target in any row": ("evaluate good --data unlabeled.csv", "nnatomy predict"),
    "no target's column": ("evaluate good --data words.csv", "nnatomy predict"),
    "text shorter than a window": ("evaluate lstm_text --data prompt.txt", "9 tokens"),
    "sentences without labels": ("evaluate lstm_sentences --data prompt.txt", "label"),
    "picture without class": ("evaluate seen --data pictures/<i>cat", "sub-folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_sentence_and_code_2(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line, needed = WRONG[name]
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    told = [line for line in err.splitlines() if not line.startswith("Multi")]
    assert len(told) == 1
    assert told[0].startswith("nnatomy: ")
    assert needed in err


def test_runs_begun_at_the_same_moment_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len({Run.create("mlp").folder for _ in range(5)}) == 5


@pytest.mark.parametrize("words", [["list"], ["info", "mlp"], ["doctor"]])
def test_a_reader_that_stops_early_is_no_error(words: list[str], tmp_path: Path) -> None:
    command = f"{sys.executable} -W error -m nnatomy {' '.join(words)} | head -n 1; exit ${{PIPESTATUS[0]}}"
    bare = {k: v for k, v in os.environ.items() if k != "HOME"} | {"NNATOMY_DATA": "/nowhere"}
    found = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=bare, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("line", ["info mlp", "info mlp --json", "list", "doctor --json", "list >&-"])
def test_a_terminal_without_unicode_and_no_terminal_at_all(line: str, tmp_path: Path) -> None:
    command = f"PYTHONIOENCODING=ascii {sys.executable} -m nnatomy {line}"
    found = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.isascii()
    if "--json" in line:
        _strict(found.stdout)


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"epochs": "3"}, "a whole number for epochs"),
        ({"epochs": 1.5}, "a whole number for epochs"),
        ({"seed": None}, "a whole number for seed"),
        ({"limit": 2.5}, "a whole number for limit"),
        ({"lr": "fast"}, "a number for lr"),
        ({"budget": "soon"}, "90s, 5m or 1h"),
        ({"settings": ["hidden"]}, "a dictionary for settings"),
        ({"types": ["a=numeric"]}, "a dictionary for types"),
        ({"data": 5}, "arrays"),
        ({"out": 5}, "a path for out"),
        ({"model": None}, "a name, a path or a Module for model"),
        ({"epoch": 3}, "Received epoch"),
    ],
)
def test_train_in_python_names_the_wrong_option(options: dict[str, Any], needed: str) -> None:
    with pytest.raises(UserError, match=needed):
        nn.train(**({"model": "mlp", "data": "iris"} | options))


def test_train_in_python_takes_numpy_numbers_and_times(tmp_path: Path) -> None:
    found = nn.train(
        "mlp", "iris", epochs=np.int64(1), lr=np.float32(0.1), budget="5m", limit=9, out=tmp_path / "run", report=False
    )
    assert found.prepared.request.budget == 300
