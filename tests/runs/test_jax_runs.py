"""Runs on the JAX backend: NumPy's course, one program an epoch, exact continuation, and the same words where they fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from nnatomy import backends
from nnatomy.cli import main
from nnatomy.errors import UserError
from nnatomy.runs.estimators import NeuralClassifier
from nnatomy.runs.folder import load_arrays
from nnatomy.runs.train import resume, train
from nnatomy.runs.trained import evaluate, predict
from nnatomy.training.loop import Callback, Loop

pytest.importorskip("jax")
pytestmark = pytest.mark.any_kernels

EXACT: dict[str, Any] = {"epochs": 3, "seed": 1, "report": False, "precision": "float64"}
BATCH_NORM = {"dropout": 0, "batch_norm": True, "hidden": (16, 16), "patience": "none"}


@pytest.fixture(autouse=True)
def numpy_afterwards() -> Iterator[None]:
    with backends.backend("numpy"):
        yield


class Programs(Callback):
    """Return the compiled cases of the step."""

    def end(self, loop: Loop) -> None:
        self.found = [name for name, _ in loop.step.function.parts()]  # type: ignore[union-attr]
        functions = loop.task._functions  # type: ignore[attr-defined]
        self.evaluated = [len(compiled.parts()) for _, compiled in functions.values()]


class StopAfter(Callback):
    """An interruption at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, loop: Loop) -> None:
        loop.interrupted = loop.position.step == self.step


def course(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]
    return lines


def test_the_course_is_numpys_and_ragged_batches_compile_nothing(tmp_path: Path) -> None:
    """203 examples in batches of 64: the last has 11, and its own batch statistics."""
    programs = Programs()
    options = {"limit": 203, "settings": BATCH_NORM, **EXACT}
    train("mlp", out=tmp_path / "numpy", **options)
    train("mlp", out=tmp_path / "jax", backend="jax", callbacks=[programs], **options)
    assert len(programs.found) == 1
    assert programs.evaluated == [1]
    expected, found = course(tmp_path / "numpy"), course(tmp_path / "jax")
    assert [line.keys() for line in found] == [line.keys() for line in expected]
    for one, other in zip(expected, found, strict=True):
        assert one["validation"].keys() == other["validation"].keys()
        for key in ("epoch", "step", "best_epoch"):
            assert one[key] == other[key]
        for key, value in (one | one["validation"]).items():
            if isinstance(value, float):
                assert (other | other["validation"])[key] == pytest.approx(value, rel=1e-8), key
    for name in ("best.safetensors", "last.safetensors"):
        wanted, got = load_arrays(tmp_path / "numpy" / name)[0], load_arrays(tmp_path / "jax" / name)[0]
        assert wanted.keys() == got.keys()
        for key, value in wanted.items():
            assert got[key].dtype == value.dtype
            np.testing.assert_allclose(got[key], value, rtol=1e-7, atol=1e-10, err_msg=key)


def test_sequences_of_all_lengths_compile_a_few_programs(tmp_path: Path) -> None:
    programs = Programs()
    lines = [f"{'good bad ' * (1 + i % 8)}{i}\t{('no', 'yes')[i % 2]}" for i in range(80)]
    data = tmp_path / "sentences.tsv"
    data.write_text("\n".join(lines) + "\n")
    settings = {"hidden": 4, "embedding": 4, "bidirectional": False}
    options = {"settings": settings, "batch_size": 8, **EXACT, "epochs": 1}
    expected = train("lstm", data, out=tmp_path / "numpy", **options)
    found = train("lstm", data, out=tmp_path / "jax", backend="jax", callbacks=[programs], **options)
    assert len(programs.found) == 2  # of 16 and of 32 steps
    assert found.metrics == pytest.approx(expected.metrics, rel=1e-7)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_interrupted_and_resumed_equals_undisturbed(precision: str, tmp_path: Path) -> None:
    options = {"backend": "jax", "limit": 203, "epochs": 3, "report": False, "precision": precision, "accumulate": 2}
    calm = train("mlp", out=tmp_path / "calm", **options)
    broken = train("mlp", out=tmp_path / "broken", callbacks=[StopAfter(6)], **options)
    assert broken.interrupted
    resumed = resume(tmp_path / "broken", report=False)
    assert resumed.metrics == calm.metrics
    assert course(tmp_path / "broken") == course(tmp_path / "calm")
    undisturbed, continued = (load_arrays(tmp_path / n / "last.safetensors")[0] for n in ("calm", "broken"))
    for key, value in undisturbed.items():
        np.testing.assert_array_equal(continued[key], value, err_msg=key)
        assert continued[key].dtype == value.dtype
    assert {str(a.dtype) for k, a in undisturbed.items() if k.startswith("model/")} == {"float32"}


@pytest.mark.parametrize("lr", [1e30, 1e4])
def test_a_loss_that_is_not_finite_is_explained_as_on_numpy(lr: float, tmp_path: Path) -> None:
    said = []
    for backend in ("numpy", "jax"):
        with pytest.raises(UserError, match="finite loss") as caught:
            train("mlp", out=tmp_path / backend, backend=backend, lr=lr, limit=200, epochs=60, report=False,
                  settings={"dropout": 0, "patience": "none", "schedule": "none", "optimizer": "SGD"})  # fmt: skip
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_a_budget_ends_a_run_in_time(tmp_path: Path) -> None:
    endless = {"patience": "none"}
    result = train("mlp", out=tmp_path / "run", backend="jax", budget=3.0, epochs=10**6, report=False, settings=endless)
    assert "budget" in result.stopped
    assert result.seconds < 6


def test_a_run_is_measured_and_answers_on_either_backend(tmp_path: Path) -> None:
    """In half precision it was trained around float32 weights, which every backend reads."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 2))
    data = tmp_path / "points.csv"
    rows = [f"{a:.3f},{b:.3f},{'in' if a * b > 0 else 'out'}" for a, b in x]
    data.write_text("\n".join(["a,b,side", *rows]) + "\n")
    options: dict[str, Any] = {"target": "side", "epochs": 2, "report": False, "backend": "jax", "precision": "bfloat16"}
    result = train("mlp", data, out=tmp_path / "run", **options)
    there, here = (evaluate(tmp_path / "run", backend=backend).metrics for backend in (None, "numpy"))
    assert there == result.metrics
    assert here == pytest.approx(there, rel=1e-5)
    said, also = (predict(tmp_path / "run", data, backend=backend).columns for backend in (None, "numpy"))
    assert said["prediction"].tolist() == also["prediction"].tolist()
    np.testing.assert_allclose(said["probability"], also["probability"], rtol=1e-5)
    written = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert written["device"].startswith("cpu:0")
    assert written["packages"]["jax"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["request"]["precision"] == "bfloat16"


def test_estimators_learn_on_jax_and_answer_on_numpy() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(130, 3))
    y = np.where(x[:, 0] > 0, "right", "left")
    options: dict[str, Any] = {"epochs": 25, "random_state": 0, "settings": {"dropout": 0}}
    here, there = (NeuralClassifier("mlp", backend=backend, **options).fit(x, y) for backend in (None, "jax"))
    assert backends.current() == "numpy"
    assert all(isinstance(p.data, np.ndarray) for p in there.model_.parameters())
    np.testing.assert_allclose(there.predict_proba(x), here.predict_proba(x), atol=1e-3)
    assert there.score(x, y) > 0.9
    assert clone(there).get_params()["backend"] == "jax"


@pytest.mark.slow
def test_verify_holds_the_twins_against_jax(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("keras")
    assert main(["verify", "perceptron", "--backend", "jax", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"]
    assert main(["verify", "perceptron", "--backend", "jax", "--write"]) == 2


@pytest.mark.slow
def test_the_second_process_starts_from_the_cache(tmp_path: Path) -> None:
    """As two processes of a user would, and where the cache cannot be kept a run continues without."""
    code = """if True:
        import jax, sys
        hits = []
        jax.monitoring.register_event_listener(lambda name, **_: hits.append(name) if "cache_hits" in name else None)
        import nnatomy as e
        e.train("mlp", out=sys.argv[1], backend="jax", epochs=1, limit=100, report=False)
        print(len(hits))
    """
    found = []
    for number, cache in enumerate(("cache", "cache", "open")):
        (tmp_path / cache).mkdir(exist_ok=True)
        if cache == "open":
            (tmp_path / cache / "xla").mkdir(mode=0o777)
            (tmp_path / cache / "xla").chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / f"run{number}")], capture_output=True, text=True, check=True,
            env={**os.environ, "NNATOMY_CACHE": str(tmp_path / cache)},
        )  # fmt: skip
        found.append(int(done.stdout))
    assert found[0] == 0
    assert found[1] > 0
    assert found[2] == 0
    assert list((tmp_path / "cache" / "xla").iterdir())
    assert not list((tmp_path / "open" / "xla").iterdir())


@pytest.mark.slow
def test_text_goes_on_as_on_numpy_with_one_program(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat and the dog sat on the log. " * 20)
    settings = {"hidden": 6, "embedding": 4}
    options: dict[str, Any] = {"window": 8, "epochs": 1, "report": False, "precision": "float64", "settings": settings}
    result = train("lstm", text, out=tmp_path / "run", backend="jax", **options)
    (tmp_path / "prompt.txt").write_text("the")
    prompt = tmp_path / "prompt.txt"
    here, there = (predict(tmp_path / "run", prompt, backend=backend).columns for backend in ("numpy", "jax"))
    assert {name: values.tolist() for name, values in here.items()} == {n: values.tolist() for n, values in there.items()}
    answers = result.prepared.task.predict(result.model, (np.zeros((1, 3), np.int64),))
    assert len(answers["continuation"][0]) == 200
    functions = result.prepared.task._functions
    assert [len(compiled.parts()) for (losses, _, _), (_, compiled) in functions.items() if not losses] == [1]
