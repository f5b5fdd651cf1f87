"""No code outside data/kinds and tasks checks for a certain kind of data or task: it calls the kind or the task itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnatomy import tasks
from nnatomy.data import kinds

pytestmark = pytest.mark.any_kernels
PACKAGE = Path(__file__).parents[1] / "src" / "nnatomy"
OWNERS = ("data/kinds/", "tasks/")
TASKS = {name: made for name, made in vars(tasks).items() if isinstance(made, type) and issubclass(made, tasks.Task)}
NAMES = {*kinds.names(), *(made.name for made in TASKS.values() if hasattr(made, "name"))}
OTHER_MEANINGS = {
    ("kernels/lowering/pointwise.py", "table"),  # of numbers, in a compiled kernel
    ("atlas/formulas.py", "text"),  # LaTeX's command
    ("data/reading.py", "reconstruction"),  # the tasks without targets: one check here, for all readers
    ("data/reading.py", "clustering"),
    ("architectures/transformers/bert/model.py", "classification"),  # the name of a head
    ("architectures/transformers/bert/torch_twin.py", "classification"),
    *((f"architectures/transformers/{name}/{file}.py", "classification")
      for name in ("distilbert", "albert", "roberta") for file in ("model", "torch_twin", "keras_twin")),
    ("architectures/transformers/distilbert/library.py", "classification"),
}  # fmt: skip
"""Exceptions, where such a word means something else or one check serves all callers: file and word."""


def branches(code: str) -> Iterator[tuple[int, str]]:
    """Yield line and word of each comparison with the name of a kind or a task, and of each isinstance of one's class."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Compare):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and part.value in NAMES:
                    yield node.lineno, str(part.value)
        if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant) and node.value.value in NAMES:
            yield node.lineno, str(node.value.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("isinstance", "issubclass"):
            for part in ast.walk(node.args[1]):
                name = part.attr if isinstance(part, ast.Attribute) else part.id if isinstance(part, ast.Name) else ""
                if name in TASKS.keys() - {"Task"} or (name.endswith("Preprocessing") and name != "Preprocessing"):
                    yield node.lineno, name


def test_nothing_else_asks_which_kind_or_task_it_is() -> None:
    found, allowed = [], set()
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        if file.startswith(OWNERS):
            continue
        for line, word in branches(path.read_text(encoding="utf-8")):
            if (file, word) in OTHER_MEANINGS:
                allowed.add((file, word))
            else:
                found.append(f"{file}:{line}: {word}")
    assert not found, "ask the kind (kind_of), the task, the fields or the preprocessing instead:\n" + "\n".join(found)
    assert allowed == OTHER_MEANINGS, "an exception is stale"


@pytest.mark.parametrize("code", [
    'dataset.kind == "image"', 'kind in ("text", "sentences")', '"forecast" != dataset.task', "isinstance(t, Classification)",
    "isinstance(self.task, (int, tasks.Regression))", "isinstance(p, TablePreprocessing)",
    'match kind:\n    case "table":\n        pass',
])  # fmt: skip
def test_a_branch_on_a_kind_or_a_task_is_seen(code: str) -> None:
    assert list(branches(code))


@pytest.mark.parametrize("code", ['x.dtype.kind == "f"', "kind == other.kind", "isinstance(task, Task)", 'words = "image"'])
def test_what_is_no_branch_on_a_kind_or_a_task_is_not_seen(code: str) -> None:
    assert not list(branches(code))
