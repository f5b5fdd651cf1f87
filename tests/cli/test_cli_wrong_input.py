"""Wrong input of every kind: each gives one clear sentence and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnatomy.cli import main

GOOD = "a,b,y\n" + "".join(
    f"{i * 0.37 % 5:.3f},{i * 0.71 % 3:.3f},{'yes' if (i * 0.37) % 5 > 2.5 else 'no'}\n" for i in range(60)
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with files that are wrong in all the ways below, and one small trained run."""
    folder = tmp_path_factory.mktemp("wrong")
    files: dict[str, str | bytes] = {
        "good.csv": GOOD,
        "empty.csv": "",
        "header.csv": "a,b,y\n",
        "one_column.csv": "y\n" + "yes\nno\n" * 20,
        "all_nan.csv": "a,y\n" + "NaN,yes\nNaN,no\n" * 20,
        "nan_target.csv": "a,b,y\n" + "".join(f"{i},{i},\n" for i in range(20)),
        "one_class.csv": "a,b,y\n" + "".join(f"{i},{i * i},yes\n" for i in range(40)),
        "lone_class.csv": "a,b,y\n" + "".join(f"{i},{i * i % 7},{'no' if i == 3 else 'yes'}\n" for i in range(40)),
        "latin.csv": "näme,y\nä,1\n".encode("latin-1"),
        "binary.csv": bytes(range(256)) * 4,
        "ragged.csv": "a,b,y\n1,2,yes\n1,2\n1,2,3,4\n",
        "twice.csv": "a,a,y\n1,2,yes\n2,1,no\n" * 1,
        "few.csv": "a,b,y\n1,2,yes\n2,1,no\n",
        "short.txt": "hi",
        "blank.txt": "",
        "picture.png": b"\x89PNG\r\n\x1a\n broken",
        "sheet.xlsx": b"PK\x03\x04",
        "labels.json": "{not json",
        "short_series.csv": "time,v\n2020-01-01,1\n2020-01-02,2\n2020-01-03,4\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "nothing").mkdir()
    for name in ("cut_idx", "no_idx"):
        (folder / name).mkdir()
        for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            (folder / name / f"{part}-ubyte").write_bytes(
                b"\x00\x00\x08\x03\x00\x00" if name == "cut_idx" else b"not idx at all"
            )
    for kind in ("pictures/cat", "broken/cat", "broken/dog"):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    here = Path.cwd()
    os.chdir(folder)
    assert main(["train", "mlp", "--data", "good.csv", "--target", "y", "--epochs", "2", "--out", "run"]) == 0
    for name, file in (("cut_run", "best.safetensors"), ("odd_run", "run.json"), ("lost_run", "best.safetensors")):
        shutil.copytree("run", name)
        path = Path(name) / file
        path.write_bytes(path.read_bytes()[:40])
    for file in ("best.safetensors", "last.safetensors"):
        (Path("lost_run") / file).unlink()
    shutil.copytree("run", "list_run")
    Path("list_run/run.json").write_text("[]")
    yield folder
    os.chdir(here)


TABLE = "train mlp --target y --data "
CASES = {
    # the command line itself
    "unknown command": ("trian lenet5", "train"),
    "unknown architecture": ("train lenet", "lenet5"),
    "architecture far from any": ("train zzz", "architecture"),
    "no architecture": ("train", "name of an architecture"),
    "unknown flag": ("train mlp --epoch 3", "--epochs"),
    "word for a number": ("train mlp --epochs many", "--epochs"),
    "unknown backend": ("train mlp --backend nunpy", "numpy"),
    "unknown precision": ("train mlp --precision bfloat61", "bfloat16"),
    "half precision on numpy": ("train mlp --precision bfloat16", "--backend jax"),
    "no parts": ("train mlp --accumulate 0", "from 1 to 64"),
    "more parts than examples": ("train mlp --accumulate 65", "from 1 to 64"),
    "precision as a setting": ("train mlp --set precision=float64", "--precision float64"),
    "state split on one device": ("train mlp --shard full", "--devices"),
    "recipe that is no JSON": ("train mlp --recipe labels.json", "nnatomy tune wrote"),
    "space without a range": ("tune mlp --space lr", "lr=1e-4..1e-1"),
    "info of no architecture": ("info perzeptron", "perceptron"),
    "verify of no architecture": ("verify lstmm", "lstm"),
    "unknown family": ("list --family recurent", "recurrent"),
    # numbers out of range
    "negative learning rate": ("train mlp --lr -0.1", "positive"),
    "learning rate of zero": ("train mlp --lr 0", "positive"),
    "learning rate that is no number": ("train mlp --lr nan", "positive"),
    "no epochs": ("train mlp --epochs 0", "at least 1"),
    "negative batch": ("train mlp --batch-size -4", "at least 1"),
    "negative seed": ("train mlp --seed -1", "at least 0"),
    "budget in words": ("train mlp --budget soon", "90s"),
    "budget of nothing": ("train mlp --budget 0s", "positive"),
    "limit of nothing": ("train mlp --limit 0", "at least 1"),
    # settings
    "setting without value": ("train mlp --set hidden", "name=value"),
    "unknown setting": ("train mlp --set hiden=3", "hidden"),
    "setting of the wrong type": ("train mlp --set hidden=wide", "numbers"),
    "unknown optimizer": ("train mlp --set optimizer=Adamm", "Adam"),
    "unknown activation": ("train mlp --set activation=rellu", "relu"),
    "dropout above one": ("train mlp --set dropout=1.5", "dropout"),
    "clip below zero": ("train mlp --set clip=-1", "positive"),
    # files and folders
    "missing file": (TABLE + "god.csv", "good.csv"),
    "name near a data set": ("train mlp --data digitz", "digits"),
    "empty file": (TABLE + "empty.csv", "empty"),
    "header only": (TABLE + "header.csv", "row"),
    "one column": (TABLE + "one_column.csv", "column"),
    "all values missing": (TABLE + "all_nan.csv", "column"),
    "target without values": (TABLE + "nan_target.csv", "y"),
    "target absent": ("train mlp --data good.csv --target z", "z"),
    "no target": ("train mlp --data good.csv", "--target"),
    "one class": (TABLE + "one_class.csv", "two values"),
    "class with one row": (TABLE + "lone_class.csv", "no"),
    "not UTF-8": (TABLE + "latin.csv", "UTF-8"),
    "binary file": (TABLE + "binary.csv", "binary.csv"),
    "rows of unequal length": (TABLE + "ragged.csv", "2"),
    "column named twice": (TABLE + "twice.csv", "a"),
    "too few rows": (TABLE + "few.csv", "row"),
    "type of no column": (TABLE + "good.csv --types c=numeric", "c"),
    "type that is none": (TABLE + "good.csv --types a=number", "numeric"),
    "kept column absent": (TABLE + "good.csv --keep c", "c"),
    "folder for a file": ("train mlp --target y --data nothing", "nothing"),
    "file that is no folder": ("train lenet5 --data good.csv", "image"),
    "picture for a folder": ("train lenet5 --data picture.png", "folder"),
    "unknown ending": ("train mlp --data sheet.xlsx --target y", ".csv"),
    "truncated idx": ("train lenet5 --data cut_idx", "train"),
    "garbled idx": ("train lenet5 --data no_idx", "no_idx"),
    "images of one class": ("train lenet5 --data pictures", "class"),
    "broken images": ("train lenet5 --data broken", "a.png"),
    "text shorter than a window": ("train lstm --data short.txt", "character"),
    "blank text": ("train lstm --data blank.txt", "0 characters"),
    "series too short": ("train autoencoder --data short_series.csv", "row"),
    "labels that are no JSON": ("train autoencoder --data short_series.csv --labels labels.json", "labels"),
    "data of another kind": ("train lenet5 --data iris", "image"),
    # runs
    "run that is none": ("train --resume nothing", "run"),
    "run that is absent": ("train --resume rum", "run"),
    "resume with a change": ("train --resume run --lr 0.1", "--lr"),
    "resume offline": ("train --resume run --offline", "--offline"),
    "resumed comparison without curves": ("compare --resume run --no-curve", "--no-curve"),
    "resumed comparison offline": ("compare --resume run --offline", "--offline"),
    "resumed tuning without pruning": ("tune --resume run --no-prune", "--no-prune"),
    "resumed tuning offline": ("tune --resume run --offline", "--offline"),
    "state split on one device again": ("train --resume run --shard full", "--devices"),
    "split without a name": ("evaluate run --split=", "test"),
    "backend for an exported file": ("predict model.onnx --data good.csv --backend jax", "--backend"),
    "device for an exported file": ("predict model.onnx --data good.csv --device cpu", "--device"),
    "run folder taken": ("train mlp --out run", "--resume"),
    "run folder is a file": ("train mlp --out good.csv", "good.csv"),
    "truncated weights": ("evaluate cut_run", "safetensors"),
    "run.json that is no object": ("evaluate list_run", "must be an object"),
    "damaged run.json": ("evaluate odd_run", "run.json"),
    "weights gone": ("predict lost_run --data good.csv", "weights"),
    "unknown split": ("evaluate run --split tests", "test"),
    "predict without file": ("predict run --data gone.csv", "gone.csv"),
    "predict over a file": ("predict run --data good.csv --out good.csv", "exists"),
    "predict on other columns": ("predict run --data one_column.csv", "a"),
    "picture of a strange kind": ("draw run --out picture.gif", ".png"),
    "picture over a file": ("draw run --out picture.png", "exists"),
    "picture of nothing": ("draw mlpp", "mlp"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_sentence_and_code_2(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line, needed = CASES[name]
    before = {p: p.stat().st_mtime_ns for p in place.rglob("*")}
    code = main(line.split())
    out, err = capsys.readouterr()
    told = [row for row in err.splitlines() if not row.startswith(("  note:", "  inputs:", "Multi"))]
    assert code == 2, err
    assert out == ""
    assert len(told) == 1, err
    assert told[0].startswith("nnatomy: ")
    assert needed.lower() in told[0].lower()
    assert "Traceback" not in err
    assert {p: p.stat().st_mtime_ns for p in place.rglob("*")} == before


def test_there_are_fifty_of_them() -> None:
    assert len(CASES) >= 50


def _run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "nnatomy", *words], cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB, where the machine lets us make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs the right to mount a small file system")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_told_in_one_sentence(small_disk: Path, tmp_path: Path) -> None:
    found = _run("train", "mlp", "--limit", "64", "--epochs", "1", "--out", str(small_disk / "run"), cwd=tmp_path)
    assert found.returncode == 2, found.stderr
    assert "must be writable" in found.stderr.splitlines()[-1]
    assert "Traceback" not in found.stderr
    assert not list((small_disk / "run").glob(".*"))  # no half-written file stays


def test_a_read_only_folder_is_told_in_one_sentence(small_disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    found = _run("train", "mlp", "--limit", "64", "--epochs", "1", "--out", str(small_disk / "run"), cwd=tmp_path)
    assert found.returncode == 2, found.stderr
    assert "must be writable" in found.stderr.splitlines()[-1]


def test_a_learning_rate_that_explodes_names_the_layer(tmp_path: Path) -> None:
    found = _run(
        "train", "mlp", "--lr", "1e30", "--set", "optimizer=SGD", "--epochs", "3", "--out", str(tmp_path / "run"), cwd=tmp_path
    )
    assert found.returncode == 2, found.stderr
    assert "finite" in found.stderr
    assert "linears." in found.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"]])
def test_help_and_version_answer_with_code_0(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert "nnatomy" in capsys.readouterr().out.lower()
