"""The benchmark runs, compares answers before it times, and refuses what differs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("torch")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "cpu.py"


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = spec_from_file_location("cpu_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "cpu_benchmark", module)
    spec.loader.exec_module(module)
    return module


def test_quick_run(tmp_path: Path) -> None:
    figures, page = tmp_path / "cpu.json", tmp_path / "performance.md"
    command = [sys.executable, str(SCRIPT), "--quick", "--only", "mlp-small-8", "--threads", "1"]
    done = subprocess.run(
        [*command, "--json", str(figures), "--out", str(page)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(figures.read_text())
    (result,) = report["results"]
    assert result["name"] == "mlp-small-8"
    assert result["agree"] is True
    assert 0 < result["loss_difference"] + result["gradient_difference"] < 1e-4
    for side in ("nnatomy", "torch"):
        ms = result[side]["ms"]
        assert 0 < ms["low"] <= ms["median"] <= ms["high"]
        assert 10 < result[side]["after_import_mib"] + 10 < result[side]["peak_mib"]
    assert result["ratio"]["low"] <= report["geometric_mean"] <= result["ratio"]["high"]
    assert report["machine"]["torch_threads"] == 1
    assert "| mlp-small-8 |" in done.stdout
    assert done.stdout.split("\n\n")[0] in page.read_text()
    assert (tmp_path / "performance.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["mlp-small-64", "lenet", "lstm"])
def test_answers_agree(cpu: ModuleType, name: str) -> None:
    ours, theirs = _sides(cpu, name)
    assert cpu.compare(ours, theirs, steps=2)
    first = ours.moments()
    ours.restart()  # a block starts from the first weights, whatever came before
    theirs.restart()
    assert cpu.compare(ours, theirs, steps=2)
    assert all((ours.moments()[key] == a).all() for key, a in first.items())


def test_what_differs_is_not_timed(cpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    step = cpu.Ours.step
    monkeypatch.setattr(cpu.Ours, "step", lambda self: step(self) * 1.01)
    assert _refused(cpu)["loss_difference"] == pytest.approx(0.01, rel=1e-3)


def test_gradients_are_compared_too(cpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam hides a gradient that is wrong by a factor; the losses of the first steps would agree."""
    moments = cpu.Ours.moments
    monkeypatch.setattr(cpu.Ours, "moments", lambda self: (m := moments(self)) | {"0.weight": 2 * m["0.weight"]})
    result = _refused(cpu)
    assert result["loss_difference"] < 1e-4
    assert result["gradient_difference_in"] == "0.weight"


def test_profile_covers_the_step_and_leaves_no_trace(cpu: ModuleType) -> None:
    from nnatomy import ops
    from nnatomy.ops.primitive import Primitive
    from nnatomy.optim import Adam

    before = (ops.relu, Primitive.pull_back, Adam.step, "step" in vars(Adam))
    total, rows = cpu.profile(_workload(cpu, "mlp-small-8"), 0.05)
    assert {"affine", "affine, backward", "relu", "Adam"} <= {name for name, _, _ in rows}
    assert sum(ms for _, _, ms in rows) == pytest.approx(total)
    assert ("relu", 2) in [(name, calls) for name, calls, _ in rows]
    assert before == (ops.relu, Primitive.pull_back, Adam.step, "step" in vars(Adam))


def _workload(cpu: ModuleType, name: str) -> Any:
    return next(w for w in cpu.WORKLOADS if w.name == name)


def _sides(cpu: ModuleType, name: str) -> tuple[Any, Any]:
    workload = _workload(cpu, name)
    batches = cpu.make_batches(workload)[:2]
    ours = cpu.Ours(workload, batches)
    return ours, cpu.Torch(workload, batches, ours.weights())


def _refused(cpu: ModuleType) -> dict[str, Any]:
    result = cpu.run(_workload(cpu, "mlp-small-64"), cpu.parse(["--quick", "--no-memory", "--only", "mlp-small-64"]))
    assert result["agree"] is False
    assert "ratio" not in result
    return dict(result)
