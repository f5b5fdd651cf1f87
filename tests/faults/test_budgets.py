"""A budget is the time of the whole command; refused runs leave nothing; an interruption is one line from the first import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.errors import UserError
from nnatomy.training.loop import Callback

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)

# Refused runs

REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "a spread of zero": ("som", {"settings": {"sigma": "0"}}, {"settings": {"sigma": "1"}}),
    "a spread below zero": ("som", {"settings": {"sigma": "-1"}}, {}),
    "steps that break the weights": ("mlp", {"lr": 1e30}, {"lr": 0.01}),
    "a group's steps that break the weights": ("mlp", {"rates": {"*": 1e20}, "lr": 1e15}, {}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_corrected_call_takes_the_folder_of_the_refused_one(tmp_path: Path, case: str) -> None:
    model, wrong, right = REFUSED[case]
    request: dict[str, Any] = {"epochs": 2, "out": tmp_path / "run", "report": False, "baselines": False}
    with pytest.raises(UserError, match="Received"):
        nn.train(model, "iris", **request, **wrong)
    assert not (tmp_path / "run").exists()
    assert nn.train(model, "iris", **request, **right).run.last.exists()


def test_an_error_of_a_callback_before_the_first_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    class Faulty(Callback):
        def after_step(self, loop: Any) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        nn.train("mlp", (X, Y), epochs=1, callbacks=[Faulty()], out=tmp_path / "run", report=False, baselines=False)
    assert not (tmp_path / "run").exists()


# Interruptions

IMPORTING = """
import os, sys
class Interrupting:
    def find_spec(name, *rest):
        if name == sys.argv[1]:
            os.kill(os.getpid(), int(sys.argv[2]))
sys.meta_path.insert(0, Interrupting)
sys.argv[0] = "nnatomy"
import nnatomy
"""


@pytest.mark.parametrize("number", ["2", "15"])
@pytest.mark.parametrize("name", ["typing", "threading", "contextlib", "numpy"])
def test_an_interruption_while_a_module_is_imported_is_one_line(name: str, number: str) -> None:
    """Without Python's `site`, which imports some of them itself."""
    source = str(Path(nn.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-S", "-c", IMPORTING, name, number],
        env=os.environ | {"PYTHONPATH": source}, capture_output=True, text=True,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (130, "nnatomy: interrupted.\n")
