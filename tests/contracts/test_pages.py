"""Contract 8, the page: front matter, ten lenses, fixed subsections, true examples, anchors that resolve, and sources."""

from __future__ import annotations

from pathlib import Path

import page_rules
import pytest

from nnatomy.catalog import Architecture, architectures
from nnatomy.verification.implementations import twins_of
from nnatomy.verification.report import TITLES

FRONT = {"name", "title", "family", "year", "paper", "url", "idea", "predecessors", "successors", "builds_on"}
LISTS = ("predecessors", "successors", "builds_on")


def test_front_matter(architecture: Architecture) -> None:
    assert set(architecture.front) == FRONT
    assert architecture.front["name"] == architecture.name
    assert architecture.front["family"] == architecture.family
    assert 1940 <= int(architecture.front["year"]) <= 2030
    assert architecture.front["url"].startswith("http")
    for key in ("title", "paper", "idea"):
        assert architecture.front[key].strip(), f"{key} is empty"
    for key in LISTS:
        assert isinstance(architecture.front[key], list), f"{key} must be a list: [a, b]"
    unknown = [name for name in architecture.front["builds_on"] if name not in architectures()]
    assert not unknown, f"builds_on names {', '.join(unknown)}, which are not architectures"


def test_ten_lenses_in_order(architecture: Architecture) -> None:
    lenses = [f"{number} {title}" for number, title in enumerate(page_rules.LENSES, start=1)]
    assert list(page_rules.sections(architecture.page)) == lenses


def test_length(architecture: Architecture) -> None:
    assert page_rules.wrong_length(architecture.page) == []


def test_fixed_subsections(architecture: Architecture) -> None:
    assert page_rules.missing_subsections(architecture.page) == []


def test_formulas_and_lists_are_well_formed(architecture: Architecture) -> None:
    assert page_rules.malformed(architecture.page) == []


def test_anchors_and_links_resolve(architecture: Architecture) -> None:
    model, recipe = architecture.module("model"), architecture.module("recipe")
    assert page_rules.dangling(architecture.page, model, recipe, architecture.folder) == []


def test_examples_print_what_the_page_says(architecture: Architecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = f"nnatomy.architectures.{architecture.family}.{architecture.name}"
    faults = page_rules.untrue_examples(architecture.page, module)
    assert not faults, "\n".join(faults)


def test_table_of_verification_is_of_these_cases(architecture: Architecture) -> None:
    """A new case, or a page copied from another architecture, needs `nnatomy verify --write`."""
    text = page_rules.sections(architecture.page)["8 Evaluation focus"]
    table = text.partition("<!-- table: verify -->")[2].partition("<!-- /table -->")[0]
    rows = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in table.strip().splitlines()[2:]]
    titles = {**TITLES, "library": architecture.module("library").LIBRARY} if architecture.has("library") else TITLES
    assert rows == [
        (case.name, titles.get(twin, twin)) for case in architecture.cases for twin in twins_of(architecture, case)
    ]
    assert architecture.page.count("<!-- table:") == architecture.page.count("<!-- /table -->")


def test_references(architecture: Architecture) -> None:
    assert page_rules.weak_references(architecture.page) == []
