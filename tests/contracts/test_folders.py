"""Contract 8, the folder: complete, quick to import, drawn, and independent of its twins and of other architectures."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from recipe_data import skip_without_data

import nnatomy
from nnatomy.catalog import Architecture, architectures, folders, why_unfinished
from nnatomy.runs.prepare import prepare
from nnatomy.runs.request import Request

FILES = ("__init__.py", "model.py", "page.md", "torch_twin.py", "keras_twin.py", "recipe.py", "picture.py")
HEAVY = ("torch", "keras", "tensorflow", "matplotlib", "sklearn", "scipy", "numba", "rich", "typer", "pooch")


def imported(path: Path) -> set[str]:
    """The modules that a file imports anywhere in it, by their full names."""
    found: set[str] = set()
    package = path.parent.relative_to(Path(nnatomy.__file__).parents[1]).parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            base = ".".join(filter(None, (start, node.module)))
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


TWINS = ("torch_twin.py", "keras_twin.py")


def test_folder_is_complete(architecture: Architecture) -> None:
    here = {path.name for path in architecture.folder.iterdir()}
    needed = [name for name in FILES if name not in TWINS or "reference.py" not in here]
    missing = [name for name in needed if name not in here]
    assert not missing, f"{architecture.name} lacks {', '.join(missing)}"
    assert architecture.recipes, f"{architecture.name} has no recipe"
    assert architecture.cases, f"{architecture.name} has no case"
    names = [case.name for case in architecture.cases]
    assert len(set(names)) == len(names), f"{architecture.name} has two cases of one name"


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_folder_is_listed(folder: Path) -> None:
    """Discovery goes by page.md: without one, no other contract would see the folder."""
    assert why_unfinished(folder) is None, why_unfinished(folder)


def test_exceptions_are_on_the_page(architecture: Architecture) -> None:
    for case in architecture.cases:
        for contract, reason in case.without.items():
            assert reason in architecture.page, f"the page of {architecture.name} does not say why it lacks {contract}"


@pytest.mark.parametrize("twin", ["torch_twin", "keras_twin"])
def test_twins_share_nothing_with_the_model(architecture: Architecture, twin: str) -> None:
    if not (architecture.folder / f"{twin}.py").is_file():
        return  # test_folder_is_complete says whether it may be absent
    shared = [name for name in imported(architecture.folder / f"{twin}.py") if name.split(".")[0] in ("nnatomy", "")]
    assert not shared, f"{twin}.py of {architecture.name} imports {', '.join(shared)}"


def test_architectures_do_not_import_one_another(architecture: Architecture) -> None:
    own = f"nnatomy.architectures.{architecture.family}.{architecture.name}"
    parents = [other for other in architectures().values() if other.name in architecture.front["builds_on"]]
    allowed = {f"nnatomy.architectures.{other.family}.{other.name}" for other in parents}
    for path in architecture.folder.rglob("*.py"):
        others = {".".join(name.split(".")[:4]) for name in imported(path) if name.startswith("nnatomy.architectures.")}
        assert others <= {own} | allowed, f"{path.name} of {architecture.name} imports {', '.join(others - {own} - allowed)}"


def test_model_imports_little(architecture: Architecture) -> None:
    """Beyond NumPy: our own modules and a few of Python's, nothing heavy; benchmarks/imports.py measures the time."""
    code = (
        "import sys, numpy; before = set(sys.modules)\n"
        f"import nnatomy.architectures.{architecture.family}.{architecture.name}.model\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = [name for name in found if name.split(".")[0] == "nnatomy"]
    others = [name for name in found if name.split(".")[0] != "nnatomy"]
    assert not set(others) & set(HEAVY), f"importing {architecture.name} also imports {sorted(set(others) & set(HEAVY))}"
    assert len(others) <= 12, f"importing {architecture.name} also imports {others}"
    assert not [name for name in ours if ".architectures." in name and f".{architecture.family}" not in name]


def test_picture_is_drawn(architecture: Architecture) -> None:
    skip_without_data(architecture)
    prepared = prepare(Request(architecture.name, offline=True, limit=200))
    prepared.model.eval()
    before = prepared.model.state_dict()
    figure = architecture.module("picture").draw(prepared.model, prepared.dataset)
    assert isinstance(figure, Figure)
    assert any(axes.has_data() for axes in figure.axes), f"the picture of {architecture.name} shows nothing"
    titles = [axes.get_title() for axes in figure.axes] + [figure.get_suptitle()]
    assert any(titles), f"the picture of {architecture.name} has no title"
    width, height = figure.get_size_inches() * 110
    assert 600 <= width <= 1600, f"the picture of {architecture.name} is {width:.0f} pixels wide"
    assert 200 <= height <= 1600, f"the picture of {architecture.name} is {height:.0f} pixels high"
    for kind in ("png", "svg"):  # warnings, such as of glyphs that no font has, are errors here
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=110)
        assert len(buffer.getvalue()) > 5000
    after = prepared.model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before), f"drawing {architecture.name} changes its model"
    assert not prepared.model.training, f"drawing {architecture.name} leaves its model in training mode"
