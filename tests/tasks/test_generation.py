"""Generation: distances that are known, modes that are counted, samples that repeat, and files that users want."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nnatomy as nn
from nnatomy import data
from nnatomy.cli.main import main
from nnatomy.errors import UserError
from nnatomy.tasks.generation import Generation, compared, distances, side_by_side
from nnatomy.tensor import Tensor
from nnatomy.training.evaluation import Evaluation

Array = np.ndarray[Any, Any]
SMALL: dict[str, Any] = {"epochs": 1, "limit": 60, "settings": {"hidden": "8"}, "report": False}


def test_the_energy_distance_of_two_normals_is_the_known_one() -> None:
    """For N(0, 1) and N(m, 1): 2 E|N(m, 2)| - 2 E|N(0, 2)|, with E|N(m, v)| in closed form."""
    from scipy.stats import foldnorm

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2000, 1)), rng.normal(size=(2000, 1)) + 1.5
    mean = float(foldnorm.mean(1.5 / np.sqrt(2), scale=np.sqrt(2)))
    assert compared(x, y)["energy_distance"] == pytest.approx(2 * mean - 4 / np.sqrt(np.pi), abs=0.08)
    same = [compared(rng.normal(size=(50, 3)), rng.normal(size=(50, 3)))["energy_distance"] for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)  # no bias, which pairs of a point and itself would cause
    assert min(same) < 0 < max(same)


def test_distances_are_those_of_numpy() -> None:
    a, b = np.random.default_rng(0).normal(size=(5, 3)), np.random.default_rng(1).normal(size=(4, 3))
    np.testing.assert_allclose(distances(a, b), np.linalg.norm(a[:, None] - b, axis=2), atol=1e-12)


def clusters(rng: np.random.Generator, kept: int, spread: float = 0.1) -> tuple[Array, Array]:
    """400 points that cycle through the first `kept` of 8 clusters, and the number of each point's cluster."""
    labels = np.arange(400) % kept
    angle = labels * np.pi / 4
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * 4 + spread * rng.normal(size=(400, 2)), labels


@pytest.mark.parametrize("kept", [8, 5, 1])
def test_modes_that_are_left_out_are_noticed(kept: int) -> None:
    rng = np.random.default_rng(0)
    real, labels = clusters(rng, 8)
    found = compared(real, clusters(rng, kept)[0], labels)
    assert found["modes"] == kept
    assert found["coverage"] == pytest.approx(kept / 8, abs=0.06)
    assert found["precision"] > 0.9


def test_samples_far_from_all_examples_are_of_no_mode() -> None:
    rng = np.random.default_rng(0)
    real, labels = clusters(rng, 8)
    vague = compared(real, clusters(rng, 8, spread=2.0)[0], labels)
    assert vague["precision"] < 0.2
    assert vague["modes"] == 0
    few = np.concatenate([clusters(rng, 7)[0][:395], clusters(rng, 8)[0][7:16:8]])
    assert compared(real, few, labels)["modes"] == 7  # 2 of 397 are less than a quarter of an eighth


def test_without_labels_no_modes_are_counted() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    assert "modes" not in compared(x, x)


@pytest.mark.parametrize("shape", [(1,), (2,), (5,)])
def test_the_figure_shows_points_of_any_size(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    figure = side_by_side(rng.normal(size=(50, *shape)), rng.normal(size=(50, *shape)), data.kinds.looks.Rows((), ()))
    assert [axes.get_title() for axes in figure.axes] == ["Held-out examples: 50", "Samples: 50"]


def test_the_figure_is_in_the_users_units() -> None:
    dataset = data.load("eight_gaussians", ("density",), tasks=("generation",))
    x = dataset.test.all()[0]
    figure = Generation(nn.architecture("gan").recipes[0], dataset).figure(Evaluation({}, {"real": x, "made": x}))
    offsets = np.asarray(figure.axes[1].collections[0].get_offsets())
    np.testing.assert_allclose(offsets, dataset.preprocessing.inverse(x), atol=1e-5)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "points"
    nn.train("gan", out=folder, **SMALL)
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    nn.train("gan", "digits", out=folder, **SMALL)
    return folder


def test_samples_repeat_with_their_seed(points: Path) -> None:
    first, again, other = (nn.sample(points, 5, seed) for seed in (3, 3, 4))
    assert not isinstance(first, str)
    assert not isinstance(again, str)
    assert not isinstance(other, str)
    assert list(first.columns) == ["x1", "x2"]
    assert np.array_equal(first.columns["x1"], again.columns["x1"])
    assert not np.array_equal(first.columns["x1"], other.columns["x1"])


def test_only_a_conditional_model_takes_a_label(points: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(points), "--label", "1"]) == 2
    assert "a run of gan, which takes no classes. Leave it out." in capsys.readouterr().err


def test_samples_are_in_the_users_units(points: Path) -> None:
    run = nn.load_run(points)
    made = run.sample(4, 7)
    assert not isinstance(made, str)
    nn.seed(7)
    with nn.no_grad():
        raw = run.model.sample(4).numpy()  # type: ignore[operator]
    mean, std = np.array(run.dataset.preprocessing.mean), np.array(run.dataset.preprocessing.std)  # type: ignore[attr-defined]
    np.testing.assert_allclose(np.stack(list(made.columns.values()), axis=1), raw * std + mean, rtol=1e-6)


def test_points_are_written_as_csv(points: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new.csv"
    assert main(["sample", str(points), "--count", "5", "--out", str(out)]) == 0
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == 5
    assert main(["sample", str(points), "--out", str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["sample", str(points), "--count", "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["sample"]) == 2
    assert main(["sample", str(points), "--count", "0"]) == 2
    assert main(["sample", str(points), "--seed", "-1"]) == 2


def test_pictures_are_written_as_one_or_as_many(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(digits), "--count", "9", "--out", str(tmp_path / "all.png")]) == 0
    with Image.open(tmp_path / "all.png") as picture:
        assert picture.size == (3 * 9 + 1, 3 * 9 + 1)
        grid = np.asarray(picture)
    assert main(["sample", str(digits), "--count", "9", "--out", str(tmp_path / "each")]) == 0
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == [*(f"{n}.png" for n in range(1, 10)), "samples.png"]
    with Image.open(tmp_path / "each" / "5.png") as picture:
        assert np.array_equal(np.asarray(picture), grid[10:18, 10:18])
    capsys.readouterr()
    for words, said in ((["--out", str(tmp_path / "all.csv")], ".png"), ([], "--out FOLDER")):
        assert main(["sample", str(digits), *words]) == 2
        assert said in capsys.readouterr().err


def test_data_are_refused_in_one_sentence(points: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "p.csv"
    source.write_text("x1,x2\n1,2\n3,4\n")
    for words in (["predict", str(points), "--data", str(source)], ["serve", str(points)]):
        assert main(words) == 2
        assert "nnatomy sample" in capsys.readouterr().err
    for view in ("activations", "filters", "errors", "saliency"):
        assert main(["draw", str(points), "--what", view]) == 2
        assert "architecture, gradients" in capsys.readouterr().err


def test_the_exported_generator_takes_noise(digits: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from nnatomy.interchange.onnx import run, session

    assert main(["export", str(digits), "--out", str(tmp_path / "g.onnx")]) == 0
    (end,) = json.loads((tmp_path / "g.json").read_text())["inputs"]
    assert (end["name"], end["shape"]) == ("noise", ["batch", 32])
    z = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    loaded = nn.load_run(digits)
    with nn.no_grad():
        expected = loaded.dataset.preprocessing.inverse(loaded.model(Tensor(z)).numpy())
    pixels = run(session(tmp_path / "g.onnx"), z)[0]
    assert pixels.shape == (3, 1, 8, 8)
    np.testing.assert_allclose(pixels, expected, rtol=1e-4, atol=1e-3)
    assert pixels.min() >= 0
    assert pixels.max() <= 16


def test_a_split_is_compared_evenly_where_it_is_large() -> None:
    dataset = data.load("eight_gaussians", ("density",), tasks=("generation",))
    assert len(dataset.test) < 2000
    task = Generation(nn.architecture("gan").recipes[0], dataset)
    meter = task.meter()
    x = np.arange(5000, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32)
    meter.add(x, (x, np.zeros(5000, np.int64)))
    found: Evaluation = meter.result()
    assert found.arrays["real"].shape == (2000, 2)
    assert found.arrays["real"][[0, -1], 0].tolist() == [0, 4999]


def test_other_tasks_make_no_samples(tmp_path: Path) -> None:
    nn.train("mlp", "iris", epochs=1, limit=60, out=tmp_path / "run", report=False)
    with pytest.raises(UserError, match="nnatomy predict"):
        nn.sample(tmp_path / "run")
