"""Wrong input on the command line: one sentence with rule, received and remedy; nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.cli import main
from nnatomy.errors import UserError, nearest_name, unknown_name
from nnatomy.printing import listed, print_text, printable, shown
from nnatomy.runs.folder import Run

ESCAPES = "\x1b[31mred\x1b[0m"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with small tables and a run."""
    folder = tmp_path_factory.mktemp("commands")
    rows = [f"{np.sin(i):.3f},{np.cos(i * i):.3f},{'yes' if i % 2 else 'no'}" for i in range(48)]
    (folder / "t.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    (folder / "escapes.csv").write_text("\n".join([f"{ESCAPES},b,y", *rows]).replace("yes", f"yes{ESCAPES}") + "\n")
    wide = ",".join(f"column number {i} of a table" for i in range(20_000))
    (folder / "wide.csv").write_text(f"{wide}\n" + f"{','.join('1' * 20_000)}\n" * 2)
    here = Path.cwd()
    os.chdir(folder)
    assert main(["train", "mlp", "--data", "t.csv", "--target", "y", "--epochs", "1", "--set", "hidden=4", "--out", "run"]) == 0
    yield folder
    os.chdir(here)


LINES = {
    # the parser's own errors
    "unknown command": ("trian mlp", "nnatomy needs one of its commands. Received 'trian'. Did you mean 'train'?"),
    "command far from any": ("zzz", "nnatomy needs one of its commands. Received 'zzz'. Run nnatomy --help to see all."),
    "unknown flag": ("train mlp --epoch 3", "train has no such flag. Received '--epoch'. Did you mean --epochs?"),
    "unknown short flag": ("train mlp -q", "nnatomy train has no such flag. Received '-q'. Run nnatomy train --help"),
    "word for an integer": ("train mlp --epochs many", "takes a whole number. Received 'many'. Use, for example, --epochs 3."),
    "fraction for an integer": ("train mlp --epochs 2.5", "--epochs takes a whole number. Received '2.5'."),
    "word for a number": ("train mlp --lr=fast", "--lr takes a number. Received 'fast'. Use, for example, --lr 0.5."),
    "no value": ("train mlp --epochs", "--epochs takes a value. Received none. Run nnatomy train --help"),
    "value of a switch": ("train mlp --offline=3", "--offline takes no value. Received one. Run nnatomy train --help"),
    "no argument": ("evaluate", "nnatomy evaluate needs RUN. Received none. Run nnatomy evaluate --help"),
    "no required flag": ("predict run", "nnatomy predict needs --data. Received none. Run nnatomy predict --help"),
    "too many arguments": ("info mlp lstm", "nnatomy info takes fewer arguments. Received 'lstm' too. Leave it out."),
    # values that were errors of ours
    "export to this folder": ("export run --to safetensors --out .", "Received '.'. Use --out model.safetensors."),
    "export to the folder above": ("export run --out ..", "ends in .onnx. Received '..'. Use --out model.onnx."),
    "export to the root": ("export run --out /", "Received '/'."),
    "thirty zeros": (f"train mlp --data t.csv --target y --set hidden=1{'0' * 30}", "--set hidden must be numbers"),
    "thirty zeros of epochs": (f"train mlp --epochs 1{'0' * 30}", "--epochs is below 2^64. Received 1000"),
    "five thousand digits": (f"train mlp --limit {'9' * 5000}", "Received"),
    "name that is not UTF-8": ("train mlp --data t.csv --target y --out ol\udce9", r"UTF-8. Received ol\xe9"),
    "data that are not UTF-8": ("evaluate run --data ol\udce9.csv", r"UTF-8. Received ol\xe9.csv"),
    "host of 300 letters": (f"serve run --port 0 --host {'a' * 300}", "this is not a host's name). Choose another --host."),
    "host with control characters": ("serve run --port 0 --host \x1b[31m", "Choose another --host."),
    # lists and received values
    "a target among 20,000 columns": ("train mlp --data wide.csv --target z", "'z'"),
    "a name of 100,000 letters": (f"info {'a' * 100_000}", "characters). Use a shorter name"),
    "a column with escapes": (f"train mlp --data t.csv --target {ESCAPES}", r"\x1b[31m"),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_one_sentence_with_rule_received_and_remedy(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line, sentence = LINES[name]
    before = sorted(place.rglob("*"))
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    (said,) = err.splitlines()
    assert out == ""
    assert said.startswith("nnatomy: ")
    assert sentence in said
    assert "Received" in said
    assert len(said) < 4100
    assert said.isprintable()
    assert sorted(place.rglob("*")) == before


def test_a_wrong_backend_of_matplotlib_is_noticed_before_training(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["train", "mlp", "--data", "t.csv", "--target", "y", "--out"]
    command = [sys.executable, "-m", "nnatomy", *words, str(tmp_path / "new")]
    found = subprocess.run(
        command, cwd=place, env=os.environ | {"MPLBACKEND": "zz"}, capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 2
    assert found.stderr == "nnatomy: MPLBACKEND names a backend of Matplotlib. Received 'zz'. Unset it, or use agg.\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("megabytes", [200, 400, 600])
def test_little_memory_ends_in_one_sentence(megabytes: int, place: Path, tmp_path: Path) -> None:
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({megabytes} << 20,) * 2)"
    words = ["train", "mlp", "--data", "t.csv", "--target", "y", "--out", str(tmp_path / "new")]
    code = f"{limit}; import sys; from nnatomy.cli import main; sys.exit(main({words!r}))"
    one = {"OPENBLAS_NUM_THREADS": "1", "NNATOMY_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=os.environ | one, capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 2
    assert f"Received a limit of {megabytes} MiB. Raise it with ulimit -v." in found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_escapes_of_a_file_do_not_reach_the_terminal(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "mlp", "--data", "escapes.csv", "--target", "y", "--epochs", "1", "--set", "hidden=4", "--out", "escaped"]
    assert main(words) == 0
    assert main(["predict", "escaped", "--data", "t.csv"]) == 2
    out, err = capsys.readouterr()
    assert r"\u001b[31mred" in err
    assert "\x1b" not in out + err


def test_data_on_a_terminal_have_no_escapes_and_in_a_file_all(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "train mlp --data escapes.csv --target y --epochs 1 --set hidden=4 --out terminal".split()  # noqa: SIM905
    assert main(words) == 0
    capsys.readouterr()
    for terminal in (True, False):
        monkeypatch.setattr("sys.stdout.isatty", lambda terminal=terminal: terminal, raising=False)
        assert main(["predict", "terminal", "--data", "escapes.csv"]) == 0
        assert ("\x1b" in capsys.readouterr().out) != terminal


def as_user(call: Any) -> str:
    """Return the sentence that a call ends in for a user other than root."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    os.seteuid(65534)
    try:
        call()
    except UserError as problem:
        return str(problem)
    finally:
        os.seteuid(0)
    return ""


@pytest.mark.parametrize("file", ["run.json", "preprocessing.json", "best.safetensors"])
def test_permission_denied_is_reported_as_such(file: str, place: Path) -> None:
    path = place / "run" / file
    for folder in (place, *place.parents):
        if folder.stat().st_uid == 0 and folder != Path("/") and "pytest" in str(folder):
            folder.chmod(0o755)
    (place / "run").chmod(0o755)
    path.chmod(0o600)
    said = as_user(lambda: Run(place / "run").weights() if file == "best.safetensors" else Run(place / "run").read_json(file))
    path.chmod(0o644)
    assert "must be readable" in said
    assert "Permission denied" in said
    assert said.endswith("Change its permissions.")


def test_a_folder_that_may_not_be_written_is_reported_as_such(place: Path) -> None:
    said = as_user(lambda: Run.create("mlp", place / "mine"))
    assert "must be writable" in said
    assert "Change its permissions or choose another --out." in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"offline": "no"}, "True or False for offline. Received 'no'"),
        ({"offline": 1}, "True or False for offline. Received 1"),
        ({"epochs": 1.5}, "a whole number for epochs. Received 1.5"),
        ({"epochs": True}, "a whole number for epochs. Received True"),
        ({"epochs": "3"}, "a whole number for epochs. Received '3'"),
        ({"epochs": np.float64(3)}, "a whole number for epochs"),
        ({"lr": True}, "a number for lr. Received True"),
        ({"lr": "0.1"}, "a number for lr. Received '0.1'"),
        ({"limit": "x" * 10_000}, r"Received 'xxx.*characters\)"),
        ({"settings": {"hidden": 2.5}}, "--set hidden must be numbers"),
    ],
)
def test_values_of_another_type_are_refused_in_python_too(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        nn.train("mlp", "iris", **options)
    assert len(str(caught.value)) < 400


def test_numbers_of_numpy_are_taken(tmp_path: Path) -> None:
    settings = {"hidden": (np.int64(4), np.int32(3)), "dropout": np.float32(0.5), "batch_norm": np.bool_(True)}
    found = nn.train(
        "mlp", "iris", epochs=np.int64(1), lr=np.float32(0.01), offline=np.bool_(True), settings=settings, report=False,
        out=tmp_path / "run",
    )  # fmt: skip
    weights = {name: tuple(p.shape) for name, p in found.model.named_parameters()}
    assert weights["linears.0.weight"][0] == 4
    assert weights["linears.1.weight"] == (3, 4)
    assert found.prepared.recipe.options["hidden"] == (4, 3)


def test_a_name_is_not_its_own_correction() -> None:
    assert nearest_name("a.csv", ["a.csv"]) is None
    assert nearest_name("a.csv", ["a.csv", "b.csv"]) == "b.csv"
    assert nearest_name("x" * 10_000, ["x" * 9_999]) is None  # in no time


def test_known_names_are_all_listed_where_that_is_short() -> None:
    names = [f"setting{i}" for i in range(30)]
    assert str(unknown_name("setting", "zzz", names)).endswith("setting28, setting29.")
    long = str(unknown_name("column", "zzz", [f"column number {i}" for i in range(10_000)]))
    assert len(long) < 700
    assert "more" in long


VALUES = [
    (5, "5"), ("x" * 1000, "'xxx"), (10**6000, "a int that is too long to show"), ("\x1b", "'\\x1b'"), ([1] * 10_000, "[1, 1"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "start"), VALUES, ids=["number", "text", "digits", "escape", "list"])
def test_received_values_are_short(value: Any, start: str) -> None:
    assert shown(value).startswith(start)
    assert len(shown(value)) < 130


def test_text_for_people_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    wild = "a\x1b[2J\x07\x9b\u202eb\u2028\udcffc\td\ne"
    assert printable(wild) == "a\\u001b[2J\\u0007\\u009b\\u202eb\\u2028\\udcffc\td\ne"
    print_text(wild)
    assert capsys.readouterr().out == printable(wild) + "\n"
    assert str(UserError(f"Rule. Received {wild}. Remedy.")).isprintable() or "\t" in wild
    assert "\n" not in str(UserError(wild))
    assert len(str(UserError("x" * 10**6))) <= 4000
    assert str(UserError("Rule. Received " + "x" * 10**6 + ". Remedy.")).endswith(". Remedy.")
    assert listed(["a", "b"]) == "a, b"
