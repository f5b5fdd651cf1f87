"""Promises of every kind of data: true fields, honest splits, and predictions wherever a model is used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kind_samples import SAMPLES, Sample
from toy_kind import ForgetfulKind, PointsKind

from nnatomy.data import Dataset, Fold, Reading, fields, kinds, load, load_examples, load_inputs, preprocessing_from_json
from nnatomy.data.kinds import PERHAPS, kind_of
from nnatomy.data.reading import OPTIONS, TASKS, Source
from nnatomy.data.requests import JSON, RequestError
from nnatomy.errors import UserError
from nnatomy.tensor import Tensor, wrap

pytestmark = pytest.mark.any_kernels

Array = np.ndarray[Any, Any]
NAMES = (*kinds.names(), "points")
NONE = np.arange(0)
each_kind = pytest.mark.parametrize("name", NAMES)
each_file = pytest.mark.parametrize("name", [name for name in NAMES if name not in SAMPLES or not SAMPLES[name].made])
VALUES: dict[str, Any] = {
    "target": "y", "keep": ("x",), "types": {"x": "numeric"}, "labels": "labels.json", "resize": (4, 4), "gray": True,
    "binary": True, "tokens": 300, "window": 9, "horizon": 3, "encoding": "latin-1", "pairs": "none",
}  # fmt: skip


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    kinds.register(PointsKind())
    yield
    kinds.unregister("points")


def sample(name: str) -> Sample:
    assert name in SAMPLES, f"the kind {name} needs a sample in kind_samples.py"
    return SAMPLES[name]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Dataset]:
    def make(name: str, wild: Array = NONE, **options: Any) -> Dataset:
        found = sample(name)
        return load(found.write(tmp_path, wild), **(found.options | options))

    return make


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Array, ...]]:
    """The rows of the three splits, each time that a reader requests them."""
    seen: list[tuple[Array, ...]] = []
    part, periods = Reading.part, Reading.periods

    def watched_part(self: Reading, *args: Any, **options: Any) -> Any:
        found = part(self, *args, **options)
        seen.append(tuple(found))
        return found

    def watched_periods(self: Reading, *args: Any, **options: Any) -> Any:
        found = periods(self, *args, **options)
        seen.append(tuple(np.arange(*stretch) for stretch in found))
        return found

    monkeypatch.setattr(Reading, "part", watched_part)
    monkeypatch.setattr(Reading, "periods", watched_periods)
    return seen


def left_out(name: str, part: str) -> bool:
    """Return True if a kind leaves a part to the base class, which refuses it in one sentence."""
    return getattr(type(kinds.kind(name)), part) is getattr(kinds.Kind, part)


@each_kind
def test_a_kind_says_what_it_is(name: str) -> None:
    kind = kinds.kind(name)
    assert kind.name == kind.preprocessing.kind == name
    assert kind.noun
    assert kind.options <= {*OPTIONS, "groups"}
    assert set(kind.forms) <= set(kinds.names())


@each_file
def test_its_files_are_recognized_among_all_kinds(name: str, tmp_path: Path, read: Callable[..., Dataset]) -> None:
    source = Source(sample(name).write(tmp_path, NONE))
    assert kinds.kind(name).recognize(source, Reading(sample(name).options.get("tasks"))) >= PERHAPS
    assert kind_of(read(name)).name == name


@each_kind
def test_the_task_and_the_form_are_known(name: str, read: Callable[..., Dataset]) -> None:
    found = read(name)
    assert found.task in TASKS
    assert found.kind in (kinds.kind(name).forms or (name,))


@each_kind
def test_fields_are_true(name: str, read: Callable[..., Dataset]) -> None:
    """Examples taken one by one and joined are those taken together, up to what fills ragged axes."""
    found = read(name)
    for split in (found.train, found.validation, found.test):
        chosen = np.array([0, len(split) - 1])
        together = split.take(chosen)
        assert len(together) == len(split.fields)
        assert fields.count(split.fields, together) == 2
        longest = [0 if f.ragged is None else a.shape[f.ragged] for f, a in zip(split.fields, together, strict=True)]
        alone = [split.take(chosen[k : k + 1]) for k in range(2)]
        if not fields.per_row(split.fields):  # nodes and edges are joined as they are
            for joined, whole in zip(fields.joined(split.fields, alone), together, strict=True):
                assert np.array_equal(joined, whole)
            assert kinds.kind(name).ragged == split.ragged
            continue
        for n, (field, whole) in enumerate(zip(split.fields, together, strict=True)):
            rounded = [fields.round_lengths((field,), (one[n],), lambda _, to=longest[n]: to)[0] for one in alone]
            assert np.array_equal(np.concatenate(rounded), whole)
        assert kinds.kind(name).ragged == split.ragged


@each_kind
def test_folds_are_disjoint(name: str, read: Callable[..., Dataset], parts: list[tuple[Array, ...]]) -> None:
    for number in range(3):
        read(name, fold=Fold(number, 3))
    assert len(parts) == 3
    for train, validation, test in parts:
        assert min(map(len, (train, validation, test))) > 0
        assert len(np.unique(np.concatenate([train, validation, test]))) == len(train) + len(validation) + len(test)
    tested = np.concatenate([test for *_, test in parts])
    assert len(np.unique(tested)) == len(tested)
    if sample(name).dealt:
        everything = np.concatenate(parts[0])
        assert np.array_equal(np.sort(tested), np.sort(everything))
    else:
        assert all(train.max() < validation.min() and validation.max() < test.min() for train, validation, test in parts)


@each_file
@pytest.mark.parametrize("fold", [None, Fold(1, 3)], ids=["usual", "fold"])
def test_nothing_is_fitted_on_rows_that_are_held_out(
    name: str, fold: Fold | None, read: Callable[..., Dataset], parts: list[tuple[Array, ...]]
) -> None:
    tame = read(name, fold=fold)
    _, validation, test = parts[0]
    wild = read(name, np.concatenate([validation, test]), fold=fold)
    assert json.dumps(tame.preprocessing.to_json()) == json.dumps(wild.preprocessing.to_json())
    for a, b in zip(tame.train.all(), wild.train.all(), strict=True):
        assert np.array_equal(a, b)
    if name != "image" or fold is not None:  # the usual test part of MNIST is a separate file
        pairs = zip(tame.test.all(), wild.test.all(), strict=True)
        assert any(a.shape != b.shape or not np.array_equal(a, b) for a, b in pairs)


@each_kind
def test_preprocessing_is_restored_from_json(name: str, tmp_path: Path, read: Callable[..., Dataset]) -> None:
    fitted = read(name).preprocessing
    saved = json.loads(json.dumps(fitted.to_json()))
    restored = preprocessing_from_json(saved)
    assert type(restored) is type(fitted)
    assert restored.to_json() == fitted.to_json()
    if not sample(name).made:
        source = _to_predict(name, tmp_path)
        for a, b in zip(load_inputs(source, restored).arrays, load_inputs(source, fitted).arrays, strict=True):
            assert np.array_equal(a, b)


def _to_predict(name: str, folder: Path) -> Path:
    found = sample(name).write(folder, NONE)
    return Path(found) / "t10k-images-idx3-ubyte" if name == "image" else Path(found)


@each_file
def test_inputs_of_a_file_are_those_of_the_model(name: str, tmp_path: Path, read: Callable[..., Dataset]) -> None:
    found = read(name)
    source = _to_predict(name, tmp_path)
    inputs = load_inputs(source, found.preprocessing)
    expected = fields.select(found.train.fields, found.train.take(np.arange(2)), "input")
    own, aside = inputs.arrays[: len(expected)], inputs.arrays[len(expected) :]  # the latter is for the task's output
    assert [(a.dtype, a.ndim) for a in own] == [(a.dtype, a.ndim) for a in expected]
    of_examples = [array for field, array in zip(found.input_fields, own, strict=True) if field.per == "example"]
    assert of_examples
    assert all(len(array) == len(inputs.rows) > 0 for array in (*of_examples, *aside))
    raw = load_inputs(source, found.preprocessing, raw=True).arrays
    raw, same = raw[: len(raw) - len(aside)], raw[len(raw) - len(aside) :]
    assert all(map(np.array_equal, aside, same))
    for a, b in zip(found.preprocessing.prepare(*raw), own, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@each_file
def test_labeled_examples_of_a_file_are_as_those_of_training(name: str, tmp_path: Path, read: Callable[..., Dataset]) -> None:
    found = read(name)
    split, _ = load_examples(sample(name).write(tmp_path, NONE), found.preprocessing)
    assert split.fields == found.train.fields
    assert len(split) > 0
    for a, b in zip(split.take(np.arange(2)), found.train.take(np.arange(2)), strict=True):
        assert (a.dtype, a.ndim) == (b.dtype, b.ndim)


@each_kind
def test_the_example_of_a_request_is_answered_and_garbage_is_refused(name: str, read: Callable[..., Dataset]) -> None:
    found = read(name)
    if left_out(name, "reader"):
        with pytest.raises(UserError, match=r"requests can carry\. Received .*\. Use nnatomy predict"):
            kind_of(found).reader(found.preprocessing, found.input_shape)
        return
    reader = kind_of(found).reader(found.preprocessing, found.input_shape)
    shown = reader.describe()
    assert shown["inputs"]
    arrays, _ = reader.read(JSON, json.dumps(shown["example"]).encode())
    expected = fields.select(found.train.fields, found.train.take(np.arange(1)), "input")
    assert [(a.dtype, a.ndim) for a in arrays[: len(expected)]] == [(a.dtype, a.ndim) for a in expected]
    for media, body, fault in (
        ("application/pdf", b"1", "unsupported"),
        (JSON, b"", "malformed"),
        (JSON, b"{", "malformed"),
        (JSON, b"[]", "unprocessable"),
        (JSON, b'{"unknown": 1}', "unprocessable"),
        (JSON, json.dumps(dict.fromkeys(shown["example"])).encode(), "unprocessable"),
    ):
        with pytest.raises(RequestError) as caught:
            reader.read(media, body)
        assert caught.value.fault == fault


@each_kind
def test_what_is_exported_equals_the_preprocessing(name: str, read: Callable[..., Dataset]) -> None:
    found = read(name)
    if left_out(name, "exported"):
        with pytest.raises(UserError, match=r"ONNX form\. Received .*\. Use --to safetensors"):
            kind_of(found).exported(found)
        return
    exported = kind_of(found).exported(found)
    inputs = fields.select(found.test.fields, found.test.take(np.arange(7) % len(found.test)), "input")
    own = exported.decode(*inputs)
    for a, b in zip(found.preprocessing.prepare(*own), inputs, strict=True):
        np.testing.assert_allclose(a, b, atol=0.01 if name in ("image", "segmentation") else 1e-4)  # pixels are whole numbers
    invented = exported.decode(*exported.made_up(np.random.default_rng(0), 7))
    for raw in (own, invented, exported.awkward(own)):
        for array, spec in zip(raw, exported.inputs, strict=True):
            assert array.shape == (7, *spec.shape)
            assert array.dtype.kind == "U" if spec.type == "string" else array.dtype.name == spec.type
        encoded = exported.encode(*map(wrap, raw))
        for tensor, array in zip(encoded, found.preprocessing.prepare(*raw), strict=True):
            got = tensor.data[:, : array.shape[1]] if array.ndim > 1 else tensor.data  # what only pads may be left out
            np.testing.assert_allclose(got, array, atol=1e-5)


@each_kind
def test_targets_are_turned_back_in_exported_models_too(name: str, read: Callable[..., Dataset]) -> None:
    found = read(name)
    for targets in fields.select(found.test.fields, found.test.take(np.array([0])), "target"):
        if targets.dtype.kind == "f":
            own = found.preprocessing.inverse_targets(Tensor(targets))
            assert isinstance(own, Tensor)
            np.testing.assert_allclose(own.data, found.preprocessing.inverse_targets(targets), rtol=1e-6)
        else:
            assert np.array_equal(found.preprocessing.inverse_targets(targets), targets)


@each_kind
def test_an_example_is_shown_and_limits_are_told(name: str, read: Callable[..., Dataset]) -> None:
    from matplotlib.figure import Figure

    found = read(name)
    kind, axes = kind_of(found), Figure().add_subplot()
    kind.show(axes, fields.select(found.test.fields, found.test.take(np.array([0])), "input"), found)
    assert axes.lines or axes.images or axes.texts or axes.patches or axes.collections
    assert kind.limits(found).endswith(".")
    blank = kind.look(found).blank(found.test.take(np.array([0]))[0][0])
    assert blank is None or blank.shape == found.input_shape


@each_kind
def test_options_that_a_kind_does_not_take_are_refused(name: str, read: Callable[..., Dataset]) -> None:
    own = kinds.kind(name).options
    for option in set(OPTIONS) - own:
        with pytest.raises(UserError, match=f"--{option} does not apply to .*{kinds.kind(name).noun}"):
            read(name, **{option: VALUES[option]})
    if "groups" not in own and sample(name).dealt:
        with pytest.raises(UserError, match="--groups does not apply"):
            read(name, fold=Fold(0, 3, groups="x"))


@pytest.mark.parametrize("fold", [None, Fold(1, 3), Fold(0, 4, inner=1)])
def test_rows_of_a_group_stay_together(fold: Fold | None) -> None:
    groups = np.random.default_rng(0).integers(0, 20, 100)
    for classes in (None, np.arange(100) % 2):
        parts = Reading(fold=fold).part(100, classes, groups=groups)
        found = [set(groups[rows]) for rows in parts]
        assert sum(map(len, found)) == len(set.union(*found)) == 20
        assert np.array_equal(np.sort(np.concatenate(list(parts))), np.arange(100))


def test_official_parts_hold_unless_there_is_a_fold() -> None:
    official = (np.arange(60), np.arange(60, 80), np.arange(80, 100))
    assert all(map(np.array_equal, Reading().part(80, official=official), official))
    folded = Reading(fold=Fold(0, 2)).part(80, official=official)
    assert np.array_equal(np.sort(np.concatenate(list(folded))), np.arange(80))


def test_a_reader_that_ignores_a_fold_is_refused(read: Callable[..., Dataset]) -> None:
    kinds.register(ForgetfulKind())
    assert len(read("points").train) == 30
    with pytest.raises(UserError, match=r"whose reader \(points\) ignores it"):
        read("points", fold=Fold(0, 3))


def test_a_kind_without_more_refuses_the_rest_in_one_sentence(tmp_path: Path, read: Callable[..., Dataset]) -> None:
    found = read("points")
    kind = kind_of(found)
    bare = type("Bare", (PointsKind,), {n: getattr(kinds.Kind, n) for n in ("examples", "reader", "exported", "given")})()
    for call in (
        lambda: bare.examples(Source(tmp_path), found.preprocessing),
        lambda: bare.reader(found.preprocessing, (2,)),
        lambda: bare.exported(found),
        lambda: bare.given([[0.0, 1.0]], found.preprocessing),
    ):
        with pytest.raises(UserError, match=r"odels? of points|Received points") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert type(kind.look(found)).__name__ == "Rows"


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(UserError, match="Did you mean 'image'"):
        kinds.kind("images")


def test_kinds_are_found_without_being_imported() -> None:
    import subprocess
    import sys

    code = "import sys; from nnatomy.data import kinds; kinds.names(); print([m for m in sys.modules if '.kinds.t' in m])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
