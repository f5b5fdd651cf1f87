"""Contract 8, the page: front matter, the ten lenses in order, a readable length, sources, and no empty place."""

from __future__ import annotations

import re

from nnatomy.catalog import Architecture, architectures
from nnatomy.verification.implementations import twins_of
from nnatomy.verification.report import TITLES

FRONT = {"name", "title", "family", "year", "paper", "url", "idea", "predecessors", "successors", "builds_on"}
LISTS = ("predecessors", "successors", "builds_on")
LENSES = (
    "What is it?", "Why use it?", "Intuition", "Mathematical foundation", "Training logic", "Assumptions and limitations",
    "Key hyperparameters", "Evaluation focus", "When to use / when not to use", "References",
)  # fmt: skip


def sections(architecture: Architecture) -> dict[str, str]:
    """The page's text under each of its headings of the second level."""
    parts = re.split(r"^## +(.+?) *$", architecture.page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def words(text: str) -> list[str]:
    """Words of prose: comments, filled tables, code and formulas do not count."""
    text = re.sub(r"<!-- table: .*?<!-- /table -->", " ", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->|```.*?```|\$\$.*?\$\$|\$[^$\n]+\$|`[^`\n]+`|\]\([^)]*\)", " ", text, flags=re.DOTALL)
    return re.findall(r"[^\W\d_][\w'’-]*", text)


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
    strangers = [name for name in architecture.front["builds_on"] if name not in architectures()]
    assert not strangers, f"builds_on names {', '.join(strangers)}, which are no architectures"


def test_ten_lenses_in_order(architecture: Architecture) -> None:
    assert list(sections(architecture)) == [f"{number} {title}" for number, title in enumerate(LENSES, start=1)]


def test_length_and_no_empty_lens(architecture: Architecture) -> None:
    found = sections(architecture)
    total = sum(len(words(text)) for heading, text in found.items() if not heading.endswith("References"))
    assert 500 <= total <= 1200, f"the page of {architecture.name} has {total} words"
    empty = [heading for heading, text in found.items() if len(words(text)) < 15]
    assert not empty, f"next to nothing stands under {', '.join(empty)}"


def test_table_of_verification_is_of_these_cases(architecture: Architecture) -> None:
    """A new case, or a page copied from another architecture, needs `nnatomy verify --write`."""
    table = sections(architecture)["8 Evaluation focus"].partition("<!-- table: verify -->")[2].partition("<!-- /table -->")[0]
    twins = [TITLES[twin] for twin in twins_of(architecture)]
    rows = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in table.strip().splitlines()[2:]]
    assert rows == [(case.name, twin) for case in architecture.cases for twin in twins]


def test_references(architecture: Architecture) -> None:
    text = sections(architecture)[f"{len(LENSES)} References"]
    items = re.findall(r"^\s*(?:[-*]|\d+\.)\s+(.+(?:\n(?!\s*(?:[-*]|\d+\.)\s)\s*\S.*)*)", text, flags=re.MULTILINE)
    dated = [item for item in items if re.search(r"\b(19|20)\d\d\b", item)]
    linked = [item for item in items if re.search(r"https?://\S+\.\S+", item)]
    assert len(items) >= 5, f"{len(items)} references, five are needed: three papers and two web or video sources"
    assert len(dated) >= 3, "papers need their year"
    assert len(linked) >= 2, "web sources need their address"


def test_formulas_and_tables_are_well_formed(architecture: Architecture) -> None:
    page = re.sub(r"```.*?```|`[^`\n]+`|\\\$", " ", architecture.page, flags=re.DOTALL)
    assert page.count("$$") % 2 == 0, "a display formula is not closed"
    inline = re.sub(r"\$\$.*?\$\$", " ", page, flags=re.DOTALL)
    odd = [line for line in re.split(r"\n\s*\n", inline) if line.count("$") % 2]
    assert not odd, f"an inline formula is not closed: {odd[0][:80]}"
    formulas = re.findall(r"\$\$(.*?)\$\$", page, flags=re.DOTALL) + re.findall(r"\$([^$]+)\$", inline)
    assert formulas, "the page has no formula"
    unbalanced = [f for f in formulas if f.replace(r"\{", "").count("{") != f.replace(r"\}", "").count("}")]
    assert not unbalanced, f"braces do not match in {unbalanced[0][:80]}"
    assert "<!-- table: verify -->" in sections(architecture)["8 Evaluation focus"], (
        "lens 8 needs the place of the table verify"
    )
    assert architecture.page.count("<!-- table:") == architecture.page.count("<!-- /table -->")
    for mark in ("TODO", "TBD", "FIXME", "XXX", "lorem ipsum"):
        assert mark not in architecture.page
