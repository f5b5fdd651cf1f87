"""The seam: what is used of a backend is listed, what is listed exists, and nothing goes round it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nnatomy
from nnatomy import backends
from nnatomy.backends import B, interface, numpy_reference

SOURCE = Path(nnatomy.__file__).parent
ABOVE = [p for p in SOURCE.rglob("*.py") if p.parent.name != "backends"]


def attributes(path: Path, of: str) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == of}


def test_what_is_used_is_listed_and_what_is_listed_is_used() -> None:
    used = set().union(*(attributes(p, "B") for p in ABOVE)) - {"name", "__dict__"}
    assert used == set(interface.FUNCTIONS)
    assert len(set(interface.FUNCTIONS)) == len(interface.FUNCTIONS)


def test_the_reference_has_every_function() -> None:
    missing = [name for name in interface.FUNCTIONS if not callable(getattr(numpy_reference, name, None))]
    assert missing == []
    assert backends.current() == "numpy"


@pytest.mark.parametrize("path", sorted((SOURCE / "ops").glob("*.py")), ids=lambda p: p.name)
def test_operations_call_no_numpy(path: Path) -> None:
    assert attributes(path, "np") <= {"dtype", "generic"}


def test_a_backend_is_chosen_by_name_and_restored() -> None:
    with backends.backend("numpy"):
        assert B.name == "numpy"
    with pytest.raises(nnatomy.UserError, match="Did you mean 'numpy'"):
        backends.use("nunpy")
    before = B.exp

    def failing() -> None:
        with backends.backend("numpy"):
            B.exp = None
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert B.exp is before
