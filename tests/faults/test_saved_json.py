"""JSON that is saved and read again: a value of another type anywhere is one sentence, and no error of ours."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.cli import main
from nnatomy.data.inputs import load_inputs, preprocessing_from_json
from nnatomy.data.load import load
from nnatomy.errors import UserError
from nnatomy.runs.folder import Run, load_arrays
from nnatomy.runs.gradients import read_gradients
from nnatomy.runs.request import request_of
from nnatomy.runs.restore import check_files
from nnatomy.saved import Count, Positive, parse_json, plain_values, read_json, typed
from nnatomy.studies.comparison import compare as comparing
from nnatomy.studies.comparison.compare import resume_comparison
from nnatomy.studies.comparison.protocol import Plan, Protocol, Unit, read_unit
from nnatomy.studies.tuning.tune import read_recipe

sys.path[:0] = [str(Path(__file__).parent), *(str(Path(__file__).parents[1] / name) for name in ("data", "studies"))]
from inline_workers import Inline  # noqa: E402
from kind_samples import SAMPLES  # noqa: E402
from mutations import WRONG, leaves, mutated  # noqa: E402

COMPARISON = ("comparison.json", "plan.json", "fits/mlp-fold0-seed0.json", "cost/mlp.json")


@dataclass(frozen=True)
class Inner:
    """A part of the values below."""

    n: Count
    x: Positive = 1.0


@dataclass(frozen=True)
class Outer:
    """Values of each type that is declared anywhere."""

    inner: Inner
    many: tuple[Inner, ...] = ()
    pair: tuple[int, str] | None = None
    named: Mapping[str, float | None] | None = None
    mode: Literal["a", "b"] = "a"
    either: str | int = ""
    on: bool = False


RIGHT = {"inner": {"n": 1}}
READ = {
    "all that is needed": (RIGHT, Outer(Inner(1))),
    "whole numbers as numbers": ({"inner": {"n": 2, "x": 3}}, Outer(Inner(2, 3.0))),
    "lists": (RIGHT | {"many": [{"n": 5}], "pair": [1, "b"]}, Outer(Inner(1), (Inner(5),), (1, "b"))),
    "names": (RIGHT | {"named": {"k": 0.5, "l": None}, "mode": "b"}, Outer(Inner(1), named={"k": 0.5, "l": None}, mode="b")),
    "either": (RIGHT | {"either": 7, "on": True}, Outer(Inner(1), either=7, on=True)),
}
REFUSED = {
    "no object": ([1], "f.json: The value must be an object. Received [1]."),
    "missing": ({}, "f.json: inner must be there. Received none."),
    "deep": ({"inner": {"n": "x"}}, "f.json: inner.n must be a whole number. Received 'x'."),
    "truth for a number": ({"inner": {"n": True}}, "inner.n must be a whole number. Received True."),
    "fraction": ({"inner": {"n": 2.5}}, "inner.n must be a whole number. Received 2.5."),
    "out of range": ({"inner": {"n": 0}}, "inner.n must be at least 1. Received 0."),
    "zero": ({"inner": {"n": 1, "x": 0}}, "inner.x must be above 0. Received 0."),
    "not finite": ({"inner": {"n": 1, "x": float("inf")}}, "inner.x must be a finite number. Received inf."),
    "huge": ({"inner": {"n": 10**400}}, "inner.n must be a whole number. Received 1000"),
    "longer than Python shows": ({"inner": {"n": 10**5000}}, "Received a int that is too long to show."),
    "in a list": (RIGHT | {"many": [{"n": 1}, {"n": None}]}, "many[1].n must be a whole number. Received None."),
    "too few": (RIGHT | {"pair": [1]}, "pair must be a list of 2. Received [1]."),
    "in a mapping": (RIGHT | {"named": {"k": "x"}}, "named.k must be a finite number. Received 'x'."),
    "no choice": (RIGHT | {"mode": "c"}, "mode must be 'a' or 'b'. Received 'c'."),
    "neither": (RIGHT | {"either": 2.5}, "either must be a text or a whole number. Received 2.5."),
    "unknown key": (RIGHT | {"mni": 1}, "f.json: The object must have known keys only. Received 'mni'."),
    "near a known key": (RIGHT | {"namedd": 1}, "Received 'namedd'. Did you mean 'named'?"),
}


@pytest.mark.parametrize("name", READ)
def test_values_of_the_declared_types_are_read_and_written(name: str) -> None:
    saved, wanted = READ[name]
    assert typed(Outer, saved, "f.json") == wanted
    assert typed(Outer, json.loads(json.dumps(plain_values(wanted)))) == wanted


@pytest.mark.parametrize("name", REFUSED)
def test_other_values_are_refused_with_file_key_rule_received_and_remedy(name: str) -> None:
    saved, sentence = REFUSED[name]
    with pytest.raises(UserError) as caught:
        typed(Outer, saved, "f.json")
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("f.json: ")
    assert str(caught.value).endswith("Restore it from a backup, or train again.")
    assert len(str(caught.value)) < 300


TEXTS = {
    "brackets": (b"[" * 100_000, "brackets in brackets"),
    "objects": (b'{"a":' * 100_000, "brackets in brackets"),
    "digits": (b"1" * 10_000, "a number that is too long"),
    "bytes": (b'{"a": "\xff"}', "another byte at 7"),
    "half": (b'{"a": ', "its end at 6"),
    "nothing": (b"", "its end at 0"),
    "words": (b"hello", "'hello' at 0"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_not_json_is_refused(name: str, tmp_path: Path) -> None:
    text, sentence = TEXTS[name]
    (tmp_path / "f.json").write_bytes(text)
    with pytest.raises(UserError, match=sentence) as caught:
        read_json(tmp_path / "f.json")
    assert "f.json" in str(caught.value)


def test_a_file_of_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "f.json").open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(UserError, match=r"at most 64 MiB. Received more"):
        read_json(tmp_path / "f.json")


def test_names_that_are_not_utf8_come_back_from_json(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_json("f.json", {"path": "ol\udce9"})
    assert run.read_json("f.json") == {"path": "ol\udce9"}


# A run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, a run on it, a comparison and a recipe."""
    folder = tmp_path_factory.mktemp("saved")
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.3f},{'abc'[i % 3]},2020-01-{1 + i % 28:02d},{'yes' if i % 2 else 'no'}" for i in range(60)]
    (folder / "t.csv").write_text("x,k,d,y\n" + "\n".join(rows) + "\n")
    data = str(folder / "t.csv")
    nn.train("mlp", data, target="y", settings={"hidden": "4"}, epochs=2, out=folder / "run", report=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "Workers", Inline)
        nn.compare("mlp", data=data, target="y", cv=2, seeds=1, epochs=1, curve=False, out=folder / "comparison", report=False)
    recipe = {"architecture": "mlp", "data": "iris", "settings": {"hidden": "4", "lr": "0.01"}, "epochs": 3, "resolved": {}}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return folder


def refusal(use: Callable[[], Any]) -> str:
    """Return the sentence with which a call is refused, "" where it is not; other exceptions are failures."""
    try:
        use()
    except UserError as problem:
        return str(problem)
    return ""


@contextmanager
def restored(path: Path) -> Iterator[bytes]:
    """Give the content of a file, and put it back at the end."""
    right = path.read_bytes()
    try:
        yield right
    finally:
        path.write_bytes(right)


def refused_or_right(path: Path, use: Callable[[], Any]) -> None:
    """Use a file with each of its values replaced: the result is right, or one sentence that names rule and received."""
    with restored(path) as right:
        value = json.loads(right)
        for leaf in leaves(value):
            for wrong in WRONG:
                path.write_text(mutated(value, leaf, wrong))
                said = refusal(use)
                assert not said or "Received" in said, (leaf, str(wrong)[:20], said)
                assert len(said) < 900, (leaf, str(wrong)[:20])


@pytest.mark.parametrize("file", ["run.json", "dataset.json"])
def test_a_run_with_a_changed_value_is_restored_or_refused(file: str, place: Path) -> None:
    refused_or_right(place / "run" / file, lambda: nn.load_run(place / "run"))


def test_a_run_with_a_changed_fingerprint_knows_its_data_or_is_refused(place: Path) -> None:
    run = Run(place / "run")
    refused_or_right(place / "run" / "fingerprint.json", lambda: check_files(run, request_of(run)))


def test_a_run_with_a_changed_preprocessing_predicts_or_is_refused(place: Path) -> None:
    refused_or_right(place / "run" / "preprocessing.json", lambda: nn.predict(place / "run", place / "t.csv"))


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("limit", 2.5, "request: limit must be a whole number. Received 2.5."),
        ("limit", 0, "request: --limit is at least 1. Received 0."),
        ("settings", "x", "request: settings must be an object. Received 'x'."),
        ("lr", "fast", "request: lr must be a finite number. Received 'fast'."),
        ("precision", "float3", "No precision has this name. Received 'float3'. Did you mean 'float32'?"),
        ("epoch", 3, "request: The object must have known keys only. Received 'epoch'. Did you mean 'epochs'?"),
    ],
)
def test_the_sentence_names_file_and_key(
    key: str, value: Any, sentence: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place / "run" / "run.json"
    with restored(path) as right:
        saved = json.loads(right)
        if key == "epoch":
            del saved["request"]["epochs"]
        saved["request"][key] = value
        path.write_text(json.dumps(saved))
        code = main(["evaluate", str(place / "run")])
    err = capsys.readouterr().err
    assert code == 2
    assert str(path) in err
    assert sentence in err


@pytest.mark.parametrize("average", [5, {"how": "predictions", "members": [1]}, {"members": []}, {"how": "x", "members": "y"}])
def test_a_wrong_average_is_refused(average: Any, place: Path) -> None:
    path = place / "run" / "run.json"
    with restored(path) as right:
        path.write_text(json.dumps(json.loads(right) | {"average": average}))
        with pytest.raises(UserError, match=r"run\.json: average.* must be"):
            nn.evaluate(place / "run")


def test_continuing_with_another_request_than_the_checkpoint_has_is_refused(place: Path) -> None:
    path = place / "run" / "run.json"
    with restored(path) as right:
        for name, value in (("epochs", 5), ("batch_size", 8), ("accumulate", 2)):
            saved = json.loads(right)
            saved["request"][name] = value
            path.write_text(json.dumps(saved))
            with pytest.raises(UserError, match=f"continues as it was requested. .* another {name}, {value} instead of"):
                nn.resume(place / "run")


def flips(size: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield places and bits, spread over a file."""
    rng = np.random.default_rng(size)
    yield from zip(rng.integers(0, size, count).tolist(), rng.integers(0, 8, count).tolist(), strict=True)


@pytest.mark.parametrize("file", ["best.safetensors", "last.safetensors"])
def test_every_flipped_bit_of_a_checkpoint_is_noticed(file: str, place: Path) -> None:
    path = place / "run" / file
    with restored(path) as right:
        arrays, metadata = load_arrays(path)
        for at, bit in flips(len(right), 150):
            path.write_bytes(right[:at] + bytes([right[at] ^ 1 << bit]) + right[at + 1 :])
            said = refusal(lambda: load_arrays(path))
            if said:
                assert "must be a whole safetensors file" in said
                continue
            found, texts = load_arrays(path)  # the bit was in the name of the checksum
            assert all(np.array_equal(found[name], a) for name, a in arrays.items())
            assert {name: texts[name] for name in metadata} == metadata


@pytest.mark.parametrize("file", ["run.json", "preprocessing.json", "fingerprint.json", "metrics.jsonl", "gradients.jsonl"])
def test_a_flipped_bit_of_any_file_is_refused_or_repaired_when_a_run_continues(file: str, place: Path) -> None:
    path = place / "run" / file
    with restored(path) as right:
        for at, bit in flips(len(right), 6):
            path.write_bytes(right[:at] + bytes([right[at] ^ 1 << bit]) + right[at + 1 :])
            said = refusal(lambda: nn.resume(place / "run", report=False))
            assert not said or "Received" in said


def test_a_damaged_record_of_gradients_loses_that_line_alone(place: Path) -> None:
    path = place / "run" / "gradients.jsonl"
    with restored(path) as right:
        whole = [line["epoch"] for line in read_gradients(Run(place / "run"))]  # epochs may lack where time was short
        path.write_bytes(b"\xff{" + right[2:])
        assert [line["epoch"] for line in read_gradients(Run(place / "run"))] == whole[1:]


def test_a_damaged_line_of_metrics_is_named(place: Path) -> None:
    path = place / "run" / "metrics.jsonl"
    with restored(path) as raw:
        right = raw.decode()
        for wrong, sentence in (('{"epoch": 1', "line 1, must be JSON"), ('{"epoch": 1}', "line 1: step must be there")):
            path.write_text("\n".join([wrong, *right.splitlines()[1:]]) + "\n")
            with pytest.raises(UserError, match=sentence):
                Run(place / "run").history()
        path.write_text(right.rstrip("\n") + '\n{"epoch": 3, "st')
        assert [line["epoch"] for line in Run(place / "run").history()] == [1, 2]


# Studies, recipes, labels


@pytest.mark.parametrize("file", COMPARISON)
def test_a_comparison_with_a_changed_value_is_read_or_refused(file: str, place: Path) -> None:
    folder = place / "comparison"
    reads: dict[str, Callable[[], Any]] = {
        "comparison.json": lambda: Protocol.of(folder),
        "plan.json": lambda: Plan.of(folder),
        "fits/mlp-fold0-seed0.json": lambda: read_unit(folder, Unit("fit", "mlp", 0, 0)),
        "cost/mlp.json": lambda: read_unit(folder, Unit("cost", "mlp")),
    }
    refused_or_right(folder / file, reads[file])


@pytest.mark.parametrize("file", COMPARISON)
def test_a_comparison_with_another_text_continues_or_is_refused(
    file: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "Workers", Inline)
    path = place / "comparison" / file
    with restored(path) as raw:
        right = raw.decode()
        value = json.loads(right)
        for leaf in leaves(value):
            path.write_text(mutated(value, leaf, "x"))
            said = refusal(lambda: resume_comparison(place / "comparison", report=False))
            assert not said or "Received" in said, (leaf, said)


def test_a_recipe_with_a_changed_value_is_read_or_refused(place: Path) -> None:
    refused_or_right(place / "recipe.json", lambda: read_recipe(place / "recipe.json", "mlp"))


LABELS = [
    *(json.dumps({"s.csv": value}) for value in (5, "x", [1], [[1, 2]], [["a"]], [["a", "b"]], {"windows": 3}, None)),
    json.dumps([[1, 2]]), json.dumps([5]), "5", "[" * 100_000, '{"s.csv": ' + "[" * 100_000, "\ufeff[", "",
]  # fmt: skip


@pytest.fixture
def series(tmp_path: Path) -> Path:
    rows = [f"2020-01-{1 + n // 24:02d} {n % 24:02d}:00:00,{np.sin(n / 5):.4f}" for n in range(240)]
    (tmp_path / "s.csv").write_text("time,x\n" + "\n".join(rows) + "\n")
    return tmp_path / "s.csv"


@pytest.mark.parametrize("number", range(len(LABELS)))
def test_wrong_labels_are_refused_and_a_neighbor_of_that_kind_is_passed_over(number: int, series: Path) -> None:
    neighbor = series.with_name("l.json")
    neighbor.write_text(LABELS[number], encoding="utf-8")
    with pytest.raises(UserError, match="Received"):
        load(str(series), ("series",), tasks=("anomaly",), window=8, labels=str(neighbor))
    assert len(load(str(series), ("series",), tasks=("anomaly",), window=8).train) > 0


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "points"])
def test_the_preprocessing_of_each_kind_is_read_or_refused(name: str, tmp_path: Path) -> None:
    sample = SAMPLES[name]
    source = sample.write(tmp_path, np.zeros(0, int))
    preprocessing = load(source, **sample.options).preprocessing
    saved = json.loads(json.dumps(preprocessing.to_json()))
    assert preprocessing_from_json(saved).to_json() == preprocessing.to_json()
    file = Path(source) / "t10k-images-idx3-ubyte" if name == "image" else source
    refused, number = 0, 0

    def use(text: str) -> None:
        restored = preprocessing_from_json(parse_json(text, "f.json"), "f.json")
        if not sample.made:
            load_inputs(file, restored)

    for leaf in leaves(saved):
        if any(isinstance(key, int) and key > 1 for key in leaf):
            continue  # as the one before it
        for wrong in (*WRONG, True, 0, -1):
            text = mutated(saved, leaf, wrong)
            said = refusal(lambda text=text: use(text))  # type: ignore[misc]
            number, refused = number + 1, refused + bool(said)
            assert not said or "Received" in said, (leaf, str(wrong)[:20], said)
    assert refused > number / 2
