"""A run that is killed and continued ends with the weights of a run that was never disturbed, bit for bit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nnatomy.runs.folder import load_arrays

SETTINGS = ("dropout=0.2", "hidden=48,32", "plateau=1", "patience=none")
OPTIONS = ["mlp", "--epochs", "60", "--seed", "3", "--batch-size", "16", *(w for s in SETTINGS for w in ("--set", s))]


def _start(words: list[str], cwd: Path, every: float = 0.05) -> subprocess.Popen[str]:
    """A training process that writes a checkpoint every 50 ms, so that kills fall in and around writing."""
    code = (
        "import sys; from nnatomy.runs import checkpoints\n"
        f"checkpoints.Checkpoints.__init__.__defaults__ = ({every},)\n"
        "from nnatomy.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "train", *words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _finish(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def _first_sign(process: subprocess.Popen[str], folder: Path) -> bool:
    """Wait until the run's folder has a log, or the process has ended."""
    while process.poll() is None and not (folder / "metrics.jsonl").exists():
        time.sleep(0.01)
    return process.poll() is None


def _fresh_checkpoint(process: subprocess.Popen[str], path: Path) -> None:
    """Wait until the process has written its checkpoint again, however long its start takes on a busy machine."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    while process.poll() is None and not (path.exists() and path.stat().st_mtime_ns > before):
        time.sleep(0.002)


def test_sigkill_at_ten_random_moments_changes_no_bit(tmp_path: Path) -> None:
    _finish(_start([*OPTIONS, "--out", "calm"], tmp_path))
    chance = random.Random(7)
    reached = set()
    last = tmp_path / "killed" / "last.safetensors"
    words = [*OPTIONS, "--out", "killed"]
    for kill in range(10):
        process = _start(words, tmp_path)
        if kill in (0, 4, 8):  # somewhere in the start, at times before there is a run
            time.sleep(chance.uniform(0, 1))
        else:  # somewhere between two checkpoints, at times while one is being written
            _fresh_checkpoint(process, last)
            time.sleep(chance.uniform(0, 0.08))
        assert process.poll() is None, "the run ended before its tenth kill: make it longer"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (tmp_path / "killed" / "run.json").exists():
            words = ["--resume", "killed"]
        if last.exists():
            reached.add(load_arrays(last)[1]["position"]["step"])
    assert len(reached) >= 5, "the kills all fell into the same moment"
    _finish(_start(words, tmp_path))
    for name in ("last.safetensors", "best.safetensors"):
        ours, _ = load_arrays(tmp_path / "killed" / name)
        theirs, _ = load_arrays(tmp_path / "calm" / name)
        assert ours.keys() == theirs.keys()
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key], err_msg=f"{name}: {key}")
    scores = [json.loads((tmp_path / run / "result.json").read_text())["metrics"] for run in ("killed", "calm")]
    assert scores[0] == scores[1]
    lines = [
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()] for run in ("killed", "calm")
    ]
    assert [{**a, "seconds": 0} for a in lines[0]] == [{**b, "seconds": 0} for b in lines[1]]


def test_ctrl_c_saves_and_says_how_to_continue(tmp_path: Path) -> None:
    process = _start(["mlp", "--epochs", "500", "--out", "run"], tmp_path, every=60.0)
    assert _first_sign(process, tmp_path / "run")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nnatomy train --resume run" in err
    assert (tmp_path / "run" / "last.safetensors").exists()


def test_a_finished_run_resumes_to_the_same_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nnatomy as nn

    monkeypatch.chdir(tmp_path)
    first = nn.train("mlp", "iris", epochs=3, out="run")
    again = nn.resume("run")
    assert first.metrics == again.metrics
    assert again.epochs == 3


def test_changed_data_are_refused(tmp_path: Path) -> None:
    import nnatomy as nn
    from nnatomy.errors import UserError

    path = tmp_path / "t.csv"
    path.write_text("a,b,y\n" + "".join(f"{i % 7},{i % 5},{'yes' if i % 2 else 'no'}\n" for i in range(80)))
    nn.train("mlp", path, target="y", epochs=1, out=tmp_path / "run")
    path.write_text(path.read_text().replace("6,", "60,"))
    with pytest.raises(UserError, match="changed"):
        nn.resume(tmp_path / "run")
