"""Points: the generated sets are what they say, files of every form are read, and what is wrong is said in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnatomy import data
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.density.sets import SPREAD, grid, ring
from nnatomy.errors import UserError
from nnatomy.tensor import Tensor

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(80, 2)) * [1, 30] + [0, 5]


def load(source: str | Path, **options: Any) -> Dataset:
    return data.load(source, ("density",), tasks=("generation",), **options)


def users_units(dataset: Dataset) -> np.ndarray[Any, Any]:
    """All points of a data set as the user has them."""
    x = np.concatenate([split.all()[0] for split in (dataset.train, dataset.validation, dataset.test)])
    return np.asarray(dataset.preprocessing.inverse(x.astype(np.float64)))


@pytest.mark.parametrize(("name", "centers"), [("eight_gaussians", ring()), ("grid_of_gaussians", grid())])
def test_mixtures_have_their_centers_and_spread(name: str, centers: Any) -> None:
    found = load(name)
    assert len(found.classes) == len(centers)
    points = users_units(found)
    labels = np.concatenate([split.all()[1] for split in (found.train, found.validation, found.test)])
    assert len(points) == 12_000
    for mode, center in enumerate(centers):
        own = points[labels == int(found.classes.index(str(mode)))]
        assert np.abs(own.mean(axis=0) - center).max() < 5 * SPREAD / np.sqrt(len(own))
        np.testing.assert_allclose(own.std(axis=0), SPREAD, rtol=0.12)
        assert len(own) == pytest.approx(12_000 / len(centers), rel=0.2)


def test_the_spirals_are_half_a_turn_apart() -> None:
    found = load("two_spirals")
    x, arm = found.train.all()
    points = found.preprocessing.inverse(x.astype(np.float64))
    points[arm == 1] *= -1  # rotated by half a turn
    radius, angle = np.linalg.norm(points, axis=1), np.arctan2(points[:, 1], points[:, 0])
    outer = radius > 0.5
    off = np.angle(np.exp(1j * (angle - np.pi * radius)))[outer]  # on the arm the angle is pi times the radius
    assert np.abs(off).mean() < 0.2


def test_the_seed_decides_the_points() -> None:
    a, b, c = (load("eight_gaussians", seed=seed).train.all()[0] for seed in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_files_of_every_form_hold_the_same_points(tmp_path: Path) -> None:
    modes = np.where(POINTS[:, 0] > 0, "right", "left")
    np.savez(tmp_path / "a.npz", X=POINTS, y=modes)
    np.save(tmp_path / "a.npy", POINTS)
    lines = ["x1,x2,side", *(f"{float(a)!r},{float(b)!r},{m}" for (a, b), m in zip(POINTS, modes))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    npz, npy, table = load(tmp_path / "a.npz"), load(tmp_path / "a.npy"), load(tmp_path / "a.csv", target="side")
    assert npz.classes == table.classes == ("left", "right")
    assert npy.classes == ()
    for a, b in zip(npz.train.all(), table.train.all()):
        assert np.array_equal(a, b)
    for found in (npz, npy, table):
        np.testing.assert_allclose(np.sort(users_units(found), axis=0), np.sort(POINTS, axis=0), rtol=1e-4, atol=1e-5)


def test_modes_are_in_natural_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=RNG.normal(size=(120, 2)), y=np.arange(120) % 12)
    assert load(tmp_path / "a.npz").classes == tuple(map(str, range(12)))


def test_other_architectures_read_tables_and_arrays_as_before(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=POINTS, y=np.arange(80) % 2)
    (tmp_path / "a.csv").write_text("a,b\n" + "\n".join(f"{a},{b}" for a, b in POINTS))
    assert data.load(tmp_path / "a.npz").task == "classification"
    assert data.load(tmp_path / "a.csv", tasks=("reconstruction",), accepts=("table", "image")).kind == "table"
    assert data.load(tmp_path / "a.csv", target="b").kind == "table"


def test_units_return_for_tensors_too() -> None:
    found = load("eight_gaussians", limit=20)
    x = found.train.all()[0]
    back = found.preprocessing.inverse(Tensor(x))
    assert isinstance(back, Tensor)
    np.testing.assert_allclose(back.numpy(), found.preprocessing.inverse(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("a,b\n1,2\n3,x\n5,6\n", {}, r"Received 'x' in column 'b'.*row 2"),
        ("a,b\n1,2\n3,\n5,6\n", {}, "column 'b'"),
        ("a,b\n1,2\n3,inf\n5,6\n", {}, "column 'b'"),
        ("a,b\n1,2\n3,2\n5,2\n7,2\n9,2\n11,2\n", {}, "same number in every row of 'b'"),
        ("a,b\n1,2\n3,4\n", {"target": "c"}, "--target names a column of .*Use one of a, b"),
        ("a\nleft\nright\n", {"target": "a"}, "column of numbers"),
    ],
)
def test_wrong_tables_are_refused(text: str, options: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=said) as refused:
        load(tmp_path / "a.csv", **options)
    assert "\n" not in str(refused.value)


def test_wrong_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "nothing.npz", Z=POINTS)
    np.savez(tmp_path / "nan.npz", X=np.where(POINTS > 1, np.nan, POINTS))
    np.savez(tmp_path / "short.npz", X=POINTS, y=np.arange(3))
    (tmp_path / "broken.npz").write_bytes(b"PK not a zip")
    for name, said in (("nothing", "array X"), ("nan", "NaN or infinity"), ("short", "80 and 3"), ("broken", "damaged")):
        with pytest.raises(UserError, match=said):
            load(tmp_path / f"{name}.npz")
    np.savez(tmp_path / "fine.npz", X=POINTS)
    with pytest.raises(UserError, match="--target"):
        load(tmp_path / "fine.npz", target="y")


def test_new_points_need_the_columns_of_training(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n" + "\n".join(f"{a},{b}" for a, b in POINTS))
    fitted = load(tmp_path / "a.csv").preprocessing
    (tmp_path / "b.csv").write_text("b,more,a\n2,text,1\n4,text,3\n")
    (inputs,) = data.load_inputs(tmp_path / "b.csv", fitted).arrays
    np.testing.assert_allclose(fitted.inverse(inputs), [[1, 2], [3, 4]], rtol=1e-4)
    (tmp_path / "c.csv").write_text("a,c\n1,2\n")
    with pytest.raises(UserError, match="without b"):
        data.load_inputs(tmp_path / "c.csv", fitted)
    with pytest.raises(UserError, match="points of 2 numbers"):
        data.load_inputs(np.zeros((3, 3)), fitted)


def test_arrays_in_python_are_points_to_a_model_of_points(tmp_path: Path) -> None:
    import nnatomy as nn

    options: dict[str, Any] = {"epochs": 1, "settings": {"hidden": "4"}, "report": False}
    run = nn.train("gan", POINTS, out=tmp_path / "a", **options)
    assert (run.dataset.kind, run.dataset.classes) == ("density", ())
    run = nn.train("gan", (POINTS, np.arange(80) % 2), out=tmp_path / "b", **options)
    assert run.dataset.classes == ("0", "1")
    assert "modes" in run.metrics
    assert data.from_arrays(POINTS).kind == "table"
    with pytest.raises(UserError, match="--out"):
        nn.train("gan", POINTS, out=tmp_path / "a", **options)
    assert "modes" in nn.evaluate(tmp_path / "b", (POINTS, np.arange(80) % 2)).metrics
