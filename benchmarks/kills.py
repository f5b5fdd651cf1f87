"""Kills commands at random moments, continues them, and compares what they made with what undisturbed commands made.

    python benchmarks/kills.py --count 100                 # SIGKILL, SIGINT and SIGTERM, all six commands
    python benchmarks/kills.py --count 5 --only tune --seed 3

Weights are compared bit for bit, results without their times. A signal may come before the folder is made: then the command
is given again. What is left over, a process or a file that the undisturbed command did not make, is a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnatomy.runs.folder import load_arrays

ENVIRONMENT = os.environ | {"NNATOMY_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
IRIS = ("--data", "iris", "--no-baselines")
ALONE = ("--jobs", "1", "--out")
TIMES = {"folder", "run", "recipe", "report", "command", "environment", "time", "out", "created", "host", "pid", "lost"}
"""Values that differ from run to run."""


@dataclass(frozen=True)
class Command:
    """A command that writes `out`, and how it goes on from there."""

    words: tuple[str, ...]
    resume: tuple[str, ...] = ()
    """Before the folder's name; empty: the command is given again."""


COMMANDS = {
    "train": Command(("train", "mlp", *IRIS, "--epochs", "200", "--set", "patience=none", "--out"), ("train", "--resume")),
    "distill": Command(("distill", "mlp", "--teacher", "one", "--epochs", "200", "--out"), ("train", "--resume")),
    "compare": Command(
        ("compare", "perceptron", "mlp", "--data", "iris", "--cv", "2", "--seeds", "1", "--epochs", "5", *ALONE),
        ("compare", "--resume"),
    ),
    "tune": Command(
        ("tune", "mlp", "--data", "iris", "--trials", "3", "--cv", "0", "--epochs", "10", "--how", "random", *ALONE),
        ("tune", "--resume"),
    ),
    "average": Command(("average", "one", "two", "--how", "predictions", "--out")),
    "export": Command(("export", "one", "--to", "onnx", "--out")),
}


def start(words: tuple[str, ...], where: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nnatomy", *words], cwd=where, env=ENVIRONMENT, text=True, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(words: tuple[str, ...], where: Path) -> str:
    """Return why a command failed; nothing where it did not."""
    process = start(words, where)
    _, errors = process.communicate(timeout=600)
    return "" if process.returncode == 0 else f"{' '.join(words)} ended with {process.returncode}: {errors[-300:]}"


def timeless(value: Any) -> Any:
    """Plain values without times and places."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in TIMES and not key.endswith("seconds")}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def content(path: Path) -> Any:
    """What two runs of one command must agree on."""
    if path.suffix == ".safetensors":
        return {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in load_arrays(path)[0].items()}
    if path.suffix == ".onnx":
        return path.read_bytes()
    if path.name in ("result.json", "comparison.json", "metrics.jsonl"):
        values = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        return [timeless(json.loads(value)) for value in values]
    return None


def files(made: Path) -> dict[str, Path]:
    """The files by their names below a folder."""
    return {str(path.relative_to(made)): path for path in sorted(made.rglob("*")) if path.is_file()}


def difference(killed: Path, calm: Path) -> str:
    """Return the first difference of what two commands made; nothing where there is none."""
    ours, theirs = files(killed), files(calm)
    if ours.keys() != theirs.keys():
        return f"files differ: {sorted(ours.keys() ^ theirs.keys())}"
    return next((f"{name} differs" for name in ours if content(ours[name]) != content(theirs[name])), "")


def group_of(leader: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def attempt(name: str, sent: signal.Signals, moment: float, where: Path, number: int) -> str:
    """Kill a command after `moment` seconds, continue it, and return what is wrong."""
    command, made, calm = COMMANDS[name], where / f"{name}{number}", where / f"{name}-calm"
    words = (*command.words, out(name, made.name))
    process = start(words, where)
    time.sleep(moment)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    if "Traceback" in errors:
        return f"a traceback: {errors[-300:]}"
    if sent != signal.SIGKILL and process.returncode not in (0, 130):
        return f"exit code {process.returncode}: {errors[-200:]}"
    for _ in range(50):  # workers notice that their parent is gone
        if not (left := group_of(process.pid)):
            break
        time.sleep(0.1)
    else:
        for each in left:
            os.kill(each, signal.SIGKILL)
        return f"processes are left: {left}"
    if process.returncode == 0 or (made.exists() and not difference(made, calm)):
        return difference(made, calm)
    return finish((*command.resume, made.name) if made.exists() and command.resume else words, where) or difference(made, calm)


def out(name: str, made: str) -> str:
    """The value of --out: a folder, or the file in it that an export writes."""
    return f"{made}/model.onnx" if name == "export" else made


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="how many kills")
    parser.add_argument("--seed", type=int, default=0, help="decides commands, signals and moments")
    parser.add_argument("--only", choices=COMMANDS, help="this command alone")
    given = parser.parse_args(words)
    chance, failures = random.Random(given.seed), []
    done: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        for seed, run in ((1, "one"), (2, "two")):
            words_of = ("train", "mlp", *IRIS, "--epochs", "5", "--seed", str(seed), "--split-seed", "0", "--out", run)
            if problem := finish(words_of, where):
                print(problem)
                return 2
        names = [given.only] if given.only else list(COMMANDS)
        lasts: dict[str, float] = {}
        for name in names:
            began = time.perf_counter()
            if problem := finish((*COMMANDS[name].words, out(name, f"{name}-calm")), where):
                print(problem)
                return 2
            lasts[name] = time.perf_counter() - began
            print(f"{name}: {lasts[name]:.1f} s undisturbed", flush=True)
        for number in range(given.count):
            name, sent = names[number % len(names)], chance.choice(SIGNALS)
            moment = chance.uniform(0.3, lasts[name])
            problem = attempt(name, sent, moment, where, number)
            done[f"{name} {sent.name}"] += 1
            if problem:
                failures.append(f"{name}, {sent.name} after {moment:.2f} s: {problem}")
                print(failures[-1], flush=True)
    print(f"{given.count} kills, {len(failures)} failures: " + ", ".join(f"{k} {n}" for k, n in sorted(done.items())))
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
