"""Commands that are killed at some moment and continued end with the results of undisturbed ones, and leave nothing else."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nnatomy.runs.folder import load_arrays

pytestmark = [pytest.mark.slow, pytest.mark.any_kernels]
FAST = os.environ | {"NNATOMY_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
TUNE = ("tune", "mlp", "--data", "iris", "--trials", "4", "--cv", "0", "--epochs", "20", "--jobs", "1")


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nnatomy", *words]
    return subprocess.Popen(command, cwd=cwd, env=FAST, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(*words: str, cwd: Path) -> None:
    process = start(*words, cwd=cwd)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def trials(folder: Path) -> list[tuple[Any, ...]]:
    optuna = pytest.importorskip("optuna", reason="the tune extra is not installed")
    study = optuna.load_study(study_name=f"{folder.name}-whole", storage=f"sqlite:///{folder / 'trials.db'}")
    return [(t.user_attrs["settings"], t.value) for t in study.get_trials() if t.state.name != "FAIL"]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("optuna", reason="the tune extra is not installed")
    folder = tmp_path_factory.mktemp("calm")
    finished(*TUNE, "--how", "random", "--out", "calm", cwd=folder)
    return folder / "calm"


@pytest.mark.parametrize("line,number", [("trial 2 of", signal.SIGKILL), ("", signal.SIGINT), ("trial 1 of", signal.SIGTERM)])
def test_a_killed_tuning_continues_as_if_undisturbed(calm: Path, tmp_path: Path, line: str, number: int) -> None:
    """All trials and settings are the same, the first with the recipe's own settings, and none is counted as lost."""
    process = start(*TUNE, "--how", "random", "--out", "killed", cwd=tmp_path)
    assert process.stderr is not None
    while line and line not in process.stderr.readline():
        pass
    while not (tmp_path / "killed" / "trials.db").exists():
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(number)
    process.communicate()
    finished("tune", "--resume", "killed", "--jobs", "1", cwd=tmp_path)
    assert trials(tmp_path / "killed") == trials(calm)
    found, wanted = (json.loads((folder / "result.json").read_text()) for folder in (tmp_path / "killed", calm))
    assert all(found[key] == wanted[key] for key in ("best", "best_validation", "trials", "own"))


TRAIN = ("train", "mlp", "--data", "iris", "--epochs", "300", "--set", "patience=none", "--out")


def test_a_run_that_gets_any_signal_continues_exactly(tmp_path: Path) -> None:
    """Three signals at moments that a seed chooses, then the end: the weights are the same bit for bit, and no file is left."""
    finished(*TRAIN, "calm", cwd=tmp_path)
    chance, words = random.Random(3), [*TRAIN, "killed"]
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        process = start(*words, cwd=tmp_path)
        while process.poll() is None and not (tmp_path / "killed").exists():
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.4))
        process.send_signal(number)
        _, errors = process.communicate()
        if number != signal.SIGKILL and process.returncode:
            assert process.returncode == 130
            assert "Traceback" not in errors
        if (tmp_path / "killed" / "run.json").exists():
            words = ["train", "--resume", "killed"]
    finished(*words, cwd=tmp_path)
    for name in ("last", "best"):
        ours, theirs = (load_arrays(tmp_path / run / f"{name}.safetensors")[0] for run in ("killed", "calm"))
        assert {key: a.tobytes() for key, a in ours.items()} == {key: a.tobytes() for key, a in theirs.items()}
    files = [sorted(path.name for path in (tmp_path / run).iterdir()) for run in ("killed", "calm")]
    assert files[0] == files[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_imports_is_one_line(tmp_path: Path, number: int) -> None:
    process = start("train", "mlp", "--epochs", "3", "--out", "run", cwd=tmp_path)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate()
    assert errors == "nnatomy: interrupted.\n"
    assert process.returncode == 130
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "code",
    [
        "exec('os.kill(os.getpid(), signal.SIGINT)\\nfor _ in range(99): pass')",
        "try: os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)\nexcept KeyboardInterrupt: raise ImportError from None",
    ],
    ids=["executed text", "an import"],
)  # fmt: skip
def test_a_signal_that_a_library_sees_first_is_one_line(tmp_path: Path, code: str) -> None:
    """Python remembers an interrupt of executed text, and a module that is interrupted while it starts raises ImportError."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "model.py").write_text(f"import os, signal, time\n{code}\n")
    (tmp_path / "net" / "recipe.py").write_text("from .model import net\n")
    process = start("verify", "./net", cwd=tmp_path)
    _, errors = process.communicate()
    assert (errors, process.returncode) == ("Verifying net ...\nnnatomy: interrupted.\n", 130)


def test_a_polite_kill_of_another_program_saves_the_run_and_ends_the_program(tmp_path: Path) -> None:
    """A program that trains, such as a test, is not told that its training was interrupted by Ctrl-C, and goes on."""
    code = "import nnatomy as nn; nn.train('mlp', 'iris', epochs=10**6, settings={'patience': 'none'}, out='run'); print('on')"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=FAST, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "metrics.jsonl").exists():
        time.sleep(0.01)
    process.terminate()
    told, _ = process.communicate()
    assert (process.returncode, told) == (-signal.SIGTERM, "")
    assert (tmp_path / "run" / "last.safetensors").exists()
