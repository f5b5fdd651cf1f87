"""The weight of libraries: the time of their import, and the size on disk with all that they need."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import nnatomy

IMPORTS = {
    "nnatomy": "import nnatomy, nnatomy.layers, nnatomy.functional, nnatomy.optim",
    "torch": "import torch",
    "jax": "import jax, jax.numpy",
    "keras": "import keras",
}
"""The imports of a script that trains a network."""
PACKAGES = {"torch": ("torch",), "jax": ("jax",), "keras": ("keras", "tensorflow-cpu", "tensorflow")}
"""Distributions; of several names for one thing, those that are installed."""


def weigh(names: list[str], repeats: int = 3) -> dict[str, dict[str, float]]:
    """{name: {"import_seconds", "mib"}}; the size of what is not known is left out."""
    times: dict[str, list[float]] = {name: [] for name in names}
    for name in names * (repeats + 1):  # in turn; the first round fetches the files from disk
        times[name].append(import_seconds(IMPORTS[name]))
    found = {name: {"import_seconds": statistics.median(seconds[1:])} for name, seconds in times.items()}
    for name in names:
        size = installed_mib(name)
        if size is not None:
            found[name]["mib"] = size
    return found


def import_seconds(statement: str) -> float:
    """In a fresh process, without the interpreter's own start."""
    program = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout.split()[-1])


def installed_mib(library: str) -> float | None:
    """The files of a library and of all that it needs, each counted once, in MiB; None where that is not known."""
    size = 0
    if library == "nnatomy":
        folder = Path(nnatomy.__file__).parent
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        roots = _own_requirements()
    else:
        roots = list(PACKAGES[library])
    known: dict[str, Distribution] = {}
    while roots:
        name = _plain(roots.pop())
        if name in known or name == "nnatomy":
            continue
        try:
            known[name] = distribution(name)
        except PackageNotFoundError:  # needed on another system only, or another name of it is installed
            continue
        roots += [r for r in known[name].requires or () if _wanted(r)]
    if not known:
        return None
    for found in known.values():
        for file in found.files or ():
            path = Path(str(found.locate_file(file)))
            if path.suffix != ".pyc" and path.is_file():
                size += path.stat().st_size
    return size / 2**20


def _own_requirements() -> list[str]:
    """Of nnatomy as it is installed, or as the checkout says that it runs from."""
    project = Path(nnatomy.__file__).parents[2] / "pyproject.toml"
    if project.exists():
        return list(tomllib.loads(project.read_text())["project"]["dependencies"])
    return [r for r in distribution("nnatomy").requires or () if _wanted(r)]


def _wanted(requirement: str) -> bool:
    """Return True if it is needed always, rather than for an extra."""
    return "extra ==" not in requirement


def _plain(requirement: str) -> str:
    """The name alone, spelled as package indexes do."""
    name = re.match(r"[\w.-]+", requirement.strip())
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()
