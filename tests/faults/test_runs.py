"""Runs and studies: they know their data, keep to their time, refuse before they write, and end in good order."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import nnatomy as nn
from nnatomy import UserError
from nnatomy.data.fingerprints import contents_of_columns
from nnatomy.runs.folder import new_folder, owned
from nnatomy.studies.comparison.compare import resume_comparison
from nnatomy.studies.tuning.tune import resume_tuning

pytestmark = pytest.mark.any_kernels

# A run knows its data

HEADER, ROWS = "a,b,label", [(i % 7, (i * 5) % 11, "yes" if i % 7 > 3 else "no") for i in range(80)]


def csv(rows: list[tuple[Any, ...]], header: str = HEADER, end: str = "\n") -> str:
    return end.join([header, *(",".join(map(str, row)) for row in rows)]) + end


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("known")
    (folder / "t.csv").write_text(csv(ROWS))
    nn.train("mlp", folder / "t.csv", target="label", epochs=1, out=folder / "run", report=False)
    return folder


TABLES = {
    "labels": (csv([(a, b, "no" if y == "yes" else "yes") for a, b, y in ROWS]), "labels changed (column 'label')"),
    "values": (csv([(a, b + 1, y) for a, b, y in ROWS]), "values changed in the column 'b'"),
    "two columns": (csv([(a + 1, b + 1, y) for a, b, y in ROWS]), "values changed in the columns 'a', 'b'"),
    "reordered": (csv(ROWS[::-1]), "rows were reordered"),
    "added": (csv([*ROWS, *ROWS[:3]]), "3 rows were added at the end (83 now, 80 before)"),
    "inserted": (csv([*ROWS[40:50], *ROWS]), "10 rows were added (90 now, 80 before)"),
    "removed": (csv(ROWS[:-1]), "1 row was removed (79 now, 80 before)"),
    "renamed column": (csv(ROWS, "a,c,label"), "columns changed (without 'b'; with the new 'c')"),
    "without a column": (csv([(a, y) for a, _, y in ROWS], "a,label"), "columns changed (without 'b')"),
    "without the target": (csv(ROWS, "a,b,other"), "columns changed (without 'label'; with the new 'other')"),
    "no table": (csv(ROWS) + "1,2\n", "is not the table that it was"),
}


@pytest.mark.parametrize("change", TABLES)
def test_a_changed_file_is_told_apart_and_refused(trained: Path, change: str) -> None:
    content, found = TABLES[change]
    (trained / "t.csv").write_text(content)
    for use in (nn.evaluate, nn.resume, lambda run: nn.distill("mlp", run, epochs=1, out=trained / "student")):
        with pytest.raises(UserError) as refused:
            use(trained / "run")
        assert found in str(refused.value)
    assert not (trained / "student").exists()


def test_the_same_records_are_the_same_data(trained: Path) -> None:
    (trained / "t.csv").write_text(csv(ROWS))
    first = nn.evaluate(trained / "run").metrics
    for content in (csv(ROWS, end="\r\n"), csv([(f'"{a}"', b, y) for a, b, y in ROWS])):
        (trained / "t.csv").write_bytes(content.encode())
        assert nn.evaluate(trained / "run").metrics == first


def test_changed_data_are_evaluated_as_new_data(trained: Path) -> None:
    """With all labels exchanged, the accuracy on all rows is one minus what it was."""
    (trained / "t.csv").write_text(csv(ROWS))
    right = nn.evaluate(trained / "run", trained / "t.csv").metrics["accuracy"]
    (trained / "t.csv").write_text(TABLES["labels"][0])
    assert nn.evaluate(trained / "run", trained / "t.csv").metrics["accuracy"] == pytest.approx(1 - right)


def test_other_rows_in_the_splits_are_refused(trained: Path, tmp_path: Path) -> None:
    """As where another version of a library splits in another way: test rows were trained on."""
    (trained / "t.csv").write_text(csv(ROWS))
    run = shutil.copytree(trained / "run", tmp_path / "run")
    saved = json.loads((run / "run.json").read_text())
    saved["request"]["split_seed"] = 1
    (run / "run.json").write_text(json.dumps(saved))
    with pytest.raises(UserError, match=r"split otherwise than when it was trained \(train, validation, test\)"):
        nn.evaluate(run)


X = np.random.default_rng(0).normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)
OBJECTS: dict[str, tuple[Any, Any, str]] = {
    "arrays: labels": ((X, Y), (X, 1 - Y), "labels changed (column 'y')"),
    "arrays: values": ((X, Y), (X * (1, 1, 2), Y), "values changed in the column 'X[:, 2]'"),
    "arrays: reordered": ((X, Y), (X[::-1], Y[::-1]), "rows were reordered"),
    "arrays: added": ((X, Y), (np.r_[X, X[:2]], np.r_[Y, Y[:2]]), "2 rows were added (62 now, 60 before)"),
    "arrays: columns": ((X, Y), (X[:, :2], Y), "columns changed (without 'X[:, 2]')"),
    "a frame: labels": (
        pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": Y.astype(str)}),
        pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": (1 - Y).astype(str)}), "labels changed (column 'y')",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OBJECTS)
def test_changed_arrays_and_frames_are_refused(tmp_path: Path, case: str) -> None:
    before, after, found = OBJECTS[case]
    options = {"target": "y"} if isinstance(before, pd.DataFrame) else {}
    nn.train("mlp", before, epochs=1, out=tmp_path / "run", report=False, **options)
    again = before.copy() if isinstance(before, pd.DataFrame) else tuple(np.array(a) for a in before)
    nn.load_run(tmp_path / "run", data=again).evaluate()
    with pytest.raises(UserError) as refused:
        nn.load_run(tmp_path / "run", data=after).evaluate()
    assert found in str(refused.value)


def test_a_changed_data_set_object_is_refused(tmp_path: Path) -> None:
    dataset = nn.data.load("iris")
    nn.train("mlp", dataset, epochs=1, out=tmp_path / "run", report=False)
    nn.load_run(tmp_path / "run", data=nn.data.load("iris")).evaluate()
    inputs, labels = dataset.test.all()
    other = replace(dataset, test=nn.data.ArraySplit((inputs, (labels + 1) % 3)))
    with pytest.raises(UserError, match="labels changed"):
        nn.load_run(tmp_path / "run", data=other).evaluate()


def _pictures(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / label / f"{i}.png")
    return folder


def _move(folder: Path) -> None:
    (folder / "cat" / "0.png").rename(folder / "dog" / "moved.png")


FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "moved": (_move, "files were moved or renamed, which changes their labels"),
    "added": (lambda f: shutil.copy(f / "cat" / "0.png", f / "cat" / "9.png"), "1 file was added (17 now, 16 before)"),
    "removed": (lambda f: (f / "cat" / "0.png").unlink(), "1 file was removed (15 now, 16 before)"),
    "repainted": (lambda f: Image.new("L", (8, 8)).save(f / "dog" / "3.png"), "the content of dog/3.png changed"),
    "a hidden file": (lambda f: (f / "cat" / ".DS_Store").write_text("x"), ""),
}


@pytest.mark.parametrize("change", FOLDERS)
def test_a_changed_folder_of_pictures_is_refused(tmp_path: Path, change: str) -> None:
    made, found = FOLDERS[change]
    before = nn.data.fingerprint(nn.data.load(_pictures(tmp_path / "pictures"), ("image",)))
    assert nn.data.changed(tmp_path / "pictures", before) == ""
    made(tmp_path / "pictures")
    now = nn.data.changed(tmp_path / "pictures", before)
    assert found in now
    assert bool(now) == bool(found)


def test_texts_and_files_next_to_them_are_known(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("to be or not to be\n" * 400)
    before = nn.data.fingerprint(nn.data.load(tmp_path / "a.txt", ("text",), window=16))
    (tmp_path / "a.txt").write_text("to be or not to be\n" * 401)
    assert "1 line was added at the end (401 now, 400 before)" in nn.data.changed(tmp_path / "a.txt", before)
    for sign in ("neg", "pos"):
        (tmp_path / f"film.{sign}.txt").write_text("".join(f"a {sign} film number {i}\n" for i in range(40)))
    before = nn.data.fingerprint(nn.data.load(tmp_path / "film.pos.txt", ("sentences",)))
    (tmp_path / "film.neg.txt").write_text((tmp_path / "film.neg.txt").read_text().replace("number 3", "number 4"))
    assert "the content of film.neg.txt changed" in nn.data.changed(tmp_path / "film.pos.txt", before)


def test_studies_know_their_data(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="the tune extra is not installed")
    (tmp_path / "t.csv").write_text(csv(ROWS))
    request: dict[str, Any] = {"data": tmp_path / "t.csv", "target": "label", "epochs": 1, "report": False, "jobs": 1}
    nn.compare("mlp", cv=2, seeds=1, curve=False, out=tmp_path / "compared", **request)
    nn.tune("mlp", trials=1, cv=0, out=tmp_path / "tuned", **request)
    (tmp_path / "t.csv").write_text(TABLES["labels"][0])
    for resume, folder in ((resume_comparison, "compared"), (resume_tuning, "tuned")):
        with pytest.raises(UserError, match=r"labels changed \(column 'label'\)"):
            resume(tmp_path / folder, jobs=1)


def test_averages_and_weights_of_other_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text(csv(ROWS))
    request: dict[str, Any] = {"target": "label", "epochs": 1, "report": False}
    runs = [nn.train("mlp", tmp_path / "t.csv", split_seed=0, seed=s, out=tmp_path / str(s), **request).run for s in (0, 1)]
    nn.train("mlp", tmp_path / "t.csv", from_=runs[0].folder, seed=5, out=tmp_path / "other", progress=True, **request)
    assert "may have learned rows that this run tests on" in capsys.readouterr().err
    nn.train("mlp", tmp_path / "t.csv", from_=runs[0].folder, seed=0, out=tmp_path / "same", progress=True, **request)
    assert "may have learned rows" not in capsys.readouterr().err
    for how in ("weights", "predictions"):
        nn.average([run.folder for run in runs], how=how, out=tmp_path / how, report=False)
    (tmp_path / "t.csv").write_text(TABLES["reordered"][0])
    for how in ("weights", "predictions"):
        with pytest.raises(UserError, match="rows were reordered"):
            nn.evaluate(tmp_path / how)


def test_a_digest_is_a_key_of_everything_that_is_learned() -> None:
    """Equal data have equal digests; other splits, values and labels have others."""
    keys = [nn.data.digest(nn.data.load("iris", seed=seed)) for seed in (0, 0, 1)]
    assert keys[0] == keys[1] != keys[2]
    dataset = nn.data.load("iris")
    inputs, labels = dataset.train.all()
    for arrays in ((inputs + 1e-6, labels), (inputs, labels[::-1])):
        assert nn.data.digest(replace(dataset, train=nn.data.ArraySplit(arrays))) != keys[0]


def test_the_digest_of_rows_in_any_order_is_cheap_and_exact() -> None:
    """A row that appears twice is not a row that does not appear."""
    found = [contents_of_columns({"a": a}).unordered for a in (["1", "2", "2"], ["2", "1", "2"], ["1", "1", "2"])]
    assert found[0] == found[1] != found[2]


# One process at a time, and nothing is left behind


def test_one_process_works_in_a_folder(tmp_path: Path) -> None:
    run = nn.train("mlp", "iris", epochs=1, out=tmp_path / "run", report=False).run
    with owned(run.folder), pytest.raises(UserError, match="in which another one works"):
        nn.resume(run.folder)
    (run.folder / ".last.safetensors.a1b2c3d4").write_bytes(b"half")  # of a process that was killed while it wrote
    nn.resume(run.folder, report=False)
    assert not list(run.folder.glob(".*"))


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from nnatomy.runs.folder import owned\n"
    code += "with owned(Path(sys.argv[1])): print('owned', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "owned\n"
    with pytest.raises(UserError, match="another one works"), owned(tmp_path):
        pass
    process.kill()
    process.communicate()
    with owned(tmp_path):
        assert not list(tmp_path.iterdir())


def test_the_folder_of_a_killed_start_is_taken_again(tmp_path: Path) -> None:
    folder = new_folder("runs", "mlp", tmp_path / "run", "run")
    (folder / "environment.json").write_text("{}")
    nn.train("mlp", "iris", epochs=1, out=folder, report=False)
    with pytest.raises(UserError, match="is not empty"):
        nn.train("mlp", "iris", epochs=1, out=folder)


REFUSED = {
    "rate": {"settings": {"lr": "nan"}}, "eps": {"settings": {"eps": "-1"}}, "decay": {"settings": {"weight_decay": "-1"}},
    "factor": {"rates": {"*": 1e30}}, "dropout": {"settings": {"dropout": "2"}},
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_runs_leave_nothing(tmp_path: Path, case: str) -> None:
    with pytest.raises(UserError, match="Received"):
        nn.train("mlp", "iris", epochs=1, out=tmp_path / "run", **REFUSED[case])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_a_last_batch_of_one_row_is_left_out_where_batch_norm_needs_more(tmp_path: Path, backend: str) -> None:
    """Of 129 training rows in batches of 64, one is left out in each epoch: two steps; of 128 or without batch norm, none."""
    if backend == "jax":
        pytest.importorskip("jax")
    x = np.random.default_rng(0).normal(size=(185, 3))
    y = (x[:, 0] > 0).astype(float)
    request: dict[str, Any] = {"epochs": 2, "batch_size": 64, "report": False, "backend": backend}
    for normed, steps in (("true", 4), ("false", 6)):
        result = nn.train("mlp", (x, y), settings={"batch_norm": normed}, out=tmp_path / normed, **request)
        assert len(result.dataset.train) == 129
        assert result.run.history()[-1]["step"] == steps
    nn.NeuralClassifier(epochs=1, batch_size=64, settings={"batch_norm": "true"}).fit(x[:65], y[:65] > 0)
