"""Items 12, 15, 16, 18 to 26 and 44 to 47: scores beside yardsticks, interrupted work, foreign input, reports and pictures."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from items import Item, run

import nnatomy as nn

NNATOMY = [sys.executable, "-m", "nnatomy"]
QUIET = os.environ | {"NNATOMY_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def table(folder: Path, rows: int = 60) -> None:
    text = "".join(f"{np.sin(i):.3f},{np.cos(i * i):.3f},{'yes' if np.sin(i) > 0 else 'no'}\n" for i in range(rows))
    (folder / "t.csv").write_text("a,b,y\n" + text)


def trained(folder: Path, more: str = "--target y") -> str:
    table(folder)
    return run(folder, f"train mlp --data t.csv --epochs 2 --out run {more}")


def after_training(line: str) -> Callable[[Path], str]:
    def act(folder: Path) -> str:
        trained(folder)
        return run(folder, line)

    return act


def started(folder: Path, line: str) -> subprocess.Popen[str]:
    """A command line that runs in a process of its own."""
    return subprocess.Popen(
        [*NNATOMY, *line.split()], cwd=folder, env=QUIET, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ended(folder: Path, line: str, seconds: float = 60) -> str:
    """A command line in a process of its own: its exit code and what it said."""
    found = subprocess.run([*NNATOMY, *line.split()], cwd=folder, env=QUIET, capture_output=True, text=True, timeout=seconds)
    assert "Warning" not in found.stderr, found.stderr
    return f"exit {found.returncode}\n{found.stdout}{found.stderr}"


def sampled(folder: Path) -> int:
    """The different finished trials of a random search of four that was killed in the third."""
    search = started(folder, "tune mlp --data iris --trials 4 --how random --jobs 1 --cv 0 --epochs 20 --out s")
    assert search.stdout is not None
    while "trial 2 of" not in search.stdout.readline():
        assert search.poll() is None
    search.kill()
    search.communicate()
    ended(folder, "tune --resume s")
    import optuna

    storage = f"sqlite:///{folder}/s/trials.db"
    trials = optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage).get_trials()
    return len({json.dumps(trial.params, sort_keys=True) for trial in trials if trial.state.name == "COMPLETE"})


def two_at_once(folder: Path) -> str:
    first = started(folder, "train mlp --data iris --epochs 100000 --set patience=none --out run")
    while first.poll() is None and not (folder / "run" / "metrics.jsonl").exists():
        time.sleep(0.05)
    try:
        return ended(folder, "train --resume run", seconds=20)
    except subprocess.TimeoutExpired:
        return "both go on"
    finally:
        first.kill()
        first.communicate()


def refused(folder: Path) -> bool:
    table(folder)
    run(folder, "train mlp --data t.csv --target y --set lr=nan --out run")
    return (folder / "run").exists()


def one_row_left(folder: Path) -> str:
    table(folder, 101)  # 65 rows of them train, in batches of 64
    return run(folder, "train mlp --data t.csv --target y --epochs 1 --batch-size 64 --set batch_norm=true --out run")


def interrupted(folder: Path) -> str:
    process = started(folder, "train mlp")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    return f"{process.communicate()[0]}exit {process.returncode}"


def other_types(folder: Path) -> str:
    """The values that end a command otherwise than with a result or one sentence, if they are of another type."""
    trained(folder)
    path = folder / "run" / "run.json"
    whole = json.loads(path.read_text())
    wrongly = ""
    for key in whole["request"]:
        for wrong in (2.5, "x", [1]):
            path.write_text(json.dumps({**whole, "request": {**whole["request"], key: wrong}}))
            said = run(folder, "evaluate run")
            if not said.startswith(("exit 0", "exit 2")):
                wrongly += f"{key}: {said}"
    return wrongly


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "t.csv")
    try:
        return ended(folder, "train mlp --data t.csv --target y", seconds=20)
    except subprocess.TimeoutExpired:
        return "waits for ever"


def little_memory(folder: Path) -> str:
    limit = f"ulimit -v 400000; exec {sys.executable} -m nnatomy train mlp --data iris --epochs 1 --out run"
    try:
        found = subprocess.run(["bash", "-c", limit], cwd=folder, env=QUIET, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "waits for ever"
    return f"exit {found.returncode}"


def another_host(folder: Path) -> str:
    trained(folder)
    served = started(folder, "serve run --port 0")
    try:
        return asked(served, "GET /health HTTP/1.1\r\nHost: evil.com@127.0.0.1\r\nConnection: close\r\n\r\n")
    finally:
        served.kill()
        served.communicate()


def asked(served: subprocess.Popen[str], request: str) -> str:
    assert served.stdout is not None
    said = ""
    while (found := re.search(r"http://127\.0\.0\.1:(\d+)", said)) is None:
        line = served.stdout.readline()
        assert line, said
        said += line
    with socket.create_connection(("127.0.0.1", int(found[1])), timeout=20) as connection:
        connection.sendall(request.encode())
        return connection.recv(1000).decode()


class Twice(nn.Module):
    """One activation that is called twice, around another layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.act(self.second(self.act(self.first(x))))


def called_twice(folder: Path) -> list[tuple[int, ...]]:
    found = nn.inspect.activations(Twice(), np.ones((5, 3), np.float32))
    return [np.shape(value) for name, value in found.items() if name.startswith("act")]


def report(folder: Path) -> str:
    trained(folder)
    return (folder / "run" / "report.html").read_text()


def length_of_a_result(folder: Path) -> bool:
    result = nn.train("mlp", "iris", epochs=1, out=folder / "run")
    return len(repr(result)) < 500 and hasattr(result, "_repr_html_")


ITEMS = [
    Item(12, "a score beside one without a network", trained, "logistic regression"),
    Item(15, "trials of a continued search", sampled, 4),
    Item(16, "two processes for one run", two_at_once, "exit 2"),
    Item(18, "the folder of a refused run", refused, False),
    Item(19, "batch normalization and a last batch of one row", one_row_left, "exit 0"),
    Item(20, "an interrupt while modules are imported", interrupted, "nnatomy: interrupted.\nexit 130"),
    Item(21, "values of other types in a run's files", lambda folder: len(other_types(folder)), 0),
    Item(22, "an export into a folder", after_training("export run --to safetensors --out ."), "exit 2"),
    Item(22, "thirty zeros", after_training(f"train mlp --data t.csv --target y --set hidden=1{'0' * 30}"), "exit 2"),
    Item(23, "a pipe as data", pipe, "exit 2"),
    Item(24, "the parser's own errors", after_training("train mlp --epochs many"), "Received 'many'"),
    Item(25, "a host that is not this service", another_host, " 403"),
    Item(26, "400 MB of memory", little_memory, "exit 2"),
    Item(44, "a layer that is called twice", called_twice, [(5, 4), (5, 2)]),
    Item(45, "a report in the dark", report, "prefers-color-scheme: dark"),
    Item(46, "a result in a console and a notebook", length_of_a_result, True),
    Item(47, "a rate is searched", lambda _: callable(nn.find_learning_rate), True),
]
