"""Arrays and data frames given in Python: tasks by their types, splits, standardization, and files of arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_files import table_text

from nnatomy.data import Fold, batches, from_arrays, from_frame, load, load_examples, load_inputs
from nnatomy.data.requests import RequestError
from nnatomy.errors import UserError

pytestmark = pytest.mark.any_kernels

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.normal(3, 5, (60, 4))
IDS = np.arange(60) % 3


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (IDS, "classification", ("0", "1", "2")),
        (IDS.astype(np.uint8) + 9, "classification", ("9", "10", "11")),
        (IDS == 1, "classification", ("False", "True")),
        (np.array(["b", "a", "c"])[IDS], "classification", ("a", "b", "c")),
        (np.array(["b", "a", "c"], object)[IDS], "classification", ("a", "b", "c")),
        (X[:, 0], "regression", ()),
        (X[:, :2].astype(np.float32), "regression", ()),
        (None, "reconstruction", ()),
    ],
)
def test_the_task_is_that_of_the_type_of_y(y: Array | None, task: str, classes: tuple[str, ...]) -> None:
    found = from_arrays(X, y)
    assert (found.task, found.classes, found.kind) == (task, classes, "table")
    inputs, targets = found.train.all()
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(inputs.std(axis=0), 1, atol=1e-6)
    assert [len(part) for part in (found.train, found.validation, found.test)] == pytest.approx([42, 9, 9], abs=1)
    if task == "classification":
        assert targets.dtype == np.int64
        assert found.outputs == len(classes)
    elif y is not None:
        np.testing.assert_allclose(targets.std(axis=0), 1, atol=1e-5)
        every = np.concatenate([part.all()[1] for part in (found.train, found.validation, found.test)])
        own = found.preprocessing.inverse_targets(every.astype(np.float64))
        np.testing.assert_allclose(np.sort(own, axis=0), np.sort(np.asarray(y).reshape(60, -1), axis=0), atol=1e-5)
    else:
        assert np.array_equal(inputs, targets)
        assert found.outputs == 4


@pytest.mark.parametrize(("shape", "kind", "axes"), [((60, 7, 2), "series", (0, 1)), ((60, 3, 5, 4), "image", (0, 2, 3))])
def test_examples_with_axes_are_standardized_by_feature_or_channel(
    shape: tuple[int, ...], kind: str, axes: tuple[int, ...]
) -> None:
    found = from_arrays(RNG.uniform(0, 255, shape).astype(np.uint8), IDS)
    assert (found.kind, found.input_shape) == (kind, shape[1:])
    inputs = found.train.all()[0]
    np.testing.assert_allclose(inputs.mean(axis=axes), 0, atol=1e-6)
    np.testing.assert_allclose(inputs.std(axis=axes), 1, atol=1e-5)


def test_groups_and_folds_of_arrays() -> None:
    groups = np.repeat(np.arange(12), 5)
    marked = np.concatenate([X, groups[:, None]], axis=1)
    for fold in (None, Fold(1, 3)):
        found = from_arrays(marked, IDS, groups=groups, fold=fold)
        seen = [set(np.round(part.all()[0][:, -1], 4)) for part in (found.train, found.validation, found.test)]
        assert sum(map(len, seen)) == len(set.union(*seen)) == 12
    assert len(from_arrays(X, IDS, limit=5).train) == 5


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (X[:, 0], IDS, r"Received \(60,\). Reshape it"),
        (X, IDS[:50], "Received 60 and 50"),
        (np.where(X > 9, np.nan, X), IDS, "NaN or infinity in row"),
        (X, np.where(X[:, 0] > 9, np.inf, X[:, 0]), "y holds finite numbers"),
        (np.array([["a"]] * 60), IDS, "X is an array of numbers"),
        ([[1.0], [2.0, 3.0]], IDS, "X is an array of numbers"),
        (X, np.ones(60, int), "two or more"),
        (X, np.stack([IDS, IDS], axis=1), r"Received int64 of shape \(60, 2\)"),
        (X, np.array([None] * 60), "Received object"),
        (X, np.array([0] * 58 + [1, 2]), "Received 1 of class '1'"),
    ],
)
def test_wrong_arrays_give_one_sentence(x: Any, y: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        from_arrays(x, y)
    assert "\n" not in str(caught.value)


def test_new_arrays_are_taken_as_they_are_and_from_files(tmp_path: Path) -> None:
    preprocessing = from_arrays(X, IDS).preprocessing
    given = load_inputs(X[:5], preprocessing)
    assert given.rows == ("1", "2", "3", "4", "5")
    np.save(tmp_path / "new.npy", X[:5])
    np.savez(tmp_path / "new.npz", X=X[:5], y=IDS[:5])
    for name in ("new.npy", "new.npz"):
        assert np.array_equal(load_inputs(tmp_path / name, preprocessing).arrays[0], given.arrays[0])
    split, _ = load_examples(tmp_path / "new.npz", preprocessing)
    assert np.array_equal(split.all()[1], IDS[:5])
    np.savez(tmp_path / "all.npz", X=X, y=IDS)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    np.savez(tmp_path / "other.npz", Z=X)
    np.savez(tmp_path / "unknown.npz", X=X[:1], y=[7])
    for call, sentence in (
        (lambda: load_inputs(X[:, :3], preprocessing), r"X of shape \(n, 4\)"),
        (lambda: load_examples(tmp_path / "new.npy", preprocessing), "with none"),
        (lambda: load_examples(tmp_path / "unknown.npz", preprocessing), "Received '7'"),
        (lambda: load(tmp_path / "broken.npz"), "is damaged"),
        (lambda: load(tmp_path / "other.npz"), "holds the array X"),
        (lambda: load(tmp_path / "all.npz", ("image",)), "takes images. .* holds tables"),
        (lambda: load(tmp_path / "all.npz", ("text",)), "takes plain text. .* holds arrays"),
    ):
        with pytest.raises(UserError, match=sentence):
            call()


def test_requests_keep_the_precision_of_large_numbers() -> None:
    from nnatomy.data.kinds import kind_of

    found = from_arrays(1e9 + np.arange(60.0)[:, None], IDS)
    reader = kind_of(found).reader(found.preprocessing, found.input_shape)
    near, far = (reader.read("application/json", f'{{"inputs": [[{v}]]}}'.encode())[0][0] for v in (1e9 + 1, 1e9 + 2))
    assert float(far[0, 0] - near[0, 0]) > 0.01
    reader.most_rows = 3
    with pytest.raises(RequestError, match="at most 3 rows") as caught:
        reader.read("application/json", b'{"inputs": [[1], [2], [3], [4]]}')
    assert caught.value.fault == "too large"


@dataclass
class Frame:
    """The common interface of pandas and polars."""

    data: dict[str, list[Any]]

    @property
    def columns(self) -> list[str]:
        return list(self.data)

    @property
    def shape(self) -> tuple[int, int]:
        return len(next(iter(self.data.values()), [])), len(self.data)

    def __getitem__(self, name: str) -> Any:
        values = self.data[name]

        class Column:
            def to_list(self) -> list[Any]:
                return values

        return Column()


def as_frame(text: str) -> Frame:
    header, *lines = [line.split(",") for line in text.split()]
    cells = dict(zip(header, zip(*lines, strict=True), strict=True))
    return Frame({"a": [float(v) for v in cells["a"]], "b": [float(v) for v in cells["b"]], "color": list(cells["color"]),
                  "y": list(cells["y"])})  # fmt: skip


def test_a_frame_is_read_as_its_file_is(write: Callable[..., Path]) -> None:
    text = table_text(60, y=["yes" if k % 2 else "no" for k in range(60)])
    found, expected = from_frame(as_frame(text), "y"), load(write("frame.csv", text), target="y")
    for a, b in zip(found.train.all(), expected.train.all(), strict=True):
        assert np.array_equal(a, b)
    assert found.preprocessing.to_json() == expected.preprocessing.to_json()
    assert len(load_inputs(as_frame(text), found.preprocessing).rows) == 60
    assert from_frame(as_frame(text)).task == "reconstruction"
    assert len(from_frame(as_frame(text), "y", fold=Fold(0, 3)).test) == 20


def test_cells_of_a_frame() -> None:
    from datetime import date, datetime

    from nnatomy.data.columns import table_of_frame

    frame = Frame({"x": [None, float("nan"), True, 0.1, 3, " NA ", "a b", date(2024, 1, 2), datetime(2024, 1, 2, 3, 4)]})
    assert table_of_frame(frame).columns["x"] == ["", "", "true", "0.1", "3", "NA", "a b", "2024-01-02", "2024-01-02 03:04:00"]
    for wrong in (X, {"a": [1]}, Frame({}), Frame({"a": []})):
        with pytest.raises(UserError, match="Received"):
            table_of_frame(wrong)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_of_the_libraries(library: str) -> None:
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    frame = frames.DataFrame({"a": X[:, 0], "b": IDS % 2 == 0, "y": np.array(["p", "q", "r"])[IDS]})
    found = from_frame(frame, "y")
    assert found.classes == ("p", "q", "r")
    assert load_inputs(frame, found.preprocessing).arrays[0].shape == (60, 2)


def test_batches_of_arrays() -> None:
    made = list(batches((X, IDS), 32))
    assert [len(x) for x, _ in made] == [32, 28]
    assert np.array_equal(np.concatenate([y for _, y in made]), IDS)
    ((changed, targets),) = batches((X, IDS), 60, 0, augment=lambda x, rng: -x)  # shuffled, and the inputs alone changed
    back = np.lexsort(-changed.T)
    assert np.array_equal(-changed[back], X[np.lexsort(X.T)])
    assert np.array_equal(targets[back], IDS[np.lexsort(X.T)])
    for wrong in ((X, IDS[:5]), ()):
        with pytest.raises(UserError, match="a row for each example"):
            next(batches(wrong, 4))
