"""The cost of starting: imports stay light, and listing imports no model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nnatomy

HEAVY = ("sklearn", "matplotlib", "torch", "tensorflow", "keras", "jax", "numba", "pandas", "typer", "rich")


def modules_after(code: str) -> set[str]:
    """The modules that a fresh process has imported after running `code`, where no kernels are requested."""
    text = f"{code}\nimport json, sys\nprint()\nprint(json.dumps(sorted(sys.modules)))"
    plain = {name: value for name, value in os.environ.items() if name != "NNATOMY_KERNELS"}
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, env=plain)
    return set(json.loads(found.stdout.splitlines()[-1]))


def test_import_nnatomy_brings_numpy_and_little_else() -> None:
    assert not modules_after("import nnatomy") & set(HEAVY)


def test_completion_shows_what_is_imported_late() -> None:
    shown = dir(nnatomy)
    assert {"Linear", "optim", "train", "NeuralClassifier", "tanh"} <= set(shown)
    assert all(hasattr(nnatomy, name) for name in shown)
    assert not {"importlib", "Any", "annotations"} & set(shown)


def test_list_imports_no_model_and_no_engine_beyond_the_core() -> None:
    loaded = modules_after("from nnatomy.cli import main; main(['list', '--json'])")
    assert not [m for m in loaded if m.startswith("nnatomy.architectures")]
    assert not loaded & (set(HEAVY) - {"typer", "rich"})


def test_help_imports_neither_models_nor_plots() -> None:
    loaded = modules_after("from nnatomy.cli import main; main(['--help'])")
    assert not loaded & (set(HEAVY) - {"typer", "rich"})
    assert "nnatomy.runs.train" not in loaded


def test_training_a_table_imports_no_plan_no_onnx_and_no_diagram(tmp_path: Path) -> None:
    """A plain eager run never enters plan/, and faces of packages import only what is used."""
    run = str(tmp_path / "run")
    loaded = modules_after(f"import nnatomy as nn; nn.train('mlp', 'iris', epochs=2, report=False, out={run!r})")
    for package in ("nnatomy.plan", "nnatomy.interchange.onnx", "nnatomy.exporting", "nnatomy.studies", "nnatomy.views"):
        assert not [name for name in loaded if name == package or name.startswith(f"{package}.")], package
    assert "nnatomy.inspect.diagrams" not in loaded
