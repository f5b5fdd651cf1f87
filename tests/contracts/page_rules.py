"""The rules of a page as functions of its text; each returns the faults that it finds, none for a good page."""

from __future__ import annotations

import contextlib
import io
import re
from functools import cache, reduce
from pathlib import Path
from types import ModuleType
from typing import Any

LENSES = (
    "What is it?", "Why use it?", "Intuition", "Mathematical foundation", "Training logic", "Assumptions and limitations",
    "Key hyperparameters", "Evaluation focus", "When to use / when not to use", "References",
)  # fmt: skip
SUBSECTIONS = {
    "4 Mathematical foundation": ("Symbols", "By hand", "Size and cost"),
    "5 Training logic": ("Initialization", "Common bugs"),
    "9 When to use / when not to use": ("Exercises",),
}
WORDS = range(800, 1701)
ANSWER = "<details><summary>Answer</summary>"
MARKS = re.compile(r"(picture|/table|table: [a-z]+|code: [A-Za-z_][\w.]*|test: test_\w+)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TESTS = Path(__file__).parents[1]


def sections(page: str, level: int = 2) -> dict[str, str]:
    """Return the text under each heading of a level, up to the next heading of that level."""
    parts = re.split(rf"^#{{{level}}} +(.+?) *$", FENCE.sub(_hidden, page), flags=re.MULTILINE)
    return {title: _shown(text) for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def _hidden(fence: re.Match[str]) -> str:
    """Return a fenced block whose # signs are not headings."""
    return fence[0].replace("#", "\0")


def _shown(text: str) -> str:
    return text.replace("\0", "#")


def words(text: str) -> list[str]:
    """Return the words of the prose: without comments, generated tables, code and formulas."""
    text = re.sub(r"<!-- table: .*?<!-- /table -->", " ", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->|```.*?```|\$\$.*?\$\$|\$[^$\n]+\$|`[^`\n]+`|\]\([^)]*\)", " ", text, flags=re.DOTALL)
    return re.findall(r"[^\W\d_][\w'’-]*", text)


def prose(page: str) -> str:
    """Return the page without blocks of code and `code`; lines stay where they are."""
    empty = FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), page)
    return re.sub(r"`[^`\n]+`|\\\$", "", empty)


def wrong_length(page: str) -> list[str]:
    found = sections(page)
    total = sum(len(words(text)) for heading, text in found.items() if not heading.endswith("References"))
    empty = [heading for heading, text in found.items() if len(words(text)) < 15]
    return [f"{heading} is almost empty" for heading in empty] + (
        [] if total in WORDS else [f"{total} words, not {WORDS.start} to {WORDS.stop - 1}"]
    )


def missing_subsections(page: str) -> list[str]:
    """Look for the fixed subsections of lenses 3, 4, 5 and 9, and for what they hold."""
    found, faults = sections(page), []
    if "<!-- picture -->" not in found.get("3 Intuition", ""):
        faults.append("3 Intuition has no <!-- picture -->")
    for lens, titles in SUBSECTIONS.items():
        inner = sections(found.get(lens, ""), level=3)
        present = [title for title in inner if title in titles]
        if present != list(titles):
            faults.append(f"{lens} has {present}, not {list(titles)} in this order")
        faults += [f"{title} is almost empty" for title in present if not (words(inner[title]) or "$" in inner[title])]
    symbols = sections(found.get("4 Mathematical foundation", ""), level=3).get("Symbols", "")
    head = next((line.lower() for line in symbols.splitlines() if line.startswith("|")), "")
    if not {"symbol", "shape", "meaning"} <= {cell.strip() for cell in head.split("|")}:
        faults.append("Symbols needs a table with the columns symbol, shape and meaning")
    return faults + _exercises(sections(found.get("9 When to use / when not to use", ""), level=3).get("Exercises", ""))


def _exercises(text: str) -> list[str]:
    questions = len(re.findall(r"^\d+\. ", text, flags=re.MULTILINE))
    answers = text.count(ANSWER)
    if questions < 2 or not questions == answers == text.count("</details>"):
        return [f"{questions} exercises have {answers} answers of the form {ANSWER} ... </details>"]
    return []


def malformed(page: str) -> list[str]:
    """Look for formulas that are not closed, braces that do not match, and traps of Markdown."""
    text = prose(page)
    faults = ["a display formula is not closed"] if text.count("$$") % 2 else []
    inline = re.sub(r"\$\$.*?\$\$", lambda formula: "\n" * formula[0].count("\n"), text, flags=re.DOTALL)
    faults += [f"a formula is not closed on its line: {line[:80]}" for line in inline.splitlines() if line.count("$") % 2]
    formulas = re.findall(r"\$\$(.*?)\$\$", text, flags=re.DOTALL) + re.findall(r"\$([^$\n]+)\$", inline)
    faults += [] if formulas else ["the page has no formula"]
    for formula in formulas:
        if formula.replace(r"\{", "").count("{") != formula.replace(r"\}", "").count("}"):
            faults.append(f"braces do not match: {formula[:80]}")
        if re.search(r"\^\{?\*", formula):
            faults.append(rf"^\star instead of ^*, which Markdown reads as emphasis: {formula[:80]}")
    before = ""
    for line in text.splitlines():
        plain = before and not re.match(r"\s|[-*+|#<$>]|\d+\. ", before)
        if plain and re.match(r"([-*+]|1[.)])\s", line):
            faults.append(f"a line of prose starts like a list: {line[:80]}")
        before = line
    faults += [f"{mark} is left" for mark in ("TODO", "TBD", "FIXME", "XXX", "lorem ipsum") if mark in page]
    return faults


def marks(page: str) -> list[str]:
    """Return the text of the comments of a page."""
    return re.findall(r"<!--\s*(.*?)\s*-->", prose(page), flags=re.DOTALL)


def dangling(page: str, model: ModuleType, recipe: ModuleType, folder: Path) -> list[str]:
    """Look for comments that are not known or share a line, anchors without code or test, and links without a file."""
    text, faults = prose(page), []
    alone = re.findall(r"^<!-- (.*?) -->$", text, flags=re.MULTILINE)
    faults += [f"<!-- {mark} --> is not on its own line" for mark in marks(page) if mark not in alone]
    faults += [f"<!-- {mark} --> is none of picture, code, test, table" for mark in marks(page) if not MARKS.fullmatch(mark)]
    for kind, _, name in (mark.partition(": ") for mark in marks(page)):
        if kind == "code" and not has(recipe if name.startswith("recipe.") else model, name.removeprefix("recipe.")):
            faults.append(f"there is no code {name}")
        if kind == "test" and name not in all_tests():
            faults.append(f"there is no test {name}")
    faults += [
        f"the page has no <!-- {kind}: ... -->" for kind in ("code", "test") if f"{kind}: " not in "\n".join(marks(page))
    ]
    for path in re.findall(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)", text):
        if not (folder / path).exists():
            faults.append(f"the link {path} leads nowhere")
    return faults


def has(module: ModuleType, name: str) -> bool:
    """Return True if the module has the dotted name."""
    try:
        reduce(getattr, name.split("."), module)
    except AttributeError:
        return False
    return True


@cache
def all_tests() -> frozenset[str]:
    """Return the names of all test functions of the project."""
    files = TESTS.rglob("test_*.py")
    return frozenset(
        name for path in files for name in re.findall(r"^\s*def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    )


def untrue_examples(page: str, module: str) -> list[str]:
    """Run the blocks of Python in order, in one namespace, and compare what they print with the blocks of output."""
    faults: list[str] = []
    namespace: dict[str, Any] = {"__name__": "page"}
    fences = list(FENCE.finditer(page))
    for number, fence in enumerate(fences):
        before = fences[number - 1] if number else None
        follows = before is not None and before[1] == "python" and not page[before.end() : fence.start()].strip()
        if fence[1] == "output" and not follows:
            faults.append(f"no block of Python is right before the output {fence[2][:80]}")
        if fence[1] != "python":
            continue
        after = fences[number + 1] if number + 1 < len(fences) else None
        shown = after is not None and after[1] == "output" and not page[fence.end() : after.start()].strip()
        expected = after[2] if shown and after is not None else ""
        printed = _printed(fence[2], namespace)
        if printed != expected:
            faults.append(f"the code prints\n{printed}\nand the page says\n{expected}")
    example = sections(sections(page).get("4 Mathematical foundation", ""), level=3).get("By hand", "")
    code = [fence[2] for fence in FENCE.finditer(example) if fence[1] == "python"]
    if not any(module in text for text in code) or "```output" not in example:
        faults.append(f"By hand needs a block of Python that imports from {module}, and its output")
    return faults


def _printed(code: str, namespace: dict[str, Any]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "page.md", "exec"), namespace)
    return out.getvalue()


def weak_references(page: str) -> list[str]:
    """Look for three papers with their year, and two web or video sources with their address."""
    text = sections(page).get("10 References", "")
    items = re.findall(r"^- +(.+(?:\n(?!- ).+)*)", text, flags=re.MULTILINE)
    outside = [item for item in items if re.match(r"(Web|Video): ", item)]
    dated = [item for item in items if item not in outside and re.search(r"\((18|19|20)\d\d\)", item)]
    linked = [item for item in outside if re.search(r"https?://\S+\.\S+", item)]
    undated = [item for item in items if item not in outside and item not in dated]
    faults = [f"a paper needs its year, as (1986): {item[:60]}" for item in undated]
    faults += [] if len(dated) >= 3 else [f"{len(dated)} papers, three are needed"]
    return faults + ([] if len(linked) >= 2 else [f'{len(linked)} items "Web: ..." or "Video: ..." with an address, not two'])
