"""Every error that a user can correct has three parts in this order: the rule, what was received, the remedy."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_kernels
PACKAGE = Path(__file__).parents[1] / "src" / "nnatomy"
HOLE = "\x00"
"""In the place of a value that is known only when an error is raised."""
THREE_PARTS = re.compile(rf".*?[.?{HOLE}] Received .*?[.?!\"'){HOLE}] ([A-Z].+|{HOLE}.*)$", re.DOTALL)

PASSED_ON = "the sentence of another UserError, with the name of the file before it"
EXCEPTIONS = {
    "data/inputs.py:preprocessing_from_json": PASSED_ON,
    "saved.py:_dataclass": PASSED_ON,
    "data/reading.py:only": "a reader gives the sentence",
    "data/reading.py:whole": "a reader gives the sentence",
    "serving/batching.py:start": "a worker's sentence, passed on",
    "studies/comparison/survey.py:_none_fits": "the only reason of all architectures, passed on",
    "training/loop.py:_note": "explain() makes the sentence",
    "training/loop.py:_finish_epoch": "explain() makes the sentence",
    "training/parallel/devices.py:arrange": "_too_few() makes the sentence",
}
"""By file, or file and function: why its sentence is not in the call."""


def text_of(node: ast.expr, names: dict[str, ast.expr]) -> str | None:
    """The text of a literal, or of a name that was given one in the same file; None for others."""
    if isinstance(node, ast.Name):
        return text_of(names.pop(node.id), names) if node.id in names else None
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
    return None


def errors(code: str) -> Iterator[tuple[int, str, str | None]]:
    """Yield line, function and text of each UserError that is made."""
    tree = ast.parse(code)
    given = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "UserError":
            around = [f for f in functions if f.lineno <= node.lineno <= (f.end_lineno or 0)]
            name = min(around, key=lambda f: (f.end_lineno or 0) - f.lineno).name if around else ""
            yield node.lineno, name, text_of(node.args[0], dict(given))


def wrong(code: str, file: str) -> list[str]:
    """The errors of a file that do not have three parts, but for the exceptions."""
    return [
        f"{file}:{line}: {text!r}"
        for line, function, text in errors(code)
        if not {file, f"{file}:{function}"} & EXCEPTIONS.keys() and not (text and THREE_PARTS.match(text))
    ]


def test_every_error_has_its_rule_what_was_received_and_the_remedy() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 300
    found = [line for file in files for line in wrong(file.read_text(encoding="utf-8"), file.relative_to(PACKAGE).as_posix())]
    assert not found, "\n".join(found)


def test_every_exception_is_needed() -> None:
    for place in EXCEPTIONS:
        file, _, function = place.partition(":")
        texts = [
            text for _, name, text in errors((PACKAGE / file).read_text(encoding="utf-8")) if not function or name == function
        ]
        assert any(text is None or not THREE_PARTS.match(text) for text in texts), place


@pytest.mark.parametrize(
    ("code", "right"),
    [
        ('UserError("Dropout needs a probability between 0 and 1. Received 2.0. Use 0.5, for example.")', True),
        ('UserError(f"{name} needs p. Received {p!r}. Use {name}=1.")', True),
        ('rule = f"A needs b. Received {b}. Use 1."\nUserError(rule)', True),
        ('UserError("Dropout needs a probability between 0 and 1. Received 2.0.")', False),
        ('UserError(f"Dropout needs a probability. Received {p}; use 0.5.")', False),
        ('UserError(f"Received {p}. Use 0.5.")', False),
        ('UserError(f"{path} is empty. Give another.")', False),
        ("UserError(why)", False),
    ],
)
def test_the_check_tells_sentences_apart(code: str, right: bool) -> None:
    assert (not wrong(code, "x.py")) == right
