"""Fingerprints of code: they show stale measurements. They change with the computation, not with comments."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path
from typing import Any

CODE_FILES = ("model.py", "recipe.py", "learner.py", "task.py", "data.py")
"""The files of an architecture's folder that decide what it learns."""
DIGITS = 12


def fingerprint(folder: Path) -> str:
    """Return 12 hexadecimal digits of SHA-256 over the syntax trees of an architecture's code.

    Docstrings, comments and the sentences of errors are left out: no score depends on them. Equal on every version of Python
    and for every layout of the same code; the names of files count, page and twins do not.
    """
    digest = hashlib.sha256()
    for name in CODE_FILES:
        if (path := folder / name).exists():
            digest.update(f"{name} {tree(path.read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()[:DIGITS]


def tree(code: str) -> str:
    """Return the syntax tree of code as text: each node with those of its fields that are there.

    Docstrings and other string statements, and the sentences of UserErrors, are left out.
    """
    return _written(ast.parse(code))


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_written(v) for v in value if not _is_docstring(v))}]"
    if not isinstance(value, ast.AST):
        return repr(value)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "UserError":
        return "UserError"
    parts = [f"{name}={_written(field)}" for name, field in ast.iter_fields(value) if field not in (None, [])]
    return f"{type(value).__name__}({', '.join(parts)})"


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
