"""Pictures of architectures: one training for all of them, colors that show what varies, and the boundary of an MLP."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

import nnatomy as nn
from nnatomy.catalog import architecture
from nnatomy.cli import main
from nnatomy.runs.prepare import prepare
from nnatomy.runs.request import Request
from nnatomy.tasks.figures import fit_colors
from nnatomy.views import trained as cache

pytestmark = pytest.mark.any_kernels


@pytest.fixture
def trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was trained, one entry a training; the cache is empty at first."""
    found: list[str] = []

    def counted(*args: Any, **options: Any) -> Any:
        found.append(args[0])
        return nn.train(*args, epochs=2, **options)

    monkeypatch.setattr(cache, "train", counted)
    monkeypatch.setattr("nnatomy.kernels.library.folder", lambda kind="kernels": tmp_path / kind)
    return found


def entries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "pictures").iterdir())


def use(subject: str = "som") -> dict[str, np.ndarray[Any, Any]]:
    """The weights that a picture would be drawn from."""
    with cache.trained(prepare(Request(architecture(subject).key))) as (prepared, run, _):
        assert (run.folder / "run.json").is_file()
        return {name: np.array(array) for name, array in prepared.model.state_dict().items()}


def test_views_of_an_architecture_share_one_training(
    trainings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [tmp_path / f"{n}.png" for n in range(3)]
    assert main(["draw", "mlp", "--out", str(pictures[0])]) == 0
    first = capsys.readouterr().err
    assert "Training mlp for its picture" in first
    assert main(["draw", "mlp", "--out", str(pictures[1])]) == 0
    again = capsys.readouterr().err
    assert main(["draw", "mlp", "--what", "gradients", "--out", str(pictures[2])]) == 0
    assert trainings == ["mlp"]
    (kept,) = entries(tmp_path)
    assert again.startswith("Drawing the model that was trained for an earlier picture; to train again, remove ")
    assert again.strip().endswith(f"{kept}.")
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert {path.suffix for path in kept.iterdir()} == {".json", ".jsonl", ".safetensors"}
    shutil.rmtree(kept)
    assert main(["draw", "mlp", "--what", "filters", "--out", str(tmp_path / "3.png")]) == 0
    assert trainings == ["mlp", "mlp"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("harm", [cut, flip, Path.unlink, lambda path: path.write_text("[]")])
@pytest.mark.parametrize("name", ["best.safetensors", "run.json", "metrics.jsonl", "kept.json"])
def test_a_damaged_entry_is_trained_again(
    name: str, harm: Callable[[Path], None], trainings: list[str], tmp_path: Path
) -> None:
    whole = use()
    (kept,) = entries(tmp_path)
    harm(kept / name)
    again = use()
    assert entries(tmp_path) == [kept]
    assert all(np.array_equal(whole[key], again[key]) for key in whole)
    use()
    assert trainings == ["som", "som"]


CHANGES: dict[str, tuple[Callable[[pytest.MonkeyPatch, Path], Any], int]] = {
    "nothing": (lambda patch, own: None, 1),
    "version": (lambda patch, own: patch.setattr(cache, "__version__", "9.9.9"), 2),
    "device": (lambda patch, own: patch.setattr(cache, "backends", computing("numpy", "gpu:0")), 2),
    "backend": (lambda patch, own: patch.setattr(cache, "backends", computing("jax", "cpu")), 2),
    "code": (lambda patch, own: append(own / "model.py", "\nMORE = 1\n"), 2),
    "recipe": (lambda patch, own: append(own / "recipe.py", "\nMORE = 1\n"), 2),
    "data": (lambda patch, own: patch.setattr(cache, "data", SimpleNamespace(fingerprint=other)), 2),
    "its picture": (lambda patch, own: append(own / "picture.py", "\nMORE = 1\n"), 1),
    "its page": (lambda patch, own: append(own / "page.md", "\nMore.\n"), 1),
}


def computing(backend: str, device: str) -> SimpleNamespace:
    return SimpleNamespace(current=lambda: backend, device=lambda: device)


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def other(dataset: Any) -> Any:
    from nnatomy.data.fingerprints import Contents, Fingerprint

    return Fingerprint(dataset.name, Contents("rows", rows=1), {}, dataset.kind)


@pytest.mark.parametrize("change", CHANGES)
def test_what_decides_the_weights_is_trained_again(
    change: str, trainings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    shutil.copytree(architecture("som").folder, own, ignore=shutil.ignore_patterns("__pycache__"))
    text = (own / "recipe.py").read_text(encoding="utf-8")
    (own / "recipe.py").write_text(text.replace("nnatomy.architectures.unsupervised.som.", "."), encoding="utf-8")
    use(str(own))
    make, count = CHANGES[change]
    make(monkeypatch, own)
    use(str(own))
    assert len(trainings) == count


def test_the_oldest_entries_are_removed(trainings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_RUNS", 2)
    for version in "123":
        monkeypatch.setattr(cache, "__version__", version)
        use()
    assert len(entries(tmp_path)) == 2
    monkeypatch.setattr(cache, "MOST_BYTES", 1)  # the newest one is kept, whatever its size
    monkeypatch.setattr(cache, "__version__", "4")
    use()
    assert len(entries(tmp_path)) == 1
    use()
    assert len(trainings) == 4


def test_pictures_need_no_cache(trainings: list[str], tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("a file where the folder would be")
    use()
    use()
    assert trainings == ["som", "som"]


LINE = np.linspace(0.94, 0.96, 101)
SCALES: dict[str, tuple[Any, float, float, tuple[float, float], str]] = {
    "fills it": (np.linspace(0, 1, 101), 0, 1, (0, 1), "neither"),
    "fills a third": (np.linspace(0.4, 0.75, 101), 0, 1, (0, 1), "neither"),
    "near 0.95": (LINE, 0, 1, (0.9404, 0.9596), "both"),
    "near 0.95 but one": (np.append(LINE, 0.1), 0, 1, (np.quantile(np.append(LINE, 0.1), 0.02), 0.9596), "both"),
    "two values": (np.repeat([0.5, 0.51], 50), 0, 1, (0.5, 0.51), "neither"),
    "constant": (np.full(100, 0.95), 0, 1, (0, 1), "neither"),
    "signed": (np.repeat([-0.02, 0.01], 50), -1, 1, (-0.02, 0.02), "neither"),
    "signed, on one side": (np.repeat([0.01, 0.02], 50), -1, 1, (-0.02, 0.02), "neither"),
    "signed and wide": (np.repeat([-0.5, 0.1], 50), -1, 1, (-1, 1), "neither"),
    "with gaps": (np.append(LINE, [np.nan, np.inf]), 0, 1, (0.9404, 0.9596), "both"),
    "all gaps": (np.full(4, np.nan), 0, 1, (0, 1), "neither"),
}


@pytest.mark.parametrize("name", SCALES)
def test_the_scale_of_colors_is_what_varies(name: str) -> None:
    values, low, high, ends, extend = SCALES[name]
    image = Figure().subplots().imshow(values[None], vmin=low, vmax=high)
    assert fit_colors(image) == extend
    assert image.get_clim() == pytest.approx(ends, abs=2e-4)


def test_no_panel_of_a_gate_is_one_color() -> None:
    """The forget gates of a new LSTM are all near 0.73."""
    prepared = prepare(Request("lstm", data="adding_problem", limit=60, window=12))
    figure = prepared.architecture.module("picture").draw(prepared.model, prepared.dataset)
    for axes in figure.axes:
        for image in axes.images:
            values, (low, high) = np.ma.compressed(image.get_array()), image.get_clim()
            assert np.quantile(np.abs(values), 0.98) > 0.9 * high if low < 0 else np.ptp(values) > 0.9 * (high - low)


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An MLP of a table whose classes follow from the signs of two of its five numbers."""
    folder = tmp_path_factory.mktemp("crossed")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(600, 5)) * [1, 10, 1, 100, 1] + [0, 50, 0, 1000, 0]
    label = np.where((values[:, 1] > 50) == (values[:, 3] > 1000), "same", "other")
    rows = [",".join([*(f"{v:.4f}" for v in row), name, group]) for row, name, group in zip(values, label, "xyz" * 200)]
    (folder / "t.csv").write_text("\n".join(["a,b,c,d,e,label,group", *rows]), encoding="utf-8")
    return nn.train("mlp", str(folder / "t.csv"), target="label", epochs=30, out=folder / "run", report=False)


def test_an_mlp_opens_with_its_boundary_by_the_inputs_that_matter(crossed: Any) -> None:
    prepared = crossed.prepared
    model, dataset = prepared.model, prepared.dataset
    axes = prepared.architecture.module("picture").draw(model, dataset).axes[0]
    assert "boundary" in axes.get_title()
    assert {axes.get_xlabel(), axes.get_ylabel()} == {"b", "d"}
    names = list(dataset.preprocessing.feature_names)
    across, up = names.index(axes.get_xlabel()), names.index(axes.get_ylabel())
    (image,) = axes.images
    colors = np.asarray(image.get_array())
    left, right, bottom, top = image.get_extent()
    means = dataset.train.all()[0].astype(np.float64).mean(axis=0)
    hues = {0: np.array([0x25, 0x63, 0xA8]) / 255, 1: np.array([0xD1, 0x66, 0x2A]) / 255}
    for row, column in [(10, 10), (10, 150), (150, 10), (150, 150), (40, 100), (120, 60)]:
        h = means.copy()
        h[across] = left + (right - left) * column / 159
        h[up] = bottom + (top - bottom) * row / 159
        scores = model(nn.tensor(h[None].astype(np.float32))).numpy()[0].astype(np.float64)
        p = 1 / (1 + np.exp(-abs(scores[1] - scores[0])))
        shade = 0.45 * (p - 0.5) / 0.5
        assert colors[row, column] == pytest.approx(1 - shade + shade * hues[int(scores.argmax())], abs=1e-3)
    places = {float(text.get_text()): place for text, place in zip(axes.get_xticklabels(), axes.get_xticks())}
    field = next(field for field in dataset.preprocessing.fields if field.name == axes.get_xlabel())
    assert len(places) >= 3
    assert all(place == pytest.approx((value - field.mean) / field.std, abs=1e-4) for value, place in places.items())
    shown = sum(len(points.get_offsets()) for points in axes.collections if len(points.get_offsets()) > 1)
    assert shown == len(dataset.test)


FIRST: dict[str, tuple[str, str]] = {
    "classes of images": ("digits", "Before: the inputs"),
    "classes of a table": ("iris", "The boundary it draws"),
    "numbers of a table": ("diabetes", "What it relies on"),
}


@pytest.mark.parametrize("name", FIRST)
def test_what_an_mlp_opens_with(name: str) -> None:
    source, title = FIRST[name]
    prepared = prepare(Request("mlp", data=source))
    figure = prepared.architecture.module("picture").draw(prepared.model, prepared.dataset)
    assert figure.axes[0].get_title().startswith(title)


def test_categories_are_a_plane_where_there_are_no_numbers(tmp_path: Path) -> None:
    rows = [f"{'ab'[i % 2]},{'cde'[i % 3]},{'no' if i % 6 else 'yes'}" for i in range(120)]
    (tmp_path / "t.csv").write_text("\n".join(["one,two,label", *rows]), encoding="utf-8")
    prepared = prepare(Request("mlp", data=str(tmp_path / "t.csv"), target="label"))
    axes = prepared.architecture.module("picture").draw(prepared.model, prepared.dataset).axes[0]
    assert axes.get_xlabel() != axes.get_ylabel()
    assert {axes.get_xlabel(), axes.get_ylabel()} <= set(prepared.dataset.preprocessing.feature_names)


@pytest.mark.parametrize("hidden, count", [((3,), 3), ((200,), 24), ((200, 8), 24)])
def test_lines_of_first_units_do_not_hide_the_plane(hidden: tuple[int, ...], count: int, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(120, 2))
    rows = [f"{a:.3f},{b:.3f},{'no' if a > b else 'yes'}" for a, b in points]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,label", *rows]), encoding="utf-8")
    prepared = prepare(Request("mlp", data=str(tmp_path / "t.csv"), target="label"))
    options = dict(prepared.recipe.options) | {"hidden": hidden}
    model = prepared.recipe.build(prepared.dataset, **options)
    axes = prepared.architecture.module("picture").draw(model, prepared.dataset).axes[1]
    lines = [artist for artist in axes.collections if isinstance(artist, ContourSet)]
    assert 0 < len(lines) <= count
    assert str(hidden[0]) in axes.get_title()
