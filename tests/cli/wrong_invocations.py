"""A generator of wrong command lines: right ones, with words dropped, repeated, replaced and added, from all flags.

    python tests/cli/wrong_invocations.py --count 5000 [--seed 0] [--first 0]

Each invocation runs in this process, in a folder of small files. It must end with code 0 and some output, or with code 2, one
sentence that has rule, received and remedy, and a folder that is as it was; within 20 s and 2 GB. Others are printed, and give
exit code 1. The work that takes minutes by design (worker processes, a server, measurements) is replaced: see `QUICK`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from nnatomy import backends, random
from nnatomy.benchmark import measure
from nnatomy.cli import main
from nnatomy.cli.main import app
from nnatomy.serving import service
from nnatomy.studies.comparison import compare
from nnatomy.studies.tuning import tune
from nnatomy.verification import compare as verification

SECONDS, BYTES = 20, 2 << 30
"""The most that one invocation may take."""
NUMBERS = (
    "0", "-1", "1", "2", "3", "2.5", "nan", "inf", "-inf", "1e308", "1e-400", "007", "1_0", "٣", "0x10", "", " ", "9" * 30,
    "9" * 5000, "1e5", "true", "None", "-0", "+1", "1,2", "64", "4294967296",
)  # fmt: skip
TEXTS = (
    "", " ", "x", "y", "é", "e\u0301", "x" * 300, "../..", "a=b", "=", "a=", "=b", "a=b=c", "*", "[", "**", "\x1b[31mred",
    "a\nb", "{}", "%s", "'", '"', "-", "--", "---", "-h", "😀", "\u202eabc", "null", "x,k", "http://[::1",
    "file:///etc/passwd", "$HOME", "~", "a b", "y=numeric", "x=date:%Q", "hidden=4", "hidden=-1", "lr=nan",
    "batch_norm=true", "hidden=1..2", "lr=1e-4..1e-2", "1:2", "0s",
)  # fmt: skip
PATHS = (
    "t.csv", "s.csv", "texts.tsv", "text.txt", "n.csv", "pictures", "run", "forecast", "recipe.json", "labels.json",
    "model.onnx", "empty", "empty.csv", "bytes.bin", "zip.npz", "a.npz", "broken", "absent", "absent/x", "t.csv/x", ".", "..",
    "/", "/dev/null", "/proc", "link.csv", "loop", "pipe", "latin.csv", "ol\udce9.csv", "new", "new.png",
    "new.csv", "new.onnx", "mine",
)  # fmt: skip
NAMES = ("mlp", "perceptron", "lstm", "autoencoder", "elm", "som", "iris", "digits", "wine", "zzz", "MLP", "karate")
FLAGS = {
    "--backend": ("numpy", "torch"), "--split": ("train", "validation"), "--to": ("onnx", "safetensors"),
    "--how": ("weights", "predictions", "grid"), "--what": ("saliency", "activations", "weights", "gradients"),
    "--budget": ("1s", "2m", "1h30", "-1s", "0"), "--precision": ("float64", "bfloat16", "float3"), "--shard": ("data", "full"),
    "--types": ("x=numeric", "k=categorical", "y=text", "z=numeric"), "--storage": ("sqlite:///x.db", "mysql://x", "x"),
    "--set": ("hidden=4", "hidden=0", "hidden=4,4", "dropout=2", "lr=0.1", "optimizer=SGD", "clip=1"),
    "--space": ("lr=1e-4..1e-2", "hidden=4|8", "hidden=8..4"), "--freeze": ("*", "linears.0*", "linears.0*=0", "nothing"),
    "--rates": ("*=0.1", "*=1e30", "linears.0*=-1"), "--host": ("127.0.0.1", "a" * 300, "999.1.1.1"), "--metric": ("auc", "x"),
}  # fmt: skip
"""Values that a flag may come near to taking; flags that are not here take those of their type."""
TINY = ("--epochs", "1", "--limit", "24", "--set", "hidden=4", "--offline")
BASES = {
    "list": ["list", "list --family recurrent --json"],
    "info": ["info mlp", "info lstm --json"],
    "train": ["train mlp --data t.csv --target y --out new", "train lstm --data s.csv --window 6 --horizon 2 --out new",
              "train perceptron --data pictures --json", "train autoencoder --data n.csv", "train mlp --resume run",
              "train mlp --recipe recipe.json --data t.csv --target y"],
    "evaluate": ["evaluate run", "evaluate run --data t.csv --json", "evaluate forecast --split validation"],
    "predict": ["predict run --data t.csv", "predict forecast --data s.csv --out new.csv", "predict model.onnx --data t.csv"],
    "sample": ["sample run", "sample forecast --count 3 --json"],
    "distill": ["distill mlp --teacher run --out new"],
    "average": ["average run run --out new", "average run run --how predictions"],
    "compare": ["compare mlp perceptron --data t.csv --target y --cv 2 --seeds 1 --no-curve --jobs 1"],
    "tune": ["tune mlp --data t.csv --target y --trials 2 --cv 0 --jobs 1"],
    "export": ["export run --out new.onnx", "export forecast --to safetensors", "export run --comparison absent"],
    "serve": ["serve run --port 0", "serve forecast --port 0 --allow here"],
    "verify": ["verify mlp", "verify mlp lstm --json"],
    "draw": ["draw run --out new.png", "draw run --what saliency"],
    "bench": ["bench --only lenet --quick", "bench --peers torch"],
    "doctor": ["doctor", "doctor --json"],
}  # fmt: skip
"""Right command lines of each command; a command that is not here starts from its name alone."""
SLOW = ("list", "info", "doctor")
"""Commands with few ways to be wrong: one in ten of the others."""


class Quick(BaseException):
    """All checks are passed, and what takes minutes would start."""


def quick(*arguments: Any, **options: Any) -> Any:
    raise Quick


QUICK: tuple[tuple[Any, str], ...] = (
    (compare, "_carry_on"), (tune, "_carry_on"), (measure, "bench"), (verification, "verify_architectures"),
    (service, "_serve"),
)  # fmt: skip
"""Functions that start workers, a server or long measurements, once everything is checked."""


def make_files(folder: Path) -> None:
    """Make small data, two runs, an exported model, a recipe, and files that are wrong in several ways."""
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.3f},{'abc'[i % 3]},{'yes' if i % 2 else 'no'}" for i in range(60)]
    numbers = [f"{a:.3f},{b:.3f}" for a, b in rng.normal(size=(60, 2))]
    series = [f"2020-01-{1 + i // 24:02d} {i % 24:02d}:00,{np.sin(i / 5):.3f}" for i in range(200)]
    texts = {
        "t.csv": "\n".join(["x,k,y", *rows]), "n.csv": "\n".join(["a,b", *numbers]), "s.csv": "\n".join(["time,v", *series]),
        "texts.tsv": "\n".join(f"a {'good' if i % 2 else 'bad'} film {i}\t{'up' if i % 2 else 'down'}" for i in range(40)),
        "text.txt": "the quick brown fox " * 40, "empty.csv": "", "labels.json": '{"s.csv": [["2020-01-02", "2020-01-03"]]}',
        "recipe.json": json.dumps({"architecture": "mlp", "settings": {"hidden": "4", "lr": "0.01"}}),
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text + "\n" * bool(text), encoding="utf-8")
    (folder / "latin.csv").write_bytes("näme,y\nä,1\nö,2\n".encode("latin-1"))
    (folder / "bytes.bin").write_bytes(bytes(range(256)) * 8)
    np.savez(folder / "a.npz", X=rng.normal(size=(40, 3)), y=np.arange(40) % 2)
    with zipfile.ZipFile(folder / "zip.npz", "w") as archive:
        archive.writestr("x.npy", b"no array")
    (folder / "empty").mkdir()
    for label in ("a", "b"):
        (folder / "pictures" / label).mkdir(parents=True)
        for n in range(8):
            pixels = " ".join(map(str, rng.integers(0, 255, 36)))
            (folder / "pictures" / label / f"{n}.pgm").write_text(f"P2\n6 6\n255\n{pixels}\n")
    os.symlink("gone.csv", folder / "link.csv")
    os.symlink("loop", folder / "loop")
    os.mkfifo(folder / "pipe")
    (folder / "mine").mkdir()
    (folder / "mine" / "model.py").write_text("broken =\n")
    (folder / "mine" / "recipe.py").write_text("from .model import Net\n")
    with inside(folder):
        table, series, *_ = (line.removesuffix(" new").split() for line in BASES["train"])
        for line in ([*table, "run", *TINY], [*series, "forecast", *TINY], ["export", "run", "--out", "model.onnx"]):
            found = invoke(line)
            assert found.code == 0, found
        shutil.copytree("run", "broken")
        Path("broken/run.json").write_text("{")


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


class Generator:
    """Draws command lines; the same seed gives the same."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        group: Any = typer.main.get_command(app)
        self.options = {
            name: [p for p in command.params if p.param_type_name == "option"] for name, command in group.commands.items()
        }
        self.often = [name for name in self.options for _ in range(1 if name in SLOW else 10)]

    def pick(self, values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def value(self, option: Any) -> str:
        """Return a value for an option: one of those near to right ones, of its type, or any."""
        flag = option.opts[0]
        kind = str(getattr(option, "type_descriptor", None) or getattr(option, "type", "")).lower()  # of Typer, or of Click
        of_type = PATHS if "path" in kind or flag == "--data" else NUMBERS if "int" in kind or "float" in kind else TEXTS
        own = FLAGS.get(flag) or of_type
        return str(self.pick(own if self.rng.random() < 0.7 else self.pick((NUMBERS, TEXTS, PATHS, NAMES))))

    def flag(self, command: str) -> list[str]:
        """Return a flag of a command, with a value where it takes one."""
        option = self.pick(self.options[command])
        flag = self.pick([*option.opts, *option.secondary_opts])
        return [flag] if option.is_flag else self.pick(([flag, self.value(option)], [f"{flag}={self.value(option)}"]))

    def draw(self) -> list[str]:
        """Return one command line."""
        command = self.pick(self.often)
        words = self.pick(BASES.get(command, [command])).split()
        if command in ("train", "distill") and "--resume" not in words:
            words += TINY
        for _ in range(int(self.rng.integers(0, 4))):
            at = int(self.rng.integers(1, len(words) + 1)) if len(words) else 0
            how = self.rng.random()
            if how < 0.45 and self.options[command]:
                words += self.flag(command)
            elif how < 0.75 and at < len(words) and not words[at].startswith("--"):
                words[at] = str(self.pick(self.pick((NUMBERS, TEXTS, PATHS, PATHS, NAMES))))
            elif how < 0.85 and at < len(words):
                del words[at]
            elif how < 0.92 and at < len(words):
                words.insert(at, words[at])
            elif how < 0.97:
                words.insert(at, str(self.pick(self.pick((NUMBERS, TEXTS, PATHS, NAMES)))))
            else:
                words[0] = self.pick([*self.options, "trian", ""])
        return words


@dataclass(frozen=True)
class Found:
    """What an invocation did."""

    words: list[str]
    code: int
    out: str
    err: str
    seconds: float
    quick: bool = False

    @property
    def fault(self) -> str:
        """What is wrong with it, or ""."""
        said = self.err.strip().splitlines()[-1] if self.err.strip() else ""
        if "Traceback" in self.err or "error of ours" in self.err or self.code not in (0, 1, 2):
            return f"exit code {self.code}: {self.err.strip()[-400:]}"
        if self.code == 1 and self.words[0] not in ("verify", "bench", "doctor"):
            return f"exit code 1: {said}"
        if self.seconds > SECONDS:
            return f"took {self.seconds:.0f} s"
        if re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", self.err):
            return f"control characters: {said!r}"
        if self.code == 0:
            return "" if self.out or self.err or self.quick else "says nothing"
        if self.code == 2 and not (said.startswith("nnatomy: ") and "Received" in said and said.rstrip('.').count(". ") >= 2):
            return f"no rule, received, remedy: {said}"
        return f"a sentence of {len(said)} characters" if len(said) > 4100 else ""


def invoke(words: list[str]) -> Found:
    """Run a command line in this process, for at most SECONDS."""

    def stop(number: int, frame: Any) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    out, err, started, done = io.StringIO(), io.StringIO(), time.monotonic(), False
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS + 1)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    except Quick:
        code, done = 0, True
    except BaseException as problem:
        code = -1
        err.write(f"Traceback: {type(problem).__name__}: {problem}")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        backends.use("numpy")
        random.seed(0)
    return Found(words, code, out.getvalue(), err.getvalue(), time.monotonic() - started, done)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size and the time of every file of a folder, by path."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            state = os.lstat(os.path.join(place, name))
            found[os.path.join(place, name)] = (state.st_size, state.st_mtime_ns) if name in files else (0, 0)
    return found


def run(
    count: int, seed: int, first: int = 0, report: Callable[[str], None] = print
) -> tuple[list[tuple[Found, str]], Counter[str]]:
    """Draw and judge command lines; return the faults, and how many ended how.

    Args:
        count: command lines
        seed: decides them
        first: so many are drawn and left out before
        report: is told of each fault
    """
    faults: list[tuple[Found, str]] = []
    ends: Counter[str] = Counter()
    kept = [(module, name, getattr(module, name)) for module, name in QUICK if hasattr(module, name)]
    with tempfile.TemporaryDirectory(prefix="wrong") as place:
        pristine, work = Path(place) / "pristine", Path(place) / "work"
        pristine.mkdir()
        make_files(pristine)
        fresh(pristine, work)
        for module, name, _ in kept:
            setattr(module, name, quick)
        generator = Generator(seed)
        lines = [generator.draw() for _ in range(first + count)][first:]
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # by what this process did before: a peak stays
        try:
            before = snapshot(work)
            for number, words in enumerate(lines, first):
                with inside(work):
                    found = invoke(words)
                after, fault = snapshot(work), found.fault
                if found.code == 2 and after != before and not fault:
                    left = [path for path in after if after[path] != before.get(path)] or [p for p in before if p not in after]
                    fault = f"left behind: {', '.join(left)[:300]}"
                if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > max(BYTES, taken + BYTES // 2) and not fault:
                    fault = "the process took more than 2 GB"
                if after != before:
                    fresh(pristine, work)
                    before = snapshot(work)
                ends["fault" if fault else {0: "accepted", 2: "refused"}.get(found.code, "unhealthy")] += 1
                if fault:
                    faults.append((found, fault))
                    report(f"{number}: {' '.join(map(repr, words))[:300]}\n    {fault}")
        finally:
            for module, name, function in kept:
                setattr(module, name, function)
    return faults, ends


def fresh(pristine: Path, work: Path) -> None:
    """Make the folder as it was."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for path in pristine.iterdir():
        if path.is_symlink():
            os.symlink(os.readlink(path), work / path.name)
        elif path.is_dir():
            shutil.copytree(path, work / path.name)
        elif path.is_fifo():
            os.mkfifo(work / path.name)
        else:
            shutil.copy2(path, work / path.name)


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    os.environ.pop("NNATOMY_DATA", None)
    parser = argparse.ArgumentParser(description="Draw wrong command lines, and judge how each is answered.")
    for option, default in (("--count", 300), ("--seed", 0), ("--first", 0)):
        parser.add_argument(option, type=int, default=default)
    given = parser.parse_args()
    started = time.monotonic()
    wrong, how = run(given.count, given.seed, given.first)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{given.count} command lines in {time.monotonic() - started:.0f} s, {peak} MiB: {dict(how)}")
    sys.exit(1 if wrong else 0)
