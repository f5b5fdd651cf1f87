"""A fingerprint changes with what code computes, and with nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnatomy.catalog import architectures
from nnatomy.verification.fingerprint import DIGITS, fingerprint

MODEL = '''"""A unit."""

RATE = 0.1


class Unit:
    """It adds."""

    size: int = 3
    """The number."""

    def forward(self, x, scale=2.0):
        """y = x + 1"""
        if scale < 0:
            raise UserError(f"A scale is positive. Received {scale}. Use 1.")
        return scale * (x + 1)  # once
'''
SAME = {
    "a comment": ("# once", "# and twice"),
    "a docstring": ("It adds.", "It adds, and says so."),
    "no docstring": ('        """y = x + 1"""\n', ""),
    "a string below a field": ("The number.", "The number of units."),
    "the sentence of an error": ("Received {scale}. Use 1.", "Received a scale of {scale:g}. Use scale=1."),
    "the layout": ("(self, x, scale=2.0)", "(\n        self,\n        x, scale=2.0,\n    )"),
    "other digits of the same number": ("RATE = 0.1", "RATE = 1e-1"),
}
OTHER = {
    "a constant": ("RATE = 0.1", "RATE = 0.2"),
    "an integer for a float": ("scale=2.0", "scale=2"),
    "a default": ("scale=2.0", "scale=3.0"),
    "a name": ("RATE", "SPEED"),
    "an operator": ("x + 1)", "x - 1)"),
    "an order": ("x + 1)", "1 + x)"),
    "the condition of an error": ("scale < 0", "scale <= 0"),
    "another error": ("UserError(f", "ValueError(f"),
    "a field": ("size: int = 3", "size: int = 4"),
}


def of(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return fingerprint(folder)


@pytest.mark.parametrize("change", SAME)
def test_what_only_readers_see_keeps_it(change: str, tmp_path: Path) -> None:
    old, new = SAME[change]
    assert old in MODEL
    assert of(tmp_path, model=MODEL) == of(tmp_path, model=MODEL.replace(old, new))


@pytest.mark.parametrize("change", OTHER)
def test_what_is_computed_changes_it(change: str, tmp_path: Path) -> None:
    old, new = OTHER[change]
    assert old in MODEL
    assert of(tmp_path, model=MODEL) != of(tmp_path, model=MODEL.replace(old, new))


def test_which_files_count(tmp_path: Path) -> None:
    seen = [of(tmp_path, model=MODEL), of(tmp_path, recipe="EPOCHS = 3"), of(tmp_path, learner="A = 1")]
    assert len(set(seen)) == 3
    assert of(tmp_path, torch_twin="A = 1", picture="A = 1") == seen[-1]
    (tmp_path / "learner.py").rename(tmp_path / "task.py")
    assert fingerprint(tmp_path) not in seen


def test_each_architecture_has_its_own() -> None:
    found = [fingerprint(architecture.folder) for architecture in architectures().values()]
    assert len(set(found)) == len(found)
    assert {len(f) for f in found} == {DIGITS}


def test_every_python_gives_the_same() -> None:
    """Recorded once: a new version of Python, whose trees have new fields, must not make every result stale."""
    from nnatomy.verification.fingerprint import tree

    assert tree("x: int = -1.5  # a\n'b'\n") == (
        "Module(body=[AnnAssign(target=Name(id='x', ctx=Store()), annotation=Name(id='int', ctx=Load()), "
        "value=UnaryOp(op=USub(), operand=Constant(value=1.5)), simple=1)])"
    )
