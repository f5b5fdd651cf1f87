"""Pictures of architectures: a model is trained for the first one and kept for the others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.catalog import architecture
from nnatomy.cli import main
from nnatomy.runs.prepare import prepare
from nnatomy.runs.request import Request
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
