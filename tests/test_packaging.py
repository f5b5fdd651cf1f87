"""Installation: extras whose packages are used, and a wheel that holds the library alone."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from setuptools import find_packages

from nnatomy.cli.doctor import EXTRAS

ROOT = Path(__file__).parents[1]
IMPORTED_AS = {"tensorflow-cpu": "tensorflow", "prometheus-client": "prometheus_client", "torch-geometric": "torch_geometric"}
BY_OTHERS = {"ipywidgets": "rich"}
"""Packages that another one looks for and uses by itself, which ours imports."""


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def extras() -> dict[str, list[str]]:
    """The packages of each extra, without those of the tests, by the names that they are installed by."""
    listed = project()["project"]["optional-dependencies"]
    return {e: [re.split(r"[\s<>=!;\[]", r)[0] for r in requirements] for e, requirements in listed.items() if e != "test"}


@pytest.mark.parametrize("extra", extras())
def test_what_an_extra_installs_is_used(extra: str) -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    for package in extras()[extra]:
        name = BY_OTHERS.get(package, IMPORTED_AS.get(package, package))
        used = re.search(rf"^\s*(import|from) {name}\b|_installed\(\"{name}\"\)", code, re.MULTILINE)
        assert used, f"the extra {extra} installs {package}, which nothing imports"


def test_the_doctor_knows_only_extras_that_there_are() -> None:
    listed = extras()
    for extra, packages in EXTRAS.items():
        assert set(packages) <= set(listed[extra])


def test_the_wheel_holds_the_library_alone() -> None:
    found = find_packages(str(ROOT / project()["tool"]["setuptools"]["packages"]["find"]["where"][0]))
    assert "nnatomy.benchmark" in found
    assert {name.split(".")[0] for name in found} == {"nnatomy"}
    assert not [name for name in found if name.startswith(("nnatomy.benchmark.gpu", "nnatomy.benchmark.scale"))]
